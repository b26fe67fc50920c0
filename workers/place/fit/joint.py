"""More than one peak in a patch: find the others, fit all together, keep what the counts demand."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.fisher_matrix import invert
from workers.place.fit.fisher_scoring import fisher_scoring, possible, settle
from workers.place.fit.goodness import goodness
from workers.place.fit.likelihood import (
    GAUSSIAN,
    LANES,
    MAX_PEAKS,
    PSEUDO_VOIGT,
    Workspace,
    narrowest,
)
from workers.place.fit.residuals import bump

__all__ = [
    "ACCEPTED",
    "add_peak",
    "are_apart",
    "nearest",
    "position_covariance",
    "put_known",
]

ACCEPTED = 31.0
"""By how much another peak must lower the deviance: 1 clean single peak in 20,000 is taken for two.
Measured on 480,000 simulated ones with amplitudes of 5 to 1000 times the root of the background,
for every one of which a second peak was sought: 19 were split; 10 with 33.1, 27 with 29.5. So
strict because a peak that is taken for two loses its position, and no stricter because two that are
taken for one do too."""
_APART = 1.25
"""Least distance of two peaks in widths; closer, the second one only mends the
profile of the first."""
_BESIDE = 2.5
"""Distance in widths from which a residual is a peak beside the one that was fitted, rather than
one end of two peaks under it."""
_EXPLAINED = 1.0
"""`excess` of a pair below which none is sought from another start."""
_UNLIKE = 1.3
"""Ratio of widths along the line between two peaks from which a pair of one shape is tried."""
_KNOWN_WIDTH, _KNOWN_ETA = 1.5, 0.2
"""Width in pixels and Lorentzian share with which a peak starts that is known to be there."""
_AROUND = math.sqrt(3.0)
"""How far from the fit its covariance is looked at too, in standard deviations: the outer points of
the 3-point Gauss-Hermite rule."""


@njit(cache=True, nogil=True, error_model="numpy")
def _bulge(
    work: Workspace, first: int, each: int, height: float, at: int, gain: float, variance: float
) -> None:
    """Start a peak, whose parameters begin at `first`, on pixel `at` of so large a residual."""
    best = work.best
    best[first + each] = best[first]
    width = min(max(narrowest(best[3], best[4], best[5]), 0.8), 2.5)
    lanes, block, k = work.lanes, at // LANES, at % LANES
    error = math.sqrt(gain * max(lanes.expected[block, k], 0.0) + variance)
    amplitude = max(height, 1.0) * error / 2.0
    _put(work, first, each, amplitude, lanes.rows[block, k], lanes.cols[block, k], width)


@njit(cache=True, nogil=True, error_model="numpy")
def _put(
    work: Workspace, first: int, each: int, amplitude: float, row: float, col: float, width: float
) -> None:
    best = work.best
    best[first], best[first + 1], best[first + 2] = amplitude, row, col
    best[first + 3], best[first + 4], best[first + 5] = width**-2.0, 0.0, width**-2.0
    if each == PSEUDO_VOIGT:
        best[first + 6] = best[6] if first > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _alike(work: Workspace, each: int) -> bool:
    """Start two peaks of one shape that look like two of different ones; False where they do.

    Two close peaks can trade counts: one that is too wide reaches over to the other, which is then
    too narrow and too far off. Along the line between them, the start has the sum, mean, variance
    and skewness of what was found, and both shapes' mean.
    """
    best = work.best
    dy, dx = best[each + 1] - best[1], best[each + 2] - best[2]
    distance = math.hypot(dy, dx)
    dy, dx = dy / distance, dx / distance
    # Covariance matrices, the inverses of the precision matrices, and variances along the line.
    det0 = best[3] * best[5] - best[4] ** 2
    det1 = best[each + 3] * best[each + 5] - best[each + 4] ** 2
    rr0, rc0, cc0 = best[3] / det0, -best[4] / det0, best[5] / det0
    rr1, rc1, cc1 = best[each + 3] / det1, -best[each + 4] / det1, best[each + 5] / det1
    along0 = rr0 * dy * dy + 2.0 * rc0 * dy * dx + cc0 * dx * dx
    along1 = rr1 * dy * dy + 2.0 * rc1 * dy * dx + cc1 * dx * dx
    if max(along0, along1) < _UNLIKE**2 * min(along0, along1):
        return False
    counts0, counts1 = best[0] / math.sqrt(det0), best[each] / math.sqrt(det1)
    counts = counts0 + counts1
    share = counts1 / counts
    # What the centres add to variance and third moment, of which unlike widths have a part.
    spread = share * (1.0 - share) * distance * distance
    skew = spread * ((1.0 - 2.0 * share) * distance + 3.0 * (along1 - along0) / distance)
    apart = math.sqrt(4.0 * spread + (skew / spread) ** 2)
    second = min(max(0.5 - 0.5 * skew / (spread * apart), 0.05), 0.95)
    rr, rc, cc = (
        (1.0 - share) * rr0 + share * rr1,
        (1.0 - share) * rc0 + share * rc1,
        (1.0 - share) * cc0 + share * cc1,
    )
    det = rr * cc - rc * rc
    row, col = best[1] + share * distance * dy, best[2] + share * distance * dx
    best[0], best[each] = (1.0 - second) * counts / math.sqrt(det), second * counts / math.sqrt(det)
    best[1], best[2] = row - second * apart * dy, col - second * apart * dx
    best[each + 1], best[each + 2] = best[1] + apart * dy, best[2] + apart * dx
    for first in (0, each):
        best[first + 3], best[first + 4], best[first + 5] = rr / det, -rc / det, cc / det
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def put_known(
    work: Workspace,
    patch: NDArray[np.float32],
    others: NDArray[np.float64],
    each: int,
) -> int:
    """Start a peak in the patch's middle and others where they are known, and count them.

    Parameters
    ----------
    patch
        (size, size) counts.
    others
        (k, 3) rows and columns from the middle, and counts at the top; NaN after the last.
    """
    best, half = work.best, patch.shape[0] // 2
    level = best[GAUSSIAN]  # of the one peak that was fitted before
    _put(work, 0, each, max(float(patch[half, half]) - level, 1.0), 0.0, 0.0, _KNOWN_WIDTH)
    if each == PSEUDO_VOIGT:
        best[6] = _KNOWN_ETA
    n_peaks = 1
    for k in range(len(others)):
        row, col = others[k, 0], others[k, 1]
        if not math.isfinite(row + col):
            break
        height = max(others[k, 2] - level, 1.0)
        _put(work, n_peaks * each, each, height, row, col, _KNOWN_WIDTH)
        n_peaks += 1
    best[n_peaks * each] = level
    return n_peaks


@njit(cache=True, nogil=True, error_model="numpy")
def are_apart(work: Workspace, n_peaks: int, each: int) -> bool:
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


@njit(cache=True, nogil=True, error_model="numpy")
def add_peak(
    work: Workspace,
    m: int,
    n_peaks: int,
    each: int,
    size: int,
    gain: float,
    variance: float,
    loss: float,
) -> tuple[bool, float, float]:
    """Fit one peak more than the `n_peaks` in `best` and keep it if it is real.

    Leaves `best`, `expected` and `fisher` those of what was kept, and in `points.candidate` what
    was best with one peak more.

    Returns
    -------
    accepted, loss, gain
        By how much that lowers the loss; 0 where there is none.
    """
    last, best = n_peaks * each, work.best
    if n_peaks == MAX_PEAKS or m <= (n_peaks + 1) * each + 1:
        return False, loss, 0.0
    height, at = bump(work, m, size, gain, variance)
    dy = work.lanes.rows[at // LANES, at % LANES] - best[1]
    dx = work.lanes.cols[at // LANES, at % LANES] - best[2]
    r2 = best[3] * dx * dx + 2.0 * best[4] * dx * dy + best[5] * dy * dy
    # The start that fits where the residual is first; the other only if that leaves doubts.
    beside = n_peaks > 1 or r2 > _BESIDE**2
    work.points.saved[: last + 1] = best[: last + 1]
    lowest, accepted, converged = loss, False, False
    for attempt in range(3 if n_peaks == 1 else 1):
        if attempt == 2:
            # A pair that is none, one peak inside the other, tells where to look all the same.
            if lowest < loss:
                best[:] = work.points.candidate
            if not converged or not _alike(work, each):
                break
        else:
            best[: last + 1] = work.points.saved[: last + 1]
            if attempt == 1:
                if (
                    lowest < loss - ACCEPTED
                    and goodness(work, m, 2 * each + 1, gain, variance)[2] < _EXPLAINED
                ):
                    continue
                settle(work, m, 1, each, size, gain, variance)
            if beside == (attempt == 0):
                _bulge(work, last, each, height, at, gain, variance)
            else:
                _split(work, each)
        converged, found, _ = fisher_scoring(work, m, n_peaks + 1, each, size, gain, variance)
        if converged and found < lowest and are_apart(work, n_peaks + 1, each):
            lowest = found
            work.points.candidate[:] = best
    accepted, explained = lowest < loss - ACCEPTED, loss - lowest
    if accepted:
        best[:] = work.points.candidate
        n_peaks += 1
    else:
        best[: last + 1] = work.points.saved[: last + 1]
        lowest = loss
    settle(work, m, n_peaks, each, size, gain, variance)
    return accepted, lowest, explained


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(parameters: NDArray[np.float64], n_peaks: int, each: int) -> int:
    """Index of the first parameter of the peak nearest to the patch's middle."""
    found, shortest = 0, math.inf
    for first in range(0, n_peaks * each, each):
        distance = math.hypot(parameters[first + 1], parameters[first + 2])
        if distance < shortest:
            found, shortest = first, distance
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def position_covariance(
    work: Workspace,
    m: int,
    n_peaks: int,
    each: int,
    size: int,
    gain: float,
    variance: float,
    first: int,
) -> tuple[float, float, float]:
    """Return the variances of row and col, and between them their covariance.

    `inverse` is that of the Fisher matrix.

    Close peaks trade counts along a valley of the loss that is not a parabola, and the Fisher
    matrix is that of the point in it where the noise left the fit. So the largest covariance counts
    of that point and of those `_AROUND` standard deviations to either side of it, along the
    direction in which the peak is known worst.

    Parameters
    ----------
    first
        Index of the first parameter of the peak.
    """
    p = n_peaks * each + work.ground[0]
    inverse, row, col = work.inverse, first + 1, first + 2
    rows, both, cols = inverse[row, row], inverse[row, col], inverse[col, col]
    if n_peaks == 1:
        return rows, both, cols
    angle = 0.5 * math.atan2(2.0 * both, cols - rows)
    dy, dx = math.sin(angle), math.cos(angle)
    along = math.sqrt(rows * dy * dy + 2.0 * both * dx * dy + cols * dx * dx)
    work.points.saved[:p] = work.best[:p]
    work.points.candidate[:p] = (_AROUND / along) * (dy * inverse[row, :p] + dx * inverse[col, :p])
    for side in (-1.0, 1.0):
        work.best[:p] = work.points.saved[:p] + side * work.points.candidate[:p]
        if possible(work.best, n_peaks, each, size) and work.best[: p - 1 : each].min() > 0.0:
            settle(work, m, n_peaks, each, size, gain, variance)
            if invert(work, p) and rows + cols < inverse[row, row] + inverse[col, col] < math.inf:
                rows, both, cols = inverse[row, row], inverse[row, col], inverse[col, col]
    work.best[:p] = work.points.saved[:p]
    return rows, both, cols
