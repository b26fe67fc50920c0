"""What a run has committed, arranged for quick answers about frames and tracks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamer.dashboard.stored import StoredPeaks
from streamer.results.parts import Parts, Rest, committed
from streamer.results.schema import MOTION

__all__ = ["LOST", "STATES", "Archive", "Table"]

Ints = NDArray[np.int64]

STATES = ("done", "failed", "missing", "shed")
LOST = STATES[1:]
"""States of frames without a result."""

_FRAMES = {
    **{"series": "i4", "frame": "i8", "count": "i8", "time_ns": "i8", "state": "i1"},
    **{"first": "i8", "n": "i4"},
}
_PEAKS = {
    "frame_row": "i4",
    "track": "i8",
    "row": "f8",
    "col": "f8",
    "row_sigma": "f4",
    "col_sigma": "f4",
    "score": "f4",
    "flags": "i4",
    "d": "f8",
    "d_sigma": "f4",
}
_FRAME_BITS = 44
"""A frame's key is the number of its series above so many bits of its own."""
_TAIL = 4096
_HELD = 2_000_000
"""Most peaks in memory; of more, the newest half of that and what comes after it."""
_FAR = 100 << 20
"""Bytes of files behind those whose peaks are not read to be held."""


class Table:
    """Columns that grow together; a row's values lie side by side, to be had in one go.

    Parameters
    ----------
    dtypes
        By name.
    """

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self.first = 0
        """The first row that is held; those before it were dropped."""
        self._rows = np.empty(_TAIL, list(dtypes.items()))
        self._n = 0

    def __len__(self) -> int:
        return self.first + self._n

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column of the rows that are held."""
        column: NDArray[Any] = self._rows[name][: self._n]
        return column

    @property
    def n_held(self) -> int:
        """Rows that are held."""
        return self._n

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self._rows.nbytes

    def take(self, rows: Ints) -> NDArray[np.void]:
        """Return rows that are held, with the columns as fields."""
        return self._rows[rows - self.first]

    def drop(self, first: int) -> None:
        """Let go of all rows before one, which may be one that is still to come."""
        n = max(0, min(len(self) - first, self._n))
        self._rows[:n] = self._rows[self._n - n : self._n]
        self.first, self._n = first, n

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows; a column that is not given is filled with NaN, or 0 where there is none."""
        count = len(next(iter(columns.values())))
        stop = self._n + count
        if stop > len(self._rows):
            rows = np.empty(max(stop, len(self._rows) * 3 // 2), self._rows.dtype)
            rows[: self._n] = self._rows[: self._n]
            self._rows = rows
        for name in self._rows.dtype.names or ():
            missing = np.nan if self._rows.dtype[name].kind == "f" else 0
            self._rows[name][self._n : stop] = columns.get(name, missing)
        self._n = stop


class _Index:
    """Finds the rows in which a growing column of integers has a value, in their order.

    Most rows are sorted by value; those that came last are looked through until they are worth
    sorting in, which takes linear time.
    """

    def __init__(self) -> None:
        self.order: Ints = np.empty(0, np.int64)
        self._sorted: Ints = np.empty(0, np.int64)

    def before(self, values: Ints, value: int) -> Ints:
        """Return the rows of which one has the largest value that is not above that."""
        n = self._indexed(values)
        place = int(np.searchsorted(self._sorted, value, side="right"))
        tail = np.flatnonzero(values[n:] <= value) + n
        if len(tail):
            tail = tail[[values[tail].argmax()]]
        return np.concatenate([self.order[max(place - 1, 0) : place], tail])

    def _indexed(self, values: Ints) -> int:
        """Return how many rows are sorted, after sorting in those that are worth it."""
        n = len(self.order)
        if len(values) - n > max(_TAIL, n // 8):
            self.sort(values)
            n = len(self.order)
        return n

    def sort(self, values: Ints) -> Ints:
        """Sort in all rows and return their order."""
        n = len(self.order)
        if n == len(values):
            return self.order
        tail = np.argsort(values[n:], kind="stable") + n
        order = np.concatenate([self.order, tail])
        merged = np.concatenate([self._sorted, values[tail]])
        # Two runs in order: a stable sort does nothing but merge them.
        turn = np.argsort(merged, kind="stable")
        self.order, self._sorted = order[turn], merged[turn]
        return self.order


class Archive:
    """The frames and peaks of a run folder, read part by part as they appear.

    Of many peaks the newest alone are held in memory, the others are read when they are asked for:
    a row among all peaks of the run is the same in either place.

    Parameters
    ----------
    folder
        Run folder.
    exact_motion
        Hold what all spots of each frame did together as exactly as positions.
    """

    def __init__(self, folder: Path, *, exact_motion: bool = False) -> None:
        self.series: list[str] = []
        """Names in the order of appearance; columns hold their numbers."""
        self.has_motion = False
        """True once a frame tells what all spots did together, in the columns `MOTION`."""
        self.frames = Table(_FRAMES | dict.fromkeys(MOTION, "f8" if exact_motion else "f4"))
        self.peaks = Table(_PEAKS)
        self.losses: dict[tuple[int, str], list[list[int]]] = {}
        """First and last of frames without a result that follow each other, by series and state."""
        self.stored = StoredPeaks(folder)
        """All peaks, also those that are not held."""
        self._folder = folder
        self._parts = Parts(folder, "frames", "peaks")
        self._near: int | None = None
        self._measured = 0
        self._lengths: Ints = np.empty(0, np.int64)
        self._starts: Ints = np.empty(0, np.int64)
        self._keys = Table({"key": "i8"})
        self._by_key = _Index()

    @property
    def nbytes(self) -> int:
        """Memory held, about."""
        return self.frames.nbytes + self.peaks.nbytes + 24 * len(self.frames)

    @property
    def starts(self) -> Ints:
        """Run frames at which the series start, by their numbers.

        A run frame counts the frames of all series, one series behind the other: it is the frame's
        number and what the earlier series take, each one more than the largest number in it.
        """
        new = slice(self._measured, len(self.frames))
        series = self.frames["series"][new]
        if len(series):
            more = max(int(series.max()) + 1 - len(self._lengths), 0)
            self._lengths = np.pad(self._lengths, (0, more))
            lengths = self.frames["frame"][new] + self.frames["count"][new]
            np.maximum.at(self._lengths, series, lengths)
            self._starts = np.cumsum(self._lengths) - self._lengths
            self._measured = new.stop
        return self._starts

    @property
    def n_frames(self) -> int:
        """One more than the largest run frame."""
        return int(self.starts[-1] + self._lengths[-1]) if len(self.starts) else 0

    def run_frames(self, rows: Ints | slice = slice(None)) -> Ints:
        """Return the run frames of frames, given by their rows."""
        found: Ints = self.frames["frame"][rows] + self.starts[self.frames["series"][rows]]
        return found

    @property
    def has_times(self) -> bool:
        """False where no frame has a time, as those of some recordings."""
        return bool(self.frames["time_ns"].any())

    def timeline(self, most: int) -> tuple[Ints, Ints]:
        """Return run frames and Unix times in ns, sorted by time, between which others lie.

        Of each series the first and the last are there, and about `most` others.
        """
        timed = np.flatnonzero(self.frames["time_ns"])  # what was lost may have none
        series = self.frames["series"][timed]
        first = np.flatnonzero(np.diff(series, prepend=-1))
        last = np.flatnonzero(np.diff(series, append=-1))
        others = np.arange(0, len(timed), max(1, len(timed) // most))
        rows = timed[np.unique(np.concatenate([first, last, others]))]
        times = self.frames["time_ns"][rows]
        order = np.argsort(times, kind="stable")
        return self.run_frames(rows)[order], times[order]

    def refresh(self, limit_s: float) -> bool:
        """Read new parts, for about as long as is said; False when there was none."""
        found = False
        if self._near is None:
            self._near = _first_near(self._folder)
        for frames, peaks in self._parts.new(limit_s):
            table = _read(frames, [*_FRAMES, "n_peaks", *MOTION])
            counts = table["n_peaks"].to_numpy()
            if frames.span.last < self._near and counts.sum() == len(peaks):
                self._take_frames(table, counts)
                self.peaks.drop(len(self.peaks) + len(peaks))
            else:
                self._take(table, _read(peaks, _PEAKS))
            if self.peaks.n_held > _HELD:
                self.peaks.drop(len(self.peaks) - _HELD // 2)
            found = True
        return found

    def find(self, series: str, frame: int) -> int | None:
        """Return the row of a frame in `frames`, alone or with others; None when there is none."""
        if series not in self.series:
            return None
        number = self.series.index(series)
        for row in self._by_key.before(self._keys["key"], _key(number, frame)).tolist():
            after = frame - int(self.frames["frame"][row])
            if self.frames["series"][row] == number and 0 <= after < self.frames["count"][row]:
                return int(row)
        return None

    def peaks_of(self, frame_row: int) -> slice:
        """Return the rows in `peaks` of a frame, given by its row."""
        first = int(self.frames["first"][frame_row])
        return slice(first, first + int(self.frames["n"][frame_row]))

    def peaks_in(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Return the columns of peaks that follow each other, held or not."""
        if rows.start >= self.peaks.first or rows.start >= rows.stop:
            found = self.peaks.take(np.arange(rows.start, rows.stop))
            return {name: found[name] for name in _PEAKS}
        names = [name for name in _PEAKS if name != "frame_row"]
        table = self.stored.rows(rows, names)
        return {name: table[name].to_numpy() for name in names}

    def observations(self, track: int) -> Ints:
        """Return the rows of a track among the peaks that are held, in the order of its frames."""
        return np.flatnonzero(self.peaks["track"] == track) + self.peaks.first

    def frame_rows(self, peak_rows: Ints) -> Ints:
        """Return the rows in `frames` that peaks, given by their rows, belong to."""
        found: Ints = np.searchsorted(self.frames["first"], peak_rows, "right") - 1
        return found

    def _take(self, frames: pa.Table, peaks: pa.Table) -> None:
        if not frames.num_rows:
            return
        base, keys = len(self.frames), self._keys_of(frames)
        order = np.argsort(keys, kind="stable")
        of_peak = self._keys_of(peaks)
        place = order[np.minimum(np.searchsorted(keys[order], of_peak), len(keys) - 1)]
        # The peaks of a frame follow each other, in the order of the frames.
        turn = np.argsort(place, kind="stable")
        self._take_frames(frames, np.bincount(place, minlength=len(keys)))
        columns = {
            name: peaks[name].to_numpy()[turn] for name in _PEAKS if name in peaks.column_names
        }
        self.peaks.append({**columns, "frame_row": base + place[turn]})

    def _take_frames(self, frames: pa.Table, counts: Ints) -> None:
        """Take frames, given how many peaks each of them has, which come behind those there are."""
        keys = self._keys_of(frames)
        states = pc.index_in(frames["state"], pa.array(STATES)).to_numpy().astype(np.int8)
        lengths = frames["count"].to_numpy()
        self.frames.append(
            {
                "series": (keys >> _FRAME_BITS).astype(np.int32),
                "frame": frames["frame"].to_numpy(),
                "count": lengths,
                "time_ns": frames["time_ns"].to_numpy(),
                "state": states,
                "first": len(self.peaks) + np.cumsum(counts) - counts,
                "n": counts,
                **{name: frames[name].to_numpy() for name in MOTION if name in frames.column_names},
            }
        )
        new = self.frames["motion_row"][len(self.frames) - len(keys) :]
        self.has_motion = self.has_motion or bool(np.isfinite(new).any())
        self._keys.append({"key": keys})
        for state in LOST:
            here = states == STATES.index(state)
            for key, count in zip(keys[here].tolist(), lengths[here].tolist(), strict=True):
                self._note_loss(key, count, state)

    def _keys_of(self, table: pa.Table) -> Ints:
        names = table["series"].combine_chunks().dictionary_encode()
        places = []
        for name in names.dictionary.to_pylist():
            if name not in self.series:
                self.series.append(name)
            places.append(self.series.index(name))
        numbers = np.array(places, np.int64)[names.indices.to_numpy()] if places else 0
        keys: Ints = _key(numbers, table["frame"].to_numpy())
        return keys

    def _note_loss(self, key: int, count: int, state: str) -> None:
        first = key & ((1 << _FRAME_BITS) - 1)
        last = first + count - 1
        ranges = self.losses.setdefault((key >> _FRAME_BITS, state), [])
        if ranges and ranges[-1][1] == first - 1:
            ranges[-1][1] = last
        else:
            ranges.append([first, last])


def _key(series: Any, frame: Any) -> Any:
    return (series << _FRAME_BITS) + frame


def _read(rest: Rest, wanted: Iterable[str]) -> pa.Table:
    """Read those columns that are in the file; the archive adds others."""
    return rest.read(list(dict.fromkeys(["series", "frame", *wanted])))


def _first_near(folder: Path) -> int:
    """Return the first part from which on peaks are read to be held."""
    size = 0
    for span in reversed(committed(folder)):
        if size > _FAR:
            return span.last + 1
        with contextlib.suppress(FileNotFoundError):  # merged: it counts as none
            size += (folder / "peaks" / span.name).stat().st_size
    return 0
