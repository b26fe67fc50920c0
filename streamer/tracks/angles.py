"""Angles, spacings and widths of many peaks at once."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.results.schema import Columns

__all__ = ["ANGLES", "angles"]

Floats = NDArray[np.float64]

ANGLES = (
    "two_theta", "chi", "q", "d", "d_sigma",
    "fwhm_radial", "fwhm_radial_sigma", "fwhm_azimuthal", "fwhm_azimuthal_sigma",
)  # fmt: skip
"""Columns of the peaks table that a geometry tells."""
_PLACE = ("row", "col", "row_sigma", "col_sigma")
_ELLIPSE = (
    "fwhm_major", "fwhm_major_sigma", "fwhm_minor", "fwhm_minor_sigma", "angle", "angle_sigma",
)  # fmt: skip


def angles(geometry: Geometry, peaks: Columns) -> Columns:
    """Return the columns `ANGLES` of peaks: what `Geometry.locate` and `Geometry.widths` say.

    Parameters
    ----------
    peaks
        Columns of the peaks table, without these.
    """
    measured = tuple(np.asarray(peaks[name], np.float64) for name in (*_PLACE, *_ELLIPSE))
    found = np.empty((len(ANGLES), len(peaks["row"])))
    pixels = (geometry.pixel1_m, geometry.pixel2_m)
    foot = (geometry.poni1_m, geometry.poni2_m, geometry.distance_m)
    _tell(geometry.rotation, pixels, foot, geometry.wavelength_a, measured, found)
    return dict(zip(ANGLES, found, strict=True))


@njit(cache=True, nogil=True, error_model="numpy")
def _tell(
    turn: Floats,
    pixels: tuple[float, float],
    foot: tuple[float, float, float],
    wavelength: float,
    measured: tuple[Floats, ...],
    found: Floats,
) -> None:
    """Fill in `ANGLES`, (9, n); see `Geometry` for what is done.

    Parameters
    ----------
    turn
        (3, 3), as `Geometry.rotation`.
    pixels
        Height and width of one, in metres.
    foot
        The point of normal incidence and the distance, in metres.
    measured
        Places and ellipses of the peaks, (n,) each.
    """
    rows, cols, row_sigmas, col_sigmas = measured[:4]
    majors, major_sigmas, minors, minor_sigmas, tilts, tilt_sigmas = measured[4:]
    degrees = 180.0 / np.pi
    a1, a2, a3 = turn[0, 0] * pixels[0], turn[1, 0] * pixels[0], turn[2, 0] * pixels[0]
    b1, b2, b3 = turn[0, 1] * pixels[1], turn[1, 1] * pixels[1], turn[2, 1] * pixels[1]
    c1, c2, c3 = turn[0, 2] * foot[2], turn[1, 2] * foot[2], turn[2, 2] * foot[2]
    for i in range(len(rows)):
        row, col = rows[i] + 0.5 - foot[0] / pixels[0], cols[i] + 0.5 - foot[1] / pixels[1]
        t1, t2, t3 = a1 * row + b1 * col + c1, a2 * row + b2 * col + c2, a3 * row + b3 * col + c3
        across2 = t1 * t1 + t2 * t2
        across, far2 = np.sqrt(across2), across2 + t3 * t3
        far = np.sqrt(far2)
        # Sine and tangent of theta, without loss near the beam and opposite to it.
        if t3 > 0.0:
            sine, tangent = across / np.sqrt(2.0 * far * (far + t3)), across / (far + t3)
        else:
            sine, tangent = np.sqrt((far - t3) / (2.0 * far)), (far - t3) / across
        polar_row = (t3 * (t1 * a1 + t2 * a2) / across - across * a3) / far2
        polar_col = (t3 * (t1 * b1 + t2 * b2) / across - across * b3) / far2
        sigma = np.sqrt((polar_row * row_sigmas[i]) ** 2 + (polar_col * col_sigmas[i]) ** 2)
        d = wavelength / (2.0 * sine)
        found[0, i], found[1, i] = degrees * np.arctan2(across, t3), degrees * np.arctan2(t1, t2)
        found[2, i] = 4.0 * np.pi / wavelength * sine
        found[3, i], found[4, i] = d, d / (2.0 * tangent) * sigma
        major, minor, tilt = majors[i], minors[i], tilts[i] / degrees
        cosine, sine = np.cos(tilt), np.sin(tilt)
        around_row, around_col = (t2 * a1 - t1 * a2) / across2, (t2 * b1 - t1 * b2) / across2
        for k, by_row, by_col in ((5, polar_row, polar_col), (7, around_row, around_col)):
            along, beside = by_col * cosine + by_row * sine, by_row * cosine - by_col * sine
            square = (along * major) ** 2 + (beside * minor) ** 2
            turned = along * beside * (major * major - minor * minor)
            variance = (
                (along * along * major * major_sigmas[i]) ** 2
                + (beside * beside * minor * minor_sigmas[i]) ** 2
                + (turned * tilt_sigmas[i] / degrees) ** 2
            ) / square
            found[k, i], found[k + 1, i] = degrees * np.sqrt(square), degrees * np.sqrt(variance)
