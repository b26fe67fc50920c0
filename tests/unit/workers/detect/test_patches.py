from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.frames.events import Series
from streamer.frames.flags import EDGE, MASKED, NEIGHBOUR, POOR_FIT, SATURATED
from streamer.frames.peaks import PEAK
from workers.detect.choice import make_finder
from workers.detect.correction import Correction, bin_mask, binned
from workers.detect.image import Saturation, image_of
from workers.detect.node import find_in_frame
from workers.detect.patches import cut_patches
from workers.place.centroid import Centroid
from workers.place.node import place_peaks

FRAME = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
CLEAR = np.zeros(FRAME.shape, bool)


def cut(row, col, masked=CLEAR, frame=FRAME, size=11, saturation=np.inf):
    rows, cols = np.atleast_1d(np.int32(row)), np.atleast_1d(np.int32(col))
    full = Saturation(frame, saturation)
    return cut_patches(image_of(frame, masked), full, rows, cols, size)


def test_a_patch_is_the_frame_around_its_peak():
    patches = cut(20, 30)
    np.testing.assert_array_equal(patches.counts[0], FRAME[15:26, 25:36])
    assert patches.valid.all()
    assert patches.flags.tolist() == [0]


@pytest.mark.parametrize(("row", "col"), [(0, 20), (39, 20), (20, 0), (20, 49), (0, 0), (39, 49)])
def test_at_the_edge_only_what_is_on_the_frame_is_valid(row, col):
    patches = cut(row, col)
    assert patches.flags[0] == EDGE
    rows, cols = np.mgrid[row - 5 : row + 6, col - 5 : col + 6]
    inside = (rows >= 0) & (rows < 40) & (cols >= 0) & (cols < 50)
    np.testing.assert_array_equal(patches.valid[0], inside)
    np.testing.assert_array_equal(patches.counts[0][inside], FRAME[rows[inside], cols[inside]])
    assert (patches.counts[0][~inside] == 0).all()


def test_masked_pixels_are_not_valid():
    masked = CLEAR.copy()
    masked[22, 33] = True
    patches = cut(20, 30, masked)
    assert patches.flags[0] == MASKED
    assert not patches.valid[0, 7, 8]
    assert patches.valid.sum() == 120


@pytest.mark.parametrize(("shift", "flag"), [(5, NEIGHBOUR), (6, 0)])
def test_a_neighbour_in_the_patch_is_flagged_on_both(shift, flag):
    assert cut([20, 20], [20, 20 + shift]).flags.tolist() == [flag, flag]


def test_saturated_pixels_are_flagged():
    assert cut(20, 30, saturation=FRAME[20, 30]).flags[0] == SATURATED
    assert cut(20, 30, saturation=FRAME[25, 35] + 1).flags[0] == 0


@pytest.mark.parametrize(("width", "flag"), [(0.5, 0), (0.7, 0), (2.5, 0), (0.01, POOR_FIT)])
def test_a_hot_pixel_is_flagged_and_the_sharpest_peak_is_not(width, flag):
    rows, cols = np.mgrid[:30, :30]
    frame = (10 + 5000 * np.exp(-((rows - 15) ** 2 + (cols - 15) ** 2) / 2 / width**2)).astype("u2")
    assert cut(15, 15, np.zeros(frame.shape, bool), frame).flags[0] == flag


def test_intensity_is_what_stands_above_the_border():
    frame = np.full((30, 30), 7.0, np.float32)
    frame[14:17, 14:17] += 100
    assert cut(15, 15, np.zeros(frame.shape, bool), frame).intensity[0] == pytest.approx(900)


def test_no_peaks_make_no_patches():
    patches = cut(np.empty(0, np.int32), np.empty(0, np.int32))
    assert patches.counts.shape == (0, 11, 11)


@pytest.mark.parametrize(
    ("dtype", "bad"),
    [(np.uint8, 255), (np.uint16, 65535), (np.uint32, 2**32 - 1), (np.int32, -1), (np.int32, -2)],
)
def test_what_detectors_mark_gaps_with_is_masked(dtype, bad):
    frame = np.full((8, 8), 3, dtype)
    frame[2, 5] = bad
    image, _ = Correction()(frame)
    assert np.argwhere(image.masked).tolist() == [[2, 5]]


def test_a_float_is_masked_where_it_is_not_finite_and_not_where_it_is_noise():
    frame = np.zeros((4, 4), np.float32)
    frame[0, 0], frame[1, 1], frame[2, 2] = np.nan, np.inf, -3.0
    image, _ = Correction()(frame)
    assert np.argwhere(image.masked).tolist() == [[0, 0], [1, 1]]
    assert np.isfinite(image.pixels).all()


def test_masks_of_the_source_and_the_user_add_up():
    first, second = np.zeros((2, 4, 4), bool)
    first[0, 0] = second[3, 3] = True
    series = Series(name="1", pixel_mask=first)
    correction = Correction.for_series(series, second, None, 1, None)
    image, _ = correction(np.zeros((4, 4), np.uint16))
    assert np.argwhere(image.masked).tolist() == [[0, 0], [3, 3]]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"mask of \(4, 4\) for a frame of \(5, 5\)"):
        Correction(bad=np.zeros((4, 4), bool))(np.zeros((5, 5), np.uint16))
    series = Series(name="1", pixel_mask=np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="different shapes"):
        Correction.for_series(series, np.zeros((3, 3), bool), None, 1, None)


def test_the_users_saturation_wins_over_the_sources():
    series = Series(name="1", saturation=1000.0)
    assert Correction.for_series(series, None, None, 1, None).saturation == 1000
    assert Correction.for_series(series, None, None, 1, 50.0).saturation == 50
    assert Correction.for_series(Series(name="1"), None, None, 1, None).saturation == np.inf


def test_dark_counts_are_subtracted():
    dark = np.full((4, 4), 2.5, np.float32)
    image, _ = Correction(dark=dark)(np.full((4, 4), 2, np.uint16))
    assert (image.pixels == -0.5).all()


def full(correction, frame):
    """Return which pixels of the corrected frame have a patch of one pixel that is saturated."""
    image, saturation = correction(frame)
    rows, cols = (np.int32(each.ravel()) for each in np.indices(image.pixels.shape))
    flags = cut_patches(image, saturation, rows, cols, 1).flags
    return (flags & SATURATED > 0).reshape(image.pixels.shape)


def test_saturation_is_judged_on_what_the_detector_sent():
    frame = np.full((4, 4), 20_000, np.uint16)
    frame[1, 1] = 60_000
    dark = np.full((4, 4), 100, np.float32)
    for correction in (
        Correction(saturation=60_000),
        Correction(saturation=60_000, dark=dark),
        Correction(saturation=60_000, flatfield=np.full((4, 4), 0.5, np.float32)),
    ):
        assert np.argwhere(full(correction, frame)).tolist() == [[1, 1]]
    binning = Correction(saturation=60_000, binning=2)
    assert np.argwhere(full(binning, frame)).tolist() == [[0, 0]]


def test_a_flat_field_that_the_source_has_not_applied_is():
    flat = np.full((4, 4), 0.5, np.float32)
    image, _ = Correction(flatfield=flat, dark=2 * flat)(np.full((4, 4), 5, np.uint16))
    assert (image.pixels == 2).all()


def test_a_frame_smaller_than_a_binned_pixel_is_refused():
    with pytest.raises(ValueError, match="smaller than 5 pixels binned"):
        Correction(binning=5)(np.zeros((4, 9), np.uint16))


def test_half_floats_are_widened():
    image, _ = Correction()(np.ones((4, 4), np.float16))
    assert image.pixels.dtype == np.float32


def test_binning_sums_pixels_and_masks_blocks():
    frame = np.arange(24, dtype=np.uint16).reshape(4, 6)
    assert binned(frame, 2).tolist() == [[14, 22, 30], [62, 70, 78]]
    masked = np.zeros((4, 6), bool)
    masked[3, 2] = True
    assert bin_mask(masked, 2).tolist() == [[False] * 3, [False, True, False]]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 5))
@pytest.mark.parametrize("dtype", [f"{sign}{size}" for sign in "ui" for size in (1, 2, 4, 8)])
def test_sums_of_the_largest_and_smallest_integers_do_not_overflow(dtype, seed, n):
    limits, rng = np.iinfo(dtype), np.random.default_rng(seed)
    low, high = max(limits.min, limits.max // 2), limits.max
    if limits.min < 0 and rng.random() < 0.5:
        low, high = limits.min, limits.min // 2
    frame = rng.integers(low, high, (3 * n + (n > 1), 2 * n), dtype, endpoint=True)
    blocks = frame[: 3 * n].astype(object).reshape(3, n, 2, n)
    exact = blocks.sum(axis=(1, 3))
    if limits.bits < 64:
        assert binned(frame, n).tolist() == exact.tolist()
    else:
        np.testing.assert_allclose(binned(frame, n), exact.astype(np.float64), rtol=1e-15)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 5))
@pytest.mark.parametrize(("dtype", "summed"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_sums_of_floats_are_as_precise_as_they_are(dtype, summed, seed, n):
    frame = np.random.default_rng(seed).uniform(1.0, 60_000.0, (2 * n, 3 * n)).astype(dtype)
    found = binned(frame, n)
    assert found.dtype == summed
    exact = frame.astype(np.longdouble).reshape(2, n, 3, n).sum(axis=(1, 3))
    np.testing.assert_allclose(found, exact, rtol=25 * np.finfo(summed).eps)


def test_bright_binned_pixels_are_found_and_saturated_ones_told():
    frame = np.zeros((40, 40), np.uint32)
    frame[20:22, 20:22] = 1_500_000_000
    frame[10, 11] = 2_000_000_000
    frame[10, 4] = 2**32 - 1
    correction = Correction(saturation=2e9, binning=2)
    assert np.argwhere(full(correction, frame)).tolist() == [[5, 5]]
    assert np.argwhere(correction(frame)[0].masked).tolist() == [[5, 2]]
    peaks, patches = find_in_frame(frame, correction, make_finder("topology", 1e9, 1e9), 11)
    assert {(peak["row"], peak["col"]) for peak in peaks} == {(10, 10), (20, 20)}
    assert patches.counts.max() == 6e9


@pytest.mark.parametrize("binning", [1, 2, 3])
def test_positions_stay_in_detector_pixels_when_binned(binning):
    rows, cols = np.mgrid[:120, :120]
    true = 61.2, 47.7
    frame = (10 + 3000 * np.exp(-((rows - true[0]) ** 2 + (cols - true[1]) ** 2) / 18)).astype("u2")
    finder = make_finder("topology", 200.0, 200.0)
    peaks, patches = find_in_frame(frame, Correction(binning=binning), finder, 11)
    placed = place_peaks(peaks, Centroid().place(patches.counts, patches.valid), binning)
    assert len(peaks) == 1
    assert peaks.dtype == PEAK
    assert abs(peaks["row"][0] - true[0]) <= binning
    assert placed["row"][0] == pytest.approx(true[0], abs=0.12 * binning)
    assert placed["col"][0] == pytest.approx(true[1], abs=0.12 * binning)


def test_noise_below_zero_is_no_gap_and_marks_are():
    noise = np.random.default_rng(0).normal(0, 10, (60, 70)).astype(np.int32)
    assert not Correction()(noise)[0].masked.any()
    marked = np.abs(noise)
    marked[30:34], marked[:, 20] = -1, -2
    np.testing.assert_array_equal(Correction()(marked)[0].masked, marked < 0)


def peaked(background, height, limit=np.inf):
    row, col = np.mgrid[:256, :256]
    spot = height * np.exp(-((row - 30.3) ** 2 + (col - 28.8) ** 2) / (2 * 1.5**2))
    frame = np.random.default_rng(4).poisson(background + spot)
    return np.minimum(frame, limit)


def test_pixels_that_pile_up_at_a_limit_are_saturated():
    finder = make_finder("topology", 500, 400)
    frame = peaked(5, 30000, 16383).astype(np.uint16)
    _, patches = find_in_frame(frame, Correction(), finder, 11)
    assert patches.flags[0] & SATURATED
    middle = frame[25:36, 24:35]
    assert patches.valid[0].sum() == (middle < 16383).sum() < 121
    _, whole = find_in_frame(peaked(5, 30000).astype(np.uint16), Correction(), finder, 11)
    assert not whole.flags[0] & SATURATED


@pytest.mark.parametrize("form", ["dark", "int32", "float32"])
def test_a_subtracted_pedestal_is_in_the_patch_again(form):
    """So that its pixels scatter as much as they count, which is what fits reckon with."""
    frame = peaked(100, 2000)
    correction = Correction()
    if form == "dark":
        frame = frame.astype(np.uint16)
        correction = Correction(dark=np.full(frame.shape, 100, np.float32))
    else:
        frame = (frame - 100).astype(form)
    _, patches = find_in_frame(frame, correction, make_finder("topology", 200, 400), 11)
    assert np.median(patches.counts[0, [0, -1]]) == pytest.approx(100, abs=25)


@pytest.mark.parametrize("background", [5, 100])
def test_counts_that_were_scaled_to_1_are_photons_in_the_patch_again(background):
    frame = peaked(background, 2000)
    finder = make_finder("topology", "auto", "auto")
    _, patches = find_in_frame((frame / frame.max()).astype("f4"), Correction(), finder, 11)
    assert len(patches.counts) == 1
    middle = frame[25:36, 24:35]
    np.testing.assert_allclose(patches.counts[0], middle, rtol=0.3)


def test_noise_of_electronics_around_zero_is_no_photon():
    """Counts of a photon each on noise below one are left as they are."""
    frame = peaked(0.001, 40) + np.random.default_rng(1).normal(0, 0.1, (256, 256))
    finder = make_finder("topology", "auto", "auto")
    peaks, patches = find_in_frame(frame.astype("f4"), Correction(), finder, 11)
    row, col = peaks[0]["row"], peaks[0]["col"]
    middle = frame[row - 5 : row + 6, col - 5 : col + 6]
    np.testing.assert_allclose(patches.counts[0], middle, atol=0.1)


def test_a_flat_field_scales_counts_and_not_their_noise():
    frame = peaked(100, 2000).astype(np.uint16)
    correction = Correction(flatfield=np.full(frame.shape, 2, np.float32))
    peaks, patches = find_in_frame(frame, correction, make_finder("topology", 600, 800), 11)
    row, col = peaks[0]["row"], peaks[0]["col"]
    np.testing.assert_allclose(patches.counts[0], frame[row - 5 : row + 6, col - 5 : col + 6])
    assert patches.intensity[0] == pytest.approx(2 * np.pi * 1.5**2 * 4000, rel=0.1)


def test_a_patch_of_one_pixel_is_its_own_border():
    patches = cut([20, 0, 39], [30, 0, 49], size=1)
    assert patches.counts.ravel().tolist() == [FRAME[20, 30], FRAME[0, 0], FRAME[39, 49]]
    assert patches.flags.tolist() == [0, 0, 0]
    assert patches.intensity.tolist() == [0.0, 0.0, 0.0]
