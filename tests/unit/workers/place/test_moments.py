"""The centre of mass of spots with fringes, judged by patterns that are computed here."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.config import DetectConfig, PositionsConfig
from streamer.errors import UserError
from streamer.frames.flags import POOR_FIT, UNTRUSTED
from streamer.frames.peaks import SHAPE
from streamer.tracks.linker import Linker
from workers.detect.choice import finder_of
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.place.fit.methods import Noise
from workers.place.methods import make_method, patch_size_of
from workers.place.moments import Moments
from workers.place.node import place_peaks

FINE = 5
"""Points along each axis of a pixel where a pattern is computed."""


class Fringes:
    """The pattern of one small crystal: sinc squared along both axes.

    `row_px`, `col_px` are half the width of the central lobe; `lopsided` adds a share of the
    pattern once more, a lobe's width to the side, as a strained crystal does.
    """

    def __init__(self, height, row_px, col_px, lopsided=0.0):
        self.height, self.row_px, self.col_px = height, row_px, col_px
        self.lopsided = lopsided

    def __call__(self, row, col):
        there = np.sinc(row / self.row_px) ** 2 * np.sinc(col / self.col_px) ** 2
        if self.lopsided:
            row, col = row - self.row_px, col - 0.4 * self.col_px
            there = (
                there
                + self.lopsided * np.sinc(row / self.row_px) ** 2 * np.sinc(col / self.col_px) ** 2
            )
        return self.height * there


class Gaussian:
    def __init__(self, height, width):
        self.height, self.width = height, width

    def __call__(self, row, col):
        return self.height * np.exp(-(row**2 + col**2) / (2 * self.width**2))


def counts_of(pattern, row, col, shape):
    """Expected counts of pixels, each the mean over FINE x FINE points in it."""
    rows, cols = (
        (np.arange(n * FINE) + 0.5) / FINE - 0.5 - at
        for n, at in zip(shape, (row, col), strict=True)
    )
    fine = pattern(rows[:, None], cols[None, :])
    return fine.reshape(shape[0], FINE, shape[1], FINE).mean(axis=(1, 3))


def centre_and_counts(pattern, half):
    """Centre of mass in the window around it, from the pattern's origin, and counts in there."""
    step = 0.05
    away = np.arange(-half, half, step) + step / 2
    centre = np.zeros(2)
    for _ in range(200):
        rows, cols = away[:, None] + centre[0], away[None, :] + centre[1]
        counts = pattern(rows, cols)
        moved = np.array([(counts * away[:, None]).sum(), (counts * away).sum()]) / counts.sum()
        centre += moved
        if np.abs(moved).max() < 1e-6:
            break
    return centre, counts.sum() * step**2


def half_window(size):
    return size / 2 - (size + 5) // 10


def placed(
    pattern, size, n, background=5.0, seed=0, method=None, offset=0.5, valid=None, slope=0.0
):
    """Place n noisy patches of a pattern; return positions and how far off they are."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(-offset, offset, (40, 2))
    middle = size // 2
    mean = np.stack([counts_of(pattern, middle + r, middle + c, (size, size)) for r, c in at])
    mean += background + slope * (np.arange(size) - middle)[:, None]
    which = rng.integers(0, len(at), n)
    patches = rng.poisson(mean[which]).astype(np.float32)
    if valid is None:
        valid = np.ones(patches.shape, bool)
    found = (method or Moments(size)).place(patches, np.broadcast_to(valid, patches.shape))
    off = np.stack([found.row, found.col], 1) - at[which]
    return found, off - centre_and_counts(pattern, half_window(size))[0]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def pulls(found, off):
    return off / np.stack([found.row_sigma, found.col_sigma], 1)


def of_shape(found, name):
    at = 2 * SHAPE.index(name)
    return found.shape[:, at], found.shape[:, at + 1]


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        (Fringes(2000, 1.5, 2.5), 15),
        (Fringes(300, 2.5, 2.0), 15),
        (Fringes(1000, 4.0, 3.0), 21),
        (Fringes(1000, 3.0, 2.0, lopsided=0.4), 21),
        (Gaussian(300, 1.5), 15),
    ],
)
def test_positions_of_spots_with_fringes_scatter_as_their_sigmas_say(pattern, size):
    found, off = placed(pattern, size, 1500)
    assert not found.flags.any()
    assert not found.unsure.any()
    for axis in pulls(found, off).T:
        assert 0.9 < rms(axis) < 1.1
    intensity, sigma = of_shape(found, "intensity")
    truth = centre_and_counts(pattern, half_window(size))[1]
    assert 0.9 < np.std((intensity - truth) / sigma) < 1.1
    # Fringes that reach the ring raise the background a little.
    assert np.median(intensity) == pytest.approx(truth, rel=0.03)
    background, _ = of_shape(found, "background")
    assert np.median(background) == pytest.approx(5.0, abs=1.0)
    np.testing.assert_array_equal(of_shape(found, "centre_row")[0], found.row)
    assert np.isnan(of_shape(found, "fwhm_major")[0]).all()


@pytest.mark.parametrize("width", [4.0, 5.0])
def test_wide_spots_are_placed_at_the_bound_of_moments(width):
    pattern, size = Gaussian(300, width), 31
    found, off = placed(pattern, size, 800, background=10.0)
    good = found.flags == 0
    assert np.mean(good) > 0.98
    away = np.arange(size) - size // 2
    mean = counts_of(pattern, size // 2, size // 2, (size, size))
    bound = np.sqrt(((mean + 10.0) * away[:, None] ** 2).sum()) / mean.sum()
    assert rms(off[good]) < 1.15 * bound
    assert 0.9 < rms(pulls(found, off)[good]) < 1.1


@pytest.mark.parametrize("background", [0.02, 0.3, 50.0])
def test_no_photons_are_lost_for_being_few_or_many(background):
    pattern = Gaussian(300, 1.3)
    found, off = placed(pattern, 15, 3000, background=background)
    intensity, sigma = of_shape(found, "intensity")
    pull = (intensity - centre_and_counts(pattern, half_window(15))[1]) / sigma
    assert abs(np.mean(pull)) < 0.1
    assert 0.9 < np.std(pull) < 1.1
    assert 0.9 < rms(pulls(found, off)) < 1.1


@pytest.mark.parametrize("slope", [0.0, 0.2, 2.0])
def test_a_sloping_background_draws_no_position(slope):
    found, off = placed(Gaussian(300, 1.5), 15, 2000, background=30.0, slope=slope)
    assert not found.flags.any()
    assert 0.85 < rms(pulls(found, off)[:, 0]) < 1.15
    assert abs(np.mean(pulls(found, off)[:, 0])) < 0.5


def test_gain_and_read_noise_are_reckoned_with():
    rng = np.random.default_rng(1)
    mean = counts_of(Gaussian(300, 1.5), 7.3, 6.8, (15, 15)) + 5.0
    patches = 10.0 * rng.poisson(mean, (1500, 15, 15)) + rng.normal(0, 30.0, (1500, 15, 15))
    found = Moments(15, Noise(10.0, 30.0)).place(patches.astype("f4"), np.ones(patches.shape, bool))
    assert 0.9 < rms((found.row - 0.3) / found.row_sigma) < 1.1
    assert 0.9 < rms((found.col + 0.2) / found.col_sigma) < 1.1
    intensity, sigma = of_shape(found, "intensity")
    assert 0.9 < np.std(intensity) / np.median(sigma) < 1.1


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        (Gaussian(300, 6.0), 15),
        (Gaussian(300, 3.0), 15),
        (Gaussian(3000, 8.0), 31),
        (Fringes(2000, 10, 8), 15),
    ],
)
def test_a_spot_larger_than_its_patch_is_flagged(pattern, size):
    found, _ = placed(pattern, size, 200)
    assert np.mean((found.flags & POOR_FIT) != 0) > 0.99
    assert np.isnan(found.row_sigma[(found.flags & POOR_FIT) != 0]).all()


def test_what_is_no_spot_is_flagged():
    rng = np.random.default_rng(0)
    for patches in (
        rng.poisson(10.0, (300, 15, 15)),
        np.zeros((2, 15, 15)),
        np.full((2, 15, 15), -7.0),
    ):
        found = Moments(15).place(patches.astype("f4"), np.ones(patches.shape, bool))
        assert np.isfinite([found.row, found.col]).all()
        assert np.mean((found.flags & POOR_FIT) != 0) > 0.98


def test_a_spot_far_from_the_middle_is_not_trusted():
    patches = counts_of(Gaussian(500, 1.0), 11.5, 7.0, (15, 15))[None].astype("f4") + 3.0
    assert Moments(15).place(patches, np.ones(patches.shape, bool)).flags[0] & UNTRUSTED


@pytest.mark.parametrize("where", ["pixel", "gap", "edge"])
@pytest.mark.parametrize("pattern", [Fringes(1000, 2.0, 3.0), Gaussian(300, 1.5)])
def test_masked_pixels_cost_precision_or_the_peak(where, pattern):
    """What is hidden far out is told by what is opposite, what is hidden near the middle flags."""
    for away, seen in ((6, True), (2, False)):
        valid = np.ones((15, 15), bool)
        if where == "pixel":
            valid[7 + away, 8] = False
        else:
            valid[7 + away : (None if where == "edge" else 9 + away)] = False
        found, off = placed(pattern, 15, 800, valid=valid)
        good = found.flags == 0
        if where != "pixel":
            assert np.mean(good) > 0.8 if seen else np.mean(good) < 0.2
        if np.mean(good) > 0.2:
            assert rms(pulls(found, off)[good]) < 1.15
        rng = np.random.default_rng(3)
        patches = rng.poisson(counts_of(pattern, 7, 7, (15, 15)) + 5, (20, 15, 15)).astype("f4")
        one, other = (
            Moments(15).place(np.where(valid, patches, f), np.broadcast_to(valid, patches.shape))
            for f in (np.float32(1e7), np.float32("nan"))
        )
        np.testing.assert_array_equal(one.row, other.row)
        np.testing.assert_array_equal(one.shape, other.shape)


@pytest.mark.parametrize(
    ("pattern", "away", "counts"),
    [
        (Fringes(1000, 3.0, 2.5), (4, -3), 3000.0),
        (Gaussian(600, 1.5), (-5, 4), 100.0),
        (Gaussian(600, 1.5), (0, 1), 0.0),
    ],
)
def test_a_hot_or_dead_pixel_that_nobody_masked_moves_no_position(pattern, away, counts):
    rng = np.random.default_rng(4)
    at = rng.uniform(-0.5, 0.5, (300, 2))
    mean = np.stack([counts_of(pattern, 7 + r, 7 + c, (15, 15)) + 5.0 for r, c in at])
    patches = rng.poisson(mean).astype("f4")
    patches[:, 7 + away[0], 7 + away[1]] = counts
    found = Moments(15).place(patches, np.ones(patches.shape, bool))
    good = found.flags == 0
    if counts:
        assert np.mean(good) > 0.7
    if good.any():
        off = np.stack([found.row, found.col], 1)[good] - at[good]
        sigma = np.stack([found.row_sigma, found.col_sigma], 1)[good]
        assert rms(off / sigma) < 1.2


def test_nothing_seen_is_nothing_known():
    patches = np.full((3, 15, 15), 5, np.float32)
    valid = np.zeros(patches.shape, bool)
    valid[1, 7, 7] = True
    valid[2, :, :7] = True
    found = Moments(15).place(patches, valid)
    assert (found.flags & POOR_FIT).all()
    assert np.isfinite([found.row, found.col]).all()
    assert np.isnan(found.shape).all()
    assert len(Moments(15).place(patches[:0], valid[:0])) == 0


@pytest.mark.parametrize(
    ("size", "words"), [(14, "odd"), (7, "greater than or equal to 9"), (43, "41")]
)
def test_a_size_that_is_none_is_refused(size, words):
    with pytest.raises(UserError, match=rf"positions\.methods\.moments\.size = {size} .*{words}"):
        patch_size_of(PositionsConfig(method="moments", methods={"moments": {"size": size}}))


def test_the_size_is_configured():
    config = PositionsConfig(method="moments", methods={"moments": {"size": 21}}, gain=2.0)
    assert patch_size_of(config) == make_method(config, 1).patch_size == 21
    assert patch_size_of(PositionsConfig(method="moments")) == 15


SPOTS = [
    (Fringes(2500, 1.5, 2.5), 50.0, 45.0),
    (Fringes(1500, 3.0, 2.0), 60.0, 150.0),
    (Fringes(1200, 3.5, 4.0), 150.0, 60.0),
    (Fringes(1500, 2.5, 2.0, lopsided=0.4), 145.0, 150.0),
]
"""Patterns, and where they stand on the first frame."""


def test_each_spot_with_fringes_is_one_track_that_knows_where_it_stands():
    size, n_frames, drift = 21, 100, (0.03, -0.02)
    rng = np.random.default_rng(5)
    finder = finder_of(DetectConfig(merge_px=15))
    every = finder_of(DetectConfig())
    method = make_method(PositionsConfig(method="moments", methods={"moments": {"size": size}}), 1)
    linker = Linker(3.0, 5, confirm=3)
    truth = [centre_and_counts(pattern, half_window(size)) for pattern, _, _ in SPOTS]
    seen = {}
    for frame in range(n_frames):
        mean = np.full((200, 200), 5.0)
        for pattern, row, col in SPOTS:
            mean += counts_of(pattern, row + drift[0] * frame, col + drift[1] * frame, mean.shape)
        pixels = rng.poisson(mean).astype(np.uint16)
        if frame == 0:
            assert len(find_in_frame(pixels, Correction(), every, size)[0]) > 2 * len(SPOTS)
        peaks, patches = find_in_frame(pixels, Correction(), finder, size)
        positions = place_peaks(peaks, method.place(patches.counts, patches.valid))
        linked = linker.link(frame, peaks, positions)
        for track, position in zip(linked.tracks.tolist(), linked.positions, strict=True):
            seen.setdefault(track, []).append((frame, position))
    stray = [track for track, rows in seen.items() if len(rows) < 3]
    assert len(stray) < 0.3 * n_frames  # what noise does, a pixel here and there
    seen = {track: rows for track, rows in seen.items() if track not in stray}
    assert len(seen) == len(SPOTS)
    off, counts = [], []
    for rows in seen.values():
        assert len(rows) == n_frames
        table = np.array([position for _, position in rows])
        assert not table["flags"].any()
        frames = np.array([frame for frame, _ in rows])
        near = [np.hypot(table["row"][0] - r, table["col"][0] - c) for _, r, c in SPOTS]
        (centre, intensity), (_, row, col) = truth[np.argmin(near)], SPOTS[np.argmin(near)]
        for name, start, step, away in zip(("row", "col"), (row, col), drift, centre, strict=True):
            off.append((table[name] - start - step * frames - away) / table[f"{name}_sigma"])
        counts.append((table["intensity"] - intensity) / table["intensity_sigma"])
    assert 0.9 < rms(np.concatenate(off)) < 1.1
    assert 0.9 < np.mean([np.std(one) for one in counts]) < 1.1
    assert np.abs([np.mean(one) for one in counts]).max() < 2.0
