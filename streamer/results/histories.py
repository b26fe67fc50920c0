"""What was seen of each track."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.results.curves import Observations
from streamer.results.folder import RunFolder
from streamer.results.motion import MotionTable
from streamer.results.rows import batches

__all__ = ["History", "histories", "main_tracks", "observations", "pieces"]

_MOST = 2_000_000
"""Observations that are sorted at once."""
_BINS = 1000
_SEEN = ("row", "col", "row_sigma", "col_sigma", "d", "d_sigma")


@dataclass(frozen=True, slots=True)
class History:
    """All observations of one track, in the order of its frames; arrays (n,)."""

    track: int
    series: pa.ChunkedArray
    """Names: a track can go on in the next series."""
    frame: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    seen: Observations
    more: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Other columns of the table of peaks, by name."""


def main_tracks(tracks: pa.Table, most: int) -> pa.Table:
    """Return the tracks that were seen on most frames and together show all of the run.

    A track counts for more the fewer of those before it were there at the same time; of equals the
    strongest is taken. What is no peak is left out, unless there is nothing else.
    """
    poor = (tracks["flags"].to_numpy() & POOR_FIT) != 0
    rows = np.flatnonzero(~poor) if not poor.all() else np.arange(len(poor))
    rows = rows[np.argsort(-tracks["score"].to_numpy()[rows], kind="stable")]
    what = "time_ns" if tracks["last_time_ns"].to_numpy().any() else "frame"
    begin, end = (tracks[f"{name}_{what}"].to_numpy()[rows] for name in ("first", "last"))
    bins = np.linspace(begin.min(), end.max(), _BINS + 1)
    first, last = np.searchsorted(bins, begin, "right") - 1, np.searchsorted(bins, end, "left")
    # Share of the frames between its first and last that a track was seen on.
    frames = tracks["last_frame"].to_numpy()[rows] - tracks["first_frame"].to_numpy()[rows] + 1
    seen = tracks["n_frames"].to_numpy()[rows] / frames
    shown, chosen = np.zeros(_BINS), []
    left = np.ones(len(rows), np.bool_)
    for _ in range(min(most, len(rows))):
        worth = np.concatenate([[0.0], np.cumsum(1.0 / (1.0 + shown))])
        gain = np.where(left, seen * (worth[last] - worth[np.minimum(first, _BINS - 1)]), -1.0)
        best = int(np.argmax(gain))
        left[best] = False
        chosen.append(rows[best])
        shown[first[best] : last[best]] += 1.0
    return tracks.take(chosen)


def histories(
    folder: RunFolder,
    tracks: pa.Table,
    motion: MotionTable | None = None,
    more: Sequence[str] = (),
) -> Iterator[History]:
    """Yield the observations of tracks, in the order of their numbers.

    Parameters
    ----------
    tracks
        Rows of the table of tracks.
    motion
        What to take out of their positions and spacings.
    more
        Other columns to read.
    """
    order = np.argsort(tracks["track"].to_numpy(), kind="stable")
    numbers, counts = (tracks[name].to_numpy()[order] for name in ("track", "n_frames"))
    group = np.cumsum(counts) // _MOST
    for one in np.unique(group):
        yield from observations(folder, numbers[group == one], motion=motion, more=more)


def observations(
    folder: RunFolder,
    wanted: NDArray[np.int64],
    *,
    most: int | None = None,
    motion: MotionTable | None = None,
    more: Sequence[str] = (),
) -> Iterator[History]:
    """Yield the observations of tracks after one reading; of those without any, nothing.

    Parameters
    ----------
    wanted
        Numbers of the tracks, sorted.
    most
        How many peaks of the run to look at; all by default.
    motion
        What to take out of their positions and spacings.
    more
        Other columns to read.
    """
    columns = ["series", "track", "frame", "time_ns", *_SEEN]
    kept = [
        # Names take more room than all that is measured.
        table.set_column(0, "series", table["series"].dictionary_encode())
        for table in _rows_of(folder, wanted, [*columns, *more], motion, most=most)
    ]
    if not kept:
        return
    table = pa.concat_tables(kept).unify_dictionaries().combine_chunks()
    del kept
    for number, cut in _by_track(table, wanted):
        series = cut["series"].cast(pa.string())
        frame, time_ns, *seen = (cut[name].to_numpy() for name in columns[2:])
        others = {name: cut[name].to_numpy() for name in more}
        yield History(number, series, frame, time_ns, Observations(*seen), others)


def pieces(
    folder: RunFolder, wanted: NDArray[np.int64], motion: MotionTable | None = None
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], Observations]]:
    """Yield observations of tracks as they are read, a bounded number at a time.

    Parameters
    ----------
    wanted
        Numbers of the tracks, sorted.
    motion
        What to take out of their positions and spacings.

    Yields
    ------
    track, time_ns, frame, seen
        Those of each track in the order of its frames.
    """
    columns = ["series", "track", "time_ns", "frame", *_SEEN]
    for table in _rows_of(folder, wanted, columns[motion is None :], motion):
        for number, cut in _by_track(table, wanted):
            names = ("time_ns", "frame", *_SEEN)
            time_ns, frame, *seen = (cut[name].to_numpy() for name in names)
            yield number, time_ns, frame, Observations(*seen)


def _rows_of(
    folder: RunFolder,
    wanted: NDArray[np.int64],
    columns: list[str],
    motion: MotionTable | None,
    *,
    most: int | None = None,
) -> Iterator[pa.Table]:
    """Yield the peaks of tracks, table after table."""
    for table in batches(folder, "peaks", columns, most=most) if len(wanted) else ():
        track = table["track"].to_numpy()
        place = np.minimum(np.searchsorted(wanted, track), len(wanted) - 1)
        table = table.take(np.flatnonzero(wanted[place] == track))
        yield table if motion is None else motion.remove(table)


def _by_track(table: pa.Table, wanted: NDArray[np.int64]) -> Iterator[tuple[int, pa.Table]]:
    """Part a table by its tracks; of those that are not there, nothing."""
    track = table["track"].to_numpy()
    if (track[1:] < track[:-1]).any():
        table = table.take(np.argsort(track, kind="stable"))
    bounds = np.searchsorted(table["track"].to_numpy(), [wanted, wanted + 1])
    for number, start, stop in zip(wanted.tolist(), *bounds.tolist(), strict=True):
        if stop > start:
            yield number, table.slice(start, stop - start)
