"""The background of a frame and its scatter, from the frame alone.

Nine places in each block of about 32 x 32 pixels are looked at, each with a pixel beside it: the
middle of the nine counts is the level, and how much the two of a place differ is the scatter, which
neither spots nor a slope change much. Between the middles of blocks both are interpolated. So few
pixels cost next to nothing and are enough to leave nearly all of the frame alone; what is left is
held against its own surroundings, see `workers.detect.significance`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.detect.image import Image
from workers.detect.usable import unusable

__all__ = ["Background", "cells", "estimate", "level_at", "line_of", "low_at", "spread_at"]

BLOCK = 32
"""Pixels along each axis of what has a level of its own."""
_PLACES = 9
_TO_SIGMA = 1.0 / (0.70 * math.sqrt(2.0))
"""From the middle of nine absolute differences of two pixels to a standard deviation: that of many
is at 0.6745, that of few is a little above."""
_LOW, _LOW_SPARSE = 3.2, 2.5
"""Standard deviations above the level from which a pixel is looked at; fewer where a count is rare
and a spot of a few counts must not be missed."""
_FEW = 2.0
"""Counts beyond which one count is a spot's where most have none."""
_SPARSE = 4.0
"""Counts below which the mean is the level: a median knows whole numbers only."""


class Background(NamedTuple):
    """Level and scatter at the middles of blocks; arrays (block rows, block cols)."""

    level: NDArray[np.float64]
    """Counts."""
    low: NDArray[np.float64]
    """Counts below which a pixel is nothing."""
    spread: NDArray[np.float64]
    """Standard deviation in counts."""
    pitch: tuple[float, float]
    """Pixels from one middle to the next, by rows and by columns."""
    unit: float
    """Counts by which noise is skewed as if it came in portions: of a photon counter one photon,
    0 for noise that is as often above the level as below it."""
    gain: float
    """Variance in counts by which a count above the level adds to the noise."""
    counter: bool
    """True where the scatter is that of counted photons."""


def estimate(image: Image) -> Background:
    """Estimate the background of a frame of at least one pixel."""
    rows, cols = image.pixels.shape
    shape = max(1, round(rows / BLOCK)), max(1, round(cols / BLOCK))
    level, low, spread = np.empty(shape), np.empty(shape), np.empty(shape)
    pitch = rows / shape[0], cols / shape[1]
    unit, gain, counter = _estimate(
        *image, image.pixels.dtype.kind in "iu", pitch[0], pitch[1], level, low, spread
    )
    return Background(level, low, spread, pitch, unit, gain, counter)


@njit(cache=True, nogil=True, inline="always")
def _cell(x, pitch, n):  # type: ignore[no-untyped-def]
    """Return the middle before a pixel and how far behind it the pixel is, in blocks."""
    place = (x + 0.5) / pitch - 0.5
    i = min(max(math.floor(place), 0), max(n - 2, 0))
    return i, (place - i if n > 1 else 0.0)


@njit(cache=True, nogil=True)
def _between(nodes, i, j, down, right):  # type: ignore[no-untyped-def]
    below, beside = min(i + 1, nodes.shape[0] - 1), min(j + 1, nodes.shape[1] - 1)
    first = nodes[i, j] + right * (nodes[i, beside] - nodes[i, j])
    second = nodes[below, j] + right * (nodes[below, beside] - nodes[below, j])
    return first + down * (second - first)


@njit(cache=True, nogil=True)
def level_at(background, row, col):  # type: ignore[no-untyped-def]
    """Return the level of a pixel in counts."""
    i, down = _cell(row, background.pitch[0], background.level.shape[0])
    j, right = _cell(col, background.pitch[1], background.level.shape[1])
    return _between(background.level, i, j, down, right)


@njit(cache=True, nogil=True)
def low_at(background, row, col):  # type: ignore[no-untyped-def]
    """Return the counts below which a pixel is nothing."""
    i, down = _cell(row, background.pitch[0], background.level.shape[0])
    j, right = _cell(col, background.pitch[1], background.level.shape[1])
    return _between(background.low, i, j, down, right)


@njit(cache=True, nogil=True)
def spread_at(background, row, col):  # type: ignore[no-untyped-def]
    """Return the scatter of a pixel in counts."""
    i, down = _cell(row, background.pitch[0], background.level.shape[0])
    j, right = _cell(col, background.pitch[1], background.level.shape[1])
    # Beyond the last middle a slope could lead below 0.
    down, right = min(max(down, 0.0), 1.0), min(max(right, 0.0), 1.0)
    return _between(background.spread, i, j, down, right)


@njit(cache=True, nogil=True)
def cells(pitch, n, cell, part):  # type: ignore[no-untyped-def]
    """Write for each pixel along an axis the middle before it and how far behind it is, in blocks.

    With `line_of` it says of many pixels of a row what `level_at` says of one.
    """
    for x in range(cell.size):
        cell[x], part[x] = _cell(x, pitch, n)


@njit(cache=True, nogil=True, forceinline=True)
def line_of(nodes, row, pitch, values):  # type: ignore[no-untyped-def]
    """Write what nodes are on a row: at the middles of blocks, the last one twice."""
    n_rows, n_cols = nodes.shape
    i, down = _cell(row, pitch, n_rows)
    one, other = nodes[i], nodes[min(i + 1, n_rows - 1)]
    for j in range(n_cols):
        values[j] = one[j] + down * (other[j] - one[j])
    values[n_cols] = values[n_cols - 1]


@njit(cache=True, nogil=True)
def _sort9(v):  # type: ignore[no-untyped-def]
    """Sort nine numbers without a branch: with noise half of the guesses would be wrong."""
    for a, b in (
        (0, 3), (1, 7), (2, 5), (4, 8), (0, 7), (2, 4), (3, 8), (5, 6), (0, 2), (1, 3), (4, 5),
        (7, 8), (1, 4), (3, 6), (5, 7), (0, 1), (2, 4), (3, 5), (6, 8), (2, 3), (4, 5), (6, 7),
        (1, 2), (3, 4), (5, 6),
    ):  # fmt: skip
        low, high = min(v[a], v[b]), max(v[a], v[b])
        v[a], v[b] = low, high


@njit(cache=True, nogil=True)
def _estimate(frame, bad, least, most, whole, pitch_row, pitch_col, level, low, spread):  # type: ignore[no-untyped-def]
    n_rows, n_cols = level.shape
    n = n_rows * n_cols
    samples, apart = np.empty((n, _PLACES)), np.empty((n, _PLACES))
    beside = np.empty((n, _PLACES))
    smallest, n_used, n_none = math.inf, 0, 0
    rows, cols = frame.shape
    for i in range(n_rows):
        for j in range(n_cols):
            one = samples[i * n_cols + j]
            two = apart[i * n_cols + j]
            used, none = 0, 0
            for k in range(_PLACES):
                row = min(int((i + (k // 3 + 0.5) / 3.0) * pitch_row), rows - 1)
                col = min(int((j + (k % 3 + 0.5) / 3.0) * pitch_col), cols - 1)
                other = col + 2 if col + 2 < cols else max(col - 2, 0)
                if unusable(frame, bad, least, most, row, col) or unusable(
                    frame, bad, least, most, row, other
                ):
                    one[k] = math.nan
                    two[k] = math.nan
                else:
                    value, second = float(frame[row, col]), float(frame[row, other])
                    one[k], beside[i * n_cols + j, k] = value, second
                    two[k] = abs(value - second)
                    used += 1
                    none += value == 0.0
                    if 0.0 < value < smallest:
                        smallest = value
            if none < used:  # a part of the frame without any counts tells nothing
                n_used += used
                n_none += none
    if whole:
        # Where most pixels are 0, what is left begins with what a photon or a threshold makes.
        smallest = _lowest(frame, bad, least, most) if 2 * n_none > n_used else 1.0
    unit = 1.0 if smallest == math.inf else smallest

    # What is rare is averaged, what is not has a middle.
    mean, few, square = np.empty(n), np.empty(n), np.empty(n)
    good = np.zeros(n, np.bool_)
    middle, ordered, lone = np.empty(n), np.empty(_PLACES), np.empty(_PLACES)
    n_sparse, n_scattered = 0, 0
    for b in range(n):
        total, lower, squares, used = 0.0, 0.0, 0.0, 0
        for k in range(_PLACES):
            value = samples[b, k]
            if math.isnan(value):
                # One above, one below: the middle of the others stays where it is.
                ordered[k] = math.inf if (k - used) % 2 else -math.inf
                lone[k] = ordered[k]
                continue
            ordered[k], lone[k] = value, apart[b, k]
            for each in (value, beside[b, k]):
                total += 0.5 * min(max(each, -_SPARSE * unit), _SPARSE * unit)
                lower += 0.5 * min(max(each, -_FEW * unit), _FEW * unit)
            squares += min(lone[k], _FEW * unit) ** 2
            used += 1
        good[b] = used > _PLACES // 2
        if not good[b]:
            continue
        _sort9(ordered)
        _sort9(lone)
        mean[b] = total / used
        few[b], square[b] = lower / used, 0.5 * squares / used
        centre = ordered[4]
        if used == _PLACES:
            centre = (ordered[2] + ordered[3] + ordered[4] + ordered[5] + ordered[6]) / 5.0
        middle[b] = centre
        spread.flat[b] = lone[4] * _TO_SIGMA
        n_scattered += lone[4] > 0.0
        n_sparse += abs(centre) < _SPARSE * unit
    n_good = good.sum()
    if n_good == 0:
        level[:], low[:], spread[:] = 0.0, math.inf, math.inf
        return 1.0, 1.0, True

    # Photons are counted where the variance is as large as the level.
    ratio, n_ratio = np.empty(n), 0
    sum_mean, sum_square = 0.0, 0.0
    for b in range(n):
        if good[b]:
            if middle[b] >= _SPARSE * unit:
                ratio[n_ratio] = spread.flat[b] ** 2 / middle[b]
                n_ratio += 1
            else:
                sum_mean += few[b]
                sum_square += square[b]
    dispersion = 0.0
    if n_ratio > n_good // 3:
        dispersion = np.median(ratio[:n_ratio]) / unit
    elif sum_mean > 0.0:
        dispersion = sum_square / sum_mean / unit
    doubt = 0.1 + 3.0 / math.sqrt(max(n_ratio, 1)) if n_ratio > n_good // 3 else 0.7
    counter = abs(dispersion - 1.0) < doubt or (n_ratio == 0 and sum_mean == 0.0)
    if not whole and n_ratio > n_good // 3:
        counter = False
    # Where the middle of the noise is 0 everywhere, only counts can say how large it is.
    counter = counter or n_scattered == 0
    return _settle(
        samples, good, mean, middle, n_rows, n_cols, unit, whole, counter, level, low, spread
    )


@njit(cache=True, nogil=True)
def _lowest(frame, bad, least, most):  # type: ignore[no-untyped-def]
    """Return the lowest counts above 0 on every fourth row."""
    lowest = math.inf
    for i in range(0, frame.shape[0], 4):
        for j in range(frame.shape[1]):
            if 0.0 < frame[i, j] < lowest and not unusable(frame, bad, least, most, i, j):
                lowest = float(frame[i, j])
        if lowest == 1.0:
            break
    return lowest


@njit(cache=True, nogil=True)
def _settle(  # type: ignore[no-untyped-def]
    samples, good, mean, middle, n_rows, n_cols, unit, whole, counter, level, low, spread
):
    n = n_rows * n_cols
    for b in range(n):
        if good[b]:
            level.flat[b] = middle[b]
    if counter:
        overall = max(mean[good].mean(), 1e-4 * unit)
        for i in range(n_rows):
            for j in range(n_cols):
                b = i * n_cols + j
                if not good[b] or middle[b] >= _SPARSE * unit:
                    continue
                total, used = 0.0, 0
                for r in range(max(i - 1, 0), min(i + 2, n_rows)):
                    for c in range(max(j - 1, 0), min(j + 2, n_cols)):
                        if good[r * n_cols + c]:
                            total += min(mean[r * n_cols + c], _SPARSE * unit)
                            used += 1
                # Of few counts nobody knows whether they are as rare as it seems.
                level[i, j] = max(total / used, middle[b], 0.25 * overall)
    _fill(level, good)
    skew = 0.0
    if counter:
        for b in range(n):
            spread.flat[b] = math.sqrt(unit * max(level.flat[b], 1e-4 * unit))
    else:
        _fill(spread, good)
        _smooth(spread)
        skew = _skewness(samples, good, middle, spread)
    gain = unit
    if not counter:
        share = np.sort((spread**2 / np.maximum(np.abs(level), 3.0 * spread + 1e-300)).ravel())
        gain = max(share[len(share) // 2], skew * np.median(spread))
        unit = skew * np.median(spread)
    for b in range(n):
        s, z = spread.flat[b], _LOW
        if counter:
            z -= (_LOW - _LOW_SPARSE) * unit / (unit + max(level.flat[b], 0.0))
        above = z * s + unit * (z * z - 1.0) / 6.0
        low.flat[b] = level.flat[b] + (max(above, 1.0) if whole else above)
    return unit, gain, counter


@njit(cache=True, nogil=True)
def _fill(nodes, good):  # type: ignore[no-untyped-def]
    """Give blocks of which nothing is known what their neighbours have, step by step."""
    n_rows, n_cols = nodes.shape
    known = good.copy()
    while not known.all():
        before = known.copy()
        for i in range(n_rows):
            for j in range(n_cols):
                if before[i * n_cols + j]:
                    continue
                total, used = 0.0, 0
                for r in range(max(i - 1, 0), min(i + 2, n_rows)):
                    for c in range(max(j - 1, 0), min(j + 2, n_cols)):
                        if before[r * n_cols + c]:
                            total += nodes[r, c]
                            used += 1
                if used:
                    nodes[i, j] = total / used
                    known[i * n_cols + j] = True


@njit(cache=True, nogil=True)
def _smooth(nodes):  # type: ignore[no-untyped-def]
    """Average over 5 x 5 blocks: nine differences alone are a third off."""
    n_rows, n_cols = nodes.shape
    before = nodes.copy()
    for i in range(n_rows):
        for j in range(n_cols):
            total, used = 0.0, 0
            for r in range(max(i - 2, 0), min(i + 3, n_rows)):
                for c in range(max(j - 2, 0), min(j + 3, n_cols)):
                    total += before[r, c]
                    used += 1
            nodes[i, j] = total / used


@njit(cache=True, nogil=True)
def _skewness(samples, good, middle, spread):  # type: ignore[no-untyped-def]
    """Return the third moment of the noise in units of its spread, without what stands out."""
    total, used = 0.0, 0
    for b in range(len(good)):
        if good[b] and spread.flat[b] > 0.0:
            for k in range(_PLACES):
                z = (samples[b, k] - middle[b]) / spread.flat[b]
                if abs(z) < 4.5:
                    total += z**3
                    used += 1
    # Of few samples the third moment is hardly known: what it may be by chance is left out.
    return max(total / used - math.sqrt(6.0 / used), 0.0) if used else 0.0
