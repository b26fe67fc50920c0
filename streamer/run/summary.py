"""What a run was: the content of run.json."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import UserError
from streamer.results.folder import RunFolder
from streamer.results.summary import Delivery
from streamer.results.thresholds import changes_in_words
from streamer.run.advice import advice, findings, noise_advice, width_advice
from streamer.run.snapshot import STATES, delivery_of, disagreement
from streamer.run.supervisor import NodeProcess, Supervisor

__all__ = ["summarise", "utc"]

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
    begun: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of ``run.json``; what is counted is counted on disk.

    Rates are of what came since it was as in `begun`, when these nodes began.
    """
    columns = ["series", "frame", "count", "state", "n_peaks", "latency_ms"]
    frames = folder.read("frames", columns)
    counts = {name: _n_frames(_in_state(frames, name)) for name in STATES}
    peaks = int(pc.sum(frames["n_peaks"]).as_py() or 0)
    latency = frames["latency_ms"].to_numpy()
    latency = latency[np.isfinite(latency)]
    summary: dict[str, Any] = {
        "software": {"name": "braggstream", "version": version("braggstream")},
        "state": state,
        "source": source,
        "out": str(folder.path),
        "cwd": str(Path.cwd()),  # which relative paths of source and configuration count from
        "started": utc(started),
        "ended": utc(ended) if ended is not None else None,
        "elapsed_s": (ended or time.time()) - started,
        "frames": {**counts, "total": _n_frames(frames)},
        "series": _series(frames, supervisor),
        "geometry": folder.geometry_in_words(),
        "peaks": peaks,
        "tracks": 0,
        "rates": {"frames_per_s": 0.0, "peaks_per_s": 0.0, "latency_ms_median": 0.0},
        "stages": {},
        "disagreement_px": None,
        "threshold_changes": changes_in_words(folder.path),
        "delivery": asdict(Delivery()),
        "advice": [],
        "troubles": {},
    }
    if len(latency):
        summary["rates"]["latency_ms_median"] = float(np.median(latency))
    if supervisor is not None:
        _add_figures(summary, supervisor, begun)
        found = findings(node.info for node in supervisor.nodes.values())
        for name, book in summary["series"].items():
            book["thresholds"] = found.get(name, {}).get("thresholds", {})
            book["merged"] = found.get(name, {}).get("merged", 0)
            if found.get(name, {}).get("masked") is not None:
                book["masked"] = found[name]["masked"]
        # Imported where a run has ended: it needs numba, for which no start is to wait.
        from streamer.run.motion import motion_advice

        try:
            config = folder.read_config()
            detect = config.detect
            summary["common_motion"] = config.tracks.common_motion
            summary["advice"] = advice(found, detect.minval, detect.minscore)
            summary["advice"] += motion_advice(folder, config.tracks)
            summary["advice"] += width_advice(folder.read_tracks(), detect.binning)
            summary["advice"] += noise_advice(folder, config.positions.gain)
        except UserError:
            return summary
    return summary


def _series(frames: pa.Table, supervisor: Supervisor | None) -> dict[str, dict[str, Any]]:
    """Return the books of each series: announced, received and lost frames."""
    books = {} if supervisor is None else _told(supervisor.nodes["ingest"].info)
    for name in frames["series"].unique().to_pylist():
        books.setdefault(name, {})
    for book in books.values():
        book |= {**dict.fromkeys(STATES, 0), "missing_frames": []}
    sums = frames.group_by(["series", "state"]).aggregate([("count", "sum")])
    for one in sums.to_pylist():
        books[one["series"]][one["state"]] = one["count_sum"]
    lost = _in_state(frames, "missing").sort_by([("series", "ascending"), ("frame", "ascending")])
    columns = (lost[name].to_pylist() for name in ("series", "frame", "count"))
    for name, first, count in zip(*columns, strict=True):
        ranges = books[name]["missing_frames"]
        if ranges and ranges[-1][1] == first - 1:
            ranges[-1][1] += count
        elif len(ranges) < _RANGES:
            ranges.append([first, first + count - 1])
    return books


def _told(info: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what the ingest node told of each series; what cannot be read is left out."""
    books = {}
    for key, text in info.items():
        kind, _, name = key.partition("/")
        if kind != "series":
            continue
        try:
            books[name] = msgspec.json.decode(text, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            logger.warning("what the ingest node told of series %s is left out: %s", name, error)
    return books


def _in_state(frames: pa.Table, state: str) -> pa.Table:
    return frames.filter(pc.equal(frames["state"], state))


def _n_frames(frames: pa.Table) -> int:
    return int(pc.sum(frames["count"]).as_py() or 0)


def _add_figures(
    summary: dict[str, Any], supervisor: Supervisor, begun: dict[str, Any] | None
) -> None:
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

    n_came, n_peaks = _n_came(summary), summary["peaks"]
    if begun is not None:
        n_came, n_peaks = n_came - _n_came(begun), n_peaks - begun["peaks"]
    n_read = max(1.0, ingest.stat("received"))  # also what was on disk already
    summary["tracks"] = int(sink.stat("tracks"))
    summary["rates"]["frames_per_s"] = rate(n_came, span)
    summary["rates"]["peaks_per_s"] = rate(n_peaks, span)
    summary["stages"] = {
        "ingest": {"MB/s": rate(ingest.stat("bytes") / 1e6 * min(1.0, n_came / n_read), span)},
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
    summary["delivery"] = asdict(delivery_of(supervisor))


def _n_came(summary: dict[str, Any]) -> int:
    return int(summary["frames"]["total"] - summary["frames"]["missing"])


def utc(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
