from __future__ import annotations

import numpy as np
import pytest

from streamer.frames.geometry import Geometry
from streamer.tracks.catalogue import TrackCatalogue
from streamer.tracks.shapes import SHAPES, crystals
from tests.unit.streamer.tracks.test_catalogue import observations, only_row, together

GEOMETRY = Geometry.from_beam(
    (0.0, 0.0), distance_m=0.2, pixel_m=(1e-4, 1e-4), wavelength_a=0.5, source="test"
)
AT = 800.0, 600.0
THETA = np.arctan(0.5) / 2


def shaped(track, frames, seed=0, **shapes):
    """Make the peaks of a track with shapes that scatter by a tenth of what they are."""
    rng = np.random.default_rng(seed)
    peaks = observations(track, frames, *AT)
    for name, value in shapes.items():
        sigma = 0.1 * np.abs(np.broadcast_to(value, len(frames)))
        peaks[name] = value + rng.normal(0, 1, len(frames)) * sigma
        peaks[f"{name}_sigma"] = sigma
    return peaks


def test_a_track_tells_its_shape_now_and_at_first():
    catalogue = TrackCatalogue()
    frames = np.arange(40)
    growing = 100.0 + 10.0 * frames
    catalogue.extend(["a"], shaped(0, frames, intensity=growing, fwhm_radial=0.02))
    row = only_row(catalogue)
    assert row["ref_intensity"] == pytest.approx(growing[:10].mean(), rel=0.1)
    assert row["intensity"] == pytest.approx(growing[-10:].mean(), rel=0.1)
    assert row["fwhm_radial_sigma"] == pytest.approx(0.002 / np.sqrt(10), rel=0.5)
    unknown = set(SHAPES) - {"intensity", "fwhm_radial"}
    assert np.isnan([row[name] for name in unknown]).all()


def test_the_sigmas_of_shapes_are_those_of_many_tracks():
    catalogue = TrackCatalogue()
    tracks = [shaped(k, np.arange(30), seed=k, fwhm_major=2.5) for k in range(300)]
    catalogue.extend(["a"], together(*tracks))
    table = catalogue.measure(None)
    for prefix in ("", "ref_"):
        name = f"{prefix}fwhm_major"
        pull = (table[name].to_numpy() - 2.5) / table[f"{name}_sigma"].to_numpy()
        assert 0.88 < pull.std() < 1.05


def test_a_sum_over_the_patch_does_not_mix_with_what_was_fitted():
    catalogue = TrackCatalogue()
    peaks = shaped(0, np.arange(20), intensity=100.0)
    peaks["intensity"][::2], peaks["intensity_sigma"][::2] = 500.0, np.nan
    sums = shaped(1, np.arange(20), intensity=500.0)
    sums["intensity_sigma"][:] = np.nan
    catalogue.extend(["a"], together(peaks, sums))
    fitted, summed = catalogue.measure(None).to_pylist()
    assert fitted["intensity"] == pytest.approx(100.0, rel=0.2)
    assert summed["intensity"] == pytest.approx(500.0, rel=0.2)
    assert summed["intensity_sigma"] == pytest.approx(50.0 / np.sqrt(10), rel=0.6)


def test_shapes_come_through_a_state():
    first, second = TrackCatalogue(), TrackCatalogue()
    first.extend(["a"], shaped(0, np.arange(12), eta=0.4))
    second.restore(first.state())
    for catalogue in (first, second):
        catalogue.extend(["a"], shaped(0, np.arange(12, 30), seed=1, eta=0.4))
    one, other = only_row(first), only_row(second)
    assert one["ref_eta"] == other["ref_eta"]
    assert one["eta"] == other["eta"]


def of_width(fwhm, sigma=1e-6, eta=0.0, eta_sigma=1e-9):
    names = ("row", "col", "fwhm_radial", "fwhm_radial_sigma", "eta", "eta_sigma")
    return dict(zip(names, np.array([[*AT, fwhm, sigma, eta, eta_sigma]]).T, strict=True))


def crystal(instrument=0.05, geometry=GEOMETRY, **peak):
    return {k: v[0] for k, v in crystals(of_width(**peak), geometry, instrument).items()}


@pytest.mark.parametrize(("eta", "left"), [(0.0, 0.12), (1.0, 0.08), (0.25, 0.11)])
def test_the_width_of_the_instrument_is_taken_off_by_the_profile(eta, left):
    found = crystal(fwhm=0.13, eta=eta)
    beta = np.radians(left)
    assert found["size_nm"] == pytest.approx(0.9 * 0.05 / (beta * np.cos(THETA)))
    assert found["microstrain"] == pytest.approx(beta / (4 * np.tan(THETA)))


def test_the_sigma_of_a_size_is_that_of_many_widths():
    rng = np.random.default_rng(0)
    widths, shares = 0.13 + rng.normal(0, 0.004, 4000), 0.4 + rng.normal(0, 0.05, 4000)
    one = of_width(0.13, 0.004, 0.4, 0.05)
    many = {name: np.repeat(column, 4000) for name, column in one.items()}
    found = crystals(many | {"fwhm_radial": widths, "eta": shares}, GEOMETRY, 0.05)
    for name in ("size_nm", "microstrain"):
        assert found[name].std() == pytest.approx(np.median(found[f"{name}_sigma"]), rel=0.1)


def test_a_profile_that_is_not_known_may_be_any():
    unknown, known = (crystal(fwhm=0.13, eta=0.5, eta_sigma=s) for s in (np.nan, 1e-9))
    assert unknown["size_nm"] == pytest.approx(known["size_nm"])
    gaussian, lorentzian = (crystal(fwhm=0.13, eta=eta)["size_nm"] for eta in (0.0, 1.0))
    assert unknown["size_nm_sigma"] == pytest.approx((lorentzian - gaussian) / 12**0.5, rel=0.1)


def test_nothing_is_told_that_is_not_known():
    assert np.isnan(list(crystal(fwhm=0.054, sigma=0.005).values())).all()
    assert np.isnan(list(crystal(fwhm=0.13, instrument=None).values())).all()
    assert np.isnan(list(crystal(fwhm=0.13, geometry=None).values())).all()
    silent = Geometry.from_beam((0, 0), distance_m=0.2, pixel_m=(1e-4, 1e-4))
    found = crystal(fwhm=0.13, geometry=silent)
    assert np.isnan(found["size_nm"])
    assert found["microstrain"] > 0
