"""What observations of tracks say: where they stand, how they move, how their lattice strains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.tracks.averages import averages

__all__ = [
    "SHARED",
    "Estimate",
    "directions",
    "lattice",
    "means",
    "project",
    "significance",
    "slope",
    "window",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SHARED = 0.07
"""Share of a position's variance that is the same on frames after one another, so that no mean
makes it smaller: it comes from how the spot lies on the pixels and from what is beside it. In
simulated charge cycles errors 1 to 10 frames apart correlate by 0.02 to 0.06; with 0.07 94 % to
96 % of the strains of four cycles are within 1.96 standard deviations, with 0.05 93 % to 96 %."""
_ANOTHER_PX = 0.5
"""A spot that has moved so far lies on its pixels in another way: half of that share is new."""


class Estimate(NamedTuple):
    """A quantity along rows and columns; (tracks, 2) each."""

    value: Floats
    variance: Floats


def window(observations: Floats, count: Ints, most: Ints, *, newest: bool) -> Bools:
    """Return (tracks, size), which observations in a ring are the newest ones, or the first.

    Parameters
    ----------
    observations
        (tracks, size, quantities), rings.
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
    return np.asarray(taken & (number >= 0))


class Means(NamedTuple):
    """Mean positions of tracks in two windows, in pixels."""

    first: Estimate
    second: Estimate
    shared: Floats
    """(tracks, 2, 2), the variances that no mean makes smaller: windows, then rows and columns."""

    def moved(self) -> tuple[Estimate, Estimate]:
        """Return both with the variances that their difference has.

        What a spot that stands still shares with itself cancels.
        """
        far = ((self.second.value - self.first.value) ** 2).sum(axis=1)
        same = _ANOTHER_PX**2 / (far + _ANOTHER_PX**2)
        one, other = (
            Estimate(each.value, each.variance - same[:, None] * self.shared[:, i])
            for i, each in enumerate((self.first, self.second))
        )
        return one, other


def means(windows: Floats, taken: Bools, together: Bools) -> Means:
    """Return mean positions, weighted as `averages` does.

    Parameters
    ----------
    windows
        (tracks, 2, size, 5), rows, columns, their standard deviations and hours.
    taken
        (tracks, 2, size), which count.
    together
        (tracks,), whether the second window follows the first.
    """
    hours = windows[..., 4]
    axes = [
        averages(windows[..., axis], windows[..., 2 + axis], hours, taken, together)
        for axis in (0, 1)
    ]
    value, variance = (np.stack(both, axis=-1) for both in zip(*axes, strict=True))
    shared = SHARED * np.maximum(taken.sum(axis=2) - 1, 0)[..., None] * variance
    one, other = (Estimate(value[:, i], variance[:, i] + shared[:, i]) for i in (0, 1))
    return Means(one, other, shared)


def slope(sums: Floats) -> Estimate:
    """Return the slopes of straight lines in pixels an hour, or a frame where there are no times.

    Parameters
    ----------
    sums
        (tracks, 2, 8), sums over observations of w, w t, w t t, w x, w t x, w x x, 1 and whether
        their standard deviations are known; w is 1 where it is not.
    """
    w, t, tt, x, tx, xx, n, known = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = tt - t * t / w
        spread = np.where(spread > 1e-12 * tt, spread, np.nan)
        value = (tx - t * x / w) / spread
        chi2 = np.maximum(xx - x * x / w - value**2 * spread, 0.0)
        return Estimate(value, _scale(chi2, n - 2, known == n) / spread)


def directions(geometry: Geometry | None, at: Floats, drift: Floats) -> tuple[Floats, Bools]:
    """Return (tracks, 2), the unit vectors along which drifts are told, and which were known.

    They point away from the direct beam where `geometry` is known, else along the drift.
    """
    length = np.linalg.norm(drift, axis=1, keepdims=True)
    along: Floats = np.where(length > 0, drift, 1.0) / np.where(length > 0, length, np.sqrt(2.0))
    if geometry is not None:
        away = geometry.radial(at[:, 0], at[:, 1])
        is_known: Bools = np.all(np.isfinite(away), axis=1)
        return np.where(is_known[:, None], away, along), is_known
    return along, np.zeros(len(drift), np.bool_)


def project(estimate: Estimate, along: Floats) -> tuple[Floats, Floats]:
    """Return an estimate along directions, and its standard deviation."""
    variance = (estimate.variance * along**2).sum(axis=1)
    return (estimate.value * along).sum(axis=1), np.sqrt(variance)


def significance(moved: Estimate, along: Floats, is_line_known: Bools) -> Floats:
    """Return of how many standard deviations a normal error is as rare as the drift of each track.

    Where the line was not known beforehand the drift has chosen it: its length alone is beyond 3
    standard deviations in 1.1 % of the cases in place of 0.27 % where nothing moves. The
    probability of a length is that of chi-squared of two degrees of freedom.

    Parameters
    ----------
    moved, along
        (tracks, 2), the drifts and the lines along which they are told.
    is_line_known
        (tracks,), False where `along` is that of the drift.
    """
    # It takes a while to import, and nobody has drifted when a run begins.
    from scipy.special import ndtri_exp

    drift, sigma = project(moved, along)
    with np.errstate(divide="ignore", invalid="ignore"):
        chi2 = (moved.value**2 / moved.variance).sum(axis=1)
        as_rare = -ndtri_exp(-0.5 * chi2 - np.log(2.0))
        return np.where(is_line_known, np.abs(drift) / sigma, as_rare)


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
