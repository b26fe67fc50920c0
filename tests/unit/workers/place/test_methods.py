"""Position methods: what they promise for any patch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import PositionsConfig
from streamer.errors import UserError
from streamer.frames.flags import POOR_FIT, UNTRUSTED
from streamer.simulator.patches import (
    PeakRanges,
    cramer_rao,
    draw_peaks,
    draw_valid,
    expected_counts,
)
from tests.conftest import ROOT
from workers.compare.evaluation import CASES, evaluate
from workers.place.base import PositionMethod, Positions
from workers.place.border import border_level
from workers.place.centroid import Centroid
from workers.place.methods import make_method, patch_size_of
from workers.place.network.normalisation import FLIP_COLS, FLIP_ROWS, SWAP, normalise, prepare

ONES = np.ones((1, 11, 11), np.bool_)


@pytest.fixture(scope="module", params=["braggnn", "published", "centroid", "moments"])
def method(request: pytest.FixtureRequest) -> PositionMethod:
    weights = ROOT / "workers/weights/braggnn.pt"
    if request.param == "published":
        return make_method(PositionsConfig(checkpoint=weights, device="cpu"), 1)
    sizes = {"moments": {"size": 11}}
    return make_method(PositionsConfig(method=request.param, methods=sizes, device="cpu"), 1)


def peaks_at(rows, cols, amplitude=500.0, background=10.0, width=1.3, size=11):
    ranges = PeakRanges(
        amplitude=(amplitude, amplitude),
        background=(background, background),
        width=(width, width),
        voigt_share=0.0,
    )
    peaks = draw_peaks(len(rows), ranges, np.random.default_rng(0))
    peaks.row[:], peaks.col[:] = rows, cols
    return expected_counts(peaks, size).astype(np.float32)


def test_shapes_and_types(method):
    for n in (0, 1, 3, 700):
        patches = peaks_at(np.zeros(n), np.zeros(n))
        placed = method.place(patches, np.ones(patches.shape, np.bool_))
        assert len(placed) == n
        for array in (placed.row, placed.col, placed.row_sigma, placed.col_sigma):
            assert array.shape == (n,)
            assert array.dtype == np.float64
        assert placed.flags.shape == (n,)
        assert placed.flags.dtype == np.int32
        for sigma in (placed.row_sigma, placed.col_sigma):
            if method.name == "centroid":
                assert np.isnan(sigma).all()
            else:
                assert ((sigma > 0.001) & (sigma < 0.1)).all()


def test_row_and_column_have_the_right_sign(method):
    placed = method.place(peaks_at([0.4, 0.0], [0.0, -0.4]), np.ones((2, 11, 11), np.bool_))
    assert placed.row == pytest.approx([0.4, 0.0], abs=0.08)
    assert placed.col == pytest.approx([0.0, -0.4], abs=0.08)
    assert not placed.flags.any()


@pytest.mark.parametrize("filling", [0.0, 7.0, 1e6, -5.0])
def test_flat_patch_is_a_poor_fit(method, filling):
    placed = method.place(np.full((2, 11, 11), filling, np.float32), np.ones((2, 11, 11), bool))
    assert np.isfinite(placed.row).all()
    assert np.isfinite(placed.col).all()
    assert (placed.flags & POOR_FIT).all()


@pytest.mark.parametrize("n_valid", [0, 1])
def test_next_to_no_valid_pixels(method, n_valid):
    patches = peaks_at([0.1], [0.1])
    valid = np.zeros((1, 11, 11), np.bool_)
    valid[0, 5, 5] = bool(n_valid)
    placed = method.place(patches, valid)
    assert np.isfinite([placed.row[0], placed.col[0]]).all()
    assert placed.flags[0] & POOR_FIT


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    filling=st.sampled_from([0.0, -1.0, 1e9, float("nan"), float("inf")]),
)
def test_masked_pixels_have_no_influence(method, seed, filling):
    rng = np.random.default_rng(seed)
    ranges = PeakRanges(edge_share=0.5, hot_share=0.5)
    patches = rng.poisson(expected_counts(draw_peaks(5, ranges, rng))).astype(np.float32)
    valid = draw_valid(5, ranges, rng)
    before = method.place(patches, valid)
    after = method.place(np.where(valid, patches, np.float32(filling)), valid)
    np.testing.assert_array_equal(before.row, after.row)
    np.testing.assert_array_equal(before.col, after.col)
    np.testing.assert_array_equal(before.row_sigma, after.row_sigma)
    np.testing.assert_array_equal(before.flags, after.flags)


@pytest.mark.parametrize("name", ["braggnn", "published"])
def test_networks_treat_all_directions_alike(name):
    """Patches that are flipped or transposed give answers that are flipped or transposed."""
    weights = ROOT / "workers/weights/braggnn.pt"
    checkpoint = weights if name == "published" else None
    method = make_method(PositionsConfig(checkpoint=checkpoint, device="cpu"), 1)
    rng = np.random.default_rng(2)
    ranges = PeakRanges(edge_share=0.3, hot_share=0.3)
    patches = rng.poisson(expected_counts(draw_peaks(60, ranges, rng))).astype(np.float32)
    valid = draw_valid(60, ranges, rng)
    placed = method.place(patches, valid)
    flipped = method.place(patches[:, ::-1], valid[:, ::-1])
    swapped = method.place(patches.transpose(0, 2, 1), valid.transpose(0, 2, 1))
    np.testing.assert_allclose(flipped.row, -placed.row, atol=1e-5)
    np.testing.assert_allclose(flipped.col, placed.col, atol=1e-5)
    np.testing.assert_allclose(swapped.row, placed.col, atol=1e-5)
    np.testing.assert_allclose(swapped.col_sigma, placed.row_sigma, rtol=1e-4)
    np.testing.assert_array_equal(swapped.flags, placed.flags)


def test_prepared_images_are_the_normalised_ones_turned():
    rng = np.random.default_rng(3)
    ranges = PeakRanges(edge_share=0.3, hot_share=0.3)
    patches = rng.poisson(expected_counts(draw_peaks(200, ranges, rng))).astype(np.float32)
    valid = draw_valid(200, ranges, rng)
    inputs = prepare(patches, valid)
    assert set(inputs.turns) == set(range(8))
    assert not inputs.blank.any()
    for image, mask, turn, (plain, missing) in zip(
        normalise(patches, valid), ~valid, inputs.turns, inputs.images, strict=True
    ):
        turned = np.stack([image, mask])
        turned = turned[:, ::-1] if turn & FLIP_ROWS else turned
        turned = turned[:, :, ::-1] if turn & FLIP_COLS else turned
        turned = turned.transpose(0, 2, 1) if turn & SWAP else turned
        np.testing.assert_allclose(plain, turned[0], atol=1e-6)
        np.testing.assert_array_equal(missing, turned[1])


def test_pixels_that_are_not_finite_count_as_masked(method):
    patches = peaks_at([0.2], [0.1])
    valid = ONES.copy()
    valid[0, 3, 4] = False
    expected = method.place(patches, valid)
    patches[0, 3, 4] = np.nan
    placed = method.place(patches, ONES)
    assert placed.row[0] == expected.row[0]
    assert placed.col[0] == expected.col[0]


def test_input_is_left_alone(method):
    patches = peaks_at([0.2], [0.1])
    valid = ONES.copy()
    valid[0, 0] = False
    kept = patches.copy(), valid.copy()
    method.place(patches, valid)
    np.testing.assert_array_equal(patches, kept[0])
    np.testing.assert_array_equal(valid, kept[1])


def test_batch_size_does_not_matter(method):
    rng = np.random.default_rng(5)
    patches = rng.poisson(expected_counts(draw_peaks(300, PeakRanges(), rng))).astype(np.float32)
    valid = np.ones(patches.shape, np.bool_)
    together = method.place(patches, valid)
    for i in (0, 17, 299):
        alone = method.place(patches[i : i + 1], valid[i : i + 1])
        assert alone.row[0] == pytest.approx(together.row[i], abs=1e-4)
        assert alone.col[0] == pytest.approx(together.col[i], abs=1e-4)


def test_a_brighter_neighbour_shows(method):
    """Whether an answer stays with the peak (a poor fit) or follows the neighbour (too far)."""
    patches = peaks_at([0.0], [0.0], amplitude=100.0)
    patches[0, 8:11, 8:11] += 2000.0
    assert method.place(patches, ONES).flags[0] & (POOR_FIT | UNTRUSTED)


def test_far_off_is_untrusted(method):
    placed = method.place(peaks_at([3.0], [0.0]), ONES)
    assert placed.flags[0] & UNTRUSTED
    assert not method.place(peaks_at([0.5], [-0.5]), ONES).flags[0]


def test_centroid_is_exact_for_a_symmetric_peak():
    placed = Centroid().place(peaks_at([0.0], [0.0], width=1.0), ONES)
    assert placed.row[0] == pytest.approx(0.0, abs=1e-6)
    assert placed.col[0] == pytest.approx(0.0, abs=1e-6)


def test_centroid_figures():
    """The statistical error of the centroid is known: 1.2 and 1.5 times the bound."""
    strong, weak = evaluate(Centroid(), CASES[:2], n=3000)
    assert 1.1 < strong.ratio < 1.35
    assert 1.3 < weak.ratio < 1.6


class Middle:
    """Says that every peak stands in the middle."""

    name, patch_size = "middle", 11

    def place(self, patches, valid):
        zeros, unknown = np.zeros(len(patches)), np.full(len(patches), np.nan)
        flags = np.zeros(len(patches), np.int32)
        return Positions(zeros, zeros, unknown, unknown, flags, flags > 0)


def test_constant_answer_figures():
    """Uniform offsets of up to 0.5 px have a root mean square of 1 / sqrt(12)."""
    (figures,) = evaluate(Middle(), CASES[:1], n=3000)
    assert figures.rmse == pytest.approx(12**-0.5, rel=0.03)
    assert figures.p50 == pytest.approx(0.4, abs=0.02)


def test_bound_agrees_with_the_closed_form():
    """For a whole isotropic peak on no background, 1 / sqrt(2 pi A)."""
    ranges = PeakRanges(
        amplitude=(400.0, 400.0), background=(1e-6, 1e-6), width=(1.0, 1.0), offset=0.2
    )
    peaks = draw_peaks(20, ranges, np.random.default_rng(0))
    bound = cramer_rao(peaks, np.ones((20, 11, 11), np.bool_))
    assert bound == pytest.approx(np.full((20, 2), (2.0 * np.pi * 400.0) ** -0.5), rel=0.01)


def test_bound_grows_when_pixels_are_missing():
    rng = np.random.default_rng(0)
    peaks = draw_peaks(50, PeakRanges(amplitude=(100.0, 100.0), background=(10.0, 10.0)), rng)
    valid = np.ones((50, 11, 11), np.bool_)
    whole = cramer_rao(peaks, valid)
    valid[:, :3] = False
    assert (cramer_rao(peaks, valid) > whole).all()


def test_simulated_peaks_repeat_and_stay_in_range():
    ranges = PeakRanges()
    one, two = (draw_peaks(500, ranges, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(expected_counts(one), expected_counts(two))
    assert abs(one.row).max() <= ranges.offset
    assert ranges.amplitude[0] <= one.amplitude.min() <= one.amplitude.max() <= ranges.amplitude[1]
    assert 0.4 < np.mean(one.eta > 0) < 0.6
    valid = draw_valid(2000, ranges, np.random.default_rng(4))
    assert valid[:, 5, 5].all()
    assert 0.15 < np.mean(~valid.all(axis=(1, 2))) < 0.25


def test_normalised_range_and_fill():
    patches = peaks_at([0.0], [0.0])
    valid = ONES.copy()
    valid[0, 4, 5] = False
    valid[0, 9:] = False
    image = normalise(patches, valid)[0]
    assert image.min() == 0.0
    assert image.max() == 1.0
    assert (image[9:] == 0.0).all()
    near = [(3, 4), (3, 5), (3, 6), (4, 4), (4, 6), (5, 4), (5, 5), (5, 6)]
    assert image[4, 5] == pytest.approx(np.mean([image[pixel] for pixel in near]), rel=1e-5)


def test_normalisation_without_background():
    patches = peaks_at([0.0], [0.0], background=50.0, width=1.0)
    image = normalise(patches, ONES, keep_background=False)[0]
    assert (image[0] == 0.0).all()
    assert image[5, 5] == 1.0
    assert image[5, 6] == pytest.approx(np.exp(-0.5), rel=1e-3)


@pytest.mark.parametrize("method", ["braggnn", "gaussian", "pseudovoigt", "centroid", "moments"])
def test_patch_size_is_known_before_the_method_is_made(method):
    config = PositionsConfig(method=method, device="cpu")
    assert patch_size_of(config) == make_method(config, 1).patch_size


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([3, 5, 11, 15]))
def test_border_level_is_the_median(seed, size):
    rng = np.random.default_rng(seed)
    patch = rng.normal(size=(size, size)).astype(np.float32)
    valid = rng.random((size, size)) < 0.7
    border = np.ones((size, size), np.bool_)
    border[1:-1, 1:-1] = False
    values = patch[border & valid]
    if len(values):
        assert border_level(patch, valid) == pytest.approx(np.median(values), abs=1e-6)
    else:
        assert np.isnan(border_level(patch, valid))


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu", "cuda:x", ""])
def test_device_that_does_not_exist(device, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="auto"):
        make_method(PositionsConfig(device=device), 1)
