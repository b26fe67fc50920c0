from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.frames.geometry import Geometry
from streamer.tracks.angles import ANGLES, angles

FORWARD = Geometry.from_beam(
    (1000.3, 900.0), distance_m=0.3, pixel_m=(75e-6, 100e-6), wavelength_a=0.5,
    rotations=(0.1, -0.2, 0.3),
)  # fmt: skip
GEOMETRIES = {
    "forward": FORWARD,
    "mirrored": replace(FORWARD, pixel1_m=-75e-6),
    "wavelength not known": replace(FORWARD, wavelength_a=np.nan),
    "backward": replace(FORWARD, rot1=2.8),
    "beside the beam": replace(FORWARD, rot1=1.5),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_angles_and_widths_are_those_that_the_geometry_tells_one_by_one(name):
    geometry, rng = GEOMETRIES[name], np.random.default_rng(1)
    n = 500
    names = ("row", "col", "fwhm_major", "fwhm_minor", "angle")
    high = (2000.0, 2000.0, 5.0, 2.0, 90.0)
    peaks = {one: rng.uniform(0.1, most, n) for one, most in zip(names, high, strict=True)}
    peaks |= {f"{one}_sigma": rng.uniform(0.01, 0.1, n) for one in names}
    peaks["row"][:3], peaks["col"][:3] = [1000.3 + 1e-4, 1000.3, np.nan], [900.0, 900.0 + 1e-6, 1.0]
    peaks["row_sigma"][3:6] = np.nan
    peaks["fwhm_major"][6:9] = peaks["angle_sigma"][9:12] = np.nan
    place = (peaks["row"], peaks["col"])
    there = geometry.locate(*place, peaks["row_sigma"], peaks["col_sigma"])
    axes = ((peaks[one], peaks[f"{one}_sigma"]) for one in names[2:])
    expected = [getattr(there, one) for one in ANGLES[:5]] + [*geometry.widths(*place, *axes)]
    found = angles(geometry, peaks)
    for one, column in zip(ANGLES, expected, strict=True):
        np.testing.assert_allclose(found[one], column, rtol=1e-6, atol=1e-9, err_msg=one)
        np.testing.assert_allclose(found[one][3:], column[3:], rtol=1e-9, atol=1e-10, err_msg=one)
