from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest
import zmq

from streamer.errors import UserError
from streamer.transport.messages import Status, unpack
from streamer.transport.metrics import Metrics
from streamer.transport.node import Node


class CountDown:
    """A role that needs a few steps."""

    sockets: list[zmq.Socket[bytes]] = []  # noqa: RUF012

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.closed = False

    @property
    def finished(self) -> bool:
        return self.left == 0

    def step(self) -> float:
        self.left -= 1
        return 0.0

    def stop(self) -> None:
        self.left = min(self.left, 1)

    def report(self):
        return "counting down", {"left": float(self.left)}, {"a": "b"}

    def close(self) -> None:
        self.closed = True


def test_a_node_runs_its_role_to_the_end_and_reports(context):
    ear = context.socket(zmq.PULL)
    ear.bind("inproc://status")
    role = CountDown(5)
    Node("x-0", context, lambda: role, Metrics(), status_address="inproc://status").run()
    said = []
    while ear.poll(200):
        status, _ = unpack(ear.recv_multipart())
        assert isinstance(status, Status)
        said.append(status)
    assert role.closed
    assert [said[0].state, said[-1].state] == ["starting", "done"]
    assert said[-1].stats == {"left": 0.0}
    assert said[-1].pid == os.getpid()
    ear.close()


SCRIPT = """
    import sys, zmq
    sys.path.insert(0, {root!r})
    from streamer.transport.metrics import Metrics
    from streamer.transport.node import Node

    class Role:
        sockets, finished, stubborn = [], False, {stubborn}
        def __init__(self):
            print("up", flush=True)  # signals are handled from here on
        def step(self):
            {step}
        def stop(self):
            print("asked to stop", flush=True)
            self.finished = not self.stubborn
        def report(self):
            return "", {{}}, {{}}
        def close(self):
            print("closed", flush=True)

    Node("x-0", zmq.Context(), Role, Metrics(), parent={parent}).run()
"""


def start(stubborn: bool, step: str = "return 1.0", parent: int = 0) -> subprocess.Popen[str]:
    root = Path(__file__).parents[4]
    script = textwrap.dedent(SCRIPT).format(
        root=str(root), stubborn=stubborn, step=step, parent=parent
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_finishes_what_was_begun(number):
    with start(stubborn=False) as process:
        process.send_signal(number)
        assert process.stdout.readline() == "asked to stop\n"
        assert process.stdout.readline() == "closed\n"
        assert process.wait(10) == 0


def test_a_second_signal_ends_at_once():
    with start(stubborn=True) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked to stop\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_a_node_that_does_not_look_about_hears_a_second_signal():
    # The main thread waits for a lock, which no signal interrupts, and runs no Python.
    step = "import ctypes; lock = (ctypes.c_char * 64)(); libc = ctypes.CDLL(None); "
    step += (
        "libc.pthread_mutex_lock(lock); print('deaf', flush=True); libc.pthread_mutex_lock(lock)"
    )
    with start(stubborn=True, step=step) as process:
        assert process.stdout.readline() == "deaf\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):  # two at once may be heard as one
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_a_node_that_is_left_alone_in_a_loop_ends():
    with start(stubborn=True, step="while True: pass", parent=1 << 30) as process:
        assert process.wait(20) == 1


def test_metrics_are_served_and_start_at_zero():
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0)
    metrics.flow.frames.labels("done").inc(3)
    with metrics.stages.timed("detect"):
        pass
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        text = page.read().decode()
    assert 'braggstream_frames_total{state="done"} 3.0' in text
    assert 'braggstream_frames_total{state="missing"} 0.0' in text
    assert "_created" not in text
    assert metrics.value("braggstream_stage_duration_seconds_count", stage="detect") == 1
    with pytest.raises(UserError, match=r"metrics\.base_port"):
        Metrics().serve("127.0.0.1", port)


def test_redelivered_frames_are_counted_once():
    metrics = Metrics()
    for total in (3, 3, 8):
        metrics.flow.count_redelivered(total)
    assert metrics.value("braggstream_redelivered_frames_total") == 8


def test_a_node_that_was_left_alone_ends_without_finishing_anything(context, caplog):
    class Waiting(CountDown):
        """A role that would wait for a node that is gone."""

        stopped = False

        def step(self) -> float:
            return 0.01

        def stop(self) -> None:
            self.stopped = True

    role = Waiting(1)
    Node("x-0", context, lambda: role, Metrics(), parent=1 << 30).run()
    assert role.closed
    assert not role.stopped
    assert "the process that started this one is gone" in caplog.text
