"""Where a detector stands, against pyFAI: to a millionth of a degree, on random files."""

import json
import math
import warnings

import numpy as np
import pytest

from streamer.errors import UserError
from streamer.export.calibration import poni_text
from streamer.frames.detectors import known_detector
from streamer.frames.geometry import Geometry
from streamer.frames.header_geometry import read_geometry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pyfai = pytest.importorskip("pyFAI")
    from pyFAI import detectors
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

TOLERANCE_DEG = 1e-6


def a_geometry(rng, detector, **fixed):
    values = {
        "dist": rng.uniform(0.05, 3),
        "poni1": rng.uniform(-0.1, 0.3),
        "poni2": rng.uniform(-0.1, 0.3),
        "rot1": rng.uniform(-0.9, 0.9),
        "rot2": rng.uniform(-0.9, 0.9),
        "rot3": rng.uniform(-3.1, 3.1),
        "wavelength": rng.uniform(0.1e-10, 2e-10),
    } | fixed
    return AzimuthalIntegrator(detector=detector, **values)


def assert_same(mine, theirs, rng, shape=(1000, 1000)):
    row, col = rng.uniform(0, shape[0] - 1, 200), rng.uniform(0, shape[1] - 1, 200)
    found = mine.locate(row, col)
    theirs_deg = np.degrees(theirs.tth(row, col))
    np.testing.assert_allclose(found.two_theta, theirs_deg, rtol=0, atol=TOLERANCE_DEG)
    apart = (found.chi - np.degrees(theirs.chi(row, col)) + 180) % 360 - 180
    assert np.abs(apart * np.sin(np.radians(theirs_deg))).max() < TOLERANCE_DEG
    np.testing.assert_allclose(found.q, theirs.qFunction(row, col) / 10, rtol=1e-9)


@pytest.mark.parametrize("seed", range(50))
def test_a_calibration_file_that_pyfai_wrote(seed, tmp_path):
    rng = np.random.default_rng(seed)
    orientation = 1 + seed % 4
    shape = tuple(int(n) for n in rng.integers(100, 3000, 2))
    pixel1, pixel2 = rng.uniform(10e-6, 300e-6, 2)
    detector = detectors.Detector(pixel1, pixel2, max_shape=shape, orientation=orientation)
    theirs = a_geometry(rng, detector)
    path = tmp_path / "a.poni"
    theirs.save(str(path))
    assert_same(Geometry.from_poni(path), theirs, rng, shape)


def is_known(name):
    try:
        return known_detector(name) is not None
    except ValueError:
        return False


EVEN = sorted({cls.__name__ for cls in detectors.ALL_DETECTORS.values() if is_known(cls.__name__)})


@pytest.mark.parametrize("seed", range(5))
def test_pyfai_reads_the_calibration_file_that_is_written(seed, tmp_path):
    rng = np.random.default_rng(seed)
    theirs = a_geometry(rng, detectors.Detector(75e-6, 172e-6))
    theirs.save(str(tmp_path / "a.poni"))
    mine = Geometry.from_poni(tmp_path / "a.poni")
    (tmp_path / "b.poni").write_text(poni_text(mine))
    read = AzimuthalIntegrator()
    read.load(str(tmp_path / "b.poni"))
    assert_same(mine, read, rng)
    assert read.wavelength == pytest.approx(theirs.wavelength, rel=1e-12)


def test_many_detectors_are_known_by_their_names():
    assert len(EVEN) > 80


@pytest.mark.parametrize("seed", range(50))
def test_a_calibration_file_that_names_its_detector(seed, tmp_path):
    rng = np.random.default_rng(seed)
    name, orientation = EVEN[seed * len(EVEN) // 50], 1 + seed % 4
    detector = detectors.detector_factory(name, {"orientation": orientation})
    theirs = a_geometry(rng, detector)
    path = tmp_path / "a.poni"
    lines = {
        "poni_version": 2.1,
        "Detector": name,
        "Detector_config": json.dumps({"orientation": orientation}),
        "Distance": theirs.dist,
        **{f"Poni{n}": getattr(theirs, f"poni{n}") for n in (1, 2)},
        **{f"Rot{n}": getattr(theirs, f"rot{n}") for n in (1, 2, 3)},
        "Wavelength": theirs.wavelength,
    }
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    assert_same(Geometry.from_poni(path), theirs, rng, detector.max_shape)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Cirpad", "not flat or has pixels of several sizes"),
        ("Jungfrau", "not flat or has pixels of several sizes"),
        ("Rapid II", "not flat or has pixels of several sizes"),
        ("OurOwn", "names its detector .* without pixel sizes"),
    ],
)
def test_a_detector_that_cannot_be_placed_is_refused(name, says, tmp_path):
    path = tmp_path / "a.poni"
    path.write_text(f"Detector: {name}\nDistance: 1\nPoni1: 0\nPoni2: 0\nRot1: 0\n")
    with pytest.raises(UserError, match=says):
        Geometry.from_poni(path)


@pytest.mark.parametrize("seed", range(50))
def test_a_header_of_a_stream(seed):
    rng = np.random.default_rng(seed)
    pixel1, pixel2 = rng.uniform(10e-6, 300e-6, 2)
    theirs = a_geometry(
        rng, detectors.Detector(pixel1, pixel2, max_shape=(1000, 1000)), rot1=0, rot2=0, rot3=0
    )
    header = {
        "beam_center_y": theirs.poni1 / pixel1 - 0.5,
        "beam_center_x": theirs.poni2 / pixel2 - 0.5,
        "pixel_size_y": pixel1,
        "pixel_size_x": pixel2,
    }
    angstroms = theirs.wavelength * 1e10
    if seed % 2:
        header |= {"detector_distance": theirs.dist, "wavelength": angstroms}
    else:
        header["detector_translation"] = [0, 0, theirs.dist]
        header["incident_energy"] = 12398.419843320026 / angstroms
    geometry = read_geometry(header)
    assert_same(geometry, theirs, rng)
    assert "beam_center in pixels" in geometry.source
    assert ("detector_distance" if seed % 2 else "detector_translation in m") in geometry.source


def test_an_arm_of_unknown_turn_gives_no_geometry():
    header = {"beam_center_y": 1, "beam_center_x": 1, "detector_distance": 1}
    header |= {"pixel_size_x": 1e-4, "pixel_size_y": 1e-4}
    assert math.isnan(read_geometry(header).wavelength_a)
    for more in ({"two_theta_start": 12.5}, {"goniometer": {"two_theta": {"start": -12.5}}}):
        with pytest.raises(Exception, match=r"two_theta = -?12\.5 degrees.*geometry\.poni"):
            read_geometry(header | more)
