"""What a run was: the content of run.json."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamer.results.folder import RunFolder
from streamer.run.snapshot import STATES, Delivery, disagreement
from streamer.run.supervisor import NodeProcess, Supervisor

__all__ = ["summarise"]

logger = logging.getLogger(__name__)

_RANGES = 1000
"""Most gaps of a series that the summary names; the frames table has all."""


def summarise(
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
    counts = {name: int(pc.sum(pc.equal(states, name)).as_py() or 0) for name in STATES}
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
        "delivery": asdict(Delivery()),
        "troubles": {},
    }
    if len(latency):
        summary["rates"]["latency_ms_median"] = float(np.median(latency))
    if supervisor is not None:
        _add_figures(summary, supervisor)
    return summary


def _series(frames: pa.Table, supervisor: Supervisor | None) -> dict[str, dict[str, Any]]:
    """Return the books of each series: announced, received and lost frames."""
    status = supervisor.nodes["ingest"].status if supervisor is not None else None
    books = _read_books(status.info.get("series", "{}") if status else "{}")
    names = frames["series"].unique().to_pylist()
    for name in [*books, *(name for name in names if name not in books)]:
        rows = frames.filter(pc.equal(frames["series"], name))
        for state in STATES:
            numbers = rows.filter(pc.equal(rows["state"], state))["frame"].to_numpy()
            books.setdefault(name, {})[state] = len(numbers)
            if state == "missing":
                books[name]["missing_frames"] = _ranges(numbers)[:_RANGES]
    return books


def _read_books(text: str) -> dict[str, dict[str, Any]]:
    """Return what the ingest node said of each series; nothing where that cannot be read."""
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        logger.warning("what the ingest node said of the series is left out: %s", error)
        return {}


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
    summary["disagreement_px"] = disagreement(supervisor)
    summary["delivery"] = asdict(Delivery.of(supervisor))


def _utc(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
