"""Whether counts agree with what a fit expects."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.elementary import FAST, logarithm
from workers.place.fit.likelihood import LANES, Lanes, Workspace, n_blocks

__all__ = ["deviance_moments", "goodness"]

_SMALLEST = 1e-300
_LOG_LOWEST, _LOG_HIGHEST, _N_KNOTS = math.log(1e-5), math.log(100.0), 400


def deviance_moments(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean and variance of the deviance ``2*(mu - d + d*log(d/mu))`` of a Poisson count d.

    They are 1 and 2, those of a chi-square, only for many counts.

    Parameters
    ----------
    expected
        (n,), mu, at most a few hundred.

    Returns
    -------
    NDArray
        (n, 2).
    """
    mu = np.asarray(expected, np.float64)[:, None]
    count = np.arange(int(expected.max() + 12.0 * math.sqrt(expected.max()) + 30.0))[None, :]
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(count[0, 1:]))])
    share = np.exp(count * np.log(mu) - mu - log_factorial)
    deviance = 2.0 * (mu - count + count * np.log(np.maximum(count, 1) / mu))
    mean = (share * deviance).sum(axis=1)
    return np.stack([mean, (share * (deviance - mean[:, None]) ** 2).sum(axis=1)], axis=1)


_MOMENTS = deviance_moments(np.exp(np.linspace(_LOG_LOWEST, _LOG_HIGHEST, _N_KNOTS)))


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def goodness(
    work: Workspace, m: int, p: int, gain: float, variance: float
) -> tuple[float, float, float]:
    """Compare the counts of the first `m` pixels with the expected ones.

    Poisson counts (`variance` 0) are compared by their deviance, others by Pearson's chi-square.
    Mean and variance of the sum are those at the expected counts, less what `p` fitted parameters
    take away; a multiple of a chi-square with the same mean and variance, made normal by Wilson and
    Hilferty's cube root, gives the excess.

    Returns
    -------
    deviance, mean, excess
        `mean` is what to expect of `deviance`; `excess` is about standard normal if the model is
        right.
    """
    deviance, mean, spread = 0.0, -float(p), -2.0 * p
    lanes = work.lanes
    if variance > 0.0:
        counts, expected = lanes.counts.reshape(-1), lanes.expected.reshape(-1)
        for k in range(m):
            error = gain * max(expected[k], 0.0) + variance
            deviance += (counts[k] - expected[k]) ** 2 / error
            spread += 2.0 + gain**3 * max(expected[k], 0.0) / error**2
        mean += m
    else:
        scale = (_N_KNOTS - 1) / (_LOG_HIGHEST - _LOG_LOWEST)
        lowest = _LOG_LOWEST + math.log(gain)
        for block in range(n_blocks(m)):
            deviance += _deviance(lanes, block)
            places = lanes.products[block]
            for k in range(min(LANES, m - block * LANES)):
                place = (places[k] - lowest) * scale
                # What is not a number must not become a place in the table.
                place = min(place, _N_KNOTS - 1.001) if place > 0.0 else 0.0
                knot = int(place)
                part = place - knot
                mean += _MOMENTS[knot, 0] + part * (_MOMENTS[knot + 1, 0] - _MOMENTS[knot, 0])
                spread += _MOMENTS[knot, 1] + part * (_MOMENTS[knot + 1, 1] - _MOMENTS[knot, 1])
        deviance *= 2.0 / gain
    if m <= p:
        return deviance, mean, 0.0
    # Almost empty patches: no sum of few counts is narrower than one count makes it.
    mean, spread = max(mean, 1.0), max(spread, 1.0)
    ninth = spread / (9.0 * mean * mean)
    return deviance, mean, ((deviance / mean) ** (1.0 / 3.0) - (1.0 - ninth)) / math.sqrt(ninth)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _deviance(lanes: Lanes, block: int) -> float:
    """Return half of the deviance of a block, and write logarithms of what is expected."""
    counts, expected, live = lanes.counts[block], lanes.expected[block], lanes.live[block]
    logarithms, total = lanes.products[block], 0.0
    for k in range(LANES):
        logarithms[k] = logarithm(expected[k])
    for k in range(LANES):
        # Where nothing was counted, its logarithm is that of the smallest number, times nothing.
        log = logarithm(max(counts[k], _SMALLEST)) - logarithms[k]
        total += live[k] * (expected[k] - counts[k] + counts[k] * log)
    return total
