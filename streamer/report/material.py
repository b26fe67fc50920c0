"""What a report is made from, read from the run folder once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import Config
from streamer.errors import UserError
from streamer.frames.geometry import Geometry
from streamer.report.reflections import Reflection, main_reflections, reflections_in_short
from streamer.results.folder import RunFolder
from streamer.results.pixels import Recorded, decoded
from streamer.results.rows import batches
from streamer.results.run import Run

__all__ = ["Fitter", "Material", "Refit", "Shot", "gather", "pixels_of", "spread"]

_PEAKS = (
    "series", "frame", "peak_row", "peak_col", "score", "intensity", "row", "col", "row_sigma",
    "col_sigma", "flags", "track",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refit:
    """Conventional fits of the peaks of one frame; arrays (n,) unless said otherwise."""

    counts: NDArray[np.float32]
    """(n, size, size), the patches that were fitted."""
    valid: NDArray[np.bool_]
    """(n, size, size), False where a pixel was not used."""
    row: NDArray[np.float64]
    """In detector pixels."""
    col: NDArray[np.float64]
    row_sigma: NDArray[np.float64]
    col_sigma: NDArray[np.float64]
    flags: NDArray[np.int32]
    binning: int = 1
    """Detector pixels for each pixel of a patch, along each axis."""


Fitter = Callable[
    [NDArray[Any], NDArray[np.bool_] | None, NDArray[np.int32], NDArray[np.int32]], Refit
]
"""Fits the peaks of a frame, given its pixels, its mask, and rows and columns of the peaks'
highest pixels."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a run."""

    series: str
    frame: int
    time_ns: int
    peaks: dict[str, NDArray[Any]]
    """Columns of its peaks."""


@dataclass(frozen=True, slots=True)
class Material:
    """A run, as far as a report needs it."""

    folder: RunFolder
    summary: dict[str, Any]
    config: Config
    geometry: Geometry | None
    tracks: pa.Table
    main: list[Reflection]
    """Its main reflections."""
    cell: pa.Table
    frames: pa.Table
    shots: dict[tuple[str, int], Shot] = field(default_factory=dict)
    """By series and frame, those that were asked for."""

    @property
    def begin_ns(self) -> int:
        """Time of the first frame, 0 where none has one."""
        times = self.frames["time_ns"].to_numpy()
        times = times[times != 0]
        return int(times.min()) if len(times) else 0

    @property
    def is_timed(self) -> bool:
        """True when frames have times."""
        return self.begin_ns != 0


def gather(
    folder: RunFolder,
    n_tracks: int,
    n_frames: int,
    n_compared: int,
    chosen: Sequence[int] | None = None,
) -> tuple[Material, list[Shot], list[Shot]]:
    """Read what a report needs.

    Parameters
    ----------
    n_tracks
        Main reflections.
    n_frames
        Frames to show, spread over the run, where none are chosen.
    n_compared
        Frames whose peaks are compared with fits.
    chosen
        Numbers of frames to show.

    Returns
    -------
    material, shown, compared

    Raises
    ------
    UserError
        The run has no such frame, or its configuration cannot be read.
    """
    run = Run(folder)
    frames, tracks = run.frames, run.tracks
    main = reflections_in_short(tracks, run.geometry, main_reflections(tracks, n_tracks))
    material = Material(
        folder=folder,
        summary=run.summary,
        config=run.config,
        geometry=run.geometry,
        tracks=tracks,
        main=main,
        cell=run.cell,
        frames=frames,
    )
    shown = _rows_of(frames, chosen) if chosen else spread(frames, n_frames)
    compared = spread(frames, n_compared)
    _take_shots(material, sorted({*shown, *compared}))
    keys = [
        [(frames["series"][i].as_py(), frames["frame"][i].as_py()) for i in rows]
        for rows in (shown, compared)
    ]
    first, second = ([material.shots[key] for key in one] for one in keys)
    return material, first, second


def spread(frames: pa.Table, n: int) -> list[int]:
    """Return the rows of at most `n` frames that are done, evenly spread, both ends among them."""
    done = np.flatnonzero(frames["state"].to_numpy(zero_copy_only=False) == "done")
    places = np.linspace(0, max(0, len(done) - 1), min(n, len(done)))
    return [int(row) for row in done[np.round(places).astype(int)]]


def pixels_of(
    recorded: Recorded, shot: Shot
) -> tuple[NDArray[Any] | str, NDArray[np.bool_] | None]:
    """Return pixels of a frame, or why there are none, and its mask."""
    frame = recorded.frame(shot.series, shot.frame, shot.time_ns)
    pixels = frame if isinstance(frame, str) else decoded(frame)
    return pixels, recorded.masks.get(shot.series)


def _rows_of(frames: pa.Table, chosen: Sequence[int]) -> list[int]:
    first = frames["frame"].to_numpy()
    last = first + frames["count"].to_numpy() - 1
    rows = []
    for number in chosen:
        found = np.flatnonzero((first <= number) & (number <= last))
        if not len(found):
            has = f"{first.min()} to {last.max()}" if len(first) else "none"
            raise UserError(f"--frames {number}: the run has no such frame; it has {has}")
        row = int(found[0])
        if last[row] > first[row]:
            reason = frames["reason"][row].as_py()
            raise UserError(f"--frames {number}: the frame never came: {reason}; choose another")
        rows.append(row)
    return rows


def _take_shots(material: Material, rows: Sequence[int]) -> None:
    """Read the peaks of frames, given by their rows, into `material`."""
    frames = material.frames.take(np.array(rows, np.int64))
    order: list[str] = material.frames["series"].unique().to_pylist()
    keys = [
        (series, int(frame))
        for series, frame in zip(
            frames["series"].to_pylist(), frames["frame"].to_pylist(), strict=True
        )
    ]
    wanted = np.unique(np.array([_key(order.index(one), frame) for one, frame in keys], np.int64))
    kept = []
    numbers = np.unique(np.array([frame for _, frame in keys], np.int64))
    tables = batches(material.folder, "peaks", _PEAKS, frames=numbers) if keys else ()
    for table in tables:
        series = table["series"].combine_chunks().dictionary_encode()
        number = np.array([order.index(one) for one in series.dictionary.to_pylist()], np.int64)
        key = _key(number[series.indices.to_numpy()], table["frame"].to_numpy())
        place = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
        rows_in = np.flatnonzero(wanted[place] == key)
        columns = {one: table[one].to_numpy()[rows_in] for one in _PEAKS[1:]}
        kept.append((key[rows_in], columns))
    found = np.concatenate([np.empty(0, np.int64), *(key for key, _ in kept)])
    for (series_name, frame), time_ns in zip(keys, frames["time_ns"].to_pylist(), strict=True):
        here = found == _key(order.index(series_name), frame)
        peaks = {
            one: np.concatenate([columns[one] for _, columns in kept])[here]
            if kept
            else np.empty(0)
            for one in _PEAKS[1:]
        }
        material.shots[series_name, frame] = Shot(series_name, frame, time_ns, peaks)


def _key(series: Any, frame: Any) -> Any:
    return (series << 44) + frame
