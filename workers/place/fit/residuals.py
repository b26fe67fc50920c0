"""What the residuals of a fitted peak say without another fit: tails, a warped shape, a bump.

The first two are score statistics (Rao 1948): by how much the deviance would fall if parameters
were added that are 0 in the fitted model, computed from derivatives there.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from workers.place.fit.elementary import FAST, logarithm
from workers.place.fit.expected import TWO_LN2
from workers.place.fit.fisher_matrix import extend
from workers.place.fit.likelihood import GAUSSIAN, LANES, LEVEL, Workspace, n_blocks

__all__ = ["bump", "drop_dead", "tails", "tilt", "warp"]

_DEAD = 6.0
"""Standard deviations below the fit from which a pixel may be dead."""
_DIMMEST = 1e-300
_KERNEL = np.exp(-0.5 * np.arange(-2, 3) ** 2 / 1.44)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def tails(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Return the score statistic of `eta` above 0, once a Gaussian has been fitted.

    It is a chi-square of one parameter, or 0 where the peak falls off faster than a Gaussian.
    """
    amplitude, p = work.best[0], GAUSSIAN + LEVEL
    for block in range(n_blocks(m)):
        heights, slope = work.lanes.slopes[0, block], work.lanes.slopes[p, block]
        for k in range(LANES):
            r2 = -2.0 * logarithm(max(heights[k], _DIMMEST))
            slope[k] = amplitude * (1.0 / (1.0 + r2 / TWO_LN2) - heights[k])
    statistic, eta, _ = extend(work, m, p, 1, gain, variance)
    return statistic if eta > 0.0 else 0.0


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def drop_dead(work: Workspace, m: int, gain: float, variance: float) -> int:
    """Leave out the pixel that lacks most counts, if it is dead, and return how many are left.

    Noise, a neighbour or another profile never leave a pixel that is far below all that is
    expected of it with next to nothing: `_DEAD` standard deviations and four fifths.
    """
    lanes = work.lanes
    counts, expected = lanes.counts.reshape(-1), lanes.expected.reshape(-1)
    lowest, at = -_DEAD, -1
    if not _lacks(work, m, gain, variance):
        return m
    for k in range(m):
        error = math.sqrt(gain * max(expected[k], 0.0) + variance)
        pull = (counts[k] - expected[k]) / error
        if pull < lowest and counts[k] < 0.2 * expected[k]:
            lowest, at = pull, k
    if at < 0:
        return m
    last = m - 1
    for array in (counts, lanes.rows.reshape(-1), lanes.cols.reshape(-1)):
        array[at] = array[last]
    lanes.live.reshape(-1)[last] = 0.0
    return last


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _lacks(work: Workspace, m: int, gain: float, variance: float) -> bool:
    """Whether any pixel lacks so many counts; by loops that are faster than a search for it."""
    total = 0.0
    for block in range(n_blocks(m)):
        counts, expected = work.lanes.counts[block], work.lanes.expected[block]
        live = work.lanes.live[block]
        for k in range(LANES):
            lack = expected[k] - counts[k]
            noise = gain * max(expected[k], 0.0) + variance
            lacks = lack * lack > _DEAD * _DEAD * noise and counts[k] < 0.2 * expected[k]
            total += live[k] if lacks else 0.0
    return total > 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def tilt(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Return the score statistic of the background's slopes, once a Gaussian has been fitted."""
    p = GAUSSIAN + LEVEL
    lanes = work.lanes
    for block in range(n_blocks(m)):
        rows, cols = lanes.rows[block], lanes.cols[block]
        along_rows, along_cols = lanes.slopes[p, block], lanes.slopes[p + 1, block]
        for k in range(LANES):
            along_rows[k] = rows[k]
        for k in range(LANES):
            along_cols[k] = cols[k]
    statistic, _, _ = extend(work, m, p, 2, gain, variance)
    return statistic


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def warp(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Return the score statistic of the nine third and fourth moments, after a fisher_scoring.

    Two peaks too close for two maxima are a single one that is skewed, flat or peaked.
    """
    row, col = work.best[1], work.best[2]
    lanes, first = work.lanes, GAUSSIAN + work.ground[0]
    for block in range(n_blocks(m)):
        rows, cols = lanes.rows[block], lanes.cols[block]
        for i in range(9):
            # The derivatives by a and c hold the peak times the square of a coordinate already.
            slope, other = lanes.slopes[first + i, block], lanes.slopes[3, block]
            if i in (2, 3, 7, 8):
                other = lanes.slopes[5, block]
            by_col = 2 if i == 4 else 1 if i in (0, 2, 5, 7) else 0
            by_row = (2 if i > 3 else 1) - by_col
            for k in range(LANES):
                slope[k] = other[k]
            for _ in range(by_row):
                for k in range(LANES):
                    slope[k] *= rows[k] - row
            for _ in range(by_col):
                for k in range(LANES):
                    slope[k] *= cols[k] - col
    statistic, _, _ = extend(work, m, first, 9, gain, variance)
    return statistic


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def bump(work: Workspace, m: int, size: int, gain: float, variance: float) -> tuple[float, int]:
    """Return the largest smoothed Pearson residual in standard deviations, and its pixel."""
    middle = size // 2
    residual, pixels, smooth, norm = work.image[0], work.image[1], work.image[2], work.image[3]
    for k in range(size * size):
        residual[k], pixels[k] = 0.0, -1.0
    counts, expected = work.lanes.counts.reshape(-1), work.lanes.expected.reshape(-1)
    rows, cols = work.lanes.rows.reshape(-1), work.lanes.cols.reshape(-1)
    for k in range(m):
        place = (int(rows[k]) + middle) * size + int(cols[k]) + middle
        error = gain * max(expected[k], 0.0) + variance
        residual[place] = (counts[k] - expected[k]) / math.sqrt(error)
        pixels[place] = k
    for row in range(size):
        for col in range(size):
            total, square = 0.0, 0.0
            for j in range(max(col - 2, 0), min(col + 3, size)):
                weight = _KERNEL[j - col + 2]
                total += weight * residual[row * size + j]
                square += weight * weight if pixels[row * size + j] >= 0.0 else 0.0
            smooth[row * size + col], norm[row * size + col] = total, square
    largest, at = -math.inf, 0
    for row in range(size):
        for col in range(size):
            total, square = 0.0, 0.0
            for i in range(max(row - 2, 0), min(row + 3, size)):
                weight = _KERNEL[i - row + 2]
                total += weight * smooth[i * size + col]
                square += weight * weight * norm[i * size + col]
            if pixels[row * size + col] >= 0.0 and total > largest * math.sqrt(square):
                largest, at = total / math.sqrt(square), int(pixels[row * size + col])
    return largest, at
