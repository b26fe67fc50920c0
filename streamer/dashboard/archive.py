"""What a run has committed, in memory, arranged for quick answers about frames and tracks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.results.parts import Parts, Rest

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


class Table:
    """Columns that grow together; a row's values lie side by side, to be had in one go.

    Parameters
    ----------
    dtypes
        By name.
    """

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._rows = np.empty(_TAIL, list(dtypes.items()))
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._rows[name][: self._n]
        return column

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self._rows.nbytes

    def take(self, rows: Ints) -> NDArray[np.void]:
        """Return rows, with the columns as fields."""
        return self._rows[rows]

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

    def rows(self, values: Ints, value: int) -> Ints:
        n = self._indexed(values)
        low, high = np.searchsorted(self._sorted, [value, value + 1])
        tail = np.flatnonzero(values[n:] == value) + n
        return np.concatenate([self.order[low:high], tail])

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

    Parameters
    ----------
    folder
        Run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.series: list[str] = []
        """Names in the order of appearance; columns hold their numbers."""
        self.frames = Table(_FRAMES)
        self.peaks = Table(_PEAKS)
        self.losses: dict[tuple[int, str], list[list[int]]] = {}
        """First and last of frames without a result that follow each other, by series and state."""
        self._parts = Parts(folder, "frames", "peaks")
        self._measured = 0
        self._lengths: Ints = np.empty(0, np.int64)
        self._starts: Ints = np.empty(0, np.int64)
        self._keys = Table({"key": "i8"})
        self._by_key, self._by_track = _Index(), _Index()

    @property
    def nbytes(self) -> int:
        """Memory held, about."""
        return self.frames.nbytes + self.peaks.nbytes + 16 * (len(self.frames) + len(self.peaks))

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
        for frames, peaks in self._parts.new(limit_s):
            self._take(_read(frames, _FRAMES), _read(peaks, _PEAKS))
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

    def observations(self, track: int) -> Ints:
        """Return the rows in `peaks` of a track, in the order of its frames."""
        return self._by_track.rows(self.peaks["track"], track)

    def _take(self, frames: pa.Table, peaks: pa.Table) -> None:
        if not frames.num_rows:
            return
        base = len(self.frames)
        keys = self._keys_of(frames)
        states = np.array([STATES.index(state) for state in frames["state"].to_pylist()], np.int8)
        numbers, lengths = frames["frame"].to_numpy(), frames["count"].to_numpy()
        order = np.argsort(keys, kind="stable")
        of_peak = self._keys_of(peaks)
        place = order[np.minimum(np.searchsorted(keys[order], of_peak), len(keys) - 1)]
        # The peaks of a frame follow each other, in the order of the frames.
        turn = np.argsort(place, kind="stable")
        counts = np.bincount(place, minlength=len(keys))
        self.frames.append(
            {
                "series": (keys >> _FRAME_BITS).astype(np.int32),
                "frame": numbers,
                "count": lengths,
                "time_ns": frames["time_ns"].to_numpy(),
                "state": states,
                "first": len(self.peaks) + np.cumsum(counts) - counts,
                "n": counts,
            }
        )
        self._keys.append({"key": keys})
        columns = {
            name: peaks[name].to_numpy()[turn] for name in _PEAKS if name in peaks.column_names
        }
        self.peaks.append({**columns, "frame_row": base + place[turn]})
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


def _read(rest: Rest, wanted: Mapping[str, str]) -> pa.Table:
    """Read those columns that are in the file; the archive adds others."""
    return rest.read(list(dict.fromkeys(["series", "frame", *wanted])))
