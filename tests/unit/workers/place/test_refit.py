from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.config import PositionsConfig
from streamer.frames.flags import NEIGHBOUR, POOR_FIT, SATURATED
from streamer.frames.peaks import PEAK, SHAPE
from streamer.simulator.patches import PeakRanges, draw_peaks, expected_counts
from workers.place.base import Positions
from workers.place.fit.methods import PseudoVoigtFit
from workers.place.methods import make_method
from workers.place.neighbours import Neighbours
from workers.place.refit import doubtful, refit


def answer(rows, flags):
    n = len(rows)
    sigma, flags = np.full(n, 0.1), np.array(flags, "i4")
    return Positions(np.array(rows, float), np.zeros(n), sigma, sigma, flags, flags > 0)


class Fit:
    name, patch_size = "fit", 11

    def __init__(self, flags):
        self.flags = flags
        self.asked = 0

    def place(self, patches, valid, others=None):
        self.asked = len(patches)
        return answer([0.5] * len(patches), self.flags[: len(patches)])


COUNTS = np.ones((4, 11, 11), np.float32)
VALID = np.ones(COUNTS.shape, bool)


def test_only_what_was_chosen_is_placed_anew():
    placed = answer([0, 0.1, 0.2, 0.3], [0, POOR_FIT, 0, 0])
    fit = Fit([NEIGHBOUR, NEIGHBOUR])
    again = refit(placed, COUNTS, VALID, np.array([False, True, False, True]), fit)
    assert fit.asked == 2
    assert again.row.tolist() == [0, 0.5, 0.2, 0.5]
    assert again.flags.tolist() == [0, NEIGHBOUR, 0, NEIGHBOUR]
    assert placed.row.tolist() == [0, 0.1, 0.2, 0.3]


def test_where_the_fit_fails_the_first_answer_stays():
    placed = answer([0.1] * 4, [POOR_FIT] * 4)
    again = refit(placed, COUNTS, VALID, np.ones(4, bool), Fit([POOR_FIT, 0, POOR_FIT, 0]))
    assert again.row.tolist() == [0.1, 0.5, 0.1, 0.5]
    assert again.flags.tolist() == [POOR_FIT, 0, POOR_FIT, 0]


def test_nothing_is_fitted_for_nothing():
    placed, fit = answer([0.1] * 4, [0] * 4), Fit([0])
    assert refit(placed, COUNTS, VALID, np.zeros(4, bool), fit) is placed
    assert fit.asked == 0


@pytest.mark.parametrize("binning", [1, 3])
def test_crowded_are_peaks_of_one_frame_with_another_but_a_hot_pixel_near(binning):
    places = [(100, 100), (112, 100), (100, 113), (5, 5), (13, 14), (6, 5), (5, 20), (7, 20)]
    peaks = np.zeros(len(places), PEAK)
    peaks["row"], peaks["col"] = binning * np.array(places).T
    peaks["flags"][7] = POOR_FIT
    found = Neighbours(peaks, [3, 0, 2, 1, 2], binning).crowded()
    assert found.tolist() == [True, True, False, False, False, False, False, True]
    assert not Neighbours(peaks[:0], [0, 0], binning).crowded().size


def test_noise_beside_a_peak_does_not_crowd_it():
    peaks = np.zeros(2, PEAK)
    peaks["row"], peaks["score"] = [0, 8], [1000, 12]
    placed = answer([0, 0], [0, 0])
    placed.row_sigma[:] = 0.013, 0.3
    assert Neighbours(peaks, [2]).crowded(placed).all(), "nothing is known of shapes"
    shape = np.full((2, 2 * len(SHAPE)), np.nan)
    shape[:, 2 * SHAPE.index("background")] = 10
    at = 2 * SHAPE.index("fwhm_major")
    shape[0, at : at + 2] = 3.3, 0.03
    placed = replace(placed, shape=shape)
    assert Neighbours(peaks, [2]).crowded(placed).tolist() == [False, True]
    assert doubtful(placed, peaks, Neighbours(peaks, [2])).tolist() == [False, True]
    peaks["score"][1] = 200
    assert Neighbours(peaks, [2]).crowded(placed).all(), "a flank that matters"
    peaks["score"][1], peaks["flags"][1] = 12, SATURATED
    assert Neighbours(peaks, [2]).crowded(placed).all(), "nobody knows how high it is"


def test_in_doubt_are_crowded_peaks_and_what_the_method_is_unsure_of_but_no_hot_pixel():
    peaks = np.zeros(4, PEAK)
    peaks["row"], peaks["flags"][3] = [0, 5, 50, 90], POOR_FIT
    placed = answer([0] * 4, [0, 0, POOR_FIT, POOR_FIT])
    assert doubtful(placed, peaks, Neighbours(peaks, [4])).tolist() == [True, True, True, False]
    assert doubtful(placed, peaks, Neighbours(peaks, [1] * 4)).tolist() == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_two_peaks_in_a_patch_are_placed_near_the_truth(seed):
    rng = np.random.default_rng(seed)
    ranges = PeakRanges(
        amplitude=(300, 300), background=(10, 10), width=(1.2, 1.6), offset=0.5, voigt_share=0
    )
    first, second = draw_peaks(200, ranges, rng), draw_peaks(200, ranges, rng)
    object.__setattr__(second, "col", first.col + 4.5)
    object.__setattr__(second, "background", np.zeros(200))
    counts = rng.poisson(expected_counts(first) + 0.7 * expected_counts(second)).astype(np.float32)
    valid = np.ones(counts.shape, bool)
    placed = make_method(PositionsConfig(device="cpu"), 1).place(counts, valid)
    fit = make_method(PositionsConfig(method="pseudovoigt"), 1)
    peaks = np.zeros(200, PEAK)
    again = refit(placed, counts, valid, doubtful(placed, peaks, Neighbours(peaks, [1] * 200)), fit)
    far = np.hypot(placed.row - first.row, placed.col - first.col)
    near = np.hypot(again.row - first.row, again.col - first.col)
    assert ((placed.flags & POOR_FIT) != 0).mean() > 0.95
    assert np.median(near) < 0.1
    assert np.percentile(near, 90) < 0.3
    assert np.median(far) > 2 * np.median(near)


def test_a_joint_fit_begins_with_the_nearest_others_of_the_same_frame():
    peaks = np.zeros(6, PEAK)
    peaks["row"], peaks["col"] = np.array(
        [(20, 20), (23, 16), (20, 31), (26, 20), (20, 20), (90, 9)]
    ).T
    counts = np.arange(6 * 121, dtype=np.float32).reshape(6, 11, 11)
    starts = Neighbours(peaks, [4, 1, 1]).starts(counts)
    height = counts[:, 5, 5]
    assert starts[0].tolist() == [[3, -4, height[1]], [6, 0, height[3]]]
    assert starts[2, 0].tolist() == [0, pytest.approx(-7.3), height[0]], "as far out as fits put it"
    assert np.isnan(starts[4:]).all()


@pytest.mark.parametrize(("ratio", "apart"), [(1.0, 4.5), (0.2, 5.5), (1.0, 9.0)])
def test_a_fit_that_begins_with_what_is_known_is_the_one_that_looked_for_it(ratio, apart):
    rng = np.random.default_rng(7)
    n = 300
    ranges = PeakRanges(
        amplitude=(800, 800), background=(10, 10), width=(1.2, 1.6), offset=0.4, voigt_share=0.5
    )
    first, second = draw_peaks(n, ranges, rng), draw_peaks(n, ranges, rng)
    object.__setattr__(second, "col", first.col + apart)
    object.__setattr__(second, "background", np.zeros(n))
    counts = rng.poisson(expected_counts(first) + ratio * expected_counts(second))
    counts = counts.astype(np.float32)
    valid = np.ones(counts.shape, bool)
    others = np.full((n, 2, 3), np.nan)
    others[:, 0] = np.stack(
        [np.zeros(n), np.full(n, min(round(apart), 7.3)), np.full(n, 800 * ratio)], 1
    )
    fit = PseudoVoigtFit()
    looked, told = fit.place(counts, valid), fit.place(counts, valid, others)
    pull = np.hypot(told.row - looked.row, told.col - looked.col) / looked.row_sigma
    assert np.median(pull) < 0.1
    for one in (looked, told):
        good = (one.flags & POOR_FIT) == 0
        assert good.mean() > 0.98
        error = np.concatenate(
            [(one.row - first.row) / one.row_sigma, (one.col - first.col) / one.col_sigma]
        )
        assert 0.8 < np.sqrt(np.mean(error[np.tile(good, 2)] ** 2)) < 1.12
