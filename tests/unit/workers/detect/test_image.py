"""What is looked up where it is needed is what whole images of flags would tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.frames.flags import EDGE, MASKED, NEIGHBOUR, POOR_FIT, SATURATED
from workers.detect.base import found_by
from workers.detect.choice import make_finder
from workers.detect.correction import Correction, bin_mask, binned
from workers.detect.node import find_in_frame
from workers.detect.noise import Detector

DTYPES = ["u1", "u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8"]
NO_NOISE = Detector(gain=0.0)
"""Leaves patches as they are cut."""


def flagged(frame, correction):
    """Return counts, which of them are masked and which saturated, all as images."""
    if frame.dtype == np.float16:
        frame = frame.astype(np.float32)
    masked = np.zeros(frame.shape, bool) if correction.bad is None else correction.bad.copy()
    saturated = np.zeros(frame.shape, bool)
    if np.isfinite(correction.saturation):
        saturated = frame >= correction.saturation
    if frame.dtype.kind == "u":
        masked |= frame == np.iinfo(frame.dtype).max
    elif frame.dtype.kind == "i":
        seen = frame.ravel()[::61]
        noisy = len(np.unique(seen[seen < 0])) > 3
        masked |= frame == np.iinfo(frame.dtype).min if noisy else frame < 0
    else:
        masked |= ~np.isfinite(frame)
        frame = np.where(masked, frame.dtype.type(0), frame)
    if correction.dark is not None:
        frame = frame.astype(np.float32) - correction.dark
    if correction.flatfield is not None:
        frame = frame.astype(np.float32) * correction.flatfield
    if correction.binning > 1:
        frame = binned(frame, correction.binning)
        masked = bin_mask(masked, correction.binning)
        saturated = bin_mask(saturated, correction.binning)
    return frame, masked, saturated


def piled(frame, masked, rows, cols):
    """Return where pixels are at the value at which most of the brightest peaks are cut off."""
    nothing = np.zeros(frame.shape, bool)
    if not len(rows) or frame[rows, cols].max() < 200:
        return nothing
    top, n_full, n_near = frame[rows, cols].max(), 0, 0
    for row, col in zip(rows, cols, strict=True):
        if frame[row, col] == top:
            part = np.s_[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3]
            values = frame[part][~masked[part]]
            n_full += np.count_nonzero(values == top)
            n_near += np.count_nonzero((values >= 0.9 * float(top)) & (values < top))
    return frame >= top if n_full >= 4 and n_full > n_near else nothing


def patch_around(frame, masked, saturated, row, col, others, size):
    """Return counts, valid, flags and intensity of one patch."""
    half = size // 2
    padding = ((half, half), (half, half))
    part = np.s_[row : row + size, col : col + size]
    inside = np.pad(np.ones(frame.shape, bool), padding)[part]
    hidden, full = (np.pad(image, padding)[part] for image in (masked, saturated))
    used = inside & ~hidden
    counts = np.where(used, np.pad(frame, padding)[part], 0).astype(np.float32)
    edge = np.ones((size, size), bool)
    edge[1:-1, 1:-1] = False
    border = np.sort(counts[edge & used])
    background = np.float64(np.median(border)) if border.size else 0.0
    floor = border[len(border) // 4] if border.size else 0.0
    ring = np.zeros((size, size), bool)
    ring[half - 1 : half + 2, half - 1 : half + 2] = True
    ring[half, half] = False
    beside = max([0.0, *(np.float64(counts[ring & used]) - floor)])
    flag = EDGE * (not inside.all()) | MASKED * bool(hidden.any())
    flag |= SATURATED * bool((full & used).any())
    flag |= POOR_FIT * bool(beside < 0.1 * (np.float64(counts[half, half]) - floor))
    near = [max(abs(row - r), abs(col - c)) <= half for r, c in others]
    flag |= NEIGHBOUR * (sum(near) > 1)
    intensity = counts[used].astype(np.float64).sum() - used.sum() * background
    return counts, used & ~full, flag, intensity


def a_frame(rng, dtype, shape):
    """Return spots on a background, some cut off, with marks that are no counts."""
    rows, cols = np.indices(shape)
    noise = rng.normal(0, 6, shape) if rng.random() < 0.4 else rng.poisson(3, shape)
    frame = np.asarray(noise, float)
    for row, col in rng.uniform((0, 0), shape, (15, 2)):
        square = (rows - row) ** 2 + (cols - col) ** 2
        frame += rng.uniform(20, 3000) * np.exp(-square / rng.uniform(0.3, 8))
    if rng.random() < 0.4:
        frame = np.minimum(frame, np.rint(0.3 * frame.max()) + 5)
    if np.dtype(dtype).kind == "f":
        frame = frame.astype(dtype)
        marks = np.nan, np.inf, -np.inf
    else:
        info = np.iinfo(dtype)
        frame = np.clip(np.rint(frame), info.min, min(info.max - 1, 2**40)).astype(dtype)
        marks = (info.max,) if np.dtype(dtype).kind == "u" else (-1, -2, info.min)
    if rng.random() < 0.6:
        where = rng.integers((0, 0), shape, (12, 2))
        frame[where[:, 0], where[:, 1]] = rng.choice(np.array(marks, dtype), 12)
        frame[10:12] = marks[0]
    frame.flags.writeable = bool(rng.random() < 0.5)
    return frame


def a_correction(rng, shape):
    return Correction(
        bad=rng.random(shape) < 0.03 if rng.random() < 0.5 else None,
        dark=rng.normal(3, 1, shape).astype("f4") if rng.random() < 0.25 else None,
        flatfield=rng.uniform(0.8, 1.2, shape).astype("f4") if rng.random() < 0.25 else None,
        binning=int(rng.choice([1, 1, 1, 2, 3])),
        saturation=float(rng.choice([np.inf, np.inf, 40.0, 200.0, 1000.5])),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([9, 11, 15]))
def test_peaks_and_patches_are_those_that_whole_images_of_flags_give(dtype, seed, size):
    rng = np.random.default_rng(seed)
    frame = a_frame(rng, dtype, (48, 57))
    correction, finder = a_correction(rng, frame.shape), make_finder("topology", 12.0, 30.0)
    peaks, patches = find_in_frame(frame, correction, finder, size, NO_NOISE)
    counts, masked, saturated = flagged(frame, correction)
    found = finder(counts, masked)
    n = correction.binning
    np.testing.assert_array_equal(peaks["row"], found.row * n + (n - 1) // 2)
    np.testing.assert_array_equal(peaks["col"], found.col * n + (n - 1) // 2)
    np.testing.assert_array_equal(peaks["score"], found.score)
    if correction.saturation == np.inf and n == 1:
        saturated = piled(counts, masked, found.row, found.col)
    at = list(zip(found.row.tolist(), found.col.tolist(), strict=True))
    for k, (row, col) in enumerate(at):
        expected = patch_around(counts, masked, saturated, row, col, at, size)
        np.testing.assert_array_equal(patches.counts[k], expected[0])
        np.testing.assert_array_equal(patches.valid[k], expected[1])
        assert patches.flags[k] == expected[2]
        assert patches.intensity[k] == pytest.approx(expected[3], rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u8", "i4", "f4"])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_thresholds_from_the_noise_are_those_of_a_whole_image_of_flags(dtype, seed):
    rng = np.random.default_rng(seed)
    frame = a_frame(rng, dtype, (64, 75))
    correction, finder = a_correction(rng, frame.shape), make_finder("topology", "auto", "auto")
    counts, masked, _ = flagged(frame, correction)
    expected = finder(counts, masked)
    found = found_by(finder, correction(frame)[0])
    for name in ("row", "col", "score"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_equal(found.thresholds(), expected.thresholds())


def test_a_frame_that_needs_no_correction_is_not_copied():
    frame = np.ones((6, 7), np.uint16)
    image, saturation = Correction(saturation=100.0)(frame)
    assert image.pixels is frame
    assert saturation.counts is frame
    assert image.bad.size == 0
