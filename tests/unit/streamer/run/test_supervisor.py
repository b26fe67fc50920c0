"""The order in which a run's processes are ended; the processes are made up."""

import signal
import sys

import msgspec
import pytest
import zmq

from streamer.run.placement import start_process
from streamer.run.snapshot import take_snapshot
from streamer.run.supervisor import Phase, Supervisor
from streamer.run.topology import NodeSpec
from streamer.transport.messages import Status, pack


class Process:
    """A process that ends when it is told to, unless it is deaf to SIGTERM."""

    why = "made up"

    def __init__(self, name):
        self.pid, self.returncode, self.deaf = hash(name), None, False

    def poll(self):
        return self.returncode

    def wait(self):
        return self.returncode

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number):
        if self.returncode is None and not (self.deaf and number == signal.SIGTERM):
            self.returncode = -number


class Host:
    """Starts made-up processes, as long as it has memory."""

    has_memory = True

    def start(self, spec, log):
        if not self.has_memory:
            raise OSError(12, "Cannot allocate memory")
        return Process(spec.name)


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def supervisor(context, address, tmp_path, clock):
    """A supervisor of a run whose ingest node has ended, and with it all but the sink."""
    status = address()
    specs = [
        NodeSpec(
            name=name,
            source="",
            out="",
            endpoints={"status": status},
            detectors=1,
            gpus=1,
            patch_size=11,
        )
        for name in ("sink", "gpu-0", "detector-0", "ingest")
    ]
    made = Supervisor(
        context,
        specs,
        Host(),
        logs=tmp_path,
        restarts=0,
        clock=lambda: clock[0],
    )
    made.host = made._placement
    made.start()
    made.nodes["sink"].process.deaf = True
    made.nodes["ingest"].process.returncode = 0
    while made.phase is not Phase.SINK:
        made.poll(0)
    made.poll(0)
    made.reports = context.socket(zmq.PUSH)
    made.reports.connect(status)
    yield made
    made.close()


def test_nodes_are_at_work_once_none_is_starting_and_frames_find_their_way(supervisor):
    def say(name, state, **stats):
        node = supervisor.nodes[name]
        status = Status(name, node.process.pid, state, "", 0, stats)
        supervisor.reports.send_multipart(pack(status))
        while node.status != status:
            supervisor.poll(0.05)
        return supervisor.at_work

    assert not any(say(name, "running") for name in ("sink", "gpu-0", "detector-0"))
    assert not say("ingest", "running", begun=0.0)
    assert say("ingest", "running", begun=1.0)
    assert not say("gpu-0", "starting")


def test_a_sink_that_gets_no_further_is_ended(supervisor, clock):
    sink = supervisor.nodes["sink"].process
    for done in (1.0, 2.0, 2.0):
        clock[0] += 290.0
        status = Status("sink", sink.pid, "draining", "", 0, {"done": done})
        supervisor.reports.send_multipart(pack(status))
        supervisor.poll(0.05)
        assert supervisor.phase is Phase.SINK
    clock[0] += 20.0
    supervisor.poll(0)
    assert supervisor.phase is Phase.FAILED
    assert sink.returncode == -signal.SIGKILL
    assert "sink was asked to finish and got no further for 300 s" in supervisor.reason


def test_nodes_keep_their_memory_for_the_next_frame(tmp_path):
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    script = f"import os; print(*map(os.environ.get, {names}))"
    process = start_process([sys.executable, "-c", script], tmp_path / "log")
    assert process.wait() == 0
    assert all(int(kept) > 1 << 30 for kept in (tmp_path / "log").read_text().split())


def test_a_run_is_done_when_its_sink_has_ended(supervisor):
    supervisor.nodes["sink"].process.returncode = 0
    supervisor.poll(0)
    assert supervisor.phase is Phase.DONE


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -1e300])
def test_a_figure_that_cannot_be_counted_is_left_out(supervisor, figure):
    sink = supervisor.nodes["sink"]
    stats = {"done": figure, "peaks": 4.0, "latency_ms": figure}
    status = Status("sink", sink.process.pid, "running", "", 0, stats, {"series": "no json"})
    supervisor.reports.send_multipart(pack(status))
    while sink.status is None:
        supervisor.poll(0.05)
    now = take_snapshot(supervisor, "x.h5", 0.0, None)
    assert (now.frames["done"], now.peaks) == (0, 4)


def test_a_node_that_cannot_be_started_again_is_tried_again(supervisor, clock):
    supervisor.phase, supervisor._restarts = Phase.RUNNING, 1
    gpu = supervisor.nodes["gpu-0"]
    supervisor.nodes["ingest"].process.returncode = None
    supervisor.nodes["detector-0"].process.returncode = None

    supervisor.host.has_memory = False
    for _ in range(5):
        supervisor.poll(0)
        clock[0] += 20.0
    supervisor.host.has_memory = True
    assert not gpu.alive
    supervisor.poll(0)
    assert gpu.alive
    assert gpu.restarts == 1


@pytest.mark.parametrize("gets_on", [True, False])
def test_a_node_that_keeps_dying_ends_the_run_where_nothing_gets_on(supervisor, clock, gets_on):
    supervisor.phase, supervisor._restarts = Phase.RUNNING, 2
    for name in ("ingest", "gpu-0"):
        supervisor.nodes[name].process.returncode = None
    sink, detector = supervisor.nodes["sink"], supervisor.nodes["detector-0"]
    for count in range(6):
        done = {"done": float(count if gets_on else 1)}
        sink.status = Status("sink", 1, "running", "", 0, done)
        if detector.process is not None:
            detector.process.returncode = -9
        supervisor.poll(0)
        clock[0] += 20.0
        supervisor.poll(0)
    assert (supervisor.phase is Phase.RUNNING) == gets_on
    if not gets_on:
        assert "detector-0 died 3 times" in supervisor.reason


def test_what_a_node_has_told_once_is_kept(supervisor):
    sink = supervisor.nodes["sink"]
    for info in ({"series/1": "a", "feed": "x"}, {"series/2": "b"}, {"series/1": "c"}):
        status = Status("sink", sink.process.pid, "draining", "", 0, {}, info)
        supervisor.reports.send_multipart(pack(status))
        supervisor.poll(0.05)
    assert sink.info == {"series/1": "c", "series/2": "b", "feed": "x"}


def test_last_words_of_a_predecessor_are_not_those_of_the_node(supervisor):
    sink = supervisor.nodes["sink"]
    sink.spec = msgspec.structs.replace(sink.spec, incarnation=3)
    for incarnation in (3, 2):  # both with the number of the process: hosts give them out twice
        status = Status("sink", 1, "running", "", 0, {"done": 1.0 * incarnation}, {}, incarnation)
        supervisor.reports.send_multipart(pack(status))
    for _ in range(20):
        supervisor.poll(0.05)
    assert sink.stat("done") == 3
