"""What tracks say about the shapes of their peaks, and these about crystals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.results.schema import Columns
from streamer.tracks.averages import averages

__all__ = ["SHAPES", "Windows", "crystals", "means", "sightings"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHAPES = (
    "intensity",
    "fwhm_major",
    "fwhm_minor",
    "fwhm_radial",
    "fwhm_azimuthal",
    "eta",
    "asymmetry",
)
"""Columns of the peaks table of which tracks keep means."""
_SCHERRER = 0.9
_ANY_ETA, _ETA_SIGMA = 0.5, 12.0**-0.5
"""A Lorentzian share that may be anything from 0 to 1."""


class Windows(NamedTuple):
    """The reference and the newest observations of tracks."""

    hours: Floats
    """(tracks, 2, size)"""
    taken: Bools
    """(tracks, 2, size), which count."""
    together: Bools
    """(tracks,), whether the newest follow the reference."""


def sightings(peaks: Columns, room: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (2 * quantities, n), shapes of peaks, each quantity followed by its sigma.

    What the peaks table is without is not known.

    Parameters
    ----------
    room
        (2 * quantities * n or more,), the memory of what is returned.
    """
    names = [f"{name}{more}" for name in SHAPES for more in ("", "_sigma")]
    n = len(peaks["track"])
    found = room[: len(names) * n].reshape(len(names), n)
    for row, name in zip(found, names, strict=True):
        row[:] = peaks.get(name, np.nan)
    return found


def means(shapes: NDArray[np.float32], windows: Windows) -> Columns:
    """Return the newest and the reference means of all quantities, with standard deviations.

    Parameters
    ----------
    shapes
        (tracks, 2, size, 2 * quantities), of what `sightings` returned.
    """
    quantities = np.ascontiguousarray(np.moveaxis(shapes, -1, 0), np.float64)
    columns: Columns = {}
    for name, value, sigma in zip(SHAPES, quantities[::2], quantities[1::2], strict=True):
        taken = windows.taken & np.isfinite(value)
        # What was not fitted has no standard deviation, and does not mix with what was.
        sure = taken & (sigma > 0)
        taken = np.where(sure.any(axis=(1, 2), keepdims=True), sure, taken)
        mean, variance = averages(value, sigma, windows.hours, taken, windows.together)
        for i, prefix in enumerate(("ref_", "")):
            columns[f"{prefix}{name}"] = mean[:, i]
            columns[f"{prefix}{name}_sigma"] = np.sqrt(variance[:, i])
    return columns


def crystals(
    tracks: Columns, geometry: Geometry | None, instrument_fwhm_deg: float | None
) -> Columns:
    """Return what a width along two-theta is if it all comes from size, or all from microstrain.

    The instrument's width is taken off in quadrature from the Gaussian share of the profile and
    linearly from the Lorentzian one; where that share is not known it may be anything. Size is
    Scherrer's, K = 0.9 (Patterson, Phys. Rev. 56, 978, 1939), microstrain beta / (4 tan theta)
    (Stokes and Wilson, Proc. Phys. Soc. 56, 174, 1944). NaN where the width is not above the
    instrument's by more than its standard deviation.

    Parameters
    ----------
    tracks
        Columns `row`, `col`, `fwhm_radial` and `eta`, with standard deviations.
    instrument_fwhm_deg
        Width in two-theta of a large perfect crystal; None where it is not known.
    """
    names = ("size_nm", "size_nm_sigma", "microstrain", "microstrain_sigma")
    if geometry is None or instrument_fwhm_deg is None:
        return {name: np.full(len(tracks["row"]), np.nan) for name in names}
    width, sigma = (np.radians(tracks[f"fwhm_radial{more}"]) for more in ("", "_sigma"))
    own = np.radians(instrument_fwhm_deg)
    told = np.isfinite(tracks["eta_sigma"])
    eta = np.where(told, np.clip(tracks["eta"], 0.0, 1.0), _ANY_ETA)
    eta_sigma = np.where(told, np.minimum(tracks["eta_sigma"], _ETA_SIGMA), _ETA_SIGMA)
    where = geometry.locate(tracks["row"], tracks["col"])
    theta = np.radians(where.two_theta) / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(width - own > sigma, width, np.nan)
        gaussian, lorentzian = np.sqrt(width**2 - own**2), width - own
        beta = eta * lorentzian + (1.0 - eta) * gaussian
        slope = eta + (1.0 - eta) * width / gaussian
        relative = np.hypot(slope * sigma, (gaussian - lorentzian) * eta_sigma) / beta
        size = _SCHERRER * 0.1 * geometry.wavelength_a / (beta * np.cos(theta))
        strain = beta / (4.0 * np.tan(theta))
    return dict(zip(names, (size, size * relative, strain, strain * relative), strict=True))
