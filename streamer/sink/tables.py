"""The tables of a run: from frames as they reached the sink to columns and Arrow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.peaks import PEAK, POSITION
from streamer.results.records import taken_apart
from streamer.results.schema import Columns
from streamer.tracks.linker import Linked
from streamer.tracks.multiplicity import PLACE
from streamer.transport.messages import FramePeaks, Positions

__all__ = [
    "Result",
    "Row",
    "as_table",
    "frame_columns",
    "motion_columns",
    "peak_columns",
    "read_results",
]


@dataclass(frozen=True, slots=True)
class Result:
    """A frame as it reached the sink."""

    head: FramePeaks
    peaks: NDArray[np.void]
    positions: NDArray[np.void]


@dataclass(slots=True)
class Row:
    """A frame, or a gap, whose turn has come: a row of the next part."""

    series: str
    frame: int
    time_ns: int
    state: str
    reason: str
    received_ns: int
    result: Result | None = None
    linked: Linked | None = None
    count: int = 1
    """Frames that it stands for, `frame` being the first."""

    @classmethod
    def of(cls, result: Result) -> Row:
        """Return the row of a frame that was worked on."""
        head = result.head
        state = "failed" if head.reason else "done"
        return cls(
            head.series, head.frame, head.time_ns, state, head.reason, head.received_ns, result
        )


def read_results(header: Positions, buffers: Sequence[memoryview]) -> list[Result]:
    """Return the frames of a message."""
    peaks = np.frombuffer(buffers[0], PEAK)
    positions = np.frombuffer(buffers[1], POSITION)
    stops = list(accumulate(head.n_peaks for head in header.frames))
    return [
        Result(head, peaks[stop - head.n_peaks : stop], positions[stop - head.n_peaks : stop])
        for head, stop in zip(header.frames, stops, strict=True)
    ]


def frame_columns(rows: list[Row], names: list[str]) -> Columns:
    """Return the numeric columns of a frames part."""
    now_ns = time.time_ns()
    received = np.array([row.received_ns for row in rows], np.int64)
    return {
        "series": np.array([names.index(row.series) for row in rows], np.int32),
        "frame": np.array([row.frame for row in rows], np.int64),
        "time_ns": np.array([row.time_ns for row in rows], np.int64),
        "state": np.array([row.state for row in rows], "S8"),
        "n_peaks": np.array([row.result.head.n_peaks if row.result else 0 for row in rows], "i4"),
        "latency_ms": np.where(received > 0, (now_ns - received) / 1e6, np.nan),
        "count": np.array([row.count for row in rows], np.int64),
    }


def peak_columns(rows: list[Row], names: list[str]) -> Columns:
    """Return the columns of a peaks part, one row per peak."""
    done = [row for row in rows if row.result is not None and row.linked is not None]
    results = [row.result for row in done if row.result is not None]
    linked = [row.linked for row in done if row.linked is not None]
    counts = [result.head.n_peaks for result in results]
    measured = taken_apart([result.peaks for result in results], [one.found for one in linked])
    _decide(measured, linked, counts)
    return {
        "series": np.repeat(np.array([names.index(row.series) for row in done], np.int32), counts),
        "frame": np.repeat(np.array([row.frame for row in done], np.int64), counts),
        "time_ns": np.repeat(np.array([row.time_ns for row in done], np.int64), counts),
        **measured,
        "track": np.concatenate([np.empty(0, np.int64), *(one.tracks for one in linked)]),
    }


def _decide(positions: Columns, linked: list[Linked], counts: list[int]) -> None:
    """Put what was decided in place of what came."""
    starts = [0, *accumulate(counts)]
    pairs = [(i, one.decided) for i, one in enumerate(linked) if one.decided is not None]
    if not pairs:
        return
    which = np.concatenate([starts[i] + decided.which for i, decided in pairs])
    places = np.concatenate([decided.places for _, decided in pairs])
    for name, column in zip(PLACE, places.T, strict=True):
        positions[name][which] = column
    positions["flags"][which] = np.concatenate([decided.flags for _, decided in pairs])


def motion_columns(n_peaks: NDArray[np.int32], motion: Columns) -> Columns:
    """Return columns of a frames part from those of its frames that have peaks."""
    columns = {}
    for name, column in motion.items():
        columns[name] = np.full(len(n_peaks), np.nan)
        columns[name][n_peaks > 0] = column
    return columns


def as_table(columns: Columns, names: list[str], schema: pa.Schema, **texts: list[str]) -> pa.Table:
    """Return columns as an Arrow table, with `texts` and the names of the series written out."""
    arrays = {name: pa.array(text, pa.string()) for name, text in texts.items()}
    for name, column in columns.items():
        if name == "series":
            indices = pa.array(column)
            arrays[name] = pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
        elif column.dtype.kind == "S":
            arrays[name] = pa.array(column.astype("U").tolist())
        else:
            arrays[name] = pa.array(column)
    return pa.table({field.name: arrays[field.name].cast(field.type) for field in schema})
