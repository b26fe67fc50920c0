"""Shapes of fitted peaks beside those of peaks whose truth is known, integrated over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.frames.flags import NEIGHBOUR
from streamer.frames.peaks import SHAPE
from workers.place.base import Positions
from workers.place.fit.methods import GaussianFit, Noise, PseudoVoigtFit, fit_gaussian, polish

FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
N = 1200
_ROWS, _COLS = np.mgrid[-5:6, -5:6].astype(float)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


def integrated(row, col, major, minor, angle):
    """Return (n, 11, 11), shares of the counts of Gaussian peaks in each pixel."""
    row, col, major, minor, angle = (
        np.asarray(one, float).reshape(-1, 1, 1) for one in (row, col, major, minor, angle)
    )
    total = 0.0
    for down, weight in zip(_NODES / 2, _WEIGHTS / 2, strict=True):
        for right, other in zip(_NODES / 2, _WEIGHTS / 2, strict=True):
            dy, dx = _ROWS + down - row, _COLS + right - col
            along = dx * np.cos(angle) + dy * np.sin(angle)
            beside = dy * np.cos(angle) - dx * np.sin(angle)
            total += weight * other * np.exp(-0.5 * ((along / major) ** 2 + (beside / minor) ** 2))
    return total / (2.0 * math.pi * major * minor)


class Spots:
    """Peaks and what a detector counts of them."""

    def __init__(self, seed: int, widths=(0.9, 2.2), gain: float = 1.0, read: float = 0.0):
        rng = np.random.default_rng(seed)
        self.row, self.col = rng.uniform(-0.6, 0.6, (2, N))
        self.minor = rng.uniform(widths[0], widths[1] / 1.3, N)
        self.major = np.minimum(self.minor * rng.uniform(1.3, 1.8, N), widths[1])
        self.angle = rng.uniform(-math.pi / 2, math.pi / 2, N)
        self.intensity = np.exp(rng.uniform(math.log(3e3), math.log(3e5), N))
        self.background = rng.uniform(1.0, 30.0, N)
        shares = integrated(self.row, self.col, self.major, self.minor, self.angle)
        expected = self.intensity[:, None, None] * shares + self.background[:, None, None]
        counts = gain * rng.poisson(expected) + rng.normal(0.0, read, expected.shape)
        self.counts, self.valid = counts.astype(np.float32), np.ones(counts.shape, np.bool_)
        self.gain = gain

    def errors(self, shape, name):
        """Return errors in standard deviations of one quantity."""
        value, sigma = of(shape, name)
        truth = {
            "intensity": self.gain * self.intensity,
            "background": self.gain * self.background,
            "fwhm_major": FWHM * self.major,
            "fwhm_minor": FWHM * self.minor,
            "angle": np.degrees(self.angle),
            "centre_row": self.row,
            "centre_col": self.col,
            "asymmetry": np.zeros(N),
        }[name]
        error = value - truth
        if name == "angle":
            error = (error + 90.0) % 180.0 - 90.0
        return error / sigma


def of(shape, name):
    place = 2 * SHAPE.index(name)
    return shape[:, place], shape[:, place + 1]


MEASURED = [name for name in SHAPE if name != "eta"]


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("noise", [Noise(), Noise(5.0, 8.0)], ids=["photons", "integrating"])
def test_shapes_scatter_about_the_truth_as_they_say(name: str, noise: Noise) -> None:
    spots = Spots(1, gain=noise.gain, read=noise.read_noise)
    shape = GaussianFit(noise).place(spots.counts, spots.valid).shape
    assert shape is not None
    errors = spots.errors(shape, name)
    assert np.isfinite(errors).mean() > 0.99
    errors = errors[np.isfinite(errors)]
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(1.0, abs=0.08)
    assert np.mean(np.abs(errors) < 1.96) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("name", MEASURED)
def test_narrow_peaks_have_the_widths_they_have_before_pixels(name: str) -> None:
    spots = Spots(2, widths=(0.5, 0.9))
    errors = spots.errors(fit_gaussian(spots.counts, spots.valid).shape, name)
    errors = errors[np.isfinite(errors)]
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(1.0, abs=0.1)


def test_a_few_steps_from_a_rough_place_lead_to_what_a_fit_finds() -> None:
    spots = Spots(3)
    rng = np.random.default_rng(3)
    places = np.stack([spots.row, spots.col], axis=1) + rng.uniform(-0.3, 0.3, (N, 2))
    quick = polish(spots.counts, spots.valid, places)
    full = fit_gaussian(spots.counts, spots.valid, max_peaks=1)
    assert quick.converged.all()
    for axis in ("row", "col"):
        apart = np.abs(getattr(quick, axis) - getattr(full, axis))
        # Where the background's slopes are barely told, one may fit them and the other not.
        assert (apart < 0.2 * np.sqrt(full.covariance[:, 0, 0])).mean() > 0.97
    np.testing.assert_allclose(quick.shape[:, 0], full.shape[:, 0], rtol=0.02)


def test_a_hopeless_place_does_not_lead_astray() -> None:
    spots = Spots(4)
    far = polish(spots.counts, spots.valid, np.full((N, 2), 4.5))
    full = fit_gaussian(spots.counts, spots.valid, max_peaks=1)
    np.testing.assert_allclose(far.row, full.row, atol=0.02)


def test_round_peaks_have_no_axis_and_empty_patches_no_shape() -> None:
    shares = np.repeat(integrated([0.2], [0.1], [1.5], [1.5], [0.0]), 200, axis=0)
    counts = np.random.default_rng(1).poisson(300.0 * shares + 2.0)
    counts[100:] = 0
    shape = fit_gaussian(counts.astype(np.float32), np.ones(counts.shape, np.bool_)).shape
    assert np.isnan(of(shape, "angle")[0][:100]).mean() > 0.9
    assert np.isfinite(of(shape, "intensity")[0][:100]).all()
    assert np.isnan(shape[100:]).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_tail_shows_in_asymmetry_and_moves_the_centre_of_mass(sign: float) -> None:
    # Half of the counts lie beside the others, along the columns.
    shares = integrated([0.0], [-0.3 * sign], [1.2], [1.0], [0.0])
    shares = 0.7 * shares + 0.3 * integrated([0.0], [0.7 * sign], [1.6], [1.0], [0.0])
    counts = (3e5 * shares + 5.0).astype(np.float32)
    shape = fit_gaussian(counts, np.ones(counts.shape, np.bool_), max_peaks=1).shape
    (angle,), (asymmetry,) = of(shape, "angle")[0], of(shape, "asymmetry")[0]
    assert abs(angle) < 5.0
    assert sign * asymmetry > 5.0 * of(shape, "asymmetry")[1][0]
    assert of(shape, "centre_col")[0][0] == pytest.approx(0.0, abs=0.02)


def test_lorentzian_shares_are_told_where_there_are_tails() -> None:
    shape = PseudoVoigtFit().place(*tailed(0.5)).shape
    assert shape is not None
    eta, sigma = of(shape, "eta")
    assert np.nanmean(eta) == pytest.approx(0.5, abs=0.05)
    assert np.nanmean(sigma) < 0.1
    assert np.isnan(of(fit_gaussian(*tailed(0.5)).shape, "eta")[0]).mean() < 1.0


def tailed(eta: float) -> tuple[np.ndarray, np.ndarray]:
    r2 = (_ROWS**2 + _COLS**2) / 1.3**2
    profile = (1.0 - eta) * np.exp(-0.5 * r2) + eta / (1.0 + r2 / (2.0 * math.log(2.0)))
    counts = np.random.default_rng(1).poisson(np.broadcast_to(3e3 * profile + 2.0, (50, 11, 11)))
    return counts.astype(np.float32), np.ones(counts.shape, np.bool_)


def test_of_two_peaks_both_answers_are_told() -> None:
    shares = integrated([0.0], [0.0], [1.2], [1.2], [0.0])
    shares = shares + 0.6 * integrated([0.5], [3.0], [1.2], [1.2], [0.0])
    counts = np.random.default_rng(1).poisson(8e3 * shares + 3.0).astype(np.float32)
    placed: Positions = GaussianFit().place(counts, np.ones(counts.shape, np.bool_))
    assert placed.flags[0] & NEIGHBOUR
    assert placed.single is not None
    _, col, row_sigma, col_sigma, evidence = placed.single[0]
    assert abs(placed.col[0]) < 5.0 * placed.col_sigma[0]
    assert col > 0.3
    assert evidence > 500.0
    assert min(row_sigma, col_sigma) > 0.0


def test_of_one_peak_there_is_one_answer() -> None:
    spots = Spots(5)
    placed = GaussianFit().place(spots.counts, spots.valid)
    assert placed.single is not None
    assert np.isnan(placed.single[(placed.flags & NEIGHBOUR) == 0]).all()


def by_both(counts: np.ndarray, valid: np.ndarray):
    """Return the answers of the full fit and of the quick one from a rough place."""
    full = fit_gaussian(counts, valid)
    return full, polish(counts, valid, np.stack([full.row + 0.2, full.col - 0.2], axis=1))


@pytest.mark.parametrize("slope", [1.0, 5.0])
def test_peaks_on_a_slope_stand_where_they_stand(slope: float) -> None:
    spots = Spots(6)
    rng = np.random.default_rng(6)
    shares = integrated(spots.row, spots.col, spots.major, spots.minor, spots.angle)
    amplitude = 300.0 * 2.0 * math.pi * spots.major * spots.minor
    ground = 10.0 * slope + slope * (0.8 * _ROWS - 0.6 * _COLS)
    counts = rng.poisson(amplitude[:, None, None] * shares + ground).astype(np.float32)
    for fits in by_both(counts, spots.valid):
        pull = (fits.row - spots.row) / np.sqrt(fits.covariance[:, 0, 0])
        assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.08)
        assert (fits.n_peaks == 1).mean() > 0.95
        assert np.nanmedian(of(fits.shape, "background")[0]) == pytest.approx(10 * slope, rel=0.03)


def test_a_dead_pixel_that_nobody_masked_moves_no_peak() -> None:
    spots = Spots(7)
    spots.counts[:, 5, 7] = 0.0
    for fits in by_both(spots.counts, spots.valid):
        pull = (fits.col - spots.col) / np.sqrt(fits.covariance[:, 1, 1])
        assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.12)
        assert (fits.excess < 3.29).mean() > 0.97


def test_a_background_at_its_limit_has_an_honest_sigma():
    rows, cols = np.mgrid[-5:6, -5:6]
    rng = np.random.default_rng(3)
    wide = 10 + 20_000 * np.exp(-0.5 * ((rows / 3.4) ** 2 + (cols / 3.9) ** 2))
    dark = 0.02 + 10 * np.exp(-0.5 * (rows**2 + cols**2) / 1.3**2)
    at = 2 * SHAPE.index("background")
    for expected, truth in ((wide, 10.0), (dark, 0.02)):
        counts = rng.poisson(expected, (300, 11, 11)).astype(np.float32)
        shape = fit_gaussian(counts, counts >= 0, max_peaks=1).shape
        limit = shape[:, at] < 1e-3
        assert limit.any()
        pull = (shape[limit, at] - truth) / shape[limit, at + 1]
        assert np.sqrt(np.mean(pull**2)) < 3
    assert shape[limit, at + 1].max() < 0.1, "nothing seen in so many pixels tells much"
