"""Fits of single peaks: at the statistical limit, honest about it, unshaken by bad patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numba import njit
from scipy.optimize import least_squares, minimize

from streamer.config import PositionsConfig
from streamer.errors import UserError
from streamer.frames.flags import NEIGHBOUR, POOR_FIT, UNTRUSTED
from streamer.simulator.patches import PeakRanges, Peaks, draw_peaks, expected_counts
from streamer.simulator.profiles import draw_spots, precision
from workers.compare import evaluation
from workers.place.base import TRAINED_PX
from workers.place.fit import methods as module
from workers.place.fit.elementary import exponential, logarithm
from workers.place.fit.expected import evaluate
from workers.place.fit.fisher_scoring import fisher_scoring
from workers.place.fit.goodness import deviance_moments
from workers.place.fit.likelihood import GAUSSIAN, PSEUDO_VOIGT, TILTED, gather, workspace
from workers.place.fit.methods import (
    FIT_TRUSTED_PX,
    GaussianFit,
    Noise,
    PseudoVoigtFit,
    fit_gaussian,
    fit_pseudo_voigt,
)
from workers.place.fit.residuals import bump, tails, warp
from workers.place.methods import make_method

N = 4000


def peaks_of(n, amplitude, seed, eta=0.0, offset=0.5, width=(1.0, 2.0), background=10.0):
    ranges = PeakRanges(
        amplitude=(amplitude, amplitude),
        background=(background, background),
        width=width,
        offset=offset,
        voigt_share=0.0,
    )
    peaks = draw_peaks(n, ranges, np.random.default_rng([seed, int(amplitude)]))
    peaks.eta[:] = eta
    return peaks


def parameters_of(peaks: Peaks, i: int, each: int) -> list[float]:
    a, b, c = precision(peaks.major[i], peaks.minor[i], peaks.angle[i])
    return [peaks.amplitude[i], peaks.row[i], peaks.col[i], a, b, c, peaks.eta[i]][:each]


def bounds_of(groups: list[Peaks], valid, each=GAUSSIAN, white=0.0):
    """Cramér-Rao bounds (n, 2) of the first group's peaks, all parameters unknown."""
    work, bounds = workspace(valid.shape[1]), []
    for i in range(len(valid)):
        m = gather(work, valid[i].astype(np.float32), valid[i], True)
        theta = np.array(
            [value for peaks in groups for value in parameters_of(peaks, i, each)]
            + [groups[0].background[i]]
        )
        evaluate(work, m, theta, len(groups), each, False)
        slopes = work.lanes.slopes[: len(theta)].reshape(len(theta), -1)[:, :m]
        weights = 1.0 / (white**2 if white else work.lanes.expected.reshape(-1)[:m])
        bounds.append(np.sqrt(np.diag(np.linalg.inv((slopes * weights) @ slopes.T))[1:3]))
    return np.array(bounds)


def figures(found, peaks, bounds):
    """RMSE over bound, and the standard deviation of the pull, both without errors above 1 px."""
    errors = np.stack([found.row - peaks.row, found.col - peaks.col], axis=1)
    sigmas = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    near = np.hypot(*errors.T) < 1.0
    assert near.mean() > 0.99
    known = near & found.converged
    assert known.sum() > 0.99 * near.sum()
    ratio = np.sqrt((errors[near] ** 2).mean() / (bounds[near] ** 2).mean())
    return ratio, (errors / sigmas)[known].std()


def everywhere(patches):
    return np.ones(patches.shape, np.bool_)


@pytest.mark.parametrize("each", [GAUSSIAN, PSEUDO_VOIGT])
@pytest.mark.parametrize("fine", [False, True])
def test_derivatives(each, fine):
    rng = np.random.default_rng(0)
    work = workspace(7)
    m = gather(work, np.zeros((7, 7), np.float32), np.ones((7, 7), np.bool_), True)
    peaks = peaks_of(2, 50.0, 1, eta=0.4)
    theta = np.array(parameters_of(peaks, 0, each) + parameters_of(peaks, 1, each) + [3.0])
    theta[each + 1] += 2.0
    theta *= rng.uniform(0.9, 1.1, len(theta))
    evaluate(work, m, theta, 2, each, fine)
    slopes = work.lanes.slopes[: len(theta)].reshape(len(theta), -1)[:, :m].copy()
    for i, value in enumerate(theta):
        step = 1e-5 * max(abs(value), 0.1)
        sides = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[i] += sign * step
            evaluate(work, m, moved, 2, each, fine)
            sides.append(work.lanes.expected.reshape(-1)[:m].copy())
        difference = (sides[0] - sides[1]) / (2.0 * step)
        np.testing.assert_allclose(slopes[i], difference, rtol=1e-5, atol=1e-6)


def test_exponential_and_logarithm():
    @njit
    def both(powers, numbers):
        for i in range(len(powers)):
            powers[i] = exponential(powers[i])
            numbers[i] = logarithm(numbers[i])

    x = np.concatenate([np.linspace(-690.0, 20.0, 10_001), [0.0, -1e-300, np.nan]])
    y = np.concatenate([np.exp(np.linspace(-20.0, 20.0, 10_001)), [1.0, 0.5**0.5, 2.0**0.5]])
    powers, numbers = x.copy(), y.copy()
    both(powers, numbers)
    np.testing.assert_allclose(powers, np.exp(x), rtol=1e-13)
    np.testing.assert_allclose(numbers, np.log(y), rtol=0.0, atol=1e-13)
    least = np.array([-1e9, -np.inf])
    both(least, np.ones(2))
    assert (least < 1e-300).all()


@pytest.mark.parametrize("amplitude", [15.8, 63.2, 316.2])
def test_score_statistics_are_chi_squares_for_clean_peaks(amplitude):
    peaks = peaks_of(2000, amplitude, 15)
    counts = np.random.default_rng(15).poisson(expected_counts(peaks)).astype(np.float32)
    work, found = workspace(11), []
    for patch in counts:
        m = gather(work, patch, np.ones((11, 11), np.bool_), True)
        work.best[:7] = amplitude, 0.0, 0.0, 0.4, 0.0, 0.4, 10.0
        fisher_scoring(work, m, 1, GAUSSIAN, 11, 1.0, 0.0)
        found.append((warp(work, m, 1.0, 0.0), bump(work, m, 11, 1.0, 0.0)[0]))
        found[-1] += (tails(work, m, 1.0, 0.0),)
    moments, residual, tail = np.array(found).T
    assert moments.mean() == pytest.approx(9.0, abs=0.7)
    assert 0.003 < (moments > 21.7).mean() < 0.025
    assert (residual > 3.4).mean() < 0.025
    # Half of a chi-square of one parameter: tails cannot be negative.
    assert (tail > 5.4).mean() < 0.025
    assert 0.35 < (tail > 0.0).mean() < 0.65


def test_slopes_that_run_into_their_limit_are_given_up_soon():
    # A second spot at the corner of the patch, on next to no background.
    row, col = np.mgrid[-5:6, -5:6]
    patch = 3.0 + 800.0 * np.exp(-(row**2 + col**2) / 2.88)
    patch += 300.0 * np.exp(-((row - 3) ** 2 + (col - 3) ** 2) / 2.88)
    work = workspace(11)
    m = gather(work, patch.astype(np.float32), np.ones((11, 11), np.bool_), True)
    work.best[:7] = 800.0, 0.0, 0.0, 0.7, 0.0, 0.7, 3.0
    assert fisher_scoring(work, m, 1, GAUSSIAN, 11, 1.0, 0.0)[0]
    work.ground[0] = TILTED
    converged, _, steps = fisher_scoring(work, m, 1, GAUSSIAN, 11, 1.0, 0.0)
    assert not converged
    assert steps < 15


def test_agrees_with_scipy():
    peaks = peaks_of(6, 300.0, 2)
    counts = np.random.default_rng(2).poisson(expected_counts(peaks)).astype(np.float32)
    poisson = fit_gaussian(counts, everywhere(counts), max_peaks=1)
    white = fit_gaussian(counts, everywhere(counts), Noise(0.0, 5.0), max_peaks=1)
    work = workspace(11)
    for i in range(6):
        m = gather(work, counts[i], np.ones((11, 11), np.bool_), True)
        data = work.lanes.counts.reshape(-1)[:m].copy()

        def expected(theta, m=m):
            evaluate(work, m, theta, 1, GAUSSIAN, False)
            return np.maximum(work.lanes.expected.reshape(-1)[:m], 1e-9)

        start = np.array([*parameters_of(peaks, i, GAUSSIAN), 10.0])
        best = minimize(
            lambda theta, data=data: (expected(theta) - data * np.log(expected(theta))).sum(),
            start,
            method="L-BFGS-B",
            options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-8},
        )
        assert [poisson.row[i], poisson.col[i]] == pytest.approx(best.x[1:3], abs=1e-3)
        assert poisson.amplitude[i] == pytest.approx(best.x[0], rel=0.01)
        best = least_squares(lambda theta, data=data: expected(theta) - data, start, xtol=1e-12)
        assert [white.row[i], white.col[i]] == pytest.approx(best.x[1:3], abs=1e-3)


@pytest.mark.parametrize(
    ("snr", "limit"), [(1000, 1.03), (100, 1.03), (20, 1.03), (5, 1.10)], ids=str
)
def test_photon_counters(snr, limit):
    peaks = peaks_of(N, snr * 10**0.5, 3)
    counts = np.random.default_rng(snr).poisson(expected_counts(peaks)).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts))
    ratio, pull = figures(found, peaks, bounds_of([peaks], everywhere(counts)))
    assert ratio < limit
    assert 0.95 < pull < 1.05
    # Two clean peaks in a thousand may be taken for poor ones.
    assert (found.excess > module.EXCESS).mean() < 0.003
    assert (found.n_peaks > 1).sum() < 4


@pytest.mark.parametrize(("snr", "limit"), [(100, 1.03), (20, 1.03), (5, 1.10)], ids=str)
def test_white_noise(snr, limit):
    peaks, rng = peaks_of(N, 1000.0, 4), np.random.default_rng(snr)
    sigma = 1000.0 / snr
    counts = (expected_counts(peaks) + rng.normal(0.0, sigma, (N, 11, 11))).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts), Noise(0.0, sigma))
    ratio, pull = figures(found, peaks, bounds_of([peaks], everywhere(counts), white=sigma))
    assert ratio < limit
    assert 0.95 < pull < 1.05


@pytest.mark.parametrize(("gain", "read_noise"), [(5.0, 8.0), (0.5, 0.3), (3.0, 0.0)])
def test_integrating_detectors(gain, read_noise):
    peaks, rng = peaks_of(N, 150.0, 5), np.random.default_rng(5)
    photons = rng.poisson(expected_counts(peaks))
    counts = (gain * photons + rng.normal(0.0, read_noise, photons.shape)).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts), Noise(gain, read_noise))
    errors = np.stack([found.row - peaks.row, found.col - peaks.col], axis=1)
    pull = errors / np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert 0.95 < pull.std() < 1.05
    assert found.amplitude.mean() == pytest.approx(150.0 * gain, rel=0.02)
    assert (found.excess > module.EXCESS).mean() < 0.005


@pytest.mark.parametrize("snr", [100, 20])
def test_pseudo_voigt(snr):
    peaks = peaks_of(N, snr * 10**0.5, 6, eta=0.5)
    counts = np.random.default_rng(snr).poisson(expected_counts(peaks)).astype(np.float32)
    bounds = bounds_of([peaks], everywhere(counts), PSEUDO_VOIGT)
    found = fit_pseudo_voigt(counts, everywhere(counts))
    ratio, pull = figures(found, peaks, bounds)
    assert ratio < 1.03
    assert 0.95 < pull < 1.05
    # The Gaussian fit sees tails where they matter, and no second peak in them.
    gaussian = fit_gaussian(counts, everywhere(counts))
    assert figures(gaussian, peaks, bounds)[0] < 1.05
    assert (gaussian.n_peaks > 1).mean() < 0.003


@pytest.mark.parametrize("distance", [1, 0])
def test_detector_edge(distance):
    """The last valid pixel's centre is this far from the peak."""
    peaks = peaks_of(N, 316.2, 7)
    peaks.row[:] = 0.0
    peaks = replace(peaks, row=np.zeros(N))
    counts = np.random.default_rng(7).poisson(expected_counts(peaks)).astype(np.float32)
    valid = everywhere(counts)
    valid[:, 5 + distance + 1 :] = False
    found = fit_gaussian(counts, valid)
    errors = np.stack([found.row - peaks.row, found.col - peaks.col], axis=1)
    bounds = bounds_of([peaks], valid)
    near = np.hypot(*errors.T) < 1.0
    assert near.mean() > 0.98
    ratio = np.sqrt((errors[near] ** 2).mean(axis=0) / (bounds[near] ** 2).mean(axis=0))
    assert (ratio < 1.3).all()
    pull = errors / np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert 0.95 < pull[near & found.converged].std() < 1.05


@pytest.mark.parametrize("width", [0.4, 0.5, 0.6])
def test_narrow_peaks_are_integrated_over_pixels(width):
    rng = np.random.default_rng(8)
    offsets = rng.uniform(-0.5, 0.5, (200, 2))
    patches = np.full((200, 11, 11), 10.0, np.float32)
    for patch, (row, col) in zip(patches, offsets, strict=True):
        draw_spots(patch, np.array([[row + 5.0, col + 5.0, 5000.0, width, width, 0.0, 0.0]]))
    found = fit_gaussian(patches, everywhere(patches), max_peaks=1)
    errors = np.stack([found.row, found.col], axis=1) - offsets
    assert found.converged.all()
    assert np.abs(errors).max() < 0.002
    assert np.median(found.sigma_major) == pytest.approx(width, rel=0.02)


def test_shape():
    """Widths and angle in the convention of the simulator."""
    peaks = peaks_of(300, 20_000.0, 9)
    peaks = replace(peaks, major=np.full(300, 2.0), minor=np.full(300, 1.2))
    found = fit_gaussian(expected_counts(peaks).astype(np.float32), np.ones((300, 11, 11), bool))
    np.testing.assert_allclose(found.sigma_major, 2.0, rtol=1e-3)
    np.testing.assert_allclose(found.sigma_minor, 1.2, rtol=1e-3)
    np.testing.assert_allclose(found.background, 10.0, atol=0.2)
    turn = (found.angle - peaks.angle + np.pi / 2) % np.pi - np.pi / 2
    assert np.abs(turn).max() < 1e-3


@pytest.mark.parametrize("background", [0.02, 0.3, 3.0])
def test_stated_rate_of_false_alarms_with_few_counts(background):
    peaks = peaks_of(N, 200.0, 10, background=background)
    counts = np.random.default_rng(10).poisson(expected_counts(peaks)).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts), max_peaks=1)
    assert found.converged.mean() > 0.999
    assert found.excess.mean() == pytest.approx(0.0, abs=0.25)
    assert 0.85 < found.excess.std() < 1.15
    assert (found.excess > module.EXCESS).mean() < 0.004


def test_deviance_of_one_pixel():
    rng, expected = np.random.default_rng(11), np.array([0.05, 0.7, 8.0])
    for mu, (mean, variance) in zip(expected, deviance_moments(expected), strict=True):
        count = rng.poisson(mu, 400_000)
        part = count * np.log(np.maximum(count, 1) / mu)
        deviance = 2.0 * (mu - count + part)
        assert deviance.mean() == pytest.approx(mean, rel=0.02)
        assert deviance.var() == pytest.approx(variance, rel=0.04)


@pytest.mark.parametrize("method", [GaussianFit(), PseudoVoigtFit(), GaussianFit(Noise(2.0, 1.0))])
class TestMethods:
    def test_masked_content_does_not_matter(self, method):
        rng = np.random.default_rng(12)
        counts = rng.poisson(expected_counts(peaks_of(200, 300.0, 12))).astype(np.float32)
        valid = rng.random(counts.shape) > 0.1
        answers = []
        for content in (0.0, 1e9, np.nan, -np.inf):
            counts[~valid] = content
            placed = method.place(counts, valid)
            answers.append(np.stack([placed.row, placed.col, placed.row_sigma, placed.flags]))
        for answer in answers[1:]:
            np.testing.assert_array_equal(answer, answers[0])

    def test_patches_without_a_peak(self, method):
        rng = np.random.default_rng(13)
        patches = np.zeros((12, 11, 11), np.float32)
        valid = everywhere(patches)
        patches[1] = 7.0
        patches[2, 5, 5] = 1e7
        patches[3] = -50.0
        patches[4] = np.nan
        patches[5] = 3e38
        patches[6] = rng.poisson(10.0, (11, 11))
        patches[7] = np.arange(11)
        patches[8] = rng.normal(0.0, 1e6, (11, 11))
        valid[9] = False
        valid[10] = False
        valid[10, 5, 5] = True
        patches[11] = 1e5
        patches[11, 5, 5] = 0.0
        placed = method.place(patches, valid)
        for array in (placed.row, placed.col):
            assert np.isfinite(array).all()
        known = np.isfinite(placed.row_sigma)
        assert (known == np.isfinite(placed.col_sigma)).all()
        assert (placed.row_sigma[known] > 0.0).all()
        nothing = placed.flags & (POOR_FIT | UNTRUSTED) > 0
        assert nothing[[0, 1, 2, 3, 4, 5, 8, 9, 10, 11]].all()

    def test_no_patches(self, method):
        placed = method.place(np.empty((0, 11, 11), np.float32), np.empty((0, 11, 11), np.bool_))
        assert len(placed) == 0
        assert placed.row_sigma.shape == (0,)
        assert placed.flags.dtype == np.int32

    def test_flags(self, method):
        peaks = peaks_of(3, 2000.0, 14)
        peaks.row[:] = [0.0, 2.6, 0.3]
        peaks.col[:] = [0.0, 0.0, -0.4]
        counts = np.random.default_rng(14).poisson(expected_counts(peaks)).astype(np.float32)
        placed = method.place(counts, everywhere(counts))
        assert placed.row == pytest.approx(peaks.row, abs=0.1)
        assert placed.col == pytest.approx(peaks.col, abs=0.1)
        assert list(placed.flags & UNTRUSTED) == [0, UNTRUSTED, 0]
        assert not (placed.flags & NEIGHBOUR).any()


def test_impossible_noise():
    for gain, read_noise in ((0.0, 0.0), (-1.0, 2.0), (1.0, -2.0), (np.nan, 1.0)):
        with pytest.raises(UserError, match="read noise"):
            Noise(gain, read_noise)


@pytest.mark.parametrize("size", [11, 15])
def test_patches_of_any_size_from_eleven_pixels_on_are_fitted_at_the_bound(size):
    cases = [
        case
        for case in evaluation.CASES
        if case.name in ("SNR 100", "SNR 20", "SNR 100, second peak")
    ]
    assert len(cases) == 3
    for figures in evaluation.evaluate(PseudoVoigtFit(patch_size=size), cases, n=1500, seed=3):
        assert 0.9 < figures.pull < 1.1
        assert figures.poor < 0.005
        if "second" not in figures.case:
            assert figures.ratio < 1.05


@pytest.mark.parametrize("method", [GaussianFit(), PseudoVoigtFit()])
def test_fits_are_trusted_beyond_where_networks_are_trained(method):
    assert PeakRanges().offset == TRAINED_PX < FIT_TRUSTED_PX
    rng = np.random.default_rng(16)
    peaks = peaks_of(1500, 300.0, 16)
    peaks.row[:] = rng.uniform(TRAINED_PX, FIT_TRUSTED_PX - 0.2, len(peaks.row))
    counts = rng.poisson(expected_counts(peaks)).astype(np.float32)
    valid = everywhere(counts)
    placed = method.place(counts, valid)
    assert (placed.flags == 0).mean() > 0.99
    pull = (placed.row - peaks.row) / placed.row_sigma
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.06)
    network = make_method(PositionsConfig(device="cpu", polish=False), 1).place(counts, valid)
    far = np.abs(network.row) > TRAINED_PX
    assert far.mean() > 0.5
    assert (network.flags[far] & UNTRUSTED).all()
