"""Means of many whole windows at once: each as `averages` finds it, to the last digit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.tracks.averages import CLOSE, LEAST, ROUNDS

__all__ = ["AT_ONCE", "Batch", "empty", "solve"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

AT_ONCE = 64
"""Windows in a batch: with fewer, compilers do not make vectors of them."""


class Batch(NamedTuple):
    """Windows beside each other, so that a step is the same for all of them."""

    value: Floats
    """(size, AT_ONCE), observations; their standard deviations and times are the same."""
    sigma: Floats
    hours: Floats
    mean: Floats
    """(AT_ONCE,), which `solve` overwrites as all that follows."""
    variance: Floats
    own: Floats
    weight: Floats
    sums: Floats
    """(8, AT_ONCE)"""
    lacking: Floats
    known: Bools
    more: Bools


@njit(cache=True, nogil=True, error_model="numpy")
def empty(size: int) -> Batch:
    """Return room for windows of a size."""
    wide = (size, AT_ONCE)
    return Batch(
        np.zeros(wide),
        np.zeros(wide),
        np.zeros(wide),
        np.zeros(AT_ONCE),
        np.zeros(AT_ONCE),
        np.zeros(wide),
        np.zeros(wide),
        np.zeros((8, AT_ONCE)),
        np.zeros(AT_ONCE),
        np.zeros(AT_ONCE, np.bool_),
        np.zeros(AT_ONCE, np.bool_),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def solve(batch: Batch) -> None:
    """Find the mean of each window and its variance, as `averages.average` does for one."""
    sigma, own, known, more, lacking = (
        batch.sigma, batch.own, batch.known, batch.more, batch.lacking,
    )  # fmt: skip
    size = len(sigma)
    for j in range(AT_ONCE):
        known[j], lacking[j] = True, 0.0
        for i in range(size):
            known[j] &= np.isfinite(sigma[i, j]) and sigma[i, j] > 0
    for i in range(size):
        for j in range(AT_ONCE):
            own[i, j] = sigma[i, j] ** 2 if known[j] else 1.0
    _fit(batch.value, own, lacking, batch.hours, batch.weight, batch.sums)
    mass, mean, spread = batch.sums[0], batch.sums[1], batch.sums[3]
    chi2, falls = batch.sums[5], batch.sums[6]
    n_more = 0
    for j in range(AT_ONCE):
        freedom = max(size - 1 - (spread[j] > 0), 0)
        more[j] = known[j] and freedom > 0 and chi2[j] > freedom
        n_more += more[j]
    for _ in range(ROUNDS):
        if not n_more:
            break
        for j in range(AT_ONCE):
            if more[j]:
                freedom = max(size - 1 - (spread[j] > 0), 0)
                lacking[j] += chi2[j] * (chi2[j] / freedom - 1.0) / falls[j]
        # Those that are done are done again, to the same end.
        _fit(batch.value, own, lacking, batch.hours, batch.weight, batch.sums)
        n_more = 0
        for j in range(AT_ONCE):
            freedom = max(size - 1 - (spread[j] > 0), 0)
            more[j] = more[j] and chi2[j] > (1.0 + CLOSE) * freedom
            n_more += more[j]
    for j in range(AT_ONCE):
        batch.mean[j], batch.variance[j] = mean[j], 1.0 / mass[j]
        if not known[j]:
            freedom = max(size - 1 - (spread[j] > 0), 0)
            batch.variance[j] *= chi2[j] / freedom if freedom > 0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(
    value: Floats, own: Floats, lacking: Floats, hours: Floats, weight: Floats, sums: Floats
) -> None:
    """Draw a straight line through each window.

    Parameters
    ----------
    sums
        (8, AT_ONCE), overwritten with the sum of weights, mean value and time, spread of times, and
        of these with values, chi-squared, how fast it falls as the variances grow, and slope.
    """
    mass, x, t, tt = sums[0], sums[1], sums[2], sums[3]
    tx, chi2, falls, rise = sums[4], sums[5], sums[6], sums[7]
    sums[:] = 0.0
    # One sum a loop: compilers make vectors of such.
    for i in range(len(value)):
        w, o, v, h = weight[i], own[i], value[i], hours[i]
        for j in range(AT_ONCE):
            w[j] = 1.0 / max(o[j] + lacking[j], LEAST)
        for j in range(AT_ONCE):
            mass[j] += w[j]
        for j in range(AT_ONCE):
            x[j] += w[j] * v[j]
        for j in range(AT_ONCE):
            t[j] += w[j] * h[j]
    for j in range(AT_ONCE):
        x[j] /= mass[j]
        t[j] /= mass[j]
    for i in range(len(value)):
        w, v, h = weight[i], value[i], hours[i]
        for j in range(AT_ONCE):
            dt = h[j] - t[j]
            tt[j] += w[j] * dt * dt
        for j in range(AT_ONCE):
            dt = h[j] - t[j]
            tx[j] += w[j] * dt * (v[j] - x[j])
    for j in range(AT_ONCE):
        rise[j] = tx[j] / tt[j] if tt[j] > 0 else 0.0
    for i in range(len(value)):
        w, v, h = weight[i], value[i], hours[i]
        for j in range(AT_ONCE):
            off = v[j] - x[j] - rise[j] * (h[j] - t[j])
            chi2[j] += w[j] * off * off
        for j in range(AT_ONCE):
            off = v[j] - x[j] - rise[j] * (h[j] - t[j])
            falls[j] += w[j] * w[j] * off * off
