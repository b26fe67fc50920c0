"""Likelihood of peaks on a constant background, for one patch at a time.

Everything is compiled and works on memory that is allocated once, a `Workspace`.

The parameters of k peaks are a vector: for each peak amplitude, row, column and the precision
matrix's a, b, c (see `streamer.simulator.profiles`), for pseudo-Voigt peaks also eta; the
background comes last, at the middle pixel's centre, and where `Workspace.ground` is `TILTED` its
slopes along rows and columns behind it. Positions are offsets in pixels from that centre.

A count d where mu is expected has the variance ``v(mu) = gain*max(mu, 0) + variance``. What is
maximised is the quasi-likelihood ``sum of the integral of (d - t) / v(t) dt up to mu`` (Wedderburn
1974): the likelihood itself for Poisson counts (gain 1, variance 0) and for white noise (gain 0),
and what least squares with weights iterated to convergence solves otherwise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.elementary import FAST, exponential, logarithm

__all__ = [
    "GAUSSIAN",
    "LEVEL",
    "MAX_PEAKS",
    "OUTSIDE_PX",
    "PSEUDO_VOIGT",
    "TILTED",
    "TWO_LN2",
    "Workspace",
    "evaluate",
    "gather",
    "loss_of",
    "narrowest",
    "prior_loss",
    "prior_score",
    "score",
    "workspace",
]

GAUSSIAN = 6
"""Parameters of a Gaussian peak."""
PSEUDO_VOIGT = 7
"""Parameters of a pseudo-Voigt peak."""
MAX_PEAKS = 3
OUTSIDE_PX = 2.0
"""How far outside the patch a peak may stand."""
LEVEL = 1
"""Parameters of a background that is the same everywhere."""
TILTED = 3
"""Parameters of one that rises along rows and columns."""

_PRIOR_PHOTONS, _PRIOR_VARIANCE = 1.0, 2.25
"""What is known of a peak's shape beforehand is worth one photon of a round peak 1.5 px wide. It
keeps faint peaks from shrinking to a spike or spreading over the patch, and is nothing beside the
photons of others."""
_NODE = math.sqrt(0.15)
"""Outer nodes of the 3-point Gauss-Legendre rule on a pixel from -0.5 to 0.5."""
TWO_LN2 = 2.0 * math.log(2.0)
_LANES = 16
"""Arrays over pixels are filled up to a multiple of this with pixels of weight 0: what is left over
when vectors are full is summed one by one and would take a third of the time."""


class Points(NamedTuple):
    """Other parameters than the best; each (p,)."""

    trial: NDArray[np.float64]
    """Where a step leads."""
    saved: NDArray[np.float64]
    """To go back to."""
    candidate: NDArray[np.float64]
    tailed: NDArray[np.float64]
    """Of peaks with tails."""
    level: NDArray[np.float64]
    """Of a peak on a level background."""
    tilted: NDArray[np.float64]
    """Of one on a background with slopes."""


class Workspace(NamedTuple):
    """Memory for one patch of m pixels and up to p parameters; float64."""

    counts: NDArray[np.float64]
    """(m,) of the usable pixels, which come first in each array over pixels."""
    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    expected: NDArray[np.float64]
    slopes: NDArray[np.float64]
    """(p, m), derivatives of `expected`."""
    node: NDArray[np.float64]
    """(7, m), derivatives at one of the points where a pixel is sampled."""
    weights: NDArray[np.float64]
    products: NDArray[np.float64]
    fisher: NDArray[np.float64]
    """(p, p), the Fisher matrix."""
    factor: NDArray[np.float64]
    """(p, p), its Cholesky factor, damped."""
    inverse: NDArray[np.float64]
    """(PSEUDO_VOIGT + 1, PSEUDO_VOIGT + 1), covariances of one peak and the background."""
    gradient: NDArray[np.float64]
    """(p,), of the log-likelihood."""
    step: NDArray[np.float64]
    best: NDArray[np.float64]
    """(p,), parameters."""
    points: Points
    ground: NDArray[np.int64]
    """(1,), parameters of the background: `LEVEL` or `TILTED`."""
    fixed: NDArray[np.bool_]
    """(p,), parameters that are at a limit which the likelihood would like to cross."""


def workspace(size: int) -> Workspace:
    """Allocate for patches of `size` x `size` pixels."""
    pixels, parameters = -(-size * size // _LANES) * _LANES, MAX_PEAKS * PSEUDO_VOIGT + TILTED
    return Workspace(
        counts=np.zeros(pixels),
        rows=np.zeros(pixels),
        cols=np.zeros(pixels),
        expected=np.zeros(pixels),
        slopes=np.zeros((parameters, pixels)),
        node=np.zeros((PSEUDO_VOIGT, pixels)),
        weights=np.zeros(pixels),
        products=np.zeros(pixels),
        fisher=np.zeros((parameters, parameters)),
        factor=np.zeros((parameters, parameters)),
        inverse=np.zeros((PSEUDO_VOIGT + 1, PSEUDO_VOIGT + 1)),
        gradient=np.zeros(parameters),
        step=np.zeros(parameters),
        best=np.zeros(parameters),
        points=Points(*(np.zeros(parameters) for _ in Points._fields)),
        ground=np.full(1, LEVEL),
        fixed=np.zeros(parameters, np.bool_),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def gather(
    work: Workspace, patch: NDArray[np.float32], valid: NDArray[np.bool_], photons: bool
) -> int:
    """Take the usable pixels of a patch and return how many they are.

    Negative counts are impossible for `photons` and taken as 0.
    """
    size = patch.shape[0]
    middle, m = size // 2, 0
    for row in range(size):
        for col in range(size):
            count = float(patch[row, col])
            if valid[row, col] and math.isfinite(count):
                work.counts[m] = max(count, 0.0) if photons else count
                work.rows[m], work.cols[m] = row - middle, col - middle
                m += 1
    return m


@njit(cache=True, nogil=True, error_model="numpy")
def _filled(m: int) -> int:
    return -(-m // _LANES) * _LANES


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def evaluate(
    work: Workspace, m: int, parameters: NDArray[np.float64], n_peaks: int, each: int, fine: bool
) -> None:
    """Write expected counts and their derivatives for the first `m` pixels.

    `fine` integrates over each pixel by 3 x 3 Gauss-Legendre nodes, else the profile is sampled at
    the pixel's centre.
    """
    last = n_peaks * each
    m = _filled(m)
    background, expected, constant = parameters[last], work.expected, work.slopes[last]
    for k in range(m):
        expected[k] = background
        constant[k] = 1.0
    if work.ground[0] == TILTED:
        rows, cols = work.rows, work.cols
        down, right = parameters[last + 1], parameters[last + 2]
        for k in range(m):
            expected[k] += down * rows[k] + right * cols[k]
        work.slopes[last + 1, :m] = rows[:m]
        work.slopes[last + 2, :m] = cols[:m]
    for first in range(0, last, each):
        peak, slopes = parameters[first : first + each], work.slopes[first : first + each]
        if fine:
            slopes[:, :m] = 0.0
            for i in range(-1, 2):
                for j in range(-1, 2):
                    weight = (8.0 if i == 0 else 5.0) * (8.0 if j == 0 else 5.0) / 324.0
                    _sample(work, m, peak, work.node, i * _NODE, j * _NODE)
                    slopes[:, :m] += weight * work.node[:each, :m]
        else:
            _sample(work, m, peak, slopes, 0.0, 0.0)
        amplitude, heights = peak[0], slopes[0]
        for k in range(m):
            expected[k] += amplitude * heights[k]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sample(
    work: Workspace,
    m: int,
    peak: NDArray[np.float64],
    slopes: NDArray[np.float64],
    shift_row: float,
    shift_col: float,
) -> None:
    """Write the derivatives of a peak at points that are shifted from the pixels' centres.

    Most loops write one array: of more the compiler cannot tell whether they overlap, and uses no
    vectors.
    """
    amplitude, row, col = peak[0], peak[1] - shift_row, peak[2] - shift_col
    a, b, c = peak[3], peak[4], peak[5]
    rows, cols, falls = work.rows, work.cols, work.products
    heights, to_row, to_col = slopes[0], slopes[1], slopes[2]
    to_a, to_b, to_c = slopes[3], slopes[4], slopes[5]
    for k in range(m):
        dy, dx = rows[k] - row, cols[k] - col
        heights[k] = exponential(-0.5 * (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy))
    for k in range(m):
        falls[k] = amplitude * heights[k]
    if len(peak) == PSEUDO_VOIGT:
        eta, mixed = peak[6], slopes[6]
        for k in range(m):
            dy, dx = rows[k] - row, cols[k] - col
            tail = 1.0 / (1.0 + (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy) / TWO_LN2)
            mixed[k] = amplitude * (tail - heights[k])
            # The fall is minus twice the derivative of the profile by the squared distance.
            falls[k] += eta * amplitude * (tail * tail * (2.0 / TWO_LN2) - heights[k])
        for k in range(m):
            heights[k] += eta / amplitude * mixed[k]
    for k in range(m):
        to_row[k] = falls[k] * (b * (cols[k] - col) + c * (rows[k] - row))
    for k in range(m):
        to_col[k] = falls[k] * (a * (cols[k] - col) + b * (rows[k] - row))
    for k in range(m):
        to_a[k] = -0.5 * falls[k] * (cols[k] - col) * (cols[k] - col)
    for k in range(m):
        to_b[k] = -falls[k] * (cols[k] - col) * (rows[k] - row)
    for k in range(m):
        to_c[k] = -0.5 * falls[k] * (rows[k] - row) * (rows[k] - row)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def loss_of(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Minus twice the quasi-likelihood, up to a constant."""
    total = 0.0
    counts, expected = work.counts, work.expected
    if variance == 0.0:
        for k in range(m):
            # Counts are never negative here, and expected ones above 0.
            total += expected[k] - counts[k] * logarithm(expected[k])
        return 2.0 * total / gain
    for k in range(m):
        if gain == 0.0 or expected[k] <= 0.0:
            total += (0.5 * expected[k] - counts[k]) * expected[k] / variance
        else:
            rise = math.log1p(gain * expected[k] / variance)
            total += (expected[k] - (counts[k] + variance / gain) * rise) / gain
    return 2.0 * total


@njit(cache=True, nogil=True, error_model="numpy")
def prior_loss(parameters: NDArray[np.float64], n_peaks: int, each: int) -> float:
    """Minus twice the logarithm of a Wishart prior on the precision matrices, 0 at its maximum."""
    total = 0.0
    for i in range(3, n_peaks * each, each):
        a, b, c = parameters[i], parameters[i + 1], parameters[i + 2]
        total += _PRIOR_VARIANCE * (a + c) - 2.0 - math.log(_PRIOR_VARIANCE**2 * (a * c - b * b))
    return _PRIOR_PHOTONS * total


@njit(cache=True, nogil=True, error_model="numpy")
def prior_score(work: Workspace, n_peaks: int, each: int) -> None:
    """Add the prior's part to the gradient and the Fisher matrix."""
    half = 0.5 * _PRIOR_PHOTONS
    for i in range(3, n_peaks * each, each):
        a, b, c = work.best[i], work.best[i + 1], work.best[i + 2]
        det = a * c - b * b
        work.gradient[i] += half * (c / det - _PRIOR_VARIANCE)
        work.gradient[i + 1] -= half * 2.0 * b / det
        work.gradient[i + 2] += half * (a / det - _PRIOR_VARIANCE)
        scale = half / det**2
        work.fisher[i, i] += scale * c * c
        work.fisher[i + 1, i] -= scale * 2.0 * b * c
        work.fisher[i + 1, i + 1] += scale * 2.0 * (a * c + b * b)
        work.fisher[i + 2, i] += scale * b * b
        work.fisher[i + 2, i + 1] -= scale * 2.0 * a * b
        work.fisher[i + 2, i + 2] += scale * a * a


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def score(work: Workspace, m: int, p: int, gain: float, variance: float) -> None:
    """Write the gradient and the Fisher matrix (its lower triangle)."""
    n = _filled(m)
    counts, expected, weights, products = work.counts, work.expected, work.weights, work.products
    for k in range(n):
        weights[k] = 1.0 / (gain * max(expected[k], 0.0) + variance)
    weights[m:n] = 0.0
    for i in range(p):
        slope, total = work.slopes[i], 0.0
        for k in range(n):
            products[k] = weights[k] * slope[k]
            total += products[k] * (counts[k] - expected[k])
        work.gradient[i] = total
        for j in range(i + 1):
            other, total = work.slopes[j], 0.0
            for k in range(n):
                total += products[k] * other[k]
            work.fisher[i, j] = total


@njit(cache=True, nogil=True, error_model="numpy")
def narrowest(a: float, b: float, c: float) -> float:
    """Width along the minor axis; 0 where the matrix is not positive definite."""
    root = math.hypot(0.5 * (a - c), b)
    if not 0.5 * (a + c) > root:
        return 0.0
    return 1.0 / math.sqrt(0.5 * (a + c) + root)
