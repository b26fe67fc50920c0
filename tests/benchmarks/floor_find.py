"""Peaks and patches of a frame as one plain loop finds them: nothing of the product's is used."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["SIZE", "Scratch", "cut", "find", "scratch"]

SIZE = 11
"""Pixels along each axis of a patch."""
_MARK = 65535
_RUN = 64
_SHIFT, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_EDGE, _MASKED, _NEIGHBOUR, _SATURATED, _POOR = 1, 2, 4, 8, 16


class Scratch(NamedTuple):
    """Memory that stays from frame to frame; the first two hold zeros between frames.

    Places are those in a frame with a margin of one pixel, row after row.
    """

    keys: np.ndarray
    """By place, counts above the place itself, so that no two pixels are equal."""
    root: np.ndarray
    """By place, where each pixel leads up to."""
    kept: np.ndarray
    """Places of the pixels above the threshold."""
    saddles: np.ndarray
    """Keys of pixels from which it goes up to more than one maximum."""
    death: np.ndarray
    """By place, counts at which a maximum met a higher one."""


def scratch(rows: int, cols: int) -> Scratch:
    """Allocate for frames of a size."""
    n = (rows + 2) * (cols + 2)
    return Scratch(
        np.zeros(n, np.uint64),
        np.zeros(n, np.uint32),
        np.empty(n, np.uint32),
        np.empty(n, np.uint64),
        np.empty(n, np.int32),
    )


@njit(cache=True, nogil=True)
def find(frame, mask, least, least_score, work, rows, cols, scores):
    """Write the peaks that persist, in the order of the frame, and return how many there are.

    Each pixel leads up to a maximum; maxima are merged where their basins meet, from the highest
    pass down.
    """
    keys, root, kept, saddles, death = work
    width = frame.shape[1]
    stride = np.uint64(width + 2)
    flat, masked = frame.ravel(), mask.ravel()
    lowest, span = np.uint16(least), np.uint16(_MARK - 1 - least)
    n = 0
    for first in range(0, flat.size, _RUN):
        if first + _RUN <= flat.size:
            # Of vectors, as long as nothing else is done and the number of pixels is known.
            run, above = flat[first : first + _RUN], np.uint8(0)
            for k in range(_RUN):
                above |= np.uint8(np.uint16(run[k] - lowest) <= span)
            if not above:
                continue
        for k in range(first, min(first + _RUN, flat.size)):
            if np.uint16(flat[k] - lowest) <= span and not masked[k]:
                p = np.uint64(k + 2 * (k // width)) + stride + _ONE
                keys[p] = np.uint64(flat[k]) << _SHIFT | p
                kept[n] = p
                n += 1
    around = np.array(
        [~stride, _ZERO - stride, _ONE - stride, _ZERO - _ONE, _ONE, stride - _ONE, stride,
         stride + _ONE]
    )  # fmt: skip
    for k in range(n):
        p = np.uint64(kept[k])
        best = keys[p]
        for step in around:
            best = max(best, keys[p + step])
        root[p] = best & _LOW
    n_saddles = 0
    for k in range(n):
        p = np.uint64(kept[k])
        mine, own = _top(root, p), keys[p]
        several = False
        for step in around:
            q = p + step
            # Who has not been asked yet points to a neighbour, which leads to the same maximum.
            several |= keys[q] > own and _top(root, q) != mine
        saddles[n_saddles] = own
        n_saddles += several
        death[p] = 0 if mine == p else -1
    order = np.sort(saddles[:n_saddles])
    for own in order[::-1]:
        p = own & _LOW
        a = _top(root, p)
        for step in around:
            if keys[p + step] > own:
                b = _top(root, p + step)
                if a != b:
                    if keys[a] < keys[b]:
                        a, b = b, a
                    root[b] = a
                    death[b] = np.int64(own >> _SHIFT)
    found = 0
    for k in range(n):
        p = np.uint64(kept[k])
        score = np.int64(keys[p] >> _SHIFT) - death[p]
        if death[p] >= 0 and score >= least_score:
            rows[found], cols[found] = p // stride - _ONE, p % stride - _ONE
            scores[found] = score
            found += 1
        keys[p] = root[p] = _ZERO
    return found


@njit(cache=True, nogil=True)
def _top(root, p):
    """Return where it goes up to from a place, and note it for the next time."""
    top = np.uint64(root[p])
    while root[top] != top:
        top = np.uint64(root[top])
    root[p] = top
    return top


@njit(cache=True, nogil=True)
def cut(frame, mask, full, rows, cols, counts, valid, flags, intensity):
    """Cut a patch around each peak, the peaks being in the order of the frame's rows."""
    height, width = frame.shape
    half = SIZE // 2
    border = np.empty(4 * SIZE, np.float32)
    for k in range(len(rows)):
        top, left = rows[k] - half, cols[k] - half
        flag, n_border, n, total = 0, 0, 0, 0.0
        for i in range(SIZE):
            for j in range(SIZE):
                r, c = top + i, left + j
                counts[k, i, j], valid[k, i, j] = 0.0, False
                if r < 0 or r >= height or c < 0 or c >= width:
                    flag |= _EDGE
                    continue
                value = frame[r, c]
                if value == _MARK or mask[r, c]:
                    flag |= _MASKED
                    continue
                if value >= full:
                    flag |= _SATURATED
                counts[k, i, j], valid[k, i, j] = value, value < full
                total += value
                n += 1
                if i == 0 or j == 0 or i == SIZE - 1 or j == SIZE - 1:
                    place = n_border
                    while place > 0 and border[place - 1] > value:
                        border[place] = border[place - 1]
                        place -= 1
                    border[place] = value
                    n_border += 1
        level = floor = 0.0
        if n_border:
            level = 0.5 * (border[(n_border - 1) // 2] + border[n_border // 2])
            floor = border[n_border // 4]
        intensity[k] = total - n * level
        beside = 0.0
        for i in range(half - 1, half + 2):
            for j in range(half - 1, half + 2):
                if i != half or j != half:
                    beside = max(beside, counts[k, i, j] - floor)
        if beside < 0.1 * (counts[k, half, half] - floor):
            flag |= _POOR
        flags[k] = flag
    for k in range(len(rows)):
        other = k + 1
        while other < len(rows) and rows[other] - rows[k] <= half:
            if abs(cols[other] - cols[k]) <= half:
                flags[k] |= _NEIGHBOUR
                flags[other] |= _NEIGHBOUR
            other += 1
