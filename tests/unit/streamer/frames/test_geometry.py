from __future__ import annotations

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from streamer.config import Config, GeometryConfig
from streamer.errors import UserError
from streamer.frames.geometry import Geometry
from streamer.frames.header_geometry import geometry_of
from streamer.simulator.scene import Scene

TILTED = Geometry(
    distance_m=0.21,
    poni1_m=0.043,
    poni2_m=0.052,
    rot1=0.11,
    rot2=-0.23,
    rot3=0.4,
    pixel1_m=75e-6,
    pixel2_m=172e-6,
    wavelength_a=0.6199,
    source="test",
)


def places(n=500, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 1000, n), rng.uniform(-0.5, 600, n)


def traced(geometry, row, col):
    """Angles by turning the ray to each place, one axis after another."""
    at = np.stack(
        [
            (row + 0.5) * geometry.pixel1_m - geometry.poni1_m,
            (col + 0.5) * geometry.pixel2_m - geometry.poni2_m,
            np.full(len(row), geometry.distance_m),
        ],
        axis=1,
    )
    turn = (
        Rotation.from_rotvec([0, 0, geometry.rot3])
        * Rotation.from_rotvec([0, -geometry.rot2, 0])
        * Rotation.from_rotvec([-geometry.rot1, 0, 0])
    )
    ray = turn.apply(at)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    return np.degrees(np.arccos(ray[:, 2])), np.degrees(np.arctan2(ray[:, 0], ray[:, 1]))


def a_poni(path, *, version="2.1", detector="Detector", config=None, **changes):
    """Write a calibration file."""
    says = {
        "poni_version": version,
        "Detector": detector,
        "Detector_config": json.dumps(
            config
            if config is not None
            else {"pixel1": 75e-6, "pixel2": 172e-6, "max_shape": [1100, 700], "orientation": 3}
        ),
        "Distance": 0.21,
        "Poni1": 0.043,
        "Poni2": 0.052,
        "Rot1": 0.11,
        "Rot2": -0.23,
        "Rot3": 0.4,
        "Wavelength": 0.6199e-10,
    } | changes
    lines = [f"{key}: {value}" for key, value in says.items() if value is not None]
    path.write_text("\n".join(["# made by a test", *lines, ""]))
    return path


def test_angles_are_those_of_a_traced_ray():
    row, col = places()
    found = TILTED.locate(row, col)
    two_theta, chi = traced(TILTED, row, col)
    np.testing.assert_allclose(found.two_theta, two_theta, rtol=1e-10)
    np.testing.assert_allclose(found.chi, chi, rtol=1e-9)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_angles_are_those_of_pyfai(tmp_path, orientation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyfai = pytest.importorskip("pyFAI")
    config = {"pixel1": 75e-6, "pixel2": 172e-6, "max_shape": [1100, 700]}
    path = a_poni(tmp_path / "a.poni", config={**config, "orientation": orientation})
    mine, theirs = Geometry.from_poni(path), pyfai.load(str(path))
    row, col = places()
    found = mine.locate(row, col)
    np.testing.assert_allclose(np.radians(found.two_theta), theirs.tth(row, col), rtol=1e-12)
    np.testing.assert_allclose(np.radians(found.chi), theirs.chi(row, col), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.q, theirs.qFunction(row, col) / 10.0, rtol=1e-12)


def test_spacings_follow_braggs_law():
    row, col = places(20)
    found = TILTED.locate(row, col)
    np.testing.assert_allclose(found.d * found.q, 2 * math.pi, rtol=1e-12)
    np.testing.assert_allclose(
        2 * found.d * np.sin(np.radians(found.two_theta) / 2), TILTED.wavelength_a, rtol=1e-12
    )


def test_standard_deviations_are_those_of_many_draws():
    rng = np.random.default_rng(3)
    row, col = 700.25, 420.5
    found = TILTED.locate(row, col, 0.3, 0.1)
    drawn = TILTED.locate(rng.normal(row, 0.3, 200_000), rng.normal(col, 0.1, 200_000))
    assert found.d_sigma == pytest.approx(drawn.d.std(), rel=0.01)
    assert found.two_theta_sigma == pytest.approx(drawn.two_theta.std(), rel=0.01)
    assert np.isnan(TILTED.locate(row, col).d_sigma)


def test_the_direct_beam_is_where_the_angle_is_zero():
    row, col = TILTED.beam
    assert TILTED.locate(row, col).two_theta == pytest.approx(0.0, abs=1e-9)
    away = TILTED.radial([row + 3.0, row], [col, col - 2.0])
    np.testing.assert_allclose(away, [[1, 0], [0, -1]], atol=1e-9)
    assert np.isnan(TILTED.radial(row, col)).all()


def test_without_a_wavelength_there_are_angles_and_no_spacings():
    config = GeometryConfig(distance_m=0.2, beam_row=10, beam_col=20, pixel_m=1e-4)
    found = Geometry.from_config(config).locate(100.0, 100.0, 0.1, 0.1)
    assert found.two_theta > 0
    assert found.two_theta_sigma > 0
    assert np.isnan([found.d, found.q, found.d_sigma]).all()


def test_a_user_says_where_the_beam_meets_a_tilted_detector():
    config = GeometryConfig(
        distance_m=0.2, beam_row=310.25, beam_col=-20, pixel_m=1e-4, rot1=0.1, rot2=0.2, rot3=0.3
    )
    geometry = Geometry.from_config(config)
    assert geometry.beam == pytest.approx((310.25, -20))
    assert geometry.locate(310.25, -20).two_theta == pytest.approx(0, abs=1e-9)
    assert Geometry.from_config(GeometryConfig()) is None
    assert Geometry.from_config(GeometryConfig(instrument_fwhm_deg=0.01)) is None


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"distance_m": 0.2, "pixel_m": 1e-4}, r"give geometry\.beam_row, geometry\.beam_col too"),
        ({"wavelength_a": 1}, r"give geometry\.distance_m, .*geometry\.pixel_m too"),
        (
            {"distance_m": 200, "beam_row": 1, "beam_col": 1, "pixel_m": 0.075},
            r"configuration: pixel1_m = 0\.075 makes no sense",
        ),
        (
            {"distance_m": 1, "beam_row": 1, "beam_col": 1, "pixel_m": 1e-4, "rot1": math.pi / 2},
            "the beam never meets the detector",
        ),
        ({"poni": "a.poni", "rot1": 0.1}, r"geometry\.poni says all: remove geometry\.rot1"),
        ({"poni": "a.poni"}, r"cannot read a\.poni: No such file"),
    ],
)
def test_what_a_user_gave_is_checked(keys, says):
    with pytest.raises(UserError, match=says):
        Geometry.from_config(Config.model_validate({"geometry": keys}).geometry)


def test_all_versions_of_calibration_files_are_read(tmp_path):
    first = a_poni(
        tmp_path / "1.poni", version=None, detector=None, Detector_config=None,
        PixelSize1=75e-6, PixelSize2=172e-6, SplineFile=None,
    )  # fmt: skip
    second = a_poni(
        tmp_path / "2.poni",
        version=2,
        config={"pixel1": 75e-6, "pixel2": 172e-6, "max_shape": None},
    )
    third = a_poni(tmp_path / "3.poni", version=3, Parallax="False")
    for path in (first, second, third):
        geometry = Geometry.from_poni(path)
        assert geometry.source == str(path)
        np.testing.assert_allclose(
            geometry.locate(*places(5)), TILTED.locate(*places(5)), rtol=1e-12
        )
    with first.open("a") as file:  # a second calibration below the first
        file.write("Distance: 0.3\nWavelength: None\n")
    assert Geometry.from_poni(first).distance_m == 0.3
    assert np.isnan(Geometry.from_poni(first).wavelength_a)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"config": {"orientation": 3}, "detector": "OurOwn"}, "OurOwn.*without pixel sizes"),
        ({"Detector_config": "{"}, "not a JSON object"),
        ({"Detector_config": "[1]"}, "not a JSON object"),
        ({"config": {"pixel1": 1e-4, "pixel2": 1e-4, "orientation": 7}}, "orientation 7"),
        ({"config": {"pixel1": 1e-4, "pixel2": 1e-4, "orientation": 1}}, "needs max_shape"),
        ({"config": {"pixel1": "?", "pixel2": 1e-4}}, r"pixel1 = '\?' is not a number"),
        ({"config": {"pixel1": 1e-4, "pixel2": 1e-4, "radius": 0.3}}, "not flat"),
        ({"config": {"pixel1": 1e-4, "pixel2": 1e-4, "splineFile": "a.spline"}}, "distorted"),
        ({"Parallax": "True"}, "parallax"),
        ({"Distance": None}, "Distance is missing"),
        ({"Rot2": "None"}, "Rot2 = 'None' is not a number"),
        ({"Wavelength": 0.6199}, r"wavelength_a = 6.*makes no sense"),
        ({"Detector_config": "[" * 5000}, "not a JSON object"),
        (
            {"config": {"pixel1": 1, "pixel2": 1, "orientation": 1, "max_shape": ["a", None]}},
            "max_shape = 'a' is not a number",
        ),
        ({"config": {"pixel1": 10**400, "pixel2": 1}}, "pixel1 = 10{5,}.* is not a number"),
        ({"Poni1": "inf"}, "poni1_m is not a number"),
    ],
)
def test_a_calibration_file_that_does_not_fit_is_a_users_mistake(tmp_path, changes, says):
    path = a_poni(tmp_path / "a.poni", **changes)
    with pytest.raises(UserError, match=says) as caught:
        Geometry.from_poni(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


HEADER = {
    "beam_center_x": 100.0,
    "beam_center_y": 200.0,
    "detector_translation": [0.0, 0.0, 0.15],
    "pixel_size_x": 75e-6,
    "pixel_size_y": 80e-6,
    "incident_wavelength": 0.5,
}


def test_headers_of_both_stream_versions_say_the_same():
    second = geometry_of(HEADER)
    first = geometry_of(
        {
            "beam_center_x": 100,
            "beam_center_y": 200,
            "detector_distance": 0.15,
            "x_pixel_size": 75e-6,
            "y_pixel_size": 80e-6,
            "wavelength": 0.5,
        }
    )
    assert dataclasses.replace(first, source="") == dataclasses.replace(second, source="")
    assert second.beam == pytest.approx((200, 100))
    of_energy = geometry_of({**HEADER, "incident_wavelength": None, "incident_energy": 24796.84})
    assert of_energy.wavelength_a == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"beam_center_x": None},
        {"beam_center_x": 0, "beam_center_y": 0},
        {"detector_translation": [0, 0, 0]},
        {"detector_translation": "far"},
        {"pixel_size_x": None},
        {"pixel_size_x": 75.0},
        {"beam_center_x": math.nan},
    ],
)
def test_a_header_that_does_not_say_enough_gives_no_geometry(changes):
    assert geometry_of({**HEADER, **changes}) is None
    assert geometry_of({}) is None


def test_the_simulated_detector_stands_where_its_header_says():
    scene = Scene(
        Config.model_validate({"simulate": {"rows": 256, "cols": 256, "spots": 8}}).simulate
    )
    truth = scene.metadata()
    geometry = geometry_of(
        {
            "beam_center_x": truth["beam_col"],
            "beam_center_y": truth["beam_row"],
            "detector_distance": truth["detector_distance_m"],
            "pixel_size_x": truth["pixel_size_m"],
            "pixel_size_y": truth["pixel_size_m"],
            "incident_wavelength": truth["wavelength_angstrom"],
        }
    )
    row, col = scene.geometry.beam
    radius = scene.geometry.radius(np.array([1.5]))
    assert geometry.locate(row - radius, col).d == pytest.approx(1.5, rel=1e-12)


@pytest.mark.parametrize("rotations", [(0.0, 0.0, 0.0), (0.3, -0.2, 0.5)])
def test_widths_are_those_of_spots_of_many_points(rotations: tuple[float, float, float]) -> None:
    geometry = Geometry.from_beam(
        (100.0, 120.0), distance_m=0.2, pixel_m=(75e-6, 60e-6), rotations=rotations
    )
    rng = np.random.default_rng(1)
    major, minor, angle = 2.0, 1.0, math.radians(30.0)
    points = rng.normal(size=(200_000, 2)) * (major, minor)
    cols = 300.0 + points[:, 0] * math.cos(angle) - points[:, 1] * math.sin(angle)
    rows = 240.0 + points[:, 0] * math.sin(angle) + points[:, 1] * math.cos(angle)
    told = geometry.locate(rows, cols)
    radial, _, azimuthal, _ = geometry.widths(240.0, 300.0, (major, 0.1), (minor, 0.1), (30.0, 1.0))
    assert radial == pytest.approx(np.std(told.two_theta), rel=0.01)
    assert azimuthal == pytest.approx(np.std(told.chi), rel=0.01)


def test_sigmas_of_widths_are_how_widths_scatter() -> None:
    geometry = Geometry.from_beam((100.0, 120.0), distance_m=0.2, pixel_m=(75e-6, 75e-6))
    rng = np.random.default_rng(1)
    n = 100_000
    drawn = [
        rng.normal(value, sigma, n) for value, sigma in ((3.0, 0.05), (2.0, 0.04), (20.0, 2.0))
    ]
    told = geometry.widths(240.0, 300.0, (3.0, 0.05), (2.0, 0.04), (20.0, 2.0))
    found = geometry.widths(240.0, 300.0, *((one, 0.0) for one in drawn))
    assert np.std(found[0]) == pytest.approx(told[1], rel=0.03)
    assert np.std(found[2]) == pytest.approx(told[3], rel=0.03)
