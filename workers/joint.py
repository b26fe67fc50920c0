"""More than one peak in a patch: find the others, fit all together, keep what the counts demand."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from workers.climb import climb, settle
from workers.likelihood import MAX_PEAKS, PSEUDO_VOIGT, Workspace, narrowest

__all__ = ["ACCEPTED", "add_peak", "nearest"]

ACCEPTED = 33.1
"""By how much another peak must lower the deviance. It brings six parameters: by chance the
deviance falls by more with probability 1e-5 (chi-square of 6) at one place, so with 1e-4 anywhere
among about ten places that a patch of 11 x 11 pixels has room for. So strict because a peak that
is taken for two loses its position."""
_APART = 1.25
"""Least distance of two peaks in widths; closer, the second one only mends the
profile of the first."""
_LONG = 1.3
"""Ratio of widths from which a peak is tried as a rounder one."""
_KERNEL = np.exp(-0.5 * (np.arange(-2, 3)[:, None] ** 2 + np.arange(-2, 3)[None, :] ** 2) / 1.44)


@njit(cache=True, nogil=True)
def _residual_start(
    work: Workspace, m: int, first: int, each: int, size: int, gain: float, variance: float
) -> None:
    """Start a peak, whose parameters begin at `first`, at the largest smoothed Pearson residual."""
    middle = size // 2
    work.products[:] = 0.0
    work.weights[:] = 0.0
    for k in range(m):
        place = int(work.rows[k] + middle) * size + int(work.cols[k]) + middle
        error = gain * max(work.expected[k], 0.0) + variance
        work.products[place] = (work.counts[k] - work.expected[k]) / math.sqrt(error)
        work.weights[place] = 1.0
    largest, at = -math.inf, 0
    for k in range(m):
        row, col = int(work.rows[k]) + middle, int(work.cols[k]) + middle
        total, norm = 0.0, 0.0
        for i in range(max(row - 2, 0), min(row + 3, size)):
            for j in range(max(col - 2, 0), min(col + 3, size)):
                weight = _KERNEL[i - row + 2, j - col + 2] * work.weights[i * size + j]
                total += weight * work.products[i * size + j]
                norm += weight * weight
        if total > largest * math.sqrt(norm):
            largest, at = total / math.sqrt(norm), k
    best = work.best
    width = min(max(narrowest(best[3], best[4], best[5]), 0.8), 2.5)
    error = math.sqrt(gain * max(work.expected[at], 0.0) + variance)
    _put(work, first, each, max(largest, 1.0) * error / 2.0, work.rows[at], work.cols[at], width)


@njit(cache=True, nogil=True)
def _put(
    work: Workspace, first: int, each: int, amplitude: float, row: float, col: float, width: float
) -> None:
    best = work.best
    best[first], best[first + 1], best[first + 2] = amplitude, row, col
    best[first + 3], best[first + 4], best[first + 5] = width**-2.0, 0.0, width**-2.0
    if each == PSEUDO_VOIGT:
        best[first + 6] = best[6] if first > 0 else 0.0


@njit(cache=True, nogil=True)
def _split(work: Workspace, each: int) -> None:
    """Start two round peaks where the one that was fitted to both has its ends."""
    best = work.best
    a, b, c = best[3], best[4], best[5]
    width = narrowest(a, b, c)
    # Along the major axis, the variance of the blob is that of a peak and of the two centres.
    root = math.hypot(0.5 * (a - c), b)
    major2 = 1.0 / (0.5 * (a + c) - root)
    reach = math.sqrt(max(major2 - width * width, 1.0))
    angle = 0.5 * math.atan2(2.0 * b, a - c) + 0.5 * math.pi
    row, col = best[1], best[2]
    dy, dx = reach * math.sin(angle), reach * math.cos(angle)
    amplitude = 0.8 * best[0]
    width = min(max(width, 0.8), 2.5)
    best[2 * each] = best[each]
    _put(work, 0, each, amplitude, row + dy, col + dx, width)
    _put(work, each, each, amplitude, row - dy, col - dx, width)


@njit(cache=True, nogil=True)
def _part(work: Workspace, each: int) -> bool:
    """Start two round peaks further apart where one of two is long; False where none is.

    A peak that took some of its neighbour's counts is long along the line between the two.
    """
    best = work.best
    dy, dx = best[each + 1] - best[1], best[each + 2] - best[2]
    distance = math.hypot(dy, dx)
    along0 = math.sqrt(best[3] * dx * dx + 2.0 * best[4] * dx * dy + best[5] * dy * dy)
    a, b, c = best[each + 3], best[each + 4], best[each + 5]
    along1 = math.sqrt(a * dx * dx + 2.0 * b * dx * dy + c * dy * dy)
    if max(along0, along1) < _LONG * min(along0, along1):
        return False
    # The longer one is tried with the other one's shape, its centre moved away by what it loses.
    longer, other = (each, 0) if along1 < along0 else (0, each)
    lost = (distance / min(along0, along1)) - (distance / max(along0, along1))
    share = (lost if longer == each else -lost) / distance
    best[longer + 1] += share * dy
    best[longer + 2] += share * dx
    best[longer + 3 : longer + 6] = best[other + 3 : other + 6]
    best[other + 1] += 0.25 * share * dy
    best[other + 2] += 0.25 * share * dx
    return True


@njit(cache=True, nogil=True)
def _distinct(work: Workspace, n_peaks: int, each: int) -> bool:
    """Whether every two peaks are apart, by the mean of their variances along the line between."""
    best = work.best
    for i in range(0, n_peaks * each, each):
        for j in range(0, i, each):
            dy, dx = best[j + 1] - best[i + 1], best[j + 2] - best[i + 2]
            inverse = 0.0
            for k in (i, j):
                r2 = best[k + 3] * dx * dx + 2.0 * best[k + 4] * dx * dy + best[k + 5] * dy * dy
                inverse += 0.5 / max(r2, 1e-30)
            if inverse * _APART**2 > 1.0:
                return False
    return True


@njit(cache=True, nogil=True)
def add_peak(
    work: Workspace,
    m: int,
    n_peaks: int,
    each: int,
    size: int,
    gain: float,
    variance: float,
    loss: float,
) -> tuple[bool, float, int]:
    """Fit one peak more than the `n_peaks` in `best` and keep it if it is real.

    Leaves `best`, `expected` and `fisher` those of what was kept.

    Returns
    -------
    accepted, loss, steps
    """
    last, steps = n_peaks * each, 0
    if n_peaks == MAX_PEAKS or m <= (n_peaks + 1) * each + 1:
        return False, loss, steps
    work.saved[: last + 1] = work.best[: last + 1]
    work.best[last + each] = work.best[last]
    _residual_start(work, m, last, each, size, gain, variance)
    # From one start the climb may end on a lower hill; from three it hardly ever does.
    lowest = loss - ACCEPTED
    accepted = False
    for attempt in range(3 if n_peaks == 1 else 1):
        if attempt == 1:
            work.best[: last + 1] = work.saved[: last + 1]
            _split(work, each)
        elif attempt == 2:
            work.best[:] = work.candidate
            if not (accepted and _part(work, each)):
                break
        converged, found, more = climb(work, m, n_peaks + 1, each, size, gain, variance)
        steps += more
        if converged and found < lowest and _distinct(work, n_peaks + 1, each):
            accepted, lowest = True, found
            work.candidate[:] = work.best
    if accepted:
        work.best[:] = work.candidate
        n_peaks += 1
    else:
        work.best[: last + 1] = work.saved[: last + 1]
        lowest = loss
    settle(work, m, n_peaks, each, size, gain, variance)
    return accepted, lowest, steps


@njit(cache=True, nogil=True)
def nearest(work: Workspace, n_peaks: int, each: int) -> int:
    """Index of the first parameter of the peak nearest to the patch's middle."""
    found, shortest = 0, math.inf
    for first in range(0, n_peaks * each, each):
        distance = math.hypot(work.best[first + 1], work.best[first + 2])
        if distance < shortest:
            found, shortest = first, distance
    return found
