"""What a fitted peak looks like, with standard deviations from the Fisher matrix."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.peaks import SHAPE
from workers.place.fit.elementary import FAST
from workers.place.fit.expected import TWO_LN2
from workers.place.fit.fisher_matrix import extend
from workers.place.fit.likelihood import LANES, PSEUDO_VOIGT, Workspace, n_blocks

__all__ = ["describe"]

_FWHM = 2.0 * math.sqrt(TWO_LN2)
_PIXEL = 1.0 / 12.0
"""Variance of a place anywhere in a pixel: what pixels add to the width of a profile that is
sampled at their centres (Sheppard 1898)."""
_REACH = 5.5
"""Radius in pixels within which Lorentzian tails count: the integral over all of them diverges."""
_WINDOW = 9.0
"""Squared distance from the centre, in widths, up to which pixels count for the centre of mass."""
_ROUND = 0.2
"""Standard deviation of the angle in radians from which a peak has no axes."""
_BLURRED = 0.3
"""Standard deviation of the Lorentzian share from which it is not known."""
_SKEWED = 0.5
"""That of the asymmetry."""
_PLACES = {name: 2 * place for place, name in enumerate(SHAPE)}
_INTENSITY, _BACKGROUND = _PLACES["intensity"], _PLACES["background"]
_MAJOR, _MINOR, _ANGLE = _PLACES["fwhm_major"], _PLACES["fwhm_minor"], _PLACES["angle"]
_ETA, _ASYMMETRY = _PLACES["eta"], _PLACES["asymmetry"]
_CENTRE_ROW, _CENTRE_COL = _PLACES["centre_row"], _PLACES["centre_col"]


@njit(cache=True, nogil=True, error_model="numpy")
def describe(
    work: Workspace,
    m: int,
    n_peaks: int,
    each: int,
    first: int,
    fine: bool,
    gain: float,
    variance: float,
    shape: NDArray[np.float64],
) -> None:
    """Write the shape of the peak whose parameters begin at `first`, once `inverse` is known.

    Parameters
    ----------
    fine
        Whether its profile was integrated over pixels.
    shape
        (2 * len(SHAPE),), each quantity of `streamer.frames.peaks.SHAPE` and its standard
        deviation, in pixels and degrees; NaN where the counts do not tell.
    """
    last = n_peaks * each
    best, cov = work.best, work.inverse[first : first + each, first : first + each]
    amplitude, a, b, c = best[first], best[first + 3], best[first + 4], best[first + 5]
    det = a * c - b * b
    # Where hardly a photon was counted, one more or less would have been no surprise.
    ground = work.inverse[last, last] + (gain / m) ** 2
    shape[_BACKGROUND], shape[_BACKGROUND + 1] = best[last], math.sqrt(ground)
    # Along the axes: eigenvalues of the precision matrix, which change by v' dP v.
    mean, root = 0.5 * (a + c), math.sqrt(0.25 * (a - c) ** 2 + b * b)
    angle = 0.5 * math.atan2(-2.0 * b, c - a)
    x, y = math.cos(angle), math.sin(angle)
    pixel = 0.0 if fine else _PIXEL
    for place, value, u, v in ((_MAJOR, mean - root, x, y), (_MINOR, mean + root, -y, x)):
        spread = _along(cov, u * u, 2.0 * u * v, v * v)
        width2 = 1.0 / value - pixel
        if width2 > 0.0:
            width = math.sqrt(width2)
            shape[place] = _FWHM * width
            shape[place + 1] = _FWHM * 0.5 / (width * value * value) * math.sqrt(spread)
    turn = math.sqrt(_along(cov, -x * y, x * x - y * y, x * y)) / max(2.0 * root, 1e-300)
    if turn < _ROUND:
        shape[_ANGLE], shape[_ANGLE + 1] = math.degrees(angle), math.degrees(turn)
    eta = best[first + 6] if each == PSEUDO_VOIGT else 0.0
    volume, by_eta, by_det = _volume(eta, math.sqrt(det))
    intensity = amplitude * volume
    work.step[:] = 0.0
    work.step[0] = volume
    work.step[3], work.step[4], work.step[5] = by_det * c, -2.0 * by_det * b, by_det * a
    for i in range(3, 6):
        work.step[i] *= amplitude
    if each == PSEUDO_VOIGT:
        work.step[6] = amplitude * by_eta
        if 0.0 < eta < 1.0 and cov[6, 6] < _BLURRED**2:
            shape[_ETA], shape[_ETA + 1] = eta, math.sqrt(cov[6, 6])
    total = 0.0
    for i in range(each):
        for j in range(each):
            total += work.step[i] * work.step[j] * cov[i, j]
    shape[_INTENSITY], shape[_INTENSITY + 1] = intensity, math.sqrt(total)
    _centre(work, m, first, intensity, gain, variance, shape)
    if n_peaks == 1:
        skew, sigma = _asymmetry(work, m, each, x, y, mean - root, gain, variance)
        if sigma < _SKEWED and abs(skew) < 1.0:  # beyond that one step leads nowhere
            shape[_ASYMMETRY], shape[_ASYMMETRY + 1] = skew, sigma


@njit(cache=True, nogil=True, error_model="numpy")
def _along(cov: NDArray[np.float64], a: float, b: float, c: float) -> float:
    """Return the variance of a sum of the precision matrix's entries times these."""
    total: float = a * a * cov[3, 3] + b * b * cov[4, 4] + c * c * cov[5, 5]
    total += 2.0 * (a * b * cov[4, 3] + a * c * cov[5, 3] + b * c * cov[5, 4])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _volume(eta: float, root: float) -> tuple[float, float, float]:
    """Return the integral over a profile of amplitude 1, and how it changes.

    Parameters
    ----------
    root
        Root of the precision matrix's determinant.

    Returns
    -------
    volume, by_eta, by_det
        Derivatives by the Lorentzian share and by the determinant.
    """
    core = 2.0 * math.pi / root
    reach2 = _REACH * _REACH * root / TWO_LN2
    tails = math.pi * TWO_LN2 * math.log1p(reach2) / root
    volume = (1.0 - eta) * core + eta * tails
    by_root = -(1.0 - eta) * core / root
    by_root += eta * (math.pi * TWO_LN2 * reach2 / (root * (1.0 + reach2)) - tails) / root
    return volume, tails - core, by_root / (2.0 * root)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _centre(
    work: Workspace,
    m: int,
    first: int,
    intensity: float,
    gain: float,
    variance: float,
    shape: NDArray[np.float64],
) -> None:
    """Write the centre of mass: that of the profile, moved by what the counts have beyond it.

    So pixels that are missing do not move it, and the background does not either; what remains is
    ``sum((x - centre) * counts) / sum``, whose variance is ``sum((x - centre)**2 * v) / sum**2``,
    as far as the window holds the peak, and the profile's position beyond that.
    """
    best, lanes = work.best, work.lanes
    row, col = best[first + 1], best[first + 2]
    a, b, c = best[first + 3], best[first + 4], best[first + 5]
    down, right, down2, right2, held_row, held_col = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for block in range(n_blocks(m)):
        counts, expected, live = lanes.counts[block], lanes.expected[block], lanes.live[block]
        rows, cols, near = lanes.rows[block], lanes.cols[block], lanes.products[block]
        to_row, to_col = lanes.slopes[first + 1, block], lanes.slopes[first + 2, block]
        for k in range(LANES):
            dy, dx = rows[k] - row, cols[k] - col
            inside = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy < _WINDOW
            near[k] = live[k] if inside else 0.0
        for k in range(LANES):
            dy, dx = rows[k] - row, cols[k] - col
            more = near[k] * (counts[k] - expected[k])
            noise = near[k] * (gain * max(expected[k], 0.0) + variance)
            down += dy * more
            right += dx * more
            down2 += dy * dy * noise
            right2 += dx * dx * noise
            held_row += near[k] * dy * to_row[k]
            held_col += near[k] * dx * to_col[k]
    for place, at, moved, square, held, i in (
        (_CENTRE_ROW, row, down, down2, held_row, 1),
        (_CENTRE_COL, col, right, right2, held_col, 2),
    ):
        beyond = max(1.0 - (held / intensity) ** 2, 0.0) * work.inverse[first + i, first + i]
        shape[place] = at + moved / intensity
        shape[place + 1] = math.sqrt(square / intensity**2 + beyond)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _asymmetry(
    work: Workspace,
    m: int,
    each: int,
    x: float,
    y: float,
    along: float,
    gain: float,
    variance: float,
) -> tuple[float, float]:
    """Return by how much the half widths along the direction (x, y) differ, over their sum.

    One step of scoring from a symmetric peak, all other parameters going along.
    """
    row, col, amplitude = work.best[1], work.best[2], work.best[0]
    p, lanes = each + work.ground[0], work.lanes
    for block in range(n_blocks(m)):
        rows, cols = lanes.rows[block], lanes.cols[block]
        heights, slope = lanes.slopes[0, block], lanes.slopes[p, block]
        for k in range(LANES):
            u = (cols[k] - col) * x + (rows[k] - row) * y
            slope[k] = amplitude * heights[k] * along * u * abs(u)
    _, skew, sigma = extend(work, m, p, 1, gain, variance)
    return skew, sigma
