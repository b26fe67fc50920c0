import pytest

from streamer.frames.units import factor


@pytest.mark.parametrize(
    ("quantity", "units", "expected"),
    [
        ("length", "m meter Meters metre", 1.0),
        ("length", "mm millimeter Millimetres MM", 1e-3),
        ("length", "cm centimeter", 1e-2),
        ("length", "um µm μm micron microns micrometer Micrometre", 1e-6),
        ("length", "nm nanometer", 1e-9),
        ("length", "pm", 1e-12),
        ("wavelength", "angstrom Angstroms A Å \N{ANGSTROM SIGN} Ångström ang", 1.0),
        ("wavelength", "nm", 10.0),
        ("wavelength", "m", 1e10),
        ("wavelength", "pm", 0.01),
        ("energy", "eV ev electronvolt", 1.0),
        ("energy", "keV kev", 1e3),
        ("energy", "MeV", 1e6),
        ("energy", "meV", 1e-3),
        ("energy", "J Joules", 6.241509074460763e18),
        ("angle", "deg degree degrees °", 0.017453292519943295),
        ("angle", "rad radians", 1.0),
        ("angle", "mrad", 1e-3),
        ("time", "s sec seconds", 1.0),
        ("time", "ms milliseconds", 1e-3),
        ("pixels", "pixel pixels px", 1.0),
    ],
)
def test_units_in_all_their_spellings(quantity, units, expected):
    for unit in units.split():
        assert factor(unit, quantity) == pytest.approx(expected, rel=1e-14), unit
        assert factor(f" {unit} ", quantity) == factor(unit, quantity)


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [("length", "furlong"), ("length", "pixel"), ("energy", "m"), ("pixels", "mm"), ("time", "")],
)
def test_a_unit_that_is_not_known_is_not_guessed(quantity, unit):
    assert factor(unit, quantity) is None
