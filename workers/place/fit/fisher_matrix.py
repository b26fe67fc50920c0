"""Equations with the Fisher matrix of a fit."""

from __future__ import annotations

import math

from numba import njit

from workers.place.fit.likelihood import WIDTH, Workspace, score

__all__ = ["extend", "factorise", "invert", "solve"]

_LEAST = 1e-13
"""Share of a diagonal element below which what others leave of it is rounding."""
_BLOCK = 8
"""Columns that are taken at once, `WIDTH` being a multiple: a length that is known is faster."""


@njit(cache=True, nogil=True, error_model="numpy")
def factorise(work: Workspace, p: int, damping: float) -> bool:
    """Eliminate in the Fisher matrix with its diagonal raised; fixed parameters stay put.

    Returns
    -------
    definite
        False where the matrix is not positive definite.
    """
    factor, pivots, fixed = work.factor, work.pivots, work.fixed
    _copy(work, p)
    for k in range(p):
        row = factor[k]
        scale = 1.0 if fixed[k] else work.fisher[k, k] * (1.0 + damping)
        pivot = row[k] if fixed[k] else row[k] + damping * work.fisher[k, k]
        if not (pivot > _LEAST * scale and math.isfinite(pivot)):
            return False
        pivots[k] = 1.0 / pivot
        for i in range(k + 1, p):
            share, other = row[i] * pivots[k], factor[i]
            # From the block of the diagonal on: what is left of it means nothing.
            for first in range(i - i % _BLOCK, p, _BLOCK):
                for j in range(first, first + _BLOCK):
                    other[j] -= share * row[j]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(work: Workspace, p: int) -> None:
    """Take the Fisher matrix, in which fixed parameters have nothing to do with others."""
    fisher, factor, fixed = work.fisher, work.factor, work.fixed
    for i in range(p):
        source, target = fisher[i], factor[i]
        for j in range(WIDTH):
            target[j] = source[j]
    for i in range(p):
        if fixed[i]:
            for j in range(p):
                factor[i, j] = factor[j, i] = 0.0
            factor[i, i] = 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(work: Workspace, p: int) -> None:
    """Take the gradient to `step` and eliminate in it as in the matrix."""
    step, factor, pivots = work.step, work.factor, work.pivots
    for k in range(p):
        step[k] = 0.0 if work.fixed[k] else work.gradient[k]
    for k in range(p):
        share, row = step[k] * pivots[k], factor[k]
        for j in range(k + 1, p):
            step[j] -= row[j] * share


@njit(cache=True, nogil=True, error_model="numpy")
def solve(work: Workspace, p: int) -> float:
    """Write the step of scoring to `step`, once the matrix is factorised.

    Returns
    -------
    expected_gain
        In twice the log-likelihood; the step's squared length in standard deviations.
    """
    _forward(work, p)
    step, factor, pivots, expected_gain = work.step, work.factor, work.pivots, 0.0
    for k in range(p - 1, -1, -1):
        step[k] *= pivots[k]
        for j in range(k):
            # What is solved for so far is taken off all equations above.
            step[j] -= factor[j, k] * step[k]
    for k in range(p):
        if not work.fixed[k]:
            expected_gain += step[k] * work.gradient[k]
    return expected_gain


@njit(cache=True, nogil=True, error_model="numpy")
def invert(work: Workspace, p: int) -> bool:
    """Write the inverse of the Fisher matrix, whole, to `inverse`; False where there is none.

    Rows of the matrix are exchanged for those of its inverse one by one (Gauss and Jordan).
    """
    inverse, fisher, fixed = work.inverse, work.fisher, work.fixed
    for i in range(p):
        for j in range(WIDTH):
            inverse[i, j] = 0.0
    for i in range(p):
        for j in range(i, p):
            apart = i != j and (fixed[i] or fixed[j])
            inverse[i, j] = inverse[j, i] = 0.0 if apart else fisher[i, j]
        if fixed[i]:
            inverse[i, i] = 1.0
    for k in range(p):
        row = inverse[k]
        scale, pivot = 1.0 if fixed[k] else fisher[k, k], row[k]
        if not (pivot > _LEAST * scale and math.isfinite(pivot)):
            return False
        share = 1.0 / pivot
        row[k] = 1.0
        for j in range(WIDTH):
            row[j] *= share
        for i in range(p):
            if i != k:
                other = inverse[i]
                share = other[k]
                other[k] = 0.0
                for first in range(0, p, _BLOCK):
                    for j in range(first, first + _BLOCK):
                        other[j] -= share * row[j]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def extend(
    work: Workspace, m: int, p: int, more: int, gain: float, variance: float
) -> tuple[float, float, float]:
    """Tell what fitting parameters too would do that are 0 in what was fitted.

    Their derivatives stand in `slopes` behind those of the `p` fitted ones, for which `gradient`
    and `fisher` were computed.

    Returns
    -------
    statistic, place, sigma
        By how much the loss should fall: a score statistic (Rao 1948), a chi-square with as many
        degrees of freedom if they are 0 in truth. Where one step of scoring would lead the last of
        them, NaN if nowhere, and its standard deviation.
    """
    score(work, m, p, p + more, gain, variance)
    for i in range(p, p + more):
        work.fixed[i] = False
    if not factorise(work, p + more, 0.0):
        return 0.0, math.nan, math.nan
    _forward(work, p + more)
    statistic, last = 0.0, p + more - 1
    for i in range(p, p + more):
        statistic += work.step[i] ** 2 * work.pivots[i]
    return statistic, work.step[last] * work.pivots[last], math.sqrt(work.pivots[last])
