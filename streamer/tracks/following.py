"""Kernels of the tracker: what happens to tracks from one frame to the next, track by track."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.tracks.grid import around, sort

__all__ = ["LIVE", "LONGEST_HIDDEN", "end", "expect", "nearest", "pair", "see"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Tracks = NDArray[np.void]

LIVE = np.dtype(
    [
        ("track", "i8"),
        ("row", "f8"),
        ("col", "f8"),
        ("row_velocity", "f8"),
        ("col_velocity", "f8"),
        ("last_row", "f8"),
        ("last_col", "f8"),
        ("waited", "i4"),
        ("hidden", "i4"),
        ("seen", "i4"),
        ("steady", "i4"),
        ("flagged", "f8"),
    ]
)
"""A track that may go on: where it is expected now and how it moves, in pixels and pixels a frame;
where it was seen last; frames since then, those behind masked pixels not counted, and these; frames
it was seen on, and those since it last changed its course; share of its newest peaks that do not
look like one."""

_FOLLOW, _TURN = 0.5, 0.1
"""Shares of a surprise that go into the place and the velocity of a track (alpha-beta filter) once
it has been seen often; before, those of a straight line through all its peaks."""
_OFTEN = 7
"""From so many frames on a straight line would change it by less than these shares."""
_NEW_COURSE = 3
"""A track that is farther than half a gate from where it was expected is as one seen so often."""
LONGEST_HIDDEN = 500
"""Frames a track may stay behind masked pixels."""
_BESIDE = 2
"""A spot whose centre is so many pixels from masked ones is not seen, or not where it is."""
_UNLIKE = 1.5
"""Factor to the distance of a peak and a track of which one does not look like a peak."""
_LEARN = 0.1
"""How fast a track takes on the kind of its peaks."""


@njit(cache=True, nogil=True, error_model="numpy")
def expect(live: Tracks, step: int, mask: Bools) -> None:
    """Move tracks on by frames to where they should stand, and age them.

    Parameters
    ----------
    mask
        (rows, cols), True for pixels that see nothing; none at all where that is not known.
    """
    for i in range(len(live)):
        track = live[i]
        track.row += track.row_velocity * step
        track.col += track.col_velocity * step
        behind = 0
        if mask.size and _is_masked(mask, track.row, track.col):
            behind = min(step, min(track.seen, LONGEST_HIDDEN) - track.hidden)
        track.waited += step - behind
        track.hidden += behind


@njit(cache=True, nogil=True, error_model="numpy")
def _is_masked(mask: Bools, row: float, col: float) -> bool:
    """Tell whether a place, or one beside it, is masked; what is off the detector is not."""
    rows, cols = mask.shape
    if not (-0.5 <= row <= rows - 0.5 and -0.5 <= col <= cols - 0.5):
        return False
    r, c = int(np.rint(row)), int(np.rint(col))
    if r >= rows or c >= cols:
        return False
    up, down = max(r - _BESIDE, 0), min(r + _BESIDE, rows - 1)
    left, right = max(c - _BESIDE, 0), min(c + _BESIDE, cols - 1)
    return bool(mask[r, c] | mask[up, c] | mask[down, c] | mask[r, left] | mask[r, right])


@njit(cache=True, nogil=True, error_model="numpy")
def pair(live: Tracks, places: Floats, flagged: Bools, gate: float, memory: int) -> Ints:
    """Return (n,), the row in `live` of each peak's track, -1 for none; see `Tracker`.

    Parameters
    ----------
    places, flagged
        (n, 2), where peaks are; (n,), which do not look like one.
    """
    mine = np.full(len(places), -1)
    if not len(places) or not len(live):
        return mine
    cells, start, order, there = sort(places, gate)
    lost = np.empty(len(live), np.int64)
    n_lost = 0
    for i in range(len(live)):
        if live[i].waited <= memory + 1:  # others missed too many frames before this one
            lost[n_lost] = i
            n_lost += 1
    n_free = len(places)
    choice = np.empty(n_lost, np.int64)
    rival, distance = np.empty(len(places), np.int64), np.empty(len(places))
    for by_last in (False, True):
        left = lost[:n_lost].copy()
        n_left = n_lost if n_free else 0
        while n_left:
            rival[:], distance[:] = -1, np.inf
            n_near = 0
            for j in range(n_left):
                track = live[left[j]]
                row, col = track.row, track.col
                if by_last:
                    row, col = track.last_row, track.last_col
                reach = gate * np.sqrt(max(track.waited, 1))
                is_odd = track.flagged >= 0.5
                chosen, near = -1, np.inf
                top, bottom, first, last = around(cells, row, col, reach)
                for r in range(top, bottom + 1):
                    at = r * cells.cols
                    for k in range(start[at + first], start[at + last + 1]):
                        far = np.sqrt((there[k, 0] - row) ** 2 + (there[k, 1] - col) ** 2)
                        if far > reach or mine[order[k]] >= 0:
                            continue
                        p = order[k]
                        if flagged[p] != is_odd:
                            far *= _UNLIKE
                        if far > reach:
                            continue
                        if far < near:
                            chosen, near = p, far
                        if far < distance[p]:
                            rival[p], distance[p] = left[j], far
                if chosen >= 0:
                    left[n_near], choice[n_near] = left[j], chosen
                    n_near += 1
            n_left = 0
            for j in range(n_near):
                if rival[choice[j]] == left[j]:
                    mine[choice[j]] = left[j]
                    n_free -= 1
                else:
                    left[n_left] = left[j]
                    n_left += 1
        taken = np.zeros(len(live), np.bool_)
        for row_of in mine:
            if row_of >= 0:
                taken[row_of] = True
        n_lost = _drop(lost, n_lost, taken)
    return mine


@njit(cache=True, nogil=True, error_model="numpy")
def _drop(lost: Ints, n: int, taken: Bools) -> int:
    """Move up what is not taken; return how many are left."""
    kept = 0
    for j in range(n):
        if not taken[lost[j]]:
            lost[kept] = lost[j]
            kept += 1
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def see(live: Tracks, mine: Ints, places: Floats, flagged: Bools, gate: float, step: int) -> None:
    """Correct what is expected of tracks by where their peaks are."""
    each, half = 1.0 / step, 0.25 * gate * gate
    for p in range(len(mine)):
        if mine[p] < 0:
            continue
        track = live[mine[p]]
        down, right = places[p, 0] - track.row, places[p, 1] - track.col
        n = track.steady + 1
        if down * down + right * right > half:
            n = min(n, _NEW_COURSE)
        track.steady = n
        follow, turn = _FOLLOW, _TURN
        if n < _OFTEN:
            # A straight line through n points, evenly spaced, and how its end and slope change.
            follow = max(follow, 2.0 * (2 * n - 1) / (n * (n + 1.0)))
            turn = max(turn, 6.0 / ((n + 1) * (n + 2.0)))
        track.row_velocity += turn * down * each
        track.col_velocity += turn * right * each
        track.row += follow * down
        track.col += follow * right
        track.last_row, track.last_col = places[p, 0], places[p, 1]
        track.flagged += _LEARN * (flagged[p] - track.flagged)
        track.waited = track.hidden = 0
        track.seen += 1


@njit(cache=True, nogil=True, error_model="numpy")
def end(live: Tracks, memory: int) -> tuple[int, Tracks]:
    """Move up the tracks that go on; return how many, and those that were not seen for too long."""
    n_over = 0
    for i in range(len(live)):
        n_over += live[i].waited > memory
    over = np.empty(n_over, live.dtype)
    if not n_over:
        return len(live), over
    kept = n_over = 0
    for i in range(len(live)):
        if live[i].waited > memory:
            over[n_over] = live[i]
            n_over += 1
        else:
            if kept < i:  # most of those that end have just begun, and stand behind all others
                live[kept] = live[i]
            kept += 1
    return kept, over


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(live: Tracks, places: Floats, reach: float, seen: int, now: bool) -> Ints:
    """Return the number of the nearest track to each place that looks like a peak, -1 for none.

    Parameters
    ----------
    reach
        Greatest distance in pixels.
    seen
        Frames on which it must have been seen.
    now
        Whether it must be seen on this frame.
    """
    cells, start, order, there = sort(places, reach)
    found, distance = np.full(len(places), -1), np.full(len(places), np.inf)
    for i in range(len(live)):
        track = live[i]
        if track.seen < seen or track.flagged >= 0.5 or (now and track.waited + track.hidden > 0):
            continue
        top, bottom, first, last = around(cells, track.row, track.col, reach)
        for r in range(top, bottom + 1):
            at = r * cells.cols
            for k in range(start[at + first], start[at + last + 1]):
                far = np.sqrt((there[k, 0] - track.row) ** 2 + (there[k, 1] - track.col) ** 2)
                if far <= reach and far < distance[order[k]]:
                    found[order[k]], distance[order[k]] = track.track, far
    return found
