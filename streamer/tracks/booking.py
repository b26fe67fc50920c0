"""What is kept of tracks, and the kernel that enters their peaks, one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.tracks.batches import AT_ONCE, Batch, empty, solve
from streamer.tracks.estimates import SHARED
from streamer.tracks.shapes import SHAPES

__all__ = ["FLAG_BITS", "OBSERVATION", "REMEMBERED", "Tracks", "enter", "find", "readable"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OBSERVATION = ("row", "col", "row_sigma", "col_sigma", "hours")
"""An observation is row, column, their standard deviations (NaN where unknown) and the time in
hours since the track began, or the number of frames since then where these have no times."""
FLAG_BITS = 8
ACCOUNT = np.dtype(
    [
        *((name, "i8") for name in ("parent", "merged_into", "series")),
        *((name, "i8") for name in ("first_frame", "last_frame")),
        *((name, "i8") for name in ("first_time_ns", "last_time_ns", "n_frames")),
        ("last_seen", "i8"),
        ("score", "f8"),
        ("flags", "i8", (FLAG_BITS,)),
        ("origin", "f8", (2,)),
        ("line", "f8", (2, 8)),
        ("step", "f8", (2,)),
        *((name, "i8") for name in ("n_good", "n_first", "n_newest")),
        ("far", "f8", (2, 2)),
        ("far_distance", "f8"),
    ]
)
_HOUR_NS = 3.6e12
REMEMBERED = 1 << 16
"""Tracks whose place is remembered, a power of two."""


class Tracks(NamedTuple):
    """Tracks in the order of their numbers, and their first and newest observations in rings.

    Places of a ring come before tracks: what a frame writes lies side by side.
    """

    number: Ints
    account: NDArray[np.void]
    first: Floats
    """(size, tracks, 5), of `OBSERVATION`."""
    newest: Floats
    first_shape: NDArray[np.float32]
    """(size, tracks, 2 * quantities), of `SHAPES`, each followed by its sigma."""
    newest_shape: NDArray[np.float32]

    @classmethod
    def none(cls, n: int, size: int) -> Tracks:
        """Return room for tracks."""
        rings = (
            np.zeros((size, n, width), dtype)
            for width, dtype in ((len(OBSERVATION), "f8"), (2 * len(SHAPES), "f4"))
            for _ in range(2)
        )
        return cls(np.zeros(n, np.int64), np.zeros(n, ACCOUNT), *rings)

    def rows(self, which: slice | NDArray[np.bool_]) -> Tracks:
        """Return some of them."""
        return Tracks(
            self.number[which],
            self.account[which],
            self.first[:, which],
            self.newest[:, which],
            self.first_shape[:, which],
            self.newest_shape[:, which],
        )

    def followed_by(self, more: Tracks) -> Tracks:
        """Return these and more."""
        pairs = [(getattr(self, name), getattr(more, name)) for name in self._fields]
        return Tracks._make(np.concatenate(pair, axis=min(1, pair[0].ndim - 1)) for pair in pairs)


def readable(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column to be read: kernels are made for one kind of arrays, and files give these."""
    column = np.ascontiguousarray(column).view()
    column.flags.writeable = False
    return column


@njit(cache=True, nogil=True, error_model="numpy")
def find(number: Ints, tracks: Ints, remembered: Ints) -> Ints:
    """Return where tracks are in the sorted numbers of those that are known, -1 for not at all.

    Parameters
    ----------
    remembered
        (REMEMBERED,), where tracks were the last time, none of them below 0.
    """
    at = np.full(len(tracks), -1)
    for i in range(len(tracks)):
        # Most were there a frame before, and need no search.
        guess = remembered[tracks[i] & (REMEMBERED - 1)]
        if not (guess < len(number) and number[guess] == tracks[i]):
            guess = np.searchsorted(number, tracks[i])
        if guess < len(number) and number[guess] == tracks[i]:
            at[i] = remembered[tracks[i] & (REMEMBERED - 1)] = guess
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def enter(
    tracks: Tracks,
    slot: Ints,
    facts: tuple[Ints, ...],
    places: tuple[Floats, ...],
    shapes: NDArray[np.float32],
    frames: int,
    stop: int,
) -> int:
    """Enter peaks, frame after frame, and return how many frames there have been.

    Parameters
    ----------
    slot
        (n,), where in `tracks` that of each peak is; -1 for none.
    facts
        Series, frame, time in nanoseconds and flags, (n,) each.
    places
        Row, column, their standard deviations and the score, (n,) each.
    shapes
        (2 * quantities, n), of `SHAPES`, each followed by its sigma.
    frames
        How many there have been before.
    stop
        Frame of a track's series until which its observations belong to its reference.
    """
    account, first, newest = tracks.account, tracks.first, tracks.newest
    first_shape, newest_shape = tracks.first_shape, tracks.newest_shape
    size = len(newest)
    batch, whose, n_whole = empty(size), np.empty(AT_ONCE // 2, np.int64), 0
    row, col, row_sigma, col_sigma, score = places
    here = np.empty(4)
    before = -1
    for i in range(len(slot)):
        s = slot[i]
        if s < 0:
            continue
        series, frame, time_ns, flags = facts[0][i], facts[1][i], facts[2][i], facts[3][i]
        if before < 0 or frame != facts[1][before] or series != facts[0][before]:
            frames += 1
        before = i
        track = account[s]
        track.last_frame, track.last_time_ns, track.last_seen = frame, time_ns, frames - 1
        track.n_frames += 1
        track.score += score[i]
        if flags:
            for bit in range(FLAG_BITS):
                track.flags[bit] += (flags >> bit) & 1
        if not flags & POOR_FIT:
            if track.n_good == 0:  # what was before does not count any more
                if track.n_newest >= size:
                    _measure(account, batch, whose, n_whole)
                    n_whole = 0
                track.n_newest = track.n_first = 0
                track.far_distance = 0.0
                track.line[:] = 0.0
            track.n_good += 1
        elif track.n_good > 0:
            continue
        if not (np.isfinite(row[i]) and np.isfinite(col[i])):
            continue
        is_timed = time_ns != 0 and track.first_time_ns != 0
        # Frames without times are told apart by their numbers.
        t = (time_ns - track.first_time_ns) / _HOUR_NS if is_timed else frame - track.first_frame
        at = track.n_newest % size
        here[0], here[1], here[2], here[3] = row[i], col[i], row_sigma[i], col_sigma[i]
        for k in range(4):
            newest[at, s, k] = here[k]
        newest[at, s, 4] = t
        for k in range(len(shapes)):
            newest_shape[at, s, k] = shapes[k, i]
        # The reference is what came first, or what came until the frame that was chosen.
        if track.n_newest < size or (frame < stop and series == track.series):
            first[at, s] = newest[at, s]
            first_shape[at, s] = newest_shape[at, s]
            track.n_first += 1
        track.n_newest += 1
        for axis in range(2):  # what `estimates.slope` draws a line with
            x, own = here[axis] - track.origin[axis], here[2 + axis]
            known = np.isfinite(own) and own > 0
            w = 1.0 / own**2 if known else 1.0
            track.line[axis, 0] += w
            track.line[axis, 1] += w * t
            track.line[axis, 2] += w * t * t
            track.line[axis, 3] += w * x
            track.line[axis, 4] += w * t * x
            track.line[axis, 5] += w * x * x
            track.line[axis, 6] += 1.0
            track.line[axis, 7] += known
        if at < size - 1:
            continue
        for axis in range(2):
            column = 2 * n_whole + axis
            for k in range(size):
                batch.value[k, column] = newest[k, s, axis]
                batch.sigma[k, column] = newest[k, s, 2 + axis]
                batch.hours[k, column] = newest[k, s, 4]
        whose[n_whole] = s
        n_whole += 1
        if n_whole == len(whose):
            _measure(account, batch, whose, n_whole)
            n_whole = 0
    _measure(account, batch, whose, n_whole)
    return frames


@njit(cache=True, nogil=True, error_model="numpy")
def _measure(account: NDArray[np.void], batch: Batch, whose: Ints, n: int) -> None:
    """Note the farthest places of tracks, of which windows are whole, in their order."""
    if not n:
        return
    solve(batch)
    size = len(batch.value)
    for i in range(n):
        track = account[whose[i]]
        row, col = batch.mean[2 * i], batch.mean[2 * i + 1]
        distance = np.hypot(row - track.origin[0], col - track.origin[1])
        if distance > track.far_distance:
            track.far_distance = distance
            track.far[0, 0], track.far[0, 1] = row, col
            for axis in range(2):
                variance = batch.variance[2 * i + axis]
                track.far[1, axis] = variance * (1.0 + SHARED * (size - 1))
