"""Fisher scoring: up to the maximum of a patch's likelihood, and the Fisher matrix there."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.expected import evaluate
from workers.place.fit.fisher_matrix import factorise, solve
from workers.place.fit.likelihood import (
    OUTSIDE_PX,
    PSEUDO_VOIGT,
    TILTED,
    Workspace,
    loss_of,
    narrowest,
    prior_loss,
    prior_score,
    score,
)

__all__ = [
    "NARROW",
    "fisher_scoring",
    "narrow",
    "possible",
    "scoring_step",
    "settle",
]

NARROW = 0.7
"""Width in pixels below which sampling at pixel centres misplaces a peak: it is integrated over."""
_NARROWEST = 0.3
"""Smallest width in pixels."""
_FAINTEST = 1e-4
"""Smallest amplitude and, without read noise, background; photons per pixel."""
_CONVERGED = 1e-3
"""Expected gain in twice the log-likelihood of a step, its squared length in standard deviations,
below which it is the last: what it leaves is a small part of its 3 %."""
_IMPATIENCE = 0.2
"""Logarithm to base 2 by which that grows with each step. In a long, curved valley, such as of a
peak that hardly reaches into the patch, steps stay small and change nothing that matters."""
_MAX_STEPS = 50
_STUCK = 100.0
"""Damping from which slopes that are cut at their limit go along it, ever more slowly."""


@njit(cache=True, nogil=True, error_model="numpy")
def possible(trial: NDArray[np.float64], n_peaks: int, each: int, size: int) -> bool:
    """Whether every peak is wider than the narrowest and narrower than the patch."""
    for first in range(0, n_peaks * each, each):
        a, b, c = trial[first + 3], trial[first + 4], trial[first + 5]
        flattest = 0.5 * (a + c) - math.sqrt(0.25 * (a - c) ** 2 + b * b)
        if not (narrowest(a, b, c) >= _NARROWEST and flattest * size * size >= 1.0):
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _limit(
    work: Workspace,
    trial: NDArray[np.float64],
    n_peaks: int,
    each: int,
    size: int,
    lowest: float,
) -> bool:
    """Keep parameters within limits; True where slopes of the background are cut for that."""
    last, furthest, cut = n_peaks * each, 0.5 * size + OUTSIDE_PX, False
    trial[last] = max(trial[last], lowest)
    if work.ground[0] == TILTED and lowest > -math.inf:
        # Nowhere in the patch may the background be below its lowest.
        fall = (size // 2) * (abs(trial[last + 1]) + abs(trial[last + 2]))
        room = trial[last] - lowest
        cut = fall > room
        if cut:
            trial[last + 1] *= room / fall
            trial[last + 2] *= room / fall
    for first in range(0, last, each):
        trial[first] = max(trial[first], _FAINTEST)
        for i in (first + 1, first + 2):
            trial[i] = min(max(trial[i], -furthest), furthest)
        if each == PSEUDO_VOIGT:
            trial[first + 6] = min(max(trial[first + 6], 0.0), 1.0)
    return cut


@njit(cache=True, nogil=True, error_model="numpy")
def _fix(work: Workspace, n_peaks: int, each: int, size: int, lowest: float) -> None:
    best, gradient, last = work.best, work.gradient, n_peaks * each
    furthest = 0.5 * size + OUTSIDE_PX
    work.fixed[:last] = False
    work.fixed[last] = best[last] <= lowest and gradient[last] < 0.0
    work.fixed[last + 1 : last + work.ground[0]] = work.fixed[last]
    for first in range(0, last, each):
        for i in (first + 1, first + 2):
            work.fixed[i] = abs(best[i]) >= furthest and best[i] * gradient[i] > 0.0
        if each == PSEUDO_VOIGT:
            i = first + 6
            work.fixed[i] = (best[i] <= 0.0 and gradient[i] <= 0.0) or (
                best[i] >= 1.0 and gradient[i] >= 0.0
            )


@njit(cache=True, nogil=True, error_model="numpy")
def scoring_step(
    work: Workspace, n_peaks: int, each: int, size: int, gain: float, variance: float
) -> float:
    """Move `best` by one undamped step from where `score` and `prior_score` were computed.

    Returns
    -------
    expected_gain
        In twice the log-likelihood, the step's squared length in standard deviations; -1 where it
        leads nowhere and was not taken.
    """
    p = n_peaks * each + work.ground[0]
    lowest = _FAINTEST * gain if variance == 0.0 else -math.inf
    _fix(work, n_peaks, each, size, lowest)
    if not factorise(work, p, 0.0):
        return -1.0
    expected_gain, trial = solve(work, p), work.points.trial
    for i in range(p):
        trial[i] = work.best[i] + work.step[i]
    _limit(work, trial, n_peaks, each, size, lowest)
    if not (expected_gain >= 0.0 and possible(trial, n_peaks, each, size)):
        return -1.0
    work.best[:p] = trial[:p]
    return expected_gain


@njit(cache=True, nogil=True, error_model="numpy")
def _maximise(
    work: Workspace,
    m: int,
    n_peaks: int,
    each: int,
    fine: bool,
    size: int,
    gain: float,
    variance: float,
) -> tuple[bool, float, int]:
    """Go from `best` to the nearest maximum, by Fisher scoring with Marquardt's damping.

    Leaves parameters in `best`, and `expected` and `fisher` as they were a last, small step before.

    Returns
    -------
    converged, loss, steps
        The loss is minus twice the log-likelihood, up to a constant of the patch.
    """
    p = n_peaks * each + work.ground[0]
    lowest = _FAINTEST * gain if variance == 0.0 else -math.inf
    _limit(work, work.best, n_peaks, each, size, lowest)
    evaluate(work, m, work.best, n_peaks, each, fine)
    if m < p or not possible(work.best, n_peaks, each, size):
        return False, math.inf, 0
    loss = loss_of(work, m, gain, variance) + prior_loss(work.best, n_peaks, each)
    if not math.isfinite(loss):
        return False, math.inf, 0
    score(work, m, 0, p, gain, variance)
    prior_score(work, n_peaks, each)
    damping, stale, converged, steps = 1e-3, False, False, 0
    while steps < _MAX_STEPS and damping < 1e9:
        steps += 1
        _fix(work, n_peaks, each, size, lowest)
        if not factorise(work, p, damping):
            damping = max(10.0 * damping, 1e-3)
            continue
        expected_gain = solve(work, p)
        for i in range(p):
            work.points.trial[i] = work.best[i] + work.step[i]
        cut = _limit(work, work.points.trial, n_peaks, each, size, lowest)
        if expected_gain < _CONVERGED * 2.0 ** (_IMPATIENCE * steps) and damping <= 1.0:
            converged = True
            if possible(work.points.trial, n_peaks, each, size):
                work.best[:p] = work.points.trial[:p]
            break
        if not possible(work.points.trial, n_peaks, each, size):
            damping *= 10.0
            continue
        evaluate(work, m, work.points.trial, n_peaks, each, fine)
        trial_loss = loss_of(work, m, gain, variance) + prior_loss(work.points.trial, n_peaks, each)
        if trial_loss <= loss + 1e-12 * abs(loss):
            work.best[:p] = work.points.trial[:p]
            # The Fisher matrix knows nothing of the counts: where they bend the likelihood more
            # than expected, full steps would overshoot for ever.
            share = (loss - trial_loss) / max(expected_gain, 1e-300)
            if share > 0.7:
                damping *= 0.1
            elif share < 0.5:
                damping = max(3.0 * damping, 0.1)
                if cut and damping > _STUCK:
                    break
            loss, stale = trial_loss, False
            score(work, m, 0, p, gain, variance)
            prior_score(work, n_peaks, each)
        else:
            stale = True
            damping = max(10.0 * damping, 0.1)
    if stale:
        evaluate(work, m, work.best, n_peaks, each, fine)
    return converged, loss, steps


@njit(cache=True, nogil=True, error_model="numpy")
def narrow(work: Workspace, n_peaks: int, each: int) -> bool:
    """Whether a peak is so narrow that it has to be integrated over pixels."""
    for i in range(3, n_peaks * each, each):
        if narrowest(work.best[i], work.best[i + 1], work.best[i + 2]) < NARROW:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def fisher_scoring(
    work: Workspace, m: int, n_peaks: int, each: int, size: int, gain: float, variance: float
) -> tuple[bool, float, int]:
    """Maximise as `_maximise` does, integrating over pixels where a peak turns out to be narrow."""
    converged, loss, steps = False, math.inf, 0
    for fine in (False, True):
        if fine and not narrow(work, n_peaks, each):
            break
        converged, loss, more = _maximise(work, m, n_peaks, each, fine, size, gain, variance)
        steps += more
    return converged, loss, steps


@njit(cache=True, nogil=True, error_model="numpy")
def settle(
    work: Workspace, m: int, n_peaks: int, each: int, size: int, gain: float, variance: float
) -> None:
    """Write `expected` and `fisher` at parameters that were once found, or near those."""
    lowest = _FAINTEST * gain if variance == 0.0 else -math.inf
    _limit(work, work.best, n_peaks, each, size, lowest)
    evaluate(work, m, work.best, n_peaks, each, narrow(work, n_peaks, each))
    score(work, m, 0, n_peaks * each + work.ground[0], gain, variance)
    prior_score(work, n_peaks, each)
    _fix(work, n_peaks, each, size, lowest)
