from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamer.cell.gauges import CellGauges
from streamer.config import MetricsConfig
from streamer.errors import UserError
from streamer.results.folder import RunFolder
from streamer.results.schema import CELL
from streamer.run.supervisor import NodeProcess
from streamer.run.targets import TARGETS_FILE, Targets
from streamer.run.topology import NodeSpec
from streamer.transport.counts import Counts
from streamer.transport.messages import MessageError, Status
from streamer.transport.metrics import INCIDENTS, Metrics
from workers.place.gauges import GpuGauges

PROMTOOL = shutil.which("promtool")


def in_use() -> Metrics:
    """Metrics of a node that has done a bit of everything."""
    metrics = Metrics()
    metrics.stages.expect("read", "commit")
    metrics.stages.note_latency("commit", [time.time_ns()])
    metrics.flow.count_incidents({"stray": 1})
    metrics.queues.show_workers({"detector-0": 3})
    metrics.science.show_tracks(12, [(1, 0.5, 0.1, 1e-4)])
    metrics.science.show_alarms({(1, "drift"): 1})
    return metrics


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
def test_promtool_has_nothing_to_say_about_the_metrics():
    page = generate_latest(in_use().registry)
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_labels_are_few_and_leave_the_node_to_the_target_list():
    page = generate_latest(in_use().registry).decode()
    families = list(text_string_to_metric_families(page))
    labels = {label for family in families for one in family.samples for label in one.labels}
    of_run = {"quantity", "reason", "stage", "state", "track", "worker"}
    assert labels == {"le", "python", "version", *of_run}
    assert "_created" not in page
    assert all(family.documentation for family in families)


def test_what_is_counted_is_there_at_zero():
    metrics = Metrics()
    metrics.flow.count_incidents({})
    metrics.stages.expect("detect")
    assert set(samples(metrics.registry, "braggstream_frames_total").values()) == {0.0}
    incidents = samples(metrics.registry, "braggstream_source_incidents_total")
    assert incidents == {(reason,): 0.0 for reason in INCIDENTS}
    assert samples(metrics.registry, "braggstream_stage_duration_seconds_count") == {
        ("detect",): 0.0
    }


def test_incidents_follow_the_sources_totals_under_a_few_names():
    metrics = Metrics()
    metrics.flow.count_incidents({"stray": 2, "not recorded": 1, "eaten": 3, "lost in the post": 4})
    metrics.flow.count_incidents({"stray": 5, "not recorded": 1, "eaten": 3, "lost in the post": 4})
    metrics.flow.count_incidents({"stray": 4})  # a source that was opened again begins anew
    incidents = samples(metrics.registry, "braggstream_source_incidents_total")
    assert {reason: value for (reason,), value in incidents.items() if value} == {
        "stray": 5.0, "not_recorded": 1.0, "other": 7.0,
    }  # fmt: skip


def test_metrics_follow_what_a_node_counted():
    metrics, counts = Metrics(), Counts()
    for peaks in (3, 4):
        counts.frames["done"] += 1
        counts.peaks += peaks
        metrics.flow.show(counts)
        metrics.flow.show(counts)
    with counts.refusing():
        raise MessageError("rubbish")
    metrics.flow.show(counts)
    assert metrics.value("braggstream_frames_total", state="done") == 2
    assert metrics.value("braggstream_frames_total", state="failed") == 0
    assert metrics.value("braggstream_peaks_total") == 7
    assert metrics.value("braggstream_messages_refused_total") == 1


def test_a_stage_says_what_it_took():
    metrics = Metrics()
    with metrics.stages.timed("detect") as lap:
        pass
    assert lap.seconds == metrics.value("braggstream_stage_duration_seconds_sum", stage="detect")
    assert lap.seconds > 0


def test_redelivered_frames_follow_the_publishers_total():
    metrics = Metrics()
    for total in (0, 3, 3, 7):
        metrics.flow.count_redelivered(total)
    assert metrics.value("braggstream_redelivered_frames_total") == 7


def test_a_worker_that_is_gone_is_not_shown():
    metrics = Metrics()
    metrics.queues.show_workers({"gpu-0": 4, "gpu-1": 5})
    metrics.queues.show_workers({"gpu-1": 2})
    assert samples(metrics.registry, "braggstream_worker_outstanding_frames") == {("gpu-1",): 2.0}
    assert metrics.value("braggstream_workers") == 1


def test_the_books_of_open_series_are_summed():
    metrics = Metrics()
    metrics.queues.show_series(
        [{"announced": 10, "received": 4}, {"announced": None, "received": 3}]
    )
    assert metrics.value("braggstream_open_series") == 2
    assert metrics.value("braggstream_open_series_announced_frames") == 10
    assert metrics.value("braggstream_open_series_received_frames") == 7


def test_a_track_keeps_its_line_and_there_are_not_too_many():
    metrics, n = Metrics(), 50

    def drifts():
        return samples(metrics.registry, "braggstream_track_drift_pixels")

    metrics.science.show_tracks(50, [(7, 1.0, 0.1, 3e-6), (8, 2.0, 0.1, 0.0)])
    metrics.science.show_tracks(50, [(9, 3.0, 0.1, 0.0), (7, 1.5, 0.1, 4e-6), (8, 2.0, 0.1, 0.0)])
    assert drifts() == {("7",): 1.5, ("8",): 2.0, ("9",): 3.0}
    assert list(metrics.science.drifting) == [7, 8, 9]
    strain = samples(metrics.registry, "braggstream_track_strain_microstrain")
    assert strain[("7",)] == pytest.approx(4.0)
    first = [(100 + i, float(i), 0.1, 0.0) for i in range(n)]
    metrics.science.show_tracks(n, [(9, 3.0, 0.1, 0.0), *first])
    assert len(drifts()) == n
    assert ("9",) in drifts()  # it is one of the first
    assert ("7",) not in drifts()


def test_an_alarm_that_is_over_is_nought():
    metrics = Metrics()
    name = "braggstream_track_alarm_severity"
    metrics.science.show_alarms({(3, "drift"): 1, (4, "d"): 2})
    assert samples(metrics.registry, name) == {("3", "drift"): 1.0, ("4", "d"): 2.0}
    metrics.science.show_alarms({(4, "d"): 1})
    assert samples(metrics.registry, name) == {("3", "drift"): 0.0, ("4", "d"): 1.0}
    metrics.science.show_alarms({(track, "drift"): 1 for track in range(1000)})
    assert len(samples(metrics.registry, name)) == 200


def test_latency_is_that_since_arrival_and_the_budget_is_a_bound_of_its_buckets():
    metrics = Metrics()
    metrics.stages.note_latency("commit", [time.time_ns() - 7_000_000_000] * 3)
    buckets = samples(metrics.registry, "braggstream_frame_latency_seconds_bucket")
    # A limit within a bucket could not be told from its bounds.
    assert buckets[("commit", "5.0")] == 0
    assert buckets[("commit", "10.0")] == 3


def test_the_cells_newest_reading_is_shown(tmp_path):
    registry = CollectorRegistry()
    CellGauges(registry, tmp_path)
    assert not list(registry.collect())
    folder = RunFolder(tmp_path)
    folder.write_cell(CELL.empty_table())
    assert not list(registry.collect())
    rows = {
        "time_ns": [1_000_000_000, 2_500_000_000],
        "voltage_v": [3.5, 4.25],
        "current_a": [0.1, -0.2],
        "capacity_ah": [0.0, 0.1],
        "half_cycle": [0, 1],
        "kind": ["charge", "discharge"],
        "kind_from": ["current", "current"],
    }
    folder.write_cell(pa.table(rows, schema=CELL))
    names = ("voltage_volts", "current_amperes", "half_cycle", "last_reading_timestamp_seconds")
    shown = [registry.get_sample_value(f"braggstream_cell_{name}") for name in names]
    assert shown == [4.25, -0.2, 1.0, 2.5]


def test_a_damaged_file_of_the_cell_does_not_spoil_the_page(tmp_path):
    metrics = Metrics()
    CellGauges(metrics.registry, tmp_path)
    (tmp_path / "cell.parquet").write_bytes(b"not parquet at all")
    assert b"braggstream_frames_total" in generate_latest(metrics.registry)


class FakeCuda:
    """What torch says of two devices, of which this process uses the second."""

    def __init__(self, *, library: bool = True) -> None:
        self.library = library

    def is_initialized(self):
        return True

    def device_count(self):
        return 2

    def memory_reserved(self, index):
        return [0, 300][index]

    def mem_get_info(self, index):
        return (600, 1000)

    def utilization(self, index):
        if not self.library:
            raise ModuleNotFoundError("pynvml does not seem to be installed")
        return 25


@pytest.mark.parametrize("library", [True, False])
def test_a_gpu_in_use_is_shown(monkeypatch, library):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=FakeCuda(library=library)))
    registry = CollectorRegistry()
    GpuGauges(registry)
    assert samples(registry, "braggstream_gpu_memory_bytes") == {("1",): 300.0}
    assert samples(registry, "braggstream_gpu_device_memory_used_bytes") == {("1",): 400.0}
    assert samples(registry, "braggstream_gpu_device_memory_size_bytes") == {("1",): 1000.0}
    busy = {("1",): 0.25} if library else {}
    assert samples(registry, "braggstream_gpu_utilisation_ratio") == busy
    if PROMTOOL is not None:
        page = generate_latest(registry)
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True)
        assert (done.returncode, done.stdout) == (0, b"")


def test_without_a_gpu_there_are_no_metrics_of_one(monkeypatch):
    registry = CollectorRegistry()
    GpuGauges(registry)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not list(registry.collect())


class FakeProcess:
    """A process that has ended with `code`, or has not."""

    def __init__(self, code: int | None = None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


def a_node(name: str, tmp_path, port: int, state: str = "running", host: str = "") -> NodeProcess:
    spec = NodeSpec(name=name, source="", out="", endpoints={}, detectors=1, gpus=1, patch_size=11)
    status = Status(name, 1, state, "", port, {}, host=host)
    return NodeProcess(spec, tmp_path / "log", FakeProcess(), status)


def listed(path) -> dict[str, str]:
    """Return the address of each node in a list of targets."""
    return {entry["labels"]["node"]: entry["targets"][0] for entry in json.loads(path.read_text())}


def test_the_target_list_names_each_node_once_and_for_all(tmp_path):
    run = tmp_path / "today"
    run.mkdir()
    with Targets(MetricsConfig(host="0.0.0.0"), run) as targets:
        targets.update([a_node("gpu-0", tmp_path, 81), a_node("sink", tmp_path, 0)])
        entries = json.loads((run / TARGETS_FILE).read_text())
    assert entries == [
        {
            "targets": ["127.0.0.1:81"],
            "labels": {"instance": "today/gpu-0", "node": "gpu-0", "role": "gpu", "run": "today"},
        }
    ]
    assert not (run / TARGETS_FILE).exists()


def test_nodes_are_listed_at_their_hosts_and_those_that_moved_at_the_new_one(tmp_path):
    with Targets(MetricsConfig(), tmp_path) as targets:
        for host in ("10.0.0.1", "10.0.0.2"):
            targets.update([a_node("sink", tmp_path, 81, host=host), a_node("gpu-0", tmp_path, 82)])
            addresses = {"sink": f"{host}:81", "gpu-0": "127.0.0.1:82"}
            assert listed(tmp_path / TARGETS_FILE) == addresses


def test_a_dead_node_stays_listed_until_its_successor_works(tmp_path):
    file = tmp_path / TARGETS_FILE
    node = a_node("gpu-0", tmp_path, 81, "starting")
    with Targets(MetricsConfig(), tmp_path) as targets:
        targets.update([node])
        assert listed(file) == {"gpu-0": "127.0.0.1:81"}  # one that hangs at once is seen, too
        node.process = node.status = None
        targets.update([node])
        assert listed(file) == {"gpu-0": "127.0.0.1:81"}
        node.process, node.status = FakeProcess(), Status("gpu-0", 2, "starting", "", 82, {})
        targets.update([node])
        assert listed(file) == {"gpu-0": "127.0.0.1:81"}
        node.status = Status("gpu-0", 2, "running", "", 82, {})
        targets.update([node])
        assert listed(file) == {"gpu-0": "127.0.0.1:82"}
        node.process = FakeProcess(0)
        targets.update([node])
        assert listed(file) == {}


def test_a_folder_for_the_lists_of_all_runs_is_made_and_kept_tidy(tmp_path):
    run, shared = tmp_path / "today", tmp_path / "prometheus" / "targets"
    run.mkdir()
    with Targets(MetricsConfig(targets=shared), run) as targets:
        targets.update([a_node("sink", tmp_path, 83)])
        assert [path.name for path in shared.iterdir()] == ["today.json"]
        assert listed(shared / "today.json") == listed(run / TARGETS_FILE)
    assert not list(shared.iterdir())


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"metrics\.targets"):
        Targets(MetricsConfig(targets=tmp_path / "file" / "below"), tmp_path)
