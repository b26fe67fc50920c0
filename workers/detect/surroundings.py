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

__all__ = ["DIRECTIONS", "REACH", "box_means", "box_memory", "local_level"]

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
# A sine of half a turn that is not quite 0 would look a pixel farther.
_ROWS, _COLS = _ROWS.round(9), _COLS.round(9)
_UP, _LEFT = np.floor(_ROWS).astype(np.int64), np.floor(_COLS).astype(np.int64)
_DOWN, _RIGHT = _ROWS - _UP, _COLS - _LEFT
_SHARES = np.stack(
    [one * other for one in (1.0 - _DOWN, _DOWN) for other in (1.0 - _RIGHT, _RIGHT)], axis=-1
)
"""(turns, distances, 4), of the boxes around a place in what is between them."""
_PART = 1.0 / len(_DISTANCES)
_LEAST_SEEN = 4
_NEXT = np.uint64(1)
_NINTH, _NOTHING, _ONE = np.float32(1.0 / 9.0), np.float32(0.0), np.float32(1.0)
_UNKNOWN, _LEAST_KNOWN = np.float32(math.nan), np.float32(5.0)
_CREST = 0.15
"""Share of a line's height that boxes miss on its crest, for they see what is beside it too."""


@njit(cache=True, nogil=True)
def _copied(frame, bad, least, most, top, left, part):  # type: ignore[no-untyped-def]
    """Copy a part and tell whether it is inside of the frame and none of its pixels masked."""
    rows, cols = frame.shape
    high, wide = part.shape
    if top < 0 or left < 0 or top + high > rows or left + wide > cols:
        return False
    some = False
    for i in range(high):
        for j in range(wide):
            value = frame[top + i, left + j]
            some |= (value < least) | (value > most)
            part[i, j] = value
        if bad.size:
            for j in range(wide):
                some |= bad[top + i, left + j]
    return not some


@njit(cache=True, nogil=True)
def _copied_usable(frame, bad, least, most, top, left, part, known):  # type: ignore[no-untyped-def]
    """Copy the pixels of a part that may be used, for which `known` is 1; both are 0 elsewhere."""
    part[:], known[:] = _NOTHING, _NOTHING
    for i in range(max(-top, 0), min(frame.shape[0] - top, part.shape[0])):
        for j in range(max(-left, 0), min(frame.shape[1] - left, part.shape[1])):
            if not unusable(frame, bad, least, most, top + i, left + j):
                part[i, j], known[i, j] = frame[top + i, left + j], _ONE


@njit(cache=True, nogil=True)
def _summed(pixels, sums, wide, boxes):  # type: ignore[no-untyped-def]
    """Sum along columns and then along rows, each in one stride; lines have `wide` pixels."""
    # Compilers make it fast where an index is that of the loop.
    second, third = pixels[wide:], pixels[2 * wide :]
    for k in range(boxes.size):
        sums[k] = pixels[k] + second[k] + third[k]
    second, third = sums[1:], sums[2:]
    for k in range(boxes.size):
        boxes[k] = sums[k] + second[k] + third[k]


@njit(cache=True, nogil=True)
def box_memory(high, wide):  # type: ignore[no-untyped-def]
    """Return memory for the means around so many pixels, see `box_means`."""
    shape = high + 2, wide + 2
    part, known = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    boxes, used = np.zeros((high, wide + 2), np.float32), np.zeros(high * (wide + 2), np.float32)
    flat = part.reshape(-1), known.reshape(-1), boxes.reshape(-1)
    return part, known, np.zeros(part.size, np.float32), used, boxes, flat


@njit(cache=True, nogil=True)
def box_means(frame, bad, least, most, first_row, first_col, memory):  # type: ignore[no-untyped-def]
    """Return the means of the 3 x 3 pixels around pixels, NaN of fewer than five.

    Parameters
    ----------
    frame, bad, least, most
        The parts of an `Image`.
    first_row, first_col
        The first pixel, which may be outside of the frame.
    memory
        Of `box_memory`.

    Returns
    -------
    boxes
        (rows, cols + 2), in memory; the last two columns are anything.
    """
    part, known, sums, used, boxes, flat = memory
    pixels, usable, means = flat
    wide = part.shape[1]
    top, left = first_row - 1, first_col - 1
    if _copied(frame, bad, least, most, top, left, part):
        _summed(pixels, sums, wide, means)
        for k in range(means.size):
            means[k] *= _NINTH
    else:
        _copied_usable(frame, bad, least, most, top, left, part, known)
        _summed(pixels, sums, wide, means)
        _summed(usable, sums, wide, used)
        for k in range(means.size):
            means[k] = means[k] / used[k] if used[k] >= _LEAST_KNOWN else _UNKNOWN
    return boxes


@njit(cache=True, nogil=True, inline="always")
def _between(boxes, row, col, turn, d):  # type: ignore[no-untyped-def]
    """Return what is between boxes in a direction; all are there. NaN where one is."""
    # Of unsigned indices nobody asks whether they count from the end.
    i, j = np.uint64(row + _UP[turn, d]), np.uint64(col + _LEFT[turn, d])
    below, beside = i + _NEXT, j + _NEXT
    return (
        _SHARES[turn, d, 0] * boxes[i, j]
        + _SHARES[turn, d, 1] * boxes[i, beside]
        + _SHARES[turn, d, 2] * boxes[below, j]
        + _SHARES[turn, d, 3] * boxes[below, beside]
    )


@njit(cache=True, nogil=True, forceinline=True)
def _seen(boxes, row, col, turn, inside):  # type: ignore[no-untyped-def]
    """Return what is seen in a direction, between boxes; NaN where nothing is.

    `inside` says that there are boxes in all directions.
    """
    if inside:
        total = 0.0
        for d in range(len(_DISTANCES)):
            total += _between(boxes, row, col, turn, d)
        if not math.isnan(total):
            return total * _PART
    total, used = 0.0, 0
    for d in range(len(_DISTANCES)):
        i, j = row + _UP[turn, d], col + _LEFT[turn, d]
        if 0 <= i < boxes.shape[0] - 1 and 0 <= j < boxes.shape[1] - 1:
            value = _between(boxes, row, col, turn, d)
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
    seen = 0
    found, ordered = means[0], means[1]
    rows, cols = boxes.shape
    inside = REACH <= row < rows - REACH and REACH <= col < cols - REACH
    seen = 0
    for k in range(DIRECTIONS):
        value = _seen(boxes, row, col, k * _FINE, inside)
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
    foot = ordered[seen // 4]
    along, best = -math.inf, 0
    for k in range(half):
        both = _lower(found[k], found[k + half])
        if both > along:
            along, best = both, k * _FINE
    # On the flank of a line even the nearest direction leads up on one side and down on the other.
    for turn in range(best - _FINE // 2, best + _FINE // 2 + 1):
        if turn != best:
            one = _seen(boxes, row, col, turn % _TURNS, inside)
            other = _seen(boxes, row, col, (turn + _TURNS // 2) % _TURNS, inside)
            along = max(along, _lower(one, other))
    if along <= foot + 2.0 * spread:
        return level, 0.0
    return max(along, level), _CREST * (along - foot)


@njit(cache=True, nogil=True)
def _lower(one, other):  # type: ignore[no-untyped-def]
    """Return the lower of two numbers, or the one that is none of NaN."""
    return other if math.isnan(one) else one if math.isnan(other) else min(one, other)
