"""One run from its source to its folder: the plan, the processes, the summary."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zmq
from numpy.typing import NDArray

from streamer.cell.log import CellLog
from streamer.config import Config
from streamer.errors import RunError, UserError
from streamer.results.folder import RunFolder, write_atomically
from streamer.run.console import NodeView, Snapshot, View
from streamer.run.supervisor import NodeProcess, Phase, Supervisor
from streamer.run.targets import Targets
from streamer.run.topology import NodeSpec, Topology

__all__ = ["LIVE_FILE", "execute"]

logger = logging.getLogger(__name__)

LIVE_FILE = "live.json"
"""State of a run that goes on, rewritten every second."""

_TICK_S = 0.125
_STATES = ("done", "failed", "missing", "shed")
_RANGES = 1000
"""Most gaps of a series that the summary names; the frames table has all."""


def execute(
    config: Config,
    source: str,
    out: Path,
    command: Callable[[Path], list[str]],
    view: View,
    *,
    expected: int | None = None,
    patch_size: int = 11,
    cuda_devices: int = 0,
) -> dict[str, Any]:
    """Process a source into a new run folder and return the content of its ``run.json``.

    SIGINT, SIGTERM or SIGHUP ends the run after what is on its way; a second one ends it at once.

    Parameters
    ----------
    source
        URI of a live stream or path of a recording, checked by the caller.
    command
        Returns the command line that runs the node whose spec lies in a file.
    expected
        Number of frames, if known, for the progress bar.

    Raises
    ------
    UserError
        The folder is taken, or a node refused to start for a user's mistake.
    RunError
        A node died too often, or the run was ended at once.
    """
    was_there = out.exists()
    folder = RunFolder.create(out)
    write_atomically(out / "config.yaml", config.to_yaml())
    started = time.time()
    folder.write_summary(_summary(folder, source, started, None, None, "running"))
    cell = _open_cell(config, folder, was_there)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    supervisor: Supervisor | None = None
    try:
        with _runtime_folder() as runtime:
            topology = Topology.plan(config, runtime, cuda_devices)
            supervisor = Supervisor(
                context,
                _specs(topology, config, source, out, patch_size),
                command,
                runtime=runtime,
                logs=out / "logs",
                restarts=config.nodes.restarts,
            )
            with _signals(supervisor), Targets(config.metrics, out) as targets:
                supervisor.start()
                _watch(supervisor, view, out, source, started, expected, targets, cell)
    except UserError as error:
        if supervisor is not None:
            supervisor.close()  # so that no part is committed between a look and the removal
        if not _remove(folder, was_there):
            raise UserError(f"{error} (what came before is in {out})") from None
        raise
    finally:
        if supervisor is not None:
            supervisor.close()
        context.destroy(linger=0)
        if cell is not None:
            cell.close()
        if folder.path.exists():
            done = supervisor is not None and supervisor.phase is Phase.DONE
            stopped = supervisor is not None and supervisor.asked_to_stop
            state = ("stopped" if stopped else "done") if done else "failed"
            summary = _summary(folder, source, started, time.time(), supervisor, state)
            folder.write_summary(summary)
            (out / LIVE_FILE).unlink(missing_ok=True)
    if supervisor.mistake:
        gone = _remove(folder, was_there)
        raise UserError(supervisor.reason + ("" if gone else f" (what came before is in {out})"))
    if not done:
        raise RunError(supervisor.reason or "stopped at once; what is in the folder is whole")
    return summary


def _open_cell(config: Config, folder: RunFolder, was_there: bool) -> CellLog | None:
    if config.cell.file is None:
        return None
    try:
        return CellLog(config.cell, folder.path)
    except UserError:
        _remove(folder, was_there)
        raise


def _remove(folder: RunFolder, was_there: bool) -> bool:
    """Leave nothing half-made behind where nothing was taken in; False where something was."""
    if folder.parts("frames"):
        return False
    for path in folder.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not was_there:
        folder.path.rmdir()
    return True


def _specs(
    topology: Topology, config: Config, source: str, out: Path, patch_size: int
) -> list[NodeSpec]:
    base = config.metrics.base_port
    return [
        NodeSpec(
            name=name,
            source=source,
            out=str(out),
            endpoints=topology.endpoints,
            detectors=topology.detectors,
            gpus=topology.gpus,
            patch_size=patch_size,
            metrics_port=base + i if base else 0,
            launcher=os.getpid(),
        )
        for i, name in enumerate(topology.nodes)
    ]


@contextmanager
def _runtime_folder() -> Iterator[Path]:
    """Yield a folder with a short path: an ipc address holds about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="bragg-", dir="/tmp") as name:
        yield Path(name)


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        if supervisor.asked_to_stop:
            supervisor.killed = True
        supervisor.asked_to_stop = True

    before = {
        number: signal.signal(number, on_signal)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    supervisor: Supervisor,
    view: View,
    out: Path,
    source: str,
    started: float,
    expected: int | None,
    targets: Targets,
    cell: CellLog | None,
) -> None:
    next_note, shown = 0.0, True
    with view:
        while not supervisor.over:
            supervisor.poll(_TICK_S)
            if supervisor.killed:
                supervisor.kill()
            elif supervisor.asked_to_stop:
                supervisor.stop()
            now = _snapshot(supervisor, source, started, expected)
            try:
                if shown:
                    view.update(now)
            except (OSError, SystemExit):  # the latter is rich's answer to a closed pipe
                shown = False  # who reads is gone; the run is not
                logger.warning("nobody reads what is printed any more: going on in silence")
            if time.monotonic() >= next_note:
                next_note = time.monotonic() + 1.0
                if cell is not None:
                    cell.poll()
                write_atomically(out / LIVE_FILE, json.dumps(asdict(now)) + "\n")
                targets.update(supervisor.nodes.values())


def _snapshot(
    supervisor: Supervisor, source: str, started: float, expected: int | None
) -> Snapshot:
    nodes = supervisor.nodes
    sink, ingest = nodes["sink"], nodes["ingest"]
    return Snapshot(
        phase=supervisor.phase.value,
        source=source,
        feed=sink.status.info.get("feed", "") if sink.status else "",
        relay=ingest.status.info.get("relay", "") if ingest.status else "",
        elapsed_s=time.time() - started,
        expected=expected,
        received=int(ingest.stat("received")),
        frames={state: int(sink.stat(state)) for state in _STATES},
        peaks=int(sink.stat("peaks")),
        latency_ms=sink.stat("latency_ms"),
        window=int(ingest.stat("window")),
        backlog=int(ingest.stat("backlog")),
        redelivered=_redelivered(supervisor),
        duplicates=int(sink.stat("duplicate")),
        refused=int(sum(node.stat("refused") for node in nodes.values())),
        ignored=_ignored(ingest),
        restarts=supervisor.restarted,
        disagreement_px=_disagreement(supervisor),
        nodes=[_node_view(node) for node in nodes.values()],
    )


def _node_view(node: NodeProcess) -> NodeView:
    status = node.status
    doing = status.doing if status else ("starting" if node.alive else "being started again")
    role = node.spec.role
    if role == "ingest":
        so_far = f"{node.stat('received'):,.0f} frames in, {node.stat('bytes') / 1e6:,.0f} MB"
    elif role == "sink":
        so_far = f"{node.stat('done'):,.0f} frames on disk"
    elif role == "gpu":
        so_far = f"{node.stat('peaks'):,.0f} peaks, {node.stat('batch'):,.0f} a batch"
    else:
        so_far = f"{node.stat('frames'):,.0f} frames, {node.stat('peaks'):,.0f} peaks"
    pid = node.process.pid if node.process else 0
    return NodeView(node.spec.name, doing, so_far, node.restarts, pid, node.alive)


def _redelivered(supervisor: Supervisor) -> int:
    return int(sum(node.stat("redelivered") for node in supervisor.nodes.values()))


def _ignored(ingest: NodeProcess) -> str:
    return ingest.status.info.get("ignored", "") if ingest.status else ""


def _disagreement(supervisor: Supervisor) -> float | None:
    """Return the largest of the GPU workers' median distances of model and fit in pixels."""
    values = [
        node.status.stats["disagreement_px"]
        for node in supervisor.nodes.values()
        if node.status is not None and "disagreement_px" in node.status.stats
    ]
    return max(values, default=None)


def _summary(
    folder: RunFolder,
    source: str,
    started: float,
    ended: float | None,
    supervisor: Supervisor | None,
    state: str,
) -> dict[str, Any]:
    """Return the content of ``run.json``; what is counted is counted on disk."""
    frames = folder.read("frames", ["series", "frame", "state", "n_peaks", "latency_ms"])
    states = frames["state"]
    counts = {name: int(pc.sum(pc.equal(states, name)).as_py() or 0) for name in _STATES}
    peaks = int(pc.sum(frames["n_peaks"]).as_py() or 0)
    latency = frames["latency_ms"].to_numpy()
    latency = latency[np.isfinite(latency)]
    summary: dict[str, Any] = {
        "software": {"name": "braggstream", "version": version("braggstream")},
        "state": state,
        "source": source,
        "out": str(folder.path),
        "started": _utc(started),
        "ended": _utc(ended) if ended is not None else None,
        "elapsed_s": (ended or time.time()) - started,
        "frames": {**counts, "total": frames.num_rows},
        "series": _series(frames, supervisor),
        "peaks": peaks,
        "tracks": 0,
        "rates": {"frames_per_s": 0.0, "peaks_per_s": 0.0, "latency_ms_median": 0.0},
        "stages": {},
        "disagreement_px": None,
        "delivery": {"redelivered": 0, "duplicates": 0, "restarts": 0, "ignored": ""},
    }
    if len(latency):
        summary["rates"]["latency_ms_median"] = float(np.median(latency))
    if supervisor is not None:
        _add_figures(summary, supervisor)
    return summary


def _series(frames: pa.Table, supervisor: Supervisor | None) -> dict[str, dict[str, Any]]:
    """Return the books of each series: announced, received and lost frames."""
    status = supervisor.nodes["ingest"].status if supervisor is not None else None
    books: dict[str, dict[str, Any]] = json.loads(
        status.info.get("series", "{}") if status else "{}"
    )
    names = frames["series"].unique().to_pylist()
    for name in [*books, *(name for name in names if name not in books)]:
        rows = frames.filter(pc.equal(frames["series"], name))
        for state in _STATES:
            numbers = rows.filter(pc.equal(rows["state"], state))["frame"].to_numpy()
            books.setdefault(name, {})[state] = len(numbers)
            if state == "missing":
                books[name]["missing_frames"] = _ranges(numbers)[:_RANGES]
    return books


def _ranges(numbers: NDArray[np.int64]) -> list[list[int]]:
    """Return first and last of each run of numbers that follow each other."""
    ordered = np.unique(numbers)
    if not len(ordered):
        return []
    breaks = np.flatnonzero(np.diff(ordered) > 1)
    starts, stops = np.append(0, breaks + 1), np.append(breaks, len(ordered) - 1)
    return [[int(ordered[a]), int(ordered[b])] for a, b in zip(starts, stops, strict=True)]


def _add_figures(summary: dict[str, Any], supervisor: Supervisor) -> None:
    """Add what only the nodes knew."""
    nodes = supervisor.nodes
    sink, ingest = nodes["sink"], nodes["ingest"]
    span = sink.stat("span_s")
    detectors = [node for node in nodes.values() if node.spec.role == "detector"]
    gpus = [node for node in nodes.values() if node.spec.role == "gpu"]

    def total(group: list[NodeProcess], name: str) -> float:
        return sum(node.stat(name) for node in group)

    def rate(count: float, seconds: float) -> float:
        return count / seconds if seconds > 0 else 0.0

    summary["tracks"] = int(sink.stat("tracks"))
    summary["rates"]["frames_per_s"] = rate(summary["frames"]["total"], span)
    summary["rates"]["peaks_per_s"] = rate(summary["peaks"], span)
    summary["stages"] = {
        "ingest": {"MB/s": rate(ingest.stat("bytes") / 1e6, span)},
        "detect": {
            "frames/s while busy": rate(total(detectors, "frames"), total(detectors, "busy_s")),
            "workers": float(len(detectors)),
        },
        "place": {
            "peaks/s while busy": rate(total(gpus, "peaks"), total(gpus, "busy_s")),
            "workers": float(len(gpus)),
        },
    }
    summary["disagreement_px"] = _disagreement(supervisor)
    summary["delivery"] = {
        "redelivered": _redelivered(supervisor),
        "duplicates": int(sink.stat("duplicate")),
        "restarts": supervisor.restarted,
        "ignored": _ignored(ingest),
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
