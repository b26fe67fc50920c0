"""Weighted means of what scatters by more than its standard deviations say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["averages"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ROUNDS = 20
_CLOSE = 1e-3
"""How near chi-squared comes to what it should be, as a share of that."""
_LEAST = 1e-30
"""Variance of what does not scatter at all."""


class _Fit(NamedTuple):
    """Straight lines through observations."""

    mean: Floats
    """(tracks, 2), of the windows."""
    variance: Floats
    chi2: Floats
    """(tracks,), about the lines."""
    falls: Floats
    """(tracks,), how fast it falls as the variances grow."""
    freedom: Floats
    """(tracks,)"""


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
    known: Bools = np.all((np.isfinite(sigma) & (sigma > 0)) | ~taken, axis=(1, 2))
    value, hours = np.where(taken, value, 0.0), np.where(taken, hours, 0.0)
    variance = np.where(taken & known[:, None, None], sigma, 0.0) ** 2
    first = _fit(value, np.where(known[:, None, None], variance, 1.0), hours, taken, together)
    with np.errstate(divide="ignore", invalid="ignore"):
        scatter = np.where(first.freedom > 0, first.chi2 / first.freedom, np.nan)
    lacking = np.where(known, 0.0, scatter)
    mean, found = first.mean, first.variance * np.where(known, 1.0, scatter)[:, None]
    rows = np.flatnonzero(known & (first.chi2 > first.freedom) & (first.freedom > 0))
    fit = _Fit(*(column[rows] for column in first))
    for _ in range(_ROUNDS):
        # Newton's method for the inverse of chi-squared, which is nearly a straight line.
        lacking[rows] += fit.chi2 * (fit.chi2 / fit.freedom - 1.0) / fit.falls
        more = variance[rows] + lacking[rows, None, None]
        fit = _fit(value[rows], more, hours[rows], taken[rows], together[rows])
        mean[rows], found[rows] = fit.mean, fit.variance
        far = fit.chi2 > (1.0 + _CLOSE) * fit.freedom
        rows = rows[far]
        if not len(rows):
            break
        fit = _Fit(*(column[far] for column in fit))
    return mean, found


def _fit(value: Floats, variance: Floats, hours: Floats, taken: Bools, together: Bools) -> _Fit:
    weight = taken / np.maximum(variance, _LEAST)
    joined = together[:, None]

    def gathered(*terms: Floats) -> Floats:
        """Return the sums of products over the windows, or over both where these are one."""
        sums: Floats = np.einsum(",".join(["ijk"] * len(terms)) + "->ij", *terms)
        return np.where(joined, sums[:, :1] + sums[:, 1:], sums)

    with np.errstate(divide="ignore", invalid="ignore"):
        total = weight.sum(axis=2)
        total = np.where(total > 0, total, np.nan)
        mean = np.einsum("ijk,ijk->ij", weight, value) / total
        whole = gathered(weight)
        dx = value - (gathered(weight, value) / whole)[..., None]
        dt = hours - (gathered(weight, hours) / whole)[..., None]
        timed = weight * dt
        spread = gathered(timed, dt)
        moves = spread > 0
        rise = np.where(moves, gathered(timed, dx) / np.where(moves, spread, 1.0), 0.0)
    dx -= rise[..., None] * dt
    off = weight * dx * dx
    off[~taken] = 0.0
    n = taken.sum(axis=2)
    apart = np.maximum(n - 1 - moves, 0).sum(axis=1)
    freedom = np.where(together, n.sum(axis=1) - 1 - moves[:, 0], apart).astype(np.float64)
    falls = np.einsum("ijk,ijk->i", weight, off)
    return _Fit(mean, 1.0 / total, off.sum(axis=(1, 2)), falls, freedom)
