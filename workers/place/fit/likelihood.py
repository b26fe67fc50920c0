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
from functools import cache
from typing import Any, Protocol, get_type_hints

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.elementary import FAST, logarithm

__all__ = [
    "GAUSSIAN",
    "LANES",
    "LEVEL",
    "MAX_PEAKS",
    "OUTSIDE_PX",
    "PSEUDO_VOIGT",
    "TILTED",
    "WIDTH",
    "Lanes",
    "Workspace",
    "gather",
    "loss_of",
    "n_blocks",
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
WIDTH = MAX_PEAKS * PSEUDO_VOIGT + TILTED
"""Most parameters."""
LANES = 128
"""Pixels come in blocks of so many, the last filled up with some that do not count. Loops over a
block have a length that the compiler knows, and are several times as fast for it. The project's own
patches are one block."""
_BLOCKS = 2
"""Least blocks of memory: so there is one kind of it, and kernels are compiled once, for all
patches up to 15 pixels."""

_PRIOR_PHOTONS, _PRIOR_VARIANCE = 1.0, 2.25
"""What is known of a peak's shape beforehand is worth one photon of a round peak 1.5 px wide. It
keeps faint peaks from shrinking to a spike or spreading over the patch, and is nothing beside the
photons of others."""


class Points(Protocol):
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


class Lanes(Protocol):
    """Arrays over pixels in blocks, each (blocks, LANES) unless said otherwise."""

    counts: NDArray[np.float64]
    """Of the usable pixels, which come first."""
    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    expected: NDArray[np.float64]
    slopes: NDArray[np.float64]
    """(p, blocks, LANES), derivatives of `expected`."""
    live: NDArray[np.float64]
    """1 for the pixels of the patch, 0 for those that fill up."""
    weights: NDArray[np.float64]
    """Inverse variances of the counts, 0 for pixels that fill up."""
    residuals: NDArray[np.float64]
    products: NDArray[np.float64]
    node: NDArray[np.float64]
    """(7, 1, LANES), derivatives at one of the points where a pixel is sampled."""


class Workspace(Protocol):
    """Memory for one patch of m pixels and up to p parameters.

    It is one record: of arrays each, kernels would hand dozens of numbers to each other at every
    call, and not know how long they are.
    """

    lanes: Lanes
    image: NDArray[np.float64]
    """(4, pixels), for what is reckoned where pixels are in the patch."""
    fisher: NDArray[np.float64]
    """(p, p), the upper triangle of the Fisher matrix."""
    factor: NDArray[np.float64]
    """(p, p), what elimination makes of it."""
    pivots: NDArray[np.float64]
    """(p,), inverses of its diagonal."""
    inverse: NDArray[np.float64]
    """(p, p), covariances of all parameters."""
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
    memory: Workspace = np.zeros(1, _layout(max(n_blocks(size * size), _BLOCKS)))[0]
    memory.ground[0] = LEVEL
    return memory


@cache
def _layout(blocks: int) -> np.dtype[np.void]:
    pixels, many, square = (blocks, LANES), (WIDTH,), (WIDTH, WIDTH)
    lanes = {name: _floats(pixels) for name in get_type_hints(Lanes)}
    lanes |= {"slopes": _floats((WIDTH, *pixels)), "node": _floats((PSEUDO_VOIGT, 1, LANES))}
    whole = {
        "lanes": np.dtype((np.record, list(lanes.items()))),
        "points": np.dtype((np.record, [(one, _floats(many)) for one in get_type_hints(Points)])),
        "image": _floats((4, blocks * LANES)),
        **{name: _floats(square) for name in ("fisher", "factor", "inverse")},
        **{name: _floats(many) for name in ("pivots", "gradient", "step", "best")},
        "ground": np.dtype((np.int64, (1,))),
        "fixed": np.dtype((np.uint8, many)),
    }
    return np.dtype((np.record, list(whole.items())))


def _floats(shape: tuple[int, ...]) -> np.dtype[Any]:
    return np.dtype((np.float64, shape))


@njit(cache=True, nogil=True, error_model="numpy")
def n_blocks(m: int) -> int:
    """Blocks of `m` pixels."""
    return -(-m // LANES)


@njit(cache=True, nogil=True, error_model="numpy")
def gather(
    work: Workspace, patch: NDArray[np.float32], valid: NDArray[np.bool_], photons: bool
) -> int:
    """Take the usable pixels of a patch and return how many they are.

    Negative counts are impossible for `photons` and taken as 0.
    """
    size, lanes = patch.shape[0], work.lanes
    counts, rows, cols = lanes.counts.reshape(-1), lanes.rows.reshape(-1), lanes.cols.reshape(-1)
    middle, m = size // 2, 0
    for row in range(size):
        for col in range(size):
            count = float(patch[row, col])
            if valid[row, col] and math.isfinite(count):
                counts[m] = max(count, 0.0) if photons else count
                rows[m], cols[m] = row - middle, col - middle
                m += 1
    for k in range(m, n_blocks(m) * LANES):
        counts[k] = rows[k] = cols[k] = 0.0
    for block in range(n_blocks(m)):
        live, left = lanes.live[block], m - block * LANES
        for k in range(LANES):
            live[k] = 1.0 if k < left else 0.0
    return m


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def loss_of(work: Workspace, m: int, gain: float, variance: float) -> float:
    """Minus twice the quasi-likelihood, up to a constant."""
    total = 0.0
    if variance == 0.0:
        for block in range(n_blocks(m)):
            seen, model = work.lanes.counts[block], work.lanes.expected[block]
            live = work.lanes.live[block]
            for k in range(LANES):
                # Counts are never negative here, and expected ones above 0.
                total += live[k] * (model[k] - seen[k] * logarithm(model[k]))
        return 2.0 * total / gain
    for k in range(m):
        count, mu = (
            work.lanes.counts[k // LANES, k % LANES],
            work.lanes.expected[k // LANES, k % LANES],
        )
        if gain == 0.0 or mu <= 0.0:
            total += (0.5 * mu - count) * mu / variance
        else:
            total += (mu - (count + variance / gain) * math.log1p(gain * mu / variance)) / gain
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
        work.fisher[i, i + 1] -= scale * 2.0 * b * c
        work.fisher[i + 1, i + 1] += scale * 2.0 * (a * c + b * b)
        work.fisher[i, i + 2] += scale * b * b
        work.fisher[i + 1, i + 2] -= scale * 2.0 * a * b
        work.fisher[i + 2, i + 2] += scale * a * a


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def score(work: Workspace, m: int, first: int, p: int, gain: float, variance: float) -> None:
    """Write the gradient and the upper triangle of the Fisher matrix from column `first` on."""
    gradient, fisher, slopes = work.gradient, work.fisher, work.lanes.slopes
    for i in range(first, p):
        gradient[i] = 0.0
        for j in range(i + 1):
            fisher[j, i] = 0.0
    for block in range(n_blocks(m)):
        counts, expected = work.lanes.counts[block], work.lanes.expected[block]
        weights, live = work.lanes.weights[block], work.lanes.live[block]
        residuals, products = work.lanes.residuals[block], work.lanes.products[block]
        for k in range(LANES):
            weights[k] = live[k] / (gain * max(expected[k], 0.0) + variance)
        for k in range(LANES):
            residuals[k] = counts[k] - expected[k]
        for i in range(first, p):
            slope, total = slopes[i, block], 0.0
            for k in range(LANES):
                products[k] = weights[k] * slope[k]
            for k in range(LANES):
                total += products[k] * residuals[k]
            gradient[i] += total
            for j in range(i + 1):
                other, total = slopes[j, block], 0.0
                for k in range(LANES):
                    total += products[k] * other[k]
                fisher[j, i] += total


@njit(cache=True, nogil=True, error_model="numpy")
def narrowest(a: float, b: float, c: float) -> float:
    """Width along the minor axis; 0 where the matrix is not positive definite."""
    root = math.sqrt(0.25 * (a - c) ** 2 + b * b)
    if not 0.5 * (a + c) > root:
        return 0.0
    return 1.0 / math.sqrt(0.5 * (a + c) + root)
