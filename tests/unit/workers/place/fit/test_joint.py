"""Several peaks in a patch: told from one, and fitted together at the statistical limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.frames.flags import NEIGHBOUR
from streamer.simulator.patches import expected_counts
from tests.unit.workers.place.fit.test_methods import bounds_of, everywhere, peaks_of
from workers.place.fit.methods import GaussianFit, PseudoVoigtFit, fit_gaussian

N = 4000


def pairs(n, amplitude, separation, ratio, seed):
    """Peaks and equal neighbours `separation` widths away whose centres are in the patch."""
    first = peaks_of(n, amplitude, seed)
    angle = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, n)
    dy, dx = np.sin(angle), np.cos(angle)
    along = (dx * np.cos(first.angle) + dy * np.sin(first.angle)) / first.major
    across = (dy * np.cos(first.angle) - dx * np.sin(first.angle)) / first.minor
    distance = separation / np.hypot(along, across)
    second = replace(
        first,
        row=first.row + distance * dy,
        col=first.col + distance * dx,
        amplitude=first.amplitude * ratio,
        background=np.zeros(n),
    )
    inside = np.maximum(np.abs(second.row), np.abs(second.col)) <= 4.5
    return tuple(
        replace(
            peaks,
            **{name: getattr(peaks, name)[inside] for name in type(peaks).__slots__},
        )
        for peaks in (first, second)
    )


@pytest.mark.parametrize("separation", [2.5, 3.0])
def test_two_peaks(separation):
    spare = 1.15 if separation < 3.0 else 1.45  # for neighbours that are outside the patch
    first, second = pairs(int(N * spare), 316.2, separation, 0.5, 1)
    assert len(first.row) >= N
    expected = expected_counts(first) + expected_counts(second)
    counts = np.random.default_rng(1).poisson(expected).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts))
    assert (found.n_peaks == 2).mean() > 0.995
    errors = np.stack([found.row - first.row, found.col - first.col], axis=1)
    near = np.hypot(*errors.T) < 1.0
    assert near.mean() > 0.999
    bounds = bounds_of([first, second], everywhere(counts))
    assert np.sqrt((errors[near] ** 2).mean() / (bounds[near] ** 2).mean()) < 1.15
    sigmas = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert 0.95 < (errors / sigmas)[near].std() < 1.05


@pytest.mark.parametrize(("separation", "share"), [(2.5, 0.72), (3.0, 0.97)])
def test_faint_pairs_are_told_from_one_peak(separation, share):
    """Nearly as often as by a likelihood-ratio test that starts from the truth: 0.80 and 0.99."""
    first, second = pairs(2000, 63.2, separation, 0.5, 6)
    expected = expected_counts(first) + expected_counts(second)
    counts = np.random.default_rng(6).poisson(expected).astype(np.float32)
    assert (fit_gaussian(counts, everywhere(counts)).n_peaks == 2).mean() > share


def test_a_peak_outside_the_patch_that_reaches_in():
    first = peaks_of(500, 316.2, 7, width=(1.6, 2.0))
    second = replace(
        first, row=first.row + 5.8, amplitude=0.5 * first.amplitude, background=np.zeros(500)
    )
    expected = expected_counts(first) + expected_counts(second)
    counts = np.random.default_rng(7).poisson(expected).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts))
    assert (found.n_peaks == 2).mean() > 0.99
    assert np.hypot(found.row - first.row, found.col - first.col).max() < 0.5


@pytest.mark.parametrize("amplitude", [15.8, 63.2, 3162.0])
def test_stated_rate_of_single_peaks_that_are_split(amplitude):
    """1 in 20,000, so that of 5,000 two are a chance of 3 in 100, and five one of 1 in 100,000."""
    peaks = peaks_of(5000, amplitude, 8)
    counts = np.random.default_rng(8).poisson(expected_counts(peaks)).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts), neighbours=np.ones(5000, np.bool_))
    assert (found.n_peaks > 1).sum() < 5


@pytest.mark.parametrize("method", [GaussianFit(), PseudoVoigtFit()])
def test_the_flag(method):
    first, second = pairs(400, 316.2, 3.5, 0.5, 2)
    rng = np.random.default_rng(2)
    both = rng.poisson(expected_counts(first) + expected_counts(second)).astype(np.float32)
    placed = method.place(both, everywhere(both))
    assert (placed.flags & NEIGHBOUR > 0).mean() > 0.95
    assert np.median(np.hypot(placed.row - first.row, placed.col - first.col)) < 0.1
    one = rng.poisson(expected_counts(first)).astype(np.float32)
    assert (method.place(one, everywhere(one)).flags & NEIGHBOUR > 0).mean() < 0.01


def test_three_peaks():
    first = peaks_of(300, 1000.0, 3, width=(1.0, 1.2))
    rest = [replace(first, row=first.row + 4.0), replace(first, col=first.col - 4.0)]
    expected = sum((expected_counts(peaks) - 10.0 for peaks in (first, *rest)), start=10.0)
    counts = np.random.default_rng(3).poisson(expected).astype(np.float32)
    found = fit_gaussian(counts, everywhere(counts))
    assert (found.n_peaks == 3).mean() > 0.95
    three = found.n_peaks == 3
    assert np.hypot(found.row - first.row, found.col - first.col)[three].max() < 0.15
    assert (fit_gaussian(counts, everywhere(counts), max_peaks=1).n_peaks == 1).all()


def test_a_neighbour_the_caller_knows_of():
    """One that the deviance of the whole patch would not give away is found when asked for."""
    first, second = pairs(600, 63.2, 3.0, 0.3, 4)
    expected = expected_counts(first) + expected_counts(second)
    counts = np.random.default_rng(4).poisson(expected).astype(np.float32)
    told = np.ones(len(counts), np.bool_)
    alone = fit_gaussian(counts, everywhere(counts)).n_peaks > 1
    asked = fit_gaussian(counts, everywhere(counts), neighbours=told).n_peaks > 1
    assert asked.sum() > alone.sum()
    # Being told is no proof: single peaks stay single.
    single = np.random.default_rng(5).poisson(expected_counts(first)).astype(np.float32)
    assert (fit_gaussian(single, everywhere(single), neighbours=told).n_peaks > 1).mean() < 0.01
