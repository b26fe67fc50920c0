"""Thresholds from the noise of a frame: what is found on many kinds of frames, and what is not."""

import numpy as np
import pytest
from scipy import ndimage, special

from streamer.config import DetectConfig
from workers.detect.adaptive import ANY_SCORE, AdaptiveFinder
from workers.detect.choice import finder_of, make_finder
from workers.detect.findpeaks import FindpeaksFinder
from workers.detect.topology import TopologyFinder

SIZE, SPOTS, SIGMAS = 256, 12, 8.0
ROW, COL = np.mgrid[:SIZE, :SIZE]
RADIUS = np.hypot(ROW - 120.0, COL - 140.0)


def places(rng, n=SPOTS, apart=24.0):
    """Return places that are apart from each other and from the edge."""
    found = []
    while len(found) < n:
        place = rng.uniform(10, SIZE - 10, 2)
        if all(np.hypot(*(place - other)) > apart for other in found):
            found.append(place)
    return np.array(found)


def with_spots(background, heights, rng, width=1.4):
    """Return expected counts with pixel-integrated Gaussian spots, and where they are."""
    image, where = background.astype(float), places(rng)
    for row, col in where:
        sides = []
        for middle in (row, col):
            edges = np.arange(SIZE + 1) - 0.5 - middle
            sides.append(
                np.diff(special.erf(edges / (width * 2**0.5))) * width * (np.pi / 2) ** 0.5
            )
        image += heights[round(row), round(col)] * np.outer(*sides)
    return image, where


def counted(background, least=0.0, dtype=np.uint16):
    """A photon counter's frames; where counts are rare, spots are of so many at least."""

    def make(rng):
        image, where = with_spots(background, np.maximum(SIGMAS * background**0.5, least), rng)
        return rng.poisson(image).astype(dtype), where

    return make


def integrated(light, gain, read, pedestal, dtype):
    """An integrating detector's frames."""

    def make(rng):
        noise = np.full((SIZE, SIZE), (gain**2 * light + read**2) ** 0.5)
        image, where = with_spots(np.full_like(noise, gain * light), SIGMAS * noise, rng)
        frame = gain * rng.poisson(image / gain) + rng.normal(pedestal, read, image.shape)
        return (np.rint(frame) if np.dtype(dtype).kind in "iu" else frame).astype(dtype), where

    return make


def scaled(make, factor):
    """The same as floats, as a program that normalises writes them."""

    def make_scaled(rng):
        frame, where = make(rng)
        return (frame * factor).astype(np.float32), where

    return make_scaled


def zero_suppressed(make, least):
    """The same with all pixels below a threshold set to 0, as sparse files hold them."""

    def make_sparse(rng):
        frame, where = make(rng)
        return np.where(frame < least, 0, frame).astype(np.uint16), where

    return make_sparse


def noiseless(background):
    """What is expected, in whole counts."""

    def make(rng):
        image, where = with_spots(background, SIGMAS * background**0.5, rng)
        return np.rint(image).astype(np.uint16), where

    return make


def flat(level):
    return np.full((SIZE, SIZE), float(level))


def texture():
    smooth = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(SIZE, SIZE)), 40)
    return 20.0 + 400.0 * (smooth - smooth.min()) / np.ptp(smooth)


SCENES = {
    "0.01 photons": counted(flat(0.01), 12),
    "0.3 photons": counted(flat(0.3), 12),
    "10 photons": counted(flat(10), dtype=np.uint32),
    "1,000 photons": counted(flat(1000)),
    "10,000 photons": counted(flat(10000)),
    "halo of 500 to 4,000": counted(500 + 3500 * np.exp(-(RADIUS**2) / (2 * 90**2))),
    "slope of 10 to 500": counted(10 + COL * 490.0 / SIZE),
    "smooth texture": counted(texture()),
    "pedestal of 200": integrated(0, 5, 12, 200, np.uint16),
    "light on a pedestal": integrated(300, 2, 8, 1000, np.uint16),
    "pedestal subtracted": integrated(100, 1, 0.5, -100, np.int32),
    "floats around zero": integrated(5, 3, 6, -15, np.float32),
    "0 to 1": scaled(counted(flat(5)), 0.01),
    "0 to 1, rare": scaled(counted(flat(0.05), 12), 0.025),
    "12 counts a photon, rare": zero_suppressed(scaled(counted(flat(0.05), 12), 12), 0),
    "1 photon, without less than 4": zero_suppressed(counted(flat(1), 40), 4),
    "noise of 10, without less than 25": zero_suppressed(integrated(300, 1, 1, -300, "i4"), 25),
    "no noise": noiseless(flat(1000)),
}


@pytest.fixture(scope="module")
def finder():
    return make_finder("topology", "auto", "auto")


def hits(peaks, where):
    """Return how many spots were found, and how many peaks are none of them."""
    at = np.stack([peaks.row, peaks.col], axis=1).reshape(-1, 2)
    distance = np.hypot(*(at[:, None] - where[None]).transpose(2, 0, 1))
    near = distance < 2.5
    found = int(near.any(axis=0).sum())
    return found, len(at) - found


@pytest.mark.parametrize("name", SCENES)
def test_spots_are_found_and_noise_is_not(finder, name):
    found = false = 0
    for seed in range(4):
        frame, where = SCENES[name](np.random.default_rng(seed))
        more, wrong = hits(finder(frame), where)
        found, false = found + more, false + wrong
    assert found >= 0.97 * 4 * SPOTS
    assert false <= 1


def test_a_powder_ring_is_no_peak(finder):
    rings = 20 + sum(180 * np.exp(-((RADIUS - r) ** 2) / (2 * 2.5**2)) for r in (50, 90))
    peaks = [len(finder(np.random.default_rng(seed).poisson(rings))) for seed in range(4)]
    assert sum(peaks) <= 2


@pytest.mark.parametrize("name", ["10 photons", "floats around zero", "slope of 10 to 500"])
def test_what_the_inner_finder_sees_is_findpeaks_frame(name):
    frame = SCENES[name](np.random.default_rng(1))[0][:160, :160]
    ours, theirs = (
        AdaptiveFinder(inner(0.0, ANY_SCORE), None, 0.5, 0.1)
        for inner in (TopologyFinder, FindpeaksFinder)
    )
    peaks, expected = ours(frame), theirs(frame)
    assert len(peaks) > 5
    for one in ("row", "col", "score"):
        np.testing.assert_array_equal(getattr(peaks, one), getattr(expected, one))
    flattened = ours.flattened(frame, np.zeros(frame.shape, np.bool_))
    again = FindpeaksFinder(0.0, 0.5)(flattened)
    np.testing.assert_array_equal(peaks.score[peaks.score >= 0.5], again.score)


def test_a_frame_has_the_same_peaks_whatever_came_before():
    frames = [SCENES[name](np.random.default_rng(5))[0] for name in ("10 photons", "0.3 photons")]
    worker, other = (make_finder("topology", "auto", "auto") for _ in range(2))
    before = [worker(frame) for frame in frames]
    after = [other(frame) for frame in reversed(frames)][::-1]
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.row, two.row)
        np.testing.assert_array_equal(one.score, two.score)


def test_numbers_leave_everything_to_them():
    finder = finder_of(DetectConfig(minval=12, minscore=9))
    assert isinstance(finder, TopologyFinder)
    assert (finder.minval, finder.minscore) == (12, 9)


def test_a_number_for_minscore_is_the_only_limit_above_the_background():
    frame, _ = SCENES["1,000 photons"](np.random.default_rng(2))
    everything = make_finder("topology", "auto", ANY_SCORE)(frame)
    peaks = make_finder("topology", "auto", 100.0)(frame)
    np.testing.assert_array_equal(peaks.score, everything.score[everything.score >= 100.0])
    assert len(everything) > len(peaks) > 0


def test_scores_on_a_number_for_minval_are_what_they_were():
    frame, where = SCENES["10 photons"](np.random.default_rng(2))
    exact = TopologyFinder(25, 1)(frame)
    scores = dict(zip(zip(exact.row, exact.col, strict=True), exact.score, strict=True))
    peaks = make_finder("topology", 25.0, "auto")(frame)
    assert hits(peaks, where)[1] <= 1
    assert len(peaks) > SPOTS // 2
    for row, col, score in zip(peaks.row, peaks.col, peaks.score, strict=True):
        assert scores[row, col] == score


def test_thresholds_are_told(finder):
    thresholds = finder(SCENES["1,000 photons"](np.random.default_rng(2))[0]).thresholds()
    assert thresholds.background == pytest.approx(1000, rel=0.02)
    assert thresholds.noise == pytest.approx(1000**0.5, rel=0.05)
    assert 1000 < thresholds.minval < 1000 + 5 * 1000**0.5
    assert 4 * 1000**0.5 < thresholds.minscore < 8 * 1000**0.5


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 2), (5, 40), (40, 5), (100, 33)])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "u4", "i8", "f8"])
def test_frames_of_any_shape_and_type(finder, shape, dtype):
    finder(np.random.default_rng(0).poisson(5, shape).astype(dtype))
    assert len(finder(np.zeros(shape, dtype))) == 0
    masked = np.ones(shape, np.bool_)
    assert len(finder(np.ones(shape, dtype), masked)) == 0


def test_a_pixel_that_is_no_number_is_refused(finder):
    frame = np.random.default_rng(0).normal(5, 1, (64, 64))
    frame[20, 20] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        finder(frame)
    masked = np.isnan(frame)
    assert len(finder(frame, masked)) == 0
