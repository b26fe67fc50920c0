"""Weighted means of what scatters by more than its standard deviations say."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["CLOSE", "LEAST", "ROUNDS", "average", "averages"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ROUNDS = 20
CLOSE = 1e-3
"""How near chi-squared comes to what it should be, as a share of that."""
LEAST = 1e-30
"""Variance of what does not scatter at all."""


def averages(
    value: Floats, sigma: Floats, hours: Floats, taken: Bools, together: Bools
) -> tuple[Floats, Floats]:
    """Return the means in two windows of each track and their variances, (tracks, 2) each.

    Observations scatter by more than their standard deviations say where these leave something
    out, as the choice of one peak or two. The variance that lacks is the one with which chi-squared
    about a straight line is its expectation (Mandel and Paule, Anal. Chem. 42, 1194, 1970, as in
    DerSimonian and Kacker, Contemp. Clin. Trials 28, 105, 2007). It is added to that of each
    observation of both windows, so that those which claim too much weigh no more than others.

    Parameters
    ----------
    value, sigma, hours
        (tracks, 2, size), observations, their standard deviations and times. Where one of a track
        that counts has none, they weigh the same and the variance comes from their scatter alone.
    taken
        (tracks, 2, size), which count.
    together
        (tracks,), whether the windows follow each other: all they hold is about one line then.

    Returns
    -------
    mean, variance
        NaN where nothing counts; a variance also where nothing tells it.
    """
    mean, variance = np.full((2, *taken.shape[:2]), np.nan)
    value, sigma, hours = (np.ascontiguousarray(column) for column in (value, sigma, hours))
    _all(value, sigma, hours, np.ascontiguousarray(taken), together, mean, variance)
    return mean, variance


@njit(cache=True, nogil=True, error_model="numpy")
def _all(
    value: Floats,
    sigma: Floats,
    hours: Floats,
    taken: Bools,
    together: Bools,
    mean: Floats,
    variance: Floats,
) -> None:
    memory = np.empty(value.shape[1:]), np.empty(value.shape[1:])
    for i in range(len(value)):
        average(value[i], sigma[i], hours[i], taken[i], together[i], memory, mean[i], variance[i])


@njit(cache=True, nogil=True, error_model="numpy")
def average(
    value: Floats,
    sigma: Floats,
    hours: Floats,
    taken: Bools,
    together: bool,
    memory: tuple[Floats, Floats],
    mean: Floats,
    variance: Floats,
) -> None:
    """Find the means of the windows of one track and their variances, as `averages` does.

    Parameters
    ----------
    value, sigma, hours, taken
        (windows, size)
    memory
        Two arrays of this shape.
    mean, variance
        (windows,), which are overwritten.
    """
    known = True
    for w in range(value.shape[0]):
        for i in range(value.shape[1]):
            known &= not taken[w, i] or (np.isfinite(sigma[w, i]) and sigma[w, i] > 0)
    own, weight = memory
    for w in range(value.shape[0]):
        for i in range(value.shape[1]):
            own[w, i] = sigma[w, i] ** 2 if known else 1.0
    lacking = 0.0
    chi2, falls, freedom = _fit(value, own, lacking, hours, taken, together, weight, mean, variance)
    if not known:
        for w in range(value.shape[0]):
            variance[w] *= chi2 / freedom if freedom > 0 else np.nan
        return
    if freedom <= 0 or not chi2 > freedom:
        return
    for _ in range(ROUNDS):
        # Newton's method for the inverse of chi-squared, which is nearly a straight line.
        lacking += chi2 * (chi2 / freedom - 1.0) / falls
        chi2, falls, freedom = _fit(
            value, own, lacking, hours, taken, together, weight, mean, variance
        )
        if not chi2 > (1.0 + CLOSE) * freedom:
            return


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(
    value: Floats,
    own: Floats,
    lacking: float,
    hours: Floats,
    taken: Bools,
    together: bool,
    weight: Floats,
    mean: Floats,
    variance: Floats,
) -> tuple[float, float, float]:
    """Draw straight lines through observations, one in each window or one in all.

    Parameters
    ----------
    weight
        (windows, size), which are overwritten: to divide takes longer than all else.

    Returns
    -------
    chi2
        About the lines.
    falls
        How fast it falls as the variances grow.
    freedom
        Observations beyond those that it takes.
    """
    chi2 = falls = freedom = 0.0
    mass = x = t = tt = tx = 0.0
    n = begin = 0
    for w in range(value.shape[0]):
        if not together:
            n, begin, mass, x, t = 0, w, 0.0, 0.0, 0.0
        own_mass = own_x = 0.0
        for i in range(value.shape[1]):
            if taken[w, i]:
                weight[w, i] = 1.0 / max(own[w, i] + lacking, LEAST)
                n += 1
                own_mass += weight[w, i]
                own_x += weight[w, i] * value[w, i]
                t += weight[w, i] * hours[w, i]
        mass, x = mass + own_mass, x + own_x
        mean[w] = own_x / own_mass if own_mass > 0 else np.nan
        variance[w] = 1.0 / own_mass if own_mass > 0 else np.nan
        if n == 0 or (together and w < value.shape[0] - 1):
            continue
        tt = tx = 0.0
        middle, then = x / mass, t / mass
        for v in range(begin, w + 1):
            for i in range(value.shape[1]):
                if taken[v, i]:
                    dt = hours[v, i] - then
                    tt += weight[v, i] * dt * dt
                    tx += weight[v, i] * dt * (value[v, i] - middle)
        rise = tx / tt if tt > 0 else 0.0
        for v in range(begin, w + 1):
            for i in range(value.shape[1]):
                if taken[v, i]:
                    off = value[v, i] - middle - rise * (hours[v, i] - then)
                    chi2 += weight[v, i] * off * off
                    falls += weight[v, i] * weight[v, i] * off * off
        freedom += max(n - 1 - (tt > 0), 0)
    return chi2, falls, freedom
