"""What observations of tracks say: where they stand, how they move, how their lattice strains.

An observation is row, column, their standard deviations (NaN where unknown) and the time in hours
since the track began, or the number of frames since then where these have no times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry

__all__ = [
    "OBSERVATION",
    "Estimate",
    "directions",
    "lattice",
    "line_terms",
    "mean",
    "project",
    "slope",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OBSERVATION = ("row", "col", "row_sigma", "col_sigma", "hours")
_ROW_SIGMA, _HOURS = OBSERVATION.index("row_sigma"), OBSERVATION.index("hours")
_SHARED = 0.05
"""Share of a position's variance that is the same on frames after one another, so that no mean
makes it smaller: it comes from the shape of the spot and what is beside it. With it 96 % to 98 % of
the strains of five simulated charge cycles are within 1.96 standard deviations, with 0.03 95 %."""


class Estimate(NamedTuple):
    """A quantity along rows and columns; (tracks, 2) each."""

    value: Floats
    variance: Floats


def mean(observations: Floats, count: Ints, most: Ints, *, newest: bool) -> Estimate:
    """Return weighted means of the positions, in pixels.

    Where the scatter about a straight line is larger than the standard deviations say, the variance
    of the mean grows by as much (the scale factor of the Particle Data Group's averages); where one
    of these is not known, all weigh the same and the variance comes from that scatter alone.

    Parameters
    ----------
    observations
        (tracks, size, 5), rings of observations.
    count
        (tracks,), how many were ever put into each ring.
    most
        (tracks,), how many to take.
    newest
        Take the newest ones, else the first.
    """
    size = observations.shape[1]
    last = count[:, None] - 1
    number = last - (last - np.arange(size)) % size
    taken = (number >= count[:, None] - most[:, None]) if newest else (number < most[:, None])
    taken &= number >= 0
    n = taken.sum(axis=1)
    hours = observations[..., _HOURS]
    value, variance = np.empty((len(count), 2)), np.empty((len(count), 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in (0, 1):
            x, sigma = observations[..., axis], observations[..., _ROW_SIGMA + axis]
            known = ((np.isfinite(sigma) & (sigma > 0)) | ~taken).all(axis=1)
            w = np.where(known[:, None], 1.0 / sigma**2, 1.0)
            w = np.where(taken, w, 0.0)
            x, t = np.where(taken, x, 0.0), np.where(taken, hours, 0.0)
            weight = w.sum(axis=1)
            at = (w * x).sum(axis=1) / weight
            dx = np.where(taken, x - at[:, None], 0.0)
            dt = np.where(taken, t - ((w * t).sum(axis=1) / weight)[:, None], 0.0)
            spread = (w * dt**2).sum(axis=1)
            moves = spread > 0
            rise = np.where(moves, (w * dx * dt).sum(axis=1) / np.where(moves, spread, 1.0), 0.0)
            chi2 = (w * (dx - rise[:, None] * dt) ** 2).sum(axis=1)
            value[:, axis] = at
            variance[:, axis] = _scale(chi2, n - 1 - moves, known) / weight
    return Estimate(value, variance * (1.0 + (n - 1) * _SHARED)[:, None])


def line_terms(x: Floats, sigma: Floats, hours: Floats) -> list[Floats]:
    """Return what is summed over observations to draw a straight line through them with `slope`."""
    known = np.isfinite(sigma) & (sigma > 0)
    w = np.where(known, 1.0 / np.where(known, sigma, 1.0) ** 2, 1.0)
    t = hours
    return [w, w * t, w * t * t, w * x, w * t * x, w * x * x, np.ones_like(w), known.astype(float)]


def slope(sums: Floats) -> Estimate:
    """Return the slopes of straight lines in pixels an hour, or a frame where there are no times.

    Parameters
    ----------
    sums
        (tracks, 2, 8), sums of `line_terms`.
    """
    w, t, tt, x, tx, xx, n, known = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = tt - t * t / w
        spread = np.where(spread > 1e-12 * tt, spread, np.nan)
        value = (tx - t * x / w) / spread
        chi2 = np.maximum(xx - x * x / w - value**2 * spread, 0.0)
        return Estimate(value, _scale(chi2, n - 2, known == n) / spread)


def directions(geometry: Geometry | None, at: Floats, drift: Floats) -> Floats:
    """Return (tracks, 2), the unit vectors along which drifts are told.

    They point away from the direct beam where `geometry` is known, else along the drift.
    """
    length = np.linalg.norm(drift, axis=1, keepdims=True)
    along: Floats = np.where(length > 0, drift, 1.0) / np.where(length > 0, length, np.sqrt(2.0))
    if geometry is not None:
        away = geometry.radial(at[:, 0], at[:, 1])
        along = np.where(np.isfinite(away), away, along)
    return along


def project(estimate: Estimate, along: Floats) -> tuple[Floats, Floats]:
    """Return an estimate along directions, and its standard deviation."""
    variance = (estimate.variance * along**2).sum(axis=1)
    return (estimate.value * along).sum(axis=1), np.sqrt(variance)


def lattice(geometry: Geometry | None, now: Estimate, reference: Estimate) -> dict[str, Floats]:
    """Return spacings in angstroms, strains and their standard deviations.

    Strains are ratios of sines, known also where the wavelength is not.
    """
    names = ("d", "d_sigma", "ref_d", "ref_d_sigma", "strain", "strain_sigma")
    if geometry is None:
        return {name: np.full(len(now.value), np.nan) for name in names}
    found = [geometry.locate(*one.value.T, *np.sqrt(one.variance).T) for one in (now, reference)]
    theta, ref_theta = (np.radians(one.two_theta) / 2.0 for one in found)
    with np.errstate(divide="ignore", invalid="ignore"):
        strain = np.sin(ref_theta) / np.sin(theta) - 1.0
        parts = [
            np.radians(one.two_theta_sigma) / 2.0 / np.tan(angle)
            for one, angle in zip(found, (theta, ref_theta), strict=True)
        ]
        sigma = (1.0 + strain) * np.hypot(*parts)
    columns = (found[0].d, found[0].d_sigma, found[1].d, found[1].d_sigma, strain, sigma)
    return dict(zip(names, columns, strict=True))


def _scale(chi2: Floats, freedom: Floats | Ints, known: Bools) -> Floats:
    """Return the factor to variances by which the scatter differs from what was expected."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(freedom > 0, chi2 / freedom, np.nan)
    # Few observations agree or disagree by chance.
    return np.where(known, np.where(freedom >= 3, np.maximum(ratio, 1.0), 1.0), ratio)
