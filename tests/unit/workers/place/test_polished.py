"""What a run places: a network's answer and the steps that follow, where networks fall short."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.config import PositionsConfig
from streamer.frames.flags import POOR_FIT
from tests.unit.workers.place.fit.test_shape import integrated
from workers.place.base import Positions
from workers.place.fit.methods import Noise
from workers.place.methods import make_method
from workers.place.polished import Polished

N = 1200


@pytest.fixture(scope="module")
def method():
    return make_method(PositionsConfig(device="cpu"), 1)


@pytest.mark.parametrize(
    ("amplitude", "background", "widths", "offset"),
    [
        ((5.0, 10.0), 0.02, (1.0, 2.0), 0.7),
        ((10.0, 30.0), 0.02, (1.0, 2.0), 0.7),
        ((30.0, 60.0), 10.0, (1.0, 2.0), 0.7),
        ((300.0, 3000.0), 1000.0, (1.0, 2.0), 0.7),
        ((1e3, 6e4), 5.0, (0.5, 2.5), 0.7),
        ((300.0, 3000.0), 5.0, (2.5, 4.0), 0.7),
        ((300.0, 3000.0), 5.0, (1.0, 2.0), 2.0),
    ],
    ids=["few photons", "faint", "faint on a background", "bright ground", "bright", "wide", "far"],
)
def test_sigmas_hold_where_networks_have_not_been(method, amplitude, background, widths, offset):
    rng = np.random.default_rng(8)
    row, col = rng.uniform(-offset, offset, (2, N))
    major, minor = rng.uniform(*widths, (2, N))
    height = np.exp(rng.uniform(*np.log(amplitude), N))
    shares = integrated(row, col, major, minor, rng.uniform(0.0, np.pi, N))
    expected = (height * 2.0 * np.pi * major * minor)[:, None, None] * shares + background
    placed = method.place(
        rng.poisson(expected).astype(np.float32), np.ones(expected.shape, np.bool_)
    )
    pulls = np.concatenate(
        [(placed.row - row) / placed.row_sigma, (placed.col - col) / placed.col_sigma]
    )
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1.0, abs=0.07)
    assert np.mean(np.abs(pulls) < 1.96) == pytest.approx(0.95, abs=0.02)


class Rough:
    """Says for each patch what it was told to."""

    name, patch_size = "rough", 11

    def __init__(self, row: float, flags: int = 0):
        self._row, self._flags = row, flags

    def place(self, patches, valid):
        n = len(patches)
        rows, none = np.full(n, self._row), np.full(n, np.nan)
        flags = np.full(n, self._flags, np.int32)
        return Positions(rows, np.zeros(n), none, none, flags, flags > 0)


def counts(row: float) -> np.ndarray:
    shares = integrated([row], [0.0], [1.3], [1.2], [0.0])
    return np.random.default_rng(1).poisson(2e4 * shares + 3.0).astype(np.float32)


def test_what_a_method_says_is_no_peak_stays_flagged_where_it_can_know():
    for row, flagged in ((0.4, True), (1.7, False)):
        patches = counts(row)
        placed = Polished(Rough(row, POOR_FIT)).place(patches, np.ones(patches.shape, np.bool_))
        assert placed.row[0] == pytest.approx(row, abs=0.05)
        assert bool(placed.flags[0] & POOR_FIT) == flagged
        assert placed.unsure[0]


def test_where_there_is_no_peak_the_answer_stays_and_is_unsure():
    patches = np.zeros((1, 11, 11), np.float32)
    placed = Polished(Rough(0.3)).place(patches, patches == 0)
    assert placed.row[0] == 0.3
    assert placed.unsure[0]
    assert placed.shape is not None
    assert np.isnan(placed.shape).all()


def test_the_noise_of_a_detector_that_integrates_is_reckoned_with():
    rng = np.random.default_rng(2)
    shares = np.repeat(integrated([0.2], [0.1], [1.4], [1.3], [0.0]), N, axis=0)
    patches = 10.0 * rng.poisson(3e3 * shares + 4.0) + rng.normal(0.0, 10.0, shares.shape)
    noise = Noise(10.0, 10.0)
    placed = Polished(Rough(0.0), noise).place(
        patches.astype(np.float32), np.ones(patches.shape, np.bool_)
    )
    pull = (placed.row - 0.2) / placed.row_sigma
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.07)


def test_a_pixel_alone_is_not_fitted_and_a_narrow_peak_is(method):
    alone = np.full((1, 11, 11), 10.0, np.float32)
    alone[0, 5, 5] = 5000.0
    narrow = 10.0 + 8000.0 * integrated(*np.array([[0.0], [0.0], [0.45], [0.45], [0.0]]))
    counts = np.concatenate([alone, np.round(narrow).astype(np.float32)])
    valid = np.ones(counts.shape, np.bool_)
    placed = method.place(counts, valid)
    begun = method._method.place(counts, valid)
    assert placed.unsure[0]
    assert placed.row[0] == begun.row[0]
    assert np.isnan(placed.shape[0]).all()
    assert np.isfinite(placed.shape[1, 0])
    assert abs(placed.row[1]) < 0.02
