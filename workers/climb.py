"""Climbing to the maximum of a patch's likelihood, and what the Fisher matrix there tells."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.likelihood import (
    PSEUDO_VOIGT,
    Workspace,
    evaluate,
    loss_of,
    narrowest,
    prior_loss,
    prior_score,
    score,
)

__all__ = ["climb", "invert", "settle"]

_NARROW = 0.7
"""Width in pixels below which sampling at pixel centres misplaces a peak."""
_NARROWEST = 0.3
"""Smallest width in pixels."""
_FAINTEST = 1e-4
"""Smallest amplitude and, without read noise, background; photons per pixel."""
_OUTSIDE = 2.0
"""How far outside the patch a peak may stand, in pixels."""
_CONVERGED = 1e-6
"""Expected gain in twice the log-likelihood below which a step, a thousandth of the standard
deviation at most, is not worth taking."""
_MAX_STEPS = 60


@njit(cache=True, nogil=True)
def _factorise(work: Workspace, p: int, damping: float) -> bool:
    """Factorise the Fisher matrix with its diagonal raised; fixed parameters stay put."""
    for i in range(p):
        for j in range(i + 1):
            if work.fixed[i] or work.fixed[j]:
                total = 1.0 if i == j else 0.0
            else:
                total = work.fisher[i, j] * (1.0 + damping if i == j else 1.0)
            scale = total
            for k in range(j):
                total -= work.factor[i, k] * work.factor[j, k]
            if i > j:
                work.factor[i, j] = total / work.factor[j, j]
            elif total > 1e-13 * scale and math.isfinite(total):
                work.factor[i, i] = math.sqrt(total)
            else:
                return False
    return True


@njit(cache=True, nogil=True)
def _solve(work: Workspace, p: int) -> None:
    """Replace `step`, a right-hand side, by the solution."""
    for i in range(p):
        for k in range(i):
            work.step[i] -= work.factor[i, k] * work.step[k]
        work.step[i] /= work.factor[i, i]
    for i in range(p - 1, -1, -1):
        for k in range(i + 1, p):
            work.step[i] -= work.factor[k, i] * work.step[k]
        work.step[i] /= work.factor[i, i]


@njit(cache=True, nogil=True)
def invert(work: Workspace, p: int, column: int) -> bool:
    """Write a column of the inverse Fisher matrix to `step`; False if there is none."""
    if not _factorise(work, p, 0.0):
        return False
    work.step[:p] = 0.0
    work.step[column] = 1.0
    _solve(work, p)
    return True


@njit(cache=True, nogil=True)
def _possible(trial: NDArray[np.float64], n_peaks: int, each: int, size: int) -> bool:
    for first in range(0, n_peaks * each, each):
        a, b, c = trial[first + 3], trial[first + 4], trial[first + 5]
        flattest = 0.5 * (a + c) - math.hypot(0.5 * (a - c), b)
        if not (narrowest(a, b, c) >= _NARROWEST and flattest * size * size >= 1.0):
            return False
    return True


@njit(cache=True, nogil=True)
def _limit(trial: NDArray[np.float64], n_peaks: int, each: int, size: int, lowest: float) -> None:
    last, furthest = n_peaks * each, 0.5 * size + _OUTSIDE
    trial[last] = max(trial[last], lowest)
    for first in range(0, last, each):
        trial[first] = max(trial[first], _FAINTEST)
        for i in (first + 1, first + 2):
            trial[i] = min(max(trial[i], -furthest), furthest)
        if each == PSEUDO_VOIGT:
            trial[first + 6] = min(max(trial[first + 6], 0.0), 1.0)


@njit(cache=True, nogil=True)
def _fix(work: Workspace, n_peaks: int, each: int, size: int, lowest: float) -> None:
    best, gradient, last = work.best, work.gradient, n_peaks * each
    furthest = 0.5 * size + _OUTSIDE
    work.fixed[:last] = False
    work.fixed[last] = best[last] <= lowest and gradient[last] < 0.0
    for first in range(0, last, each):
        for i in (first + 1, first + 2):
            work.fixed[i] = abs(best[i]) >= furthest and best[i] * gradient[i] > 0.0
        if each == PSEUDO_VOIGT:
            i = first + 6
            work.fixed[i] = (best[i] <= 0.0 and gradient[i] <= 0.0) or (
                best[i] >= 1.0 and gradient[i] >= 0.0
            )


@njit(cache=True, nogil=True)
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
    """Climb from `best` to the nearest maximum, by Fisher scoring with Marquardt's damping.

    Leaves parameters in `best`, and `expected` and `fisher` as they are there.

    Returns
    -------
    converged, loss, steps
        The loss is minus twice the log-likelihood, up to a constant of the patch.
    """
    p = n_peaks * each + 1
    lowest = _FAINTEST * gain if variance == 0.0 else -math.inf
    _limit(work.best, n_peaks, each, size, lowest)
    evaluate(work, m, work.best, n_peaks, each, fine)
    if m < p or not _possible(work.best, n_peaks, each, size):
        return False, math.inf, 0
    loss = loss_of(work, m, gain, variance) + prior_loss(work.best, n_peaks, each)
    if not math.isfinite(loss):
        return False, math.inf, 0
    score(work, m, p, gain, variance)
    prior_score(work, n_peaks, each)
    damping, stale, converged, steps = 1e-3, False, False, 0
    while steps < _MAX_STEPS and damping < 1e9:
        steps += 1
        _fix(work, n_peaks, each, size, lowest)
        if not _factorise(work, p, damping):
            damping = max(10.0 * damping, 1e-3)
            continue
        expected_gain = 0.0
        for i in range(p):
            work.step[i] = 0.0 if work.fixed[i] else work.gradient[i]
        _solve(work, p)
        for i in range(p):
            work.trial[i] = work.best[i] + work.step[i]
            if not work.fixed[i]:
                expected_gain += work.step[i] * work.gradient[i]
        if expected_gain < _CONVERGED and damping <= 1.0:
            converged = True
            break
        _limit(work.trial, n_peaks, each, size, lowest)
        if not _possible(work.trial, n_peaks, each, size):
            damping *= 10.0
            continue
        evaluate(work, m, work.trial, n_peaks, each, fine)
        trial_loss = loss_of(work, m, gain, variance) + prior_loss(work.trial, n_peaks, each)
        if trial_loss <= loss + 1e-12 * abs(loss):
            work.best[:p] = work.trial[:p]
            # The Fisher matrix knows nothing of the counts: where they bend the likelihood more
            # than expected, full steps would overshoot for ever.
            share = (loss - trial_loss) / max(expected_gain, 1e-300)
            if share > 0.7:
                damping *= 0.1
            elif share < 0.5:
                damping = max(3.0 * damping, 0.1)
            loss, stale = trial_loss, False
            score(work, m, p, gain, variance)
            prior_score(work, n_peaks, each)
        else:
            stale = True
            damping = max(10.0 * damping, 0.1)
    if stale:
        evaluate(work, m, work.best, n_peaks, each, fine)
    return converged, loss, steps


@njit(cache=True, nogil=True)
def _narrow(work: Workspace, n_peaks: int, each: int) -> bool:
    """Whether a peak is so narrow that it has to be integrated over pixels."""
    for i in range(3, n_peaks * each, each):
        if narrowest(work.best[i], work.best[i + 1], work.best[i + 2]) < _NARROW:
            return True
    return False


@njit(cache=True, nogil=True)
def climb(
    work: Workspace, m: int, n_peaks: int, each: int, size: int, gain: float, variance: float
) -> tuple[bool, float, int]:
    """Climb as `_maximise` does, integrating over pixels where a peak turns out to be narrow."""
    converged, loss, steps = False, math.inf, 0
    for fine in (False, True):
        if fine and not _narrow(work, n_peaks, each):
            break
        converged, loss, more = _maximise(work, m, n_peaks, each, fine, size, gain, variance)
        steps += more
    return converged, loss, steps


@njit(cache=True, nogil=True)
def settle(
    work: Workspace, m: int, n_peaks: int, each: int, size: int, gain: float, variance: float
) -> None:
    """Write `expected` and `fisher` at parameters that `climb` once found."""
    evaluate(work, m, work.best, n_peaks, each, _narrow(work, n_peaks, each))
    score(work, m, n_peaks * each + 1, gain, variance)
    prior_score(work, n_peaks, each)
    _fix(work, n_peaks, each, size, _FAINTEST * gain if variance == 0.0 else -math.inf)
