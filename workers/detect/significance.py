"""Whether a peak stands out from what is around it more than noise does."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from workers.detect.background import level_at, spread_at
from workers.detect.surroundings import DIRECTIONS, REACH, box_means, box_memory, local_level
from workers.detect.usable import unusable

__all__ = ["TESTS", "judge", "significance"]

TESTS = 10
"""Chances that noise has at each pixel: it may stand out alone, in one of four squares of 2 x 2, or
with the 3 x 3 around, and levels are not known exactly."""
_MARGIN = 1.0
"""By so many standard deviations what is clearly nothing misses the limit by the coarse level."""
_SADDLE, _CLEAR_SADDLE = 3.0, 5.0
"""Standard deviations of its own height that a peak stands above the way to a higher one, and those
from which that is enough beside another peak."""
_AROUND, _LINE = 1.0 / 150.0, 1.0 / 15.0
"""Variance of a level around a pixel and of one along a line, in units of a pixel's."""
_NEAR = 8
"""Pixels along each axis; within, the counts between two peaks must say that they are two."""
_DIP = 3.0
"""Standard deviations by which the 3 x 3 pixels somewhere between are below those of the lower."""


@njit(cache=True, nogil=True)
def significance(excess, variance, unit):  # type: ignore[no-untyped-def]
    """Return how unlikely noise is so far above its mean, in standard deviations of a normal one.

    Noise that comes in portions of `unit` counts is a Poisson variable of the same variance, and so
    the chance to exceed it one of a gamma variable (Wilson and Hilferty 1931).
    """
    if unit * unit < 1e-4 * variance:
        return excess / math.sqrt(variance)
    expected = variance / (unit * unit)
    found = excess / unit + expected
    if found <= 0.0:
        return -math.inf
    return 3.0 * math.sqrt(found) * (1.0 - 1.0 / (9.0 * found) - (expected / found) ** (1.0 / 3.0))


@njit(cache=True, nogil=True)
def _exceeds(excess, variance, unit, limit):  # type: ignore[no-untyped-def]
    """Tell whether `significance` reaches a limit above 0."""
    # A skewed noise makes it less than a normal one would, and that is soon known.
    return excess >= limit * math.sqrt(variance) and significance(excess, variance, unit) >= limit


@njit(cache=True, nogil=True)
def _around(frame, bad, least, most, row, col, counts, known):  # type: ignore[no-untyped-def]
    """Write the counts of the 3 x 3 pixels around one, and which of them may be used."""
    k = 0
    for r in range(row - 1, row + 2):
        for c in range(col - 1, col + 2):
            inside = 0 <= r < frame.shape[0] and 0 <= c < frame.shape[1]
            known[k] = inside and not unusable(frame, bad, least, most, r, c)
            counts[k] = float(frame[r, c]) if known[k] else 0.0
            k += 1


@njit(cache=True, nogil=True)
def _stands_out(counts, known, level, variance, unsure, unit, limit):  # type: ignore[no-untyped-def]
    """Tell whether a pixel, 2 x 2 with it or the 3 x 3 around it are as significant as that.

    `counts` and `known` are (9,), see `_around`.
    """
    if _exceeds(counts[4] - level, variance + unsure, unit, limit):
        return True
    best = -math.inf
    for corner in (0, 1, 3, 4):
        four = 0.0
        for k in (corner, corner + 1, corner + 3, corner + 4):
            four += counts[k] - level if known[k] else 0.0
        best = max(best, four)
    if _exceeds(best, 4.0 * variance + 16.0 * unsure, unit, limit):
        return True
    total, used = 0.0, 0
    for k in range(9):
        total += counts[k] - level if known[k] else 0.0
        used += known[k]
    return _exceeds(total, used * variance + used * used * unsure, unit, limit)


@njit(cache=True, nogil=True)
def _scatter(frame, bad, least, most, row, col, scatters):  # type: ignore[no-untyped-def]
    """Return the variance around a pixel: the middle one of the rows, from differences."""
    seen, cols = 0, frame.shape[1]
    for r in range(max(row - REACH, 0), min(row + REACH + 1, frame.shape[0])):
        total, used = 0.0, 0
        for c in range(max(col - REACH, 0), min(col + REACH - 1, cols - 2)):
            if not (
                unusable(frame, bad, least, most, r, c)
                or unusable(frame, bad, least, most, r, c + 2)
            ):
                total += (float(frame[r, c]) - float(frame[r, c + 2])) ** 2
                used += 1
        if used >= REACH:
            scatters[seen] = 0.5 * total / used
            seen += 1
    return np.median(scatters[:seen]) if seen else 0.0


@njit(cache=True, nogil=True)
def _mean9(frame, bad, least, most, row, col):  # type: ignore[no-untyped-def]
    total, used = 0.0, 0
    for r in range(max(row - 1, 0), min(row + 2, frame.shape[0])):
        for c in range(max(col - 1, 0), min(col + 2, frame.shape[1])):
            if not unusable(frame, bad, least, most, r, c):
                total += float(frame[r, c])
                used += 1
    return total / used if used else math.inf


@njit(cache=True, nogil=True)
def _apart(frame, bad, least, most, row, col, other_row, other_col, dip):  # type: ignore[no-untyped-def]
    """Tell whether the counts between a peak and a higher one fall by `dip` at least."""
    own = _mean9(frame, bad, least, most, row, col)
    steps = max(abs(other_row - row), abs(other_col - col))
    for k in range(1, steps):
        r = row + round((other_row - row) * k / steps)
        c = col + round((other_col - col) * k / steps)
        if _mean9(frame, bad, least, most, r, c) <= own - dip:
            return True
    return False


@njit(cache=True, nogil=True)
def judge(frame, bad, least, most, background, rows, cols, scores, limit, keep):  # type: ignore[no-untyped-def]
    """Tell which peaks are none of the noise's.

    Parameters
    ----------
    frame, bad, least, most
        The parts of an `Image`.
    background
        Of it.
    rows, cols, scores
        (n,), highest pixels of peaks, by falling score: by how much they stand above the way to a
        higher one.
    limit
        Standard deviations that a peak must stand out by.
    keep
        (n,), written.
    """
    counts, known, directions = np.empty(9), np.empty(9, np.bool_), np.empty((2, DIRECTIONS))
    side = 2 * REACH + 1
    memory, scatters = box_memory(side, side), np.empty(side)
    unit, counter = background.unit, background.counter
    taken, n_taken = np.empty(len(rows), np.int64), 0
    for k in range(len(rows)):
        row, col = rows[k], cols[k]
        coarse, spread = level_at(background, row, col), spread_at(background, row, col)
        variance = max(spread * spread, 1e-12 * unit * unit)
        keep[k] = False
        if not 0.0 < variance < math.inf:
            continue
        above = max(float(frame[row, col]) - coarse, 0.0)
        noise = math.sqrt(variance + background.gain * above)
        if scores[k] < min(above - 1.5 * math.sqrt(variance), _SADDLE * noise):
            continue
        _around(frame, bad, least, most, row, col, counts, known)
        if not _stands_out(counts, known, coarse, variance, 0.0, unit, limit - _MARGIN):
            continue
        boxes = box_means(frame, bad, least, most, row - REACH, col - REACH, memory)
        level, doubt = local_level(boxes, REACH, REACH, coarse, spread, directions)
        if counter:
            # Where counts are rare, more blocks know better than one place.
            level = max(level, coarse if level < 4.0 * unit else 0.0)
            variance = max(unit * level, 1e-4 * unit * unit)
        else:
            if doubt > 0.0:
                variance += background.gain * max(level - coarse, 0.0)
            variance = max(variance, _scatter(frame, bad, least, most, row, col, scatters))
        unsure = variance * (_LINE if doubt > 0.0 else _AROUND) + max(doubt, 0.0) ** 2
        if not _stands_out(counts, known, level, variance, unsure, unit, limit):
            continue
        above = max(float(frame[row, col]) - level, 0.0)
        noise = math.sqrt(variance + background.gain * above)
        # A peak that no way leads from has its height above the level for a score, or all of it.
        alone = scores[k] > above - 1.5 * math.sqrt(variance)
        if not alone and scores[k] < _SADDLE * noise:
            continue
        if alone or scores[k] < _CLEAR_SADDLE * noise:
            dip = _DIP * noise * math.sqrt(2.0) / 3.0
            single = True
            for i in taken[:n_taken]:
                near = max(abs(rows[i] - row), abs(cols[i] - col)) <= _NEAR
                if near and not _apart(frame, bad, least, most, row, col, rows[i], cols[i], dip):
                    single = False
                    break
            if not single:
                continue
        keep[k] = True
        taken[n_taken] = k
        n_taken += 1
