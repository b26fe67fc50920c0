from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.simulator.patches import PeakRanges, draw_peaks, expected_counts
from workers.compare.halves import deal, halves_of
from workers.place.base import Positions
from workers.place.fit.methods import GaussianFit


def photons(n: int, rng: np.random.Generator) -> np.ndarray:
    ranges = PeakRanges(amplitude=(200.0, 2000.0), offset=0.5, voigt_share=0.0, hot_share=0.0)
    return rng.poisson(expected_counts(draw_peaks(n, ranges, rng), 11)).astype(np.float32)


class Sure(GaussianFit):
    """Says that it knows twice as well as it does."""

    name = "sure"

    def place(self, patches: np.ndarray, valid: np.ndarray) -> Positions:
        one = super().place(patches, valid)
        sigmas = (one.row_sigma / 2, one.col_sigma / 2)
        return Positions(one.row, one.col, *sigmas, one.flags, one.unsure)


def test_a_method_that_is_too_sure_of_itself_is_found_out() -> None:
    rng = np.random.default_rng(3)
    counts = photons(1500, rng)
    valid = np.ones(counts.shape, np.bool_)
    halves = deal(counts, valid, 1.0, rng)
    assert not isinstance(halves, str)
    np.testing.assert_array_equal(halves[0] + halves[1], counts)
    honest, sure = (halves_of(method, halves, valid)[0] for method in (GaussianFit(), Sure()))
    assert honest.population == "unflagged"
    assert honest.pull == pytest.approx(1.0, abs=0.05)
    assert honest.within == pytest.approx(0.95, abs=0.02)
    assert sure.pull == pytest.approx(2.0, abs=0.1)


def test_counts_of_a_gain_are_dealt_photon_by_photon() -> None:
    rng = np.random.default_rng(3)
    counts = 7.0 * photons(20, rng)
    halves = deal(counts.astype(np.float32), np.ones(counts.shape, np.bool_), 7.0, rng)
    assert not isinstance(halves, str)
    assert (halves[0] % 7.0 == 0.0).all()


@pytest.mark.parametrize(
    ("value", "gain", "why"),
    [(50.5, 1.0, "not photons"), (-3.0, 1.0, "not photons"), (5.0, 0.0, "not photons"),
     (0.0, 1.0, "too few")],
)  # fmt: skip
def test_what_cannot_be_dealt_is_said(value: float, gain: float, why: str) -> None:
    counts = np.full((4, 11, 11), value, np.float32)
    counts[:, 0, 0] = 4e9
    valid = np.ones(counts.shape, np.bool_)
    valid[:, 0, 0] = False
    said = deal(counts, valid, gain, np.random.default_rng(1))
    assert isinstance(said, str)
    assert why in said


def test_of_few_peaks_no_pull_is_told() -> None:
    rng = np.random.default_rng(3)
    counts = photons(5, rng)
    valid = np.ones(counts.shape, np.bool_)
    halves = deal(counts, valid, 1.0, rng)
    assert not isinstance(halves, str)
    assert all(math.isnan(one.pull) for one in halves_of(GaussianFit(), halves, valid))
