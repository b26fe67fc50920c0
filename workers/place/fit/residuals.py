"""What the residuals of a fitted peak say without another fit: tails, a warped shape, a bump.

The first two are score statistics (Rao 1948): by how much the deviance would fall if parameters
were added that are 0 in the fitted model, computed from derivatives there.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from workers.place.fit.elementary import FAST
from workers.place.fit.fisher_scoring import extend, score_statistic
from workers.place.fit.likelihood import GAUSSIAN, LEVEL, TWO_LN2, Workspace

__all__ = ["bump", "drop_dead", "tails", "tilt", "warp"]

_DEAD = 6.0
"""Standard deviations below the fit from which a pixel may be dead."""
_KERNEL = np.exp(-0.5 * np.arange(-2, 3) ** 2 / 1.44)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def tails(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Return the score statistic of `eta` above 0, once a Gaussian has been fitted.

    It is a chi-square of one parameter, or 0 where the peak falls off faster than a Gaussian.
    """
    amplitude = work.best[0]
    heights, slope = work.slopes[0], work.slopes[GAUSSIAN + 1]
    for k in range(m):
        r2 = -2.0 * math.log(max(heights[k], 1e-300))
        slope[k] = amplitude * (1.0 / (1.0 + r2 / TWO_LN2) - heights[k])
    statistic, sign = score_statistic(work, m, GAUSSIAN + 1, GAUSSIAN + 2, gain, variance)
    return statistic if sign > 0.0 else 0.0


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def drop_dead(work: Workspace, m: int, gain: float, variance: float) -> int:
    """Leave out the pixel that lacks most counts, if it is dead, and return how many are left.

    Noise, a neighbour or another profile never leave a pixel that is far below all that is
    expected of it with next to nothing: `_DEAD` standard deviations and four fifths.
    """
    counts, expected = work.counts, work.expected
    lowest, at = -_DEAD, -1
    for k in range(m):
        error = math.sqrt(gain * max(expected[k], 0.0) + variance)
        pull = (counts[k] - expected[k]) / error
        if pull < lowest and counts[k] < 0.2 * expected[k]:
            lowest, at = pull, k
    if at < 0:
        return m
    for array in (work.counts, work.rows, work.cols):
        array[at] = array[m - 1]
    return m - 1


@njit(cache=True, nogil=True, error_model="numpy")
def tilt(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Return the score statistic of the background's slopes, once a Gaussian has been fitted."""
    p = GAUSSIAN + LEVEL
    work.slopes[p, :m] = work.rows[:m]
    work.slopes[p + 1, :m] = work.cols[:m]
    return extend(work, m, p, 2, gain, variance)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def warp(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Return the score statistic of the nine third and fourth moments, after a fisher_scoring.

    Two peaks too close for two maxima are a single one that is skewed, flat or peaked.
    """
    row, col = work.best[1], work.best[2]
    rows, cols, to_a, to_c = work.rows, work.cols, work.slopes[3], work.slopes[5]
    first = GAUSSIAN + work.ground[0]
    for i in range(9):
        slope, other = work.slopes[first + i], to_a if i in (0, 1, 4, 5, 6) else to_c
        # The derivatives hold the peak times the square of a coordinate already.
        along_cols = i in (0, 2)
        for k in range(m):
            dy, dx = rows[k] - row, cols[k] - col
            if i < 4:
                slope[k] = other[k] * (dx if along_cols else dy)
            elif i == 4:
                slope[k] = other[k] * dx * dx
            elif i in (5, 7):
                slope[k] = other[k] * dx * dy
            else:
                slope[k] = other[k] * dy * dy
    return score_statistic(work, m, first, first + 9, gain, variance)[0]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def bump(work: Workspace, m: int, size: int, gain: float, variance: float) -> tuple[float, int]:
    """Return the largest smoothed Pearson residual in standard deviations, and its pixel."""
    middle = size // 2
    residual, pixels, smooth, norm = work.node[0], work.node[1], work.node[2], work.node[3]
    for k in range(size * size):
        residual[k], pixels[k] = 0.0, -1.0
    for k in range(m):
        place = (int(work.rows[k]) + middle) * size + int(work.cols[k]) + middle
        error = gain * max(work.expected[k], 0.0) + variance
        residual[place] = (work.counts[k] - work.expected[k]) / math.sqrt(error)
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
