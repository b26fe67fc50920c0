"""Where a detector stands, as NeXus files say it, against pyFAI."""

import warnings

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from streamer.config import SourceConfig
from streamer.frames.header_geometry import NoGeometryError, in_words, read_geometry
from streamer.sources import open_source

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pyFAI")
    from pyFAI import detectors
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

TOLERANCE_DEG = 1e-6
LENGTHS = {
    "m": 1.0, "mm": 1e-3, "cm": 1e-2, "um": 1e-6, "µm": 1e-6, "micron": 1e-6, "micrometer": 1e-6,
    "millimeters": 1e-3, "nm": 1e-9,
}  # fmt: skip
WAVELENGTHS = {"angstrom": 1e-10, "Å": 1e-10, "nm": 1e-9, "m": 1.0, "pm": 1e-12}
ENERGIES = {"eV": 1.0, "keV": 1e3, "J": 1 / 1.602176634e-19}
ANGLES = {"deg": 180 / np.pi, "degrees": 180 / np.pi, "rad": 1.0, "mrad": 1e3}
SHAPE = (40, 60)


class File:
    """A NeXus file that says what a test puts into it."""

    def __init__(self, path):
        self.path = path
        self.file = h5py.File(path, "w")
        self.file["entry/data/data"] = np.ones((2, *SHAPE), "u2")
        self.detector = self.file.create_group("entry/instrument/detector")
        self.detector.attrs["NX_class"] = "NXdetector"

    def put(self, name, value, units=None, **attributes):
        if units is not None:
            attributes["units"] = units
        group = self.detector.parent if name.startswith("beam/") else self.detector
        group[name] = value
        for key, item in attributes.items():
            group[name].attrs[key] = str(item) if isinstance(item, str) else item

    def axis(self, name, kind, value, units, vector, depends_on, **more):
        self.put(
            name, value, units, transformation_type=kind, vector=vector, depends_on=depends_on,
            **more,
        )  # fmt: skip

    def upright(self, **changes):
        values = {
            "beam_center_x": (30.0, "pixel"), "beam_center_y": (20.0, "pixel"),
            "distance": (0.2, "m"), "x_pixel_size": (75e-6, "m"), "y_pixel_size": (75e-6, "m"),
        } | changes  # fmt: skip
        for name, (value, unit) in values.items():
            if value is not None:
                self.put(name, value, unit)

    def metadata(self):
        self.file.close()
        source = open_source(self.path, SourceConfig())
        series = source.read(1)[0]
        source.close()
        return series.metadata

    def geometry(self):
        return read_geometry(self.metadata())

    def refusal(self):
        with pytest.raises(NoGeometryError) as caught:
            self.geometry()
        return str(caught.value)


@pytest.fixture
def file(tmp_path):
    return File(tmp_path / "a.h5")


def assert_two_theta(geometry, theirs, rng):
    row, col = rng.uniform(0, SHAPE[0] - 1, 100), rng.uniform(0, SHAPE[1] - 1, 100)
    found = geometry.locate(row, col)
    expected = np.degrees(theirs.tth(row, col))
    np.testing.assert_allclose(found.two_theta, expected, rtol=0, atol=TOLERANCE_DEG)
    np.testing.assert_allclose(found.q, theirs.qFunction(row, col) / 10, rtol=1e-9)


@pytest.mark.parametrize("seed", range(50))
def test_values_in_any_units(seed, file):
    rng = np.random.default_rng(seed)
    pixel1, pixel2 = rng.uniform(10e-6, 300e-6, 2)
    beam, distance = rng.uniform(-50, 100, 2), rng.uniform(0.05, 3)
    angstroms = rng.uniform(0.1, 2)

    def length(name, metres):
        unit = rng.choice(list(LENGTHS))
        file.put(name, metres / LENGTHS[unit], unit)

    length("x_pixel_size", pixel2)
    length("y_pixel_size", pixel1)
    length(("distance", "detector_distance")[seed % 2], distance)
    if seed % 3:
        length("beam_center_x", beam[1] * pixel2)
        length("beam_center_y", beam[0] * pixel1)
    else:
        file.put("beam_center_x", beam[1], rng.choice(["pixel", "pixels", "px"]))
        file.put("beam_center_y", beam[0])
    if seed % 4:
        unit = rng.choice(list(WAVELENGTHS))
        file.put("beam/incident_wavelength", angstroms * 1e-10 / WAVELENGTHS[unit], unit)
    else:
        unit = rng.choice(list(ENERGIES))
        file.put("beam/incident_energy", 12398.419843320026 / angstroms / ENERGIES[unit], unit)
    theirs = AzimuthalIntegrator(
        distance, (beam[0] + 0.5) * pixel1, (beam[1] + 0.5) * pixel2,
        detector=detectors.Detector(pixel1, pixel2), wavelength=angstroms * 1e-10,
    )  # fmt: skip
    geometry = file.geometry()
    assert_two_theta(geometry, theirs, rng)
    assert f"beam/incident_{'wavelength' if seed % 4 else 'energy'} in {unit}" in geometry.source


@pytest.mark.parametrize("seed", range(50))
def test_transformations_are_followed(seed, file):
    """The pixels of a detector that pyFAI places are put there by a chain of random steps."""
    rng = np.random.default_rng(seed)
    pixel1, pixel2 = rng.uniform(10e-6, 300e-6, 2)
    theirs = AzimuthalIntegrator(
        rng.uniform(0.05, 3), *rng.uniform(-0.1, 0.1, 2), *rng.uniform(-0.8, 0.8, 2),
        rng.uniform(-3, 3), detector=detectors.Detector(pixel1, pixel2),
        wavelength=rng.uniform(0.1e-10, 2e-10),
    )  # fmt: skip
    corner = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    z, y, x = theirs.calc_pos_zyx(d1=corner[0] + 0.0, d2=corner[1] + 0.0, corners=False)
    # pyFAI's first axis is up or down, as the image is shown: in NeXus' frame y is up.
    places = np.stack([-x, -y, z], axis=1)
    origin, slow, fast = places[0], places[1] - places[0], places[2] - places[0]
    steps, turn, move = [], np.eye(3), np.zeros(3)
    for n in range(int(rng.integers(1, 5))):  # from the detector to the laboratory
        vector = rng.normal(size=3)
        vector /= np.linalg.norm(vector)
        value, offset = rng.uniform(-0.7, 0.7), rng.uniform(-0.1, 0.1, 3) * (n % 2)
        steps.append((("rotation", "translation")[int(rng.integers(2))], value, vector, offset))
        step = Rotation.from_rotvec(value * vector).as_matrix()
        if steps[-1][0] == "translation":
            turn, move = turn, move + value * vector + offset
        else:
            turn, move = step @ turn, step @ move + offset
    file.put("depends_on", "transformations/step_0")
    for n, (kind, value, vector, offset) in enumerate(steps):
        units = ANGLES if kind == "rotation" else {u: 1 / size for u, size in LENGTHS.items()}
        unit = rng.choice(list(units))
        unit_of_offset = rng.choice(list(LENGTHS))
        last = n == len(steps) - 1
        file.axis(
            f"transformations/step_{n}", kind, [value * units[unit]], unit, vector,
            "." if last else (f"step_{n + 1}" if n % 2 else
                              f"/entry/instrument/detector/transformations/step_{n + 1}"),
            offset=offset / LENGTHS[unit_of_offset], offset_units=unit_of_offset,
        )  # fmt: skip
    within = [turn.T @ (origin - move), turn.T @ slow, turn.T @ fast]
    length = np.linalg.norm(within[0])
    module = file.detector.create_group("module")
    module.attrs["NX_class"] = "NXdetector_module"
    chain = "/entry/instrument/detector/transformations/step_0"
    file.axis("module/module_offset", "translation", length * 1e3, "mm", within[0] / length, chain)
    for name, vector in (("slow", within[1]), ("fast", within[2])):
        size = np.linalg.norm(vector)
        file.axis(
            f"module/{name}_pixel_direction", "translation", size * 1e6, "um", vector / size,
            "module_offset" if name == "fast" else "fast_pixel_direction",
        )  # fmt: skip
    file.put("beam/incident_wavelength", theirs.wavelength * 1e9, "nm")
    geometry = file.geometry()
    assert_two_theta(geometry, theirs, rng)
    assert "detector/module and what it depends on" in geometry.source


def test_an_upright_detector_by_vectors_is_the_one_by_values(file, tmp_path):
    file.upright()
    by_values = file.geometry()
    other = File(tmp_path / "b.h5")
    other.detector.create_group("module").attrs["NX_class"] = "NXdetector_module"
    other.put("depends_on", "transformations/z")
    other.axis("transformations/z", "translation", 200.0, "mm", [0, 0, 1], ".")
    z = "/entry/instrument/detector/transformations/z"
    offset = np.array([30 * 75.0, 20 * 75.0, 0])
    other.axis(
        "module/module_offset", "translation", 0.0, "um", [1, 0, 0], z,
        offset=offset, offset_units="um",
    )  # fmt: skip
    for name, vector in (("fast", [-1, 0, 0]), ("slow", [0, -1, 0])):
        other.axis(
            f"module/{name}_pixel_direction", "translation", 75.0, "um", vector, "module_offset"
        )
    by_vectors = other.geometry()
    assert by_vectors.beam == pytest.approx((20, 30))
    row, col = np.mgrid[:40:7, :60:7]
    for name in ("two_theta", "chi"):
        np.testing.assert_allclose(
            getattr(by_vectors.locate(row, col), name), getattr(by_values.locate(row, col), name),
            atol=1e-9,
        )  # fmt: skip
    assert "200 mm, beam at row 20.00, column 30.00, pixels 75 x 75 µm" in in_words(by_values)


def test_what_is_said_twice_is_held_against_each_other(file):
    file.upright()
    file.put("beam/incident_wavelength", 0.7, "angstrom")
    file.put("beam/incident_energy", 12.0, "keV")
    file.put("depends_on", "z")
    file.axis("z", "translation", 300.0, "mm", [0, 0, 1], ".")
    warned = " ".join(file.metadata()["warnings"])
    assert "beam/incident_wavelength in angstrom is 0.7 Å" in warned
    assert "puts the detector at 0.3 m, its distance is said to be 0.2 m" in warned


@pytest.mark.parametrize(
    ("name", "value", "unit", "says"),
    [
        ("distance", 20.0, "furlong", "in furlong, which is not understood"),
        ("beam_center_x", 20.0, "keV", "in keV, which is not understood"),
        ("distance", [0.2, 0.3], "m", "is not one number"),
    ],
)
def test_what_cannot_be_read_is_not_used(file, name, value, unit, says):
    file.upright(**{name: (value, unit)})
    metadata = file.metadata()
    assert says in metadata["warnings"][0]
    with pytest.raises(NoGeometryError, match="has no"):
        read_geometry(metadata)


def test_a_value_without_a_unit_is_told_of(file):
    file.upright(distance=(0.2, None))
    assert "detector/distance without a unit, taken as m" in file.geometry().source


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([("a", "rotation", 20.0, "deg", [1, 0, 0], ".")], "turns it by 20 degrees"),
        ([("a", "rotation", 20.0, "deg", [1, 0, 0], "b")], "depends on b, which is not there"),
        ([("a", "rotation", 20.0, "m", [1, 0, 0], ".")], "has m as unit of angle"),
        ([("a", "rotation", 20.0, None, [1, 0, 0], ".")], "has no unit as unit of angle"),
        ([("a", "rotation", [1.0, 2.0], "deg", [1, 0, 0], ".")], "changes during the series"),
        ([("a", "translation", 1.0, "m", [0, 0, 2], ".")], "is 2 long instead of 1"),
        ([("a", "translation", 1.0, "m", [0, 2], ".")], "has no vector"),
        ([("a", "shear", 1.0, "m", [0, 0, 1], ".")], "neither a translation nor a rotation"),
        (
            [("a", "translation", 1.0, "m", [0, 0, 1], "b"),
             ("b", "translation", 1.0, "m", [0, 0, 1], "a")],
            "never ends",
        ),
    ],
)  # fmt: skip
def test_a_chain_that_cannot_be_followed_gives_no_geometry(file, steps, says):
    file.upright()
    file.put("depends_on", "a")
    for step in steps:
        file.axis(*step)
    assert says in file.refusal()


def test_an_arm_of_unknown_turn_gives_no_geometry(file):
    file.upright()
    file.put("goniometer/two_theta", [15.0, 15.0], "degree")
    assert "two_theta is 15 degrees" in file.refusal()
