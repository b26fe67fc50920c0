"""The level around a pixel, seen in sixteen directions.

The level is the mean of the middle half of the directions. Where more is seen along a line on
*both* sides of the pixel, as along a powder ring, that is the level. A spot falls off on every
side, a slope on one of two.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from workers.detect.usable import unusable

__all__ = ["DIRECTIONS", "REACH", "box_means", "local_level"]

DIRECTIONS = 16
_DISTANCES = (5.0, 7.0)
REACH = 8
"""Farthest box, in pixels along an axis."""
_FINE = 4
"""Directions between two, where a line is looked for."""
_TURNS = DIRECTIONS * _FINE
_ROWS, _COLS = (
    np.array([[d * trig(math.tau * k / _TURNS) for d in _DISTANCES] for k in range(_TURNS)])
    for trig in (math.sin, math.cos)
)
_LEAST_SEEN = 4
_CREST = 0.15
"""Share of a line's height that boxes miss on its crest, for they see what is beside it too."""


@njit(cache=True, nogil=True)
def _is_plain(frame, bad, least, most, top, left, high, wide):  # type: ignore[no-untyped-def]
    """Tell whether a part is inside of the frame and none of its pixels masked."""
    rows, cols = frame.shape
    if top < 0 or left < 0 or top + high > rows or left + wide > cols:
        return False
    for row in range(top, top + high):
        some = False
        for col in range(left, left + wide):
            value = frame[row, col]
            some |= (value < least) | (value > most)
        if bad.size:
            for col in range(left, left + wide):
                some |= bad[row, col]
        if some:
            return False
    return True


@njit(cache=True, nogil=True)
def box_means(frame, bad, least, most, first_row, first_col, boxes):  # type: ignore[no-untyped-def]
    """Write the means of the 3 x 3 pixels around pixels, NaN of fewer than five.

    `boxes` begins at the row and column given, which may be outside of the frame.
    """
    rows, cols = frame.shape
    high, wide = boxes.shape
    top, left = first_row - 1, first_col - 1
    if _is_plain(frame, bad, least, most, top, left, high + 2, wide + 2):
        # Sums along rows and then along columns: a third of the additions, and in vectors.
        sums = np.empty((high + 2, wide))
        for i in range(high + 2):
            line = frame[top + i, left : left + wide + 2]
            for j in range(wide):
                sums[i, j] = float(line[j]) + float(line[j + 1]) + float(line[j + 2])
        for i in range(high):
            for j in range(wide):
                boxes[i, j] = (sums[i, j] + sums[i + 1, j] + sums[i + 2, j]) / 9.0
        return
    for i in range(high):
        row = first_row + i
        for j in range(wide):
            col = first_col + j
            boxes[i, j] = math.nan
            if not (0 <= row < rows and 0 <= col < cols):
                continue
            total, used = 0.0, 0
            for r in range(max(row - 1, 0), min(row + 2, rows)):
                for c in range(max(col - 1, 0), min(col + 2, cols)):
                    if not unusable(frame, bad, least, most, r, c):
                        total += float(frame[r, c])
                        used += 1
            if used >= 5:
                boxes[i, j] = total / used


@njit(cache=True, nogil=True)
def _seen(boxes, row, col, turn):  # type: ignore[no-untyped-def]
    """Return what is seen in a direction, between boxes; NaN where nothing is."""
    turn %= _TURNS
    total, used = 0.0, 0
    for d in range(len(_DISTANCES)):
        r, c = row + _ROWS[turn, d], col + _COLS[turn, d]
        i, j = math.floor(r), math.floor(c)
        if not (0 <= i < boxes.shape[0] - 1 and 0 <= j < boxes.shape[1] - 1):
            continue
        down, right = r - i, c - j
        value = (1.0 - down) * ((1.0 - right) * boxes[i, j] + right * boxes[i, j + 1]) + down * (
            (1.0 - right) * boxes[i + 1, j] + right * boxes[i + 1, j + 1]
        )
        if not math.isnan(value):
            total += value
            used += 1
    return total / used if used else math.nan


@njit(cache=True, nogil=True)
def local_level(boxes, row, col, coarse, spread, means):  # type: ignore[no-untyped-def]
    """Return the level around a pixel, and how far it is in doubt.

    Parameters
    ----------
    boxes
        Of `box_means`; `row` and `col` count from its first.
    coarse, spread
        What the frame's background is there, in counts.
    means
        (2, 16), memory.

    Returns
    -------
    level, doubt
        Counts by which a line may hold more than boxes beside it tell: 0 where there is no line, -1
        where too little is seen, so that the level is the coarse one.
    """
    found, ordered = means[0], means[1]
    seen = 0
    for k in range(DIRECTIONS):
        value = _seen(boxes, row, col, k * _FINE)
        found[k] = value
        if math.isnan(value):
            continue
        at = seen
        while at > 0 and ordered[at - 1] > value:
            ordered[at] = ordered[at - 1]
            at -= 1
        ordered[at] = value
        seen += 1
    if seen < _LEAST_SEEN:
        return coarse, -1.0
    level = ordered[seen // 4 : seen - seen // 4].mean()
    half = DIRECTIONS // 2
    along, best = -math.inf, 0
    for k in range(half):
        both = _lower(found[k], found[k + half])
        if both > along:
            along, best = both, k * _FINE
    # On the flank of a line even the nearest direction leads up on one side and down on the other.
    for turn in range(best - _FINE // 2, best + _FINE // 2 + 1):
        if turn != best:
            one, other = _seen(boxes, row, col, turn), _seen(boxes, row, col, turn + _TURNS // 2)
            along = max(along, _lower(one, other))
    foot = ordered[seen // 4]
    if along <= foot + 2.0 * spread:
        return level, 0.0
    return max(along, level), _CREST * (along - foot)


@njit(cache=True, nogil=True)
def _lower(one, other):  # type: ignore[no-untyped-def]
    """Return the lower of two numbers, or the one that is none of NaN."""
    return other if math.isnan(one) else one if math.isnan(other) else min(one, other)
