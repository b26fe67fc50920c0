"""One peak, fitted from where it is known to stand roughly: a few steps lead to the maximum."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.base import TRAINED_PX
from workers.place.border import border_level
from workers.place.fit.beginning import begin, begin_at
from workers.place.fit.expected import evaluate
from workers.place.fit.fisher_scoring import fisher_scoring, narrow, scoring_step, settle
from workers.place.fit.goodness import goodness
from workers.place.fit.kernel import STEEP, conclude
from workers.place.fit.likelihood import (
    GAUSSIAN,
    LEVEL,
    TILTED,
    Workspace,
    gather,
    prior_score,
    score,
)
from workers.place.fit.residuals import drop_dead, tilt

__all__ = ["polish_patches"]

_LAST = 0.1
"""Expected gain in twice the log-likelihood of a step, its squared length in standard deviations,
below which it is the last: another would be a tenth as long."""
_MOST_STEPS = 8
_LEAST_SPREAD = 0.08
"""Share of its height that a peak reaches on a pixel beside its highest: of one 0.45 px wide in the
middle of a pixel 0.18. Less than with which finding peaks flags them."""
_ALONE = 30.0
"""Counts above the background from which a pixel without others beside it is alone, rather than the
one that happened to get most of few photons."""
_WORSE, _WORSE_ON_SLOPE = 4.0, 1.0
"""Ratios of the gains that two steps expect from which they lead away from a maximum: on level
ground, where the first steps may be long, and on one with slopes, where they begin near it."""
_HOPELESS = 15.0
"""`excess` on level ground from which slopes are given up that undamped steps do not find: the
counts are those of several peaks, and more patient steps wander for long. Of 1,637 such patches,
slopes explained the counts of 100, from an excess of 8.4 at most."""


@njit(cache=True, nogil=True, error_model="numpy")
def polish_patches(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    places: NDArray[np.float64],
    spoilt: NDArray[np.bool_],
    work: Workspace,
    gain: float,
    variance: float,
    table: NDArray[np.void],
    shape: NDArray[np.float64],
) -> None:
    """Fit a Gaussian to each patch, from places that are known roughly.

    Where steps from there do not lead to a maximum, or the peak is so narrow that pixels have to be
    integrated over, it is fitted as if nothing were known. But where it is said that there is no
    one peak either, more patient steps would wander for long and end at the brightest of several:
    nothing is fitted, and the table tells which pixel is the highest. Nor is a background with
    slopes tried there, but for what stands beyond `TRAINED_PX`.

    Parameters
    ----------
    places
        (n, 2), offsets along rows and columns from the middle pixel's centre.
    spoilt
        (n,), True where the patch is said to hold something else than one peak.
    patches, valid, work, gain, variance, table, shape
        See `workers.place.fit.kernel.fit_patches`.
    """
    n, size, _ = patches.shape
    for i in range(n):
        row = table[i]
        row.n_peaks, row.converged = 1, 0
        row.row_variance = row.covariance = row.col_variance = math.nan
        level = border_level(patches[i], valid[i])
        if _is_alone(patches[i], valid[i], level):
            continue
        m = gather(work, patches[i], valid[i], gain > 0.0 and variance == 0.0)
        work.ground[0] = LEVEL
        begin_at(work, m, level, places[i, 0], places[i, 1], gain, variance)
        converged = _climb(work, m, size, _WORSE, gain, variance)
        if not converged and spoilt[i]:
            row.row, row.col = _highest(work, m)
            continue
        if not converged or narrow(work, 1, GAUSSIAN):
            begin(work, m, level, gain, variance)
            converged, _, _ = fisher_scoring(work, m, 1, GAUSSIAN, size, gain, variance)
        alive = drop_dead(work, m, gain, variance) if converged else m
        if alive < m:
            m = alive
            converged, _, _ = fisher_scoring(work, m, 1, GAUSSIAN, size, gain, variance)
        _, _, excess = goodness(work, m, GAUSSIAN + LEVEL, gain, variance)
        # Slopes make no peak of what is none; what stands further out may be one after all.
        far = max(abs(work.best[1]), abs(work.best[2])) > TRAINED_PX
        may_be_one = converged and (far or not spoilt[i])
        if may_be_one and tilt(work, m, gain, variance) > STEEP:
            if _fit_slopes(work, m, size, spoilt[i] or excess >= _HOPELESS, gain, variance):
                _, _, excess = goodness(work, m, GAUSSIAN + TILTED, gain, variance)
        if converged:
            conclude(work, m, 1, GAUSSIAN, size, gain, variance, row, shape[i])
        row.excess = excess


@njit(cache=True, nogil=True, error_model="numpy")
def _is_alone(patch: NDArray[np.float32], valid: NDArray[np.bool_], level: float) -> bool:
    """Whether the middle pixel is no peak but a pixel alone, as hot ones are.

    What finds peaks flags these. Their fits would go on to the narrowest width there is, each step
    integrated over pixels, and take longer than those of all other peaks together.
    """
    half = patch.shape[0] // 2
    beside = 0.0
    for i in range(half - 1, half + 2):
        for j in range(half - 1, half + 2):
            if valid[i, j] and not (i == half and j == half):
                beside = max(beside, float(patch[i, j]) - level)
    height = float(patch[half, half]) - level
    return valid[half, half] and height > _ALONE and beside < _LEAST_SPREAD * height


@njit(cache=True, nogil=True, error_model="numpy")
def _highest(work: Workspace, m: int) -> tuple[float, float]:
    """Return row and column of the usable pixel with most counts."""
    lanes = work.lanes
    at = lanes.counts.reshape(-1)[:m].argmax() if m else 0
    return lanes.rows.reshape(-1)[at], lanes.cols.reshape(-1)[at]


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_slopes(
    work: Workspace, m: int, size: int, hopeless: bool, gain: float, variance: float
) -> bool:
    """Fit the background's slopes too; where there is no such maximum, all is as it was.

    Parameters
    ----------
    hopeless
        Undamped steps find them, or they are given up.
    """
    best, first = work.best, GAUSSIAN + LEVEL
    work.points.level[:] = best
    work.ground[0] = TILTED
    best[first : GAUSSIAN + TILTED] = 0.0
    if not hopeless or narrow(work, 1, GAUSSIAN):
        tilted, _, _ = fisher_scoring(work, m, 1, GAUSSIAN, size, gain, variance)
    else:
        tilted = _climb(work, m, size, _WORSE_ON_SLOPE, gain, variance)
        tilted = tilted and not narrow(work, 1, GAUSSIAN)
    if not tilted:
        best[:] = work.points.level
        work.ground[0] = LEVEL
        settle(work, m, 1, GAUSSIAN, size, gain, variance)
    return tilted


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(work: Workspace, m: int, size: int, worse: float, gain: float, variance: float) -> bool:
    """Go to the maximum by undamped steps; False where they do not lead there.

    Parameters
    ----------
    worse
        Ratio of the gains that two steps expect from which they lead away from it.
    """
    p, before = GAUSSIAN + work.ground[0], math.inf
    if m < p:
        return False
    for _ in range(_MOST_STEPS):
        evaluate(work, m, work.best, 1, GAUSSIAN, False)
        score(work, m, 0, p, gain, variance)
        prior_score(work, 1, GAUSSIAN)
        expected_gain = scoring_step(work, 1, GAUSSIAN, size, gain, variance)
        if not 0.0 <= expected_gain < worse * before:
            return False
        if expected_gain < _LAST:
            return True
        before = expected_gain
    return False
