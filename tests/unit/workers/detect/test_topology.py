"""The topology finder against findpeaks itself, and against what persistence must obey."""

import logging
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamer.errors import UserError
from tests.conftest import SHARED
from workers.detect.choice import make_finder
from workers.detect.findpeaks import FindpeaksFinder
from workers.detect.topology import TopologyFinder

THAUMATIN = SHARED / "data/thaumatin/thau_3_2_0001-0019_crop768.npz"
EPS = np.finfo(np.float64).eps
# Frames with zeros all around, wide enough for findpeaks' ordinary rule of ties.
ISLANDS = hnp.arrays(
    np.uint16,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.one_of(st.integers(0, 4), st.integers(0, 65535)),
).map(lambda frame: np.pad(frame, 2))


def assert_same(peaks, expected):
    for name in ("row", "col", "score"):
        ours, theirs = getattr(peaks, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def listed(peaks):
    return list(zip(peaks.row.tolist(), peaks.col.tolist(), peaks.score.tolist(), strict=True))


def any_peaks(frame, masked=None):
    return TopologyFinder(0, 1e-300)(frame, masked)


def spots(size, n_spots, background, seed):
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:size, :size]
    counts = np.full((size, size), background)
    for _ in range(n_spots):
        centre, width = rng.uniform(0, size, 2), rng.uniform(1, 3)
        r2 = ((row - centre[0]) ** 2 + (col - centre[1]) ** 2) / width**2
        counts += np.exp(rng.uniform(4, 8.5) - r2 / 2)
    frame = rng.poisson(counts)
    frame[rng.integers(0, size, 8), rng.integers(0, size, 8)] = 60000
    frame[size // 3 : size // 3 + 7] = 0
    return frame


def _ties(rng, shape):
    return rng.integers(0, rng.integers(2, 7), shape).astype(np.uint16)


def _plateaus(rng, shape):
    rows, cols = shape
    coarse = rng.integers(0, 4, (rows // 3 + 1, cols // 3 + 1))
    return coarse.repeat(3, axis=0).repeat(3, axis=1)[:rows, :cols].astype(np.int32)


def _no_zeros(rng, shape):
    return rng.integers(rng.integers(1, 9), 12, shape).astype(np.uint32)


def _negatives(rng, shape):
    return rng.integers(-4, 5, shape).astype(rng.choice(["i1", "i2", ">i2", "i4", "i8"]))


def _full_range(rng, shape):
    dtype = rng.choice(["u1", "u2", ">u2", "i4", "u4"])
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def _peaked(rng, shape):
    return rng.poisson(rng.gamma(0.3, 20, shape)).astype(np.uint16)


def _float32(rng, shape):
    return rng.normal(1, 1, shape).astype(np.float32).round(rng.integers(0, 4))


def _closer_than_noise(rng, shape):
    return 1 + rng.integers(0, 600, shape) * EPS * rng.choice([0.5, 1, 4])


def _wild_floats(rng, shape):
    return rng.choice([-1, 0, 5e-324, 1e-323, 1e-14, 2e-14, 1, 1 + 1e-13, 2.5, np.inf], shape)


@pytest.mark.parametrize(
    "family",
    [
        _ties,
        _plateaus,
        _no_zeros,
        _negatives,
        _full_range,
        _peaked,
        _float32,
        _closer_than_noise,
        _wild_floats,
    ],
)
def test_random_frames_have_findpeaks_peaks(family):
    rng = np.random.default_rng(20)
    total = 0
    for trial in range(140):
        rows, cols = rng.integers(3, 25, 2)
        shape = [(rows, cols), (1, cols), (rows, 1), (rows, 2)][max(0, trial % 7 - 3)]
        frame = family(rng, shape)
        masked = rng.random(shape) < 0.2 if trial % 3 == 0 else None
        limits = rng.choice([0, 0, 1, 2.5]), rng.choice([1e-300, 0.5, 1, 2])
        expected = FindpeaksFinder(*limits)(frame, masked)
        assert_same(TopologyFinder(*limits)(frame, masked), expected)
        total += len(expected)
    assert total > 140


@pytest.mark.parametrize("gain", [1, 0.7])
def test_a_full_frame_has_findpeaks_peaks(gain):
    frame = spots(512, 12, 5.0, seed=3) * gain
    expected = FindpeaksFinder(12 * gain, 3)(frame)
    assert_same(TopologyFinder(12 * gain, 3)(frame), expected)
    assert len(expected) > 100


@pytest.mark.shared
@pytest.mark.parametrize(
    ("index", "row", "col", "minval"), [(4, 0, 0, 0), (8, 250, 400, 6), (12, 568, 120, 20)]
)
def test_measured_frames_have_findpeaks_peaks(index, row, col, minval):
    if not THAUMATIN.exists():
        pytest.skip("the recorded thaumatin frames are not here")
    with np.load(THAUMATIN) as file:
        frame = file["frames"][index, row : row + 200, col : col + 200]
    masked = frame < 0
    expected = FindpeaksFinder(minval, 5)(frame, masked)
    assert_same(TopologyFinder(minval, 5)(frame, masked), expected)
    assert_same(TopologyFinder(minval, 5)(frame), expected)
    assert len(expected) > 10


@pytest.fixture
def root_logger():
    """Is as it was after the test: findpeaks sets it up for the whole process."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.mark.usefixtures("root_logger")
def test_the_reference_agrees_with_the_table_findpeaks_shows():
    frame = np.random.default_rng(4).integers(0, 30, (20, 20))
    peaks = FindpeaksFinder(10, 1)(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from findpeaks import findpeaks

        finder = findpeaks(
            method="topology",
            whitelist="peak",
            scale=False,
            togray=False,
            denoise=None,
            verbose="silent",
        )
        table = finder.fit(np.where(frame >= 10, frame, 0))["persistence"]
    rows = {(r.y, r.x, round(r.score)) for r in table.itertuples() if r.score > 0.5}
    assert rows == set(listed(peaks))
    assert len(rows) > 10


def test_a_peak_dies_at_the_saddle_to_a_higher_one():
    frame = np.zeros((5, 9), np.uint16)
    frame[2] = [0, 7, 90, 40, 60, 30, 50, 0, 8]
    assert listed(any_peaks(frame)) == [(2, 2, 90), (2, 4, 20), (2, 6, 20), (2, 8, 8)]
    assert listed(TopologyFinder(8, 20)(frame)) == [(2, 2, 90), (2, 4, 20), (2, 6, 20)]
    assert listed(TopologyFinder(40.5, 20)(frame)) == [(2, 2, 90), (2, 4, 60), (2, 6, 50)]


def test_a_flat_top_is_one_peak_at_its_last_pixel():
    frame = np.zeros((6, 6), np.uint16)
    frame[1:4, 1:4] = 9
    assert listed(any_peaks(frame)) == [(3, 3, 9)]


@pytest.mark.parametrize(
    ("frame", "peaks"),
    [
        (np.zeros((5, 5)), []),
        (np.zeros((5, 5), np.uint16), []),
        (np.full((4, 5), -3), []),
        (np.full((4, 5), 7, np.uint16), [(3, 4, 7)]),
        (np.full((4, 5), 7.5), [(3, 4, 7.5)]),
        (np.full((4, 2), 7, np.uint16), [(0, 0, 7)]),
        (np.array([[3]], np.uint16), [(0, 0, 3)]),
        (np.zeros((0, 5), np.uint16), []),
        (np.zeros((5, 0)), []),
    ],
)
def test_frames_without_structure(frame, peaks):
    assert listed(any_peaks(frame)) == peaks
    assert listed(FindpeaksFinder(0, 1e-300)(frame)) == peaks


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
def test_a_frame_without_zeros_has_the_scores_of_one_with(dtype):
    frame = np.full((5, 9), 21, dtype)
    frame[2, [2, 4, 6]] = 90, 40, 42
    assert listed(any_peaks(frame)) == [(2, 2, 90), (2, 6, 21), (2, 4, 19)]
    assert_same(any_peaks(frame), FindpeaksFinder(0, 1e-300)(frame))
    frame[0, 0] = 0
    assert listed(any_peaks(frame)) == [(2, 2, 90), (2, 6, 21), (2, 4, 19)]


def test_infinite_pixels_are_levels():
    frame = np.array([[np.inf, 1, 4, 0, 2, np.inf], [0, 0, 0, 0, 0, -np.inf]])
    expected = [(0, 0, np.inf), (0, 5, np.inf), (0, 2, 3)]
    assert listed(any_peaks(frame)) == expected
    assert listed(FindpeaksFinder(0, 1e-300)(frame)) == expected


@pytest.mark.parametrize("name", ["topology", "findpeaks"])
def test_nan_is_refused_where_it_is_not_masked(name):
    frame = np.zeros((5, 6), np.float32)
    frame[1, 1], frame[3, 4] = 5, np.nan
    finder = make_finder(name, 40, 1)
    with pytest.raises(ValueError, match=r"^the frame holds NaN: mask these pixels or set them to"):
        finder(frame)
    assert listed(make_finder(name, 1, 1)(frame, np.isnan(frame))) == [(1, 1, 5)]


@pytest.mark.parametrize("name", ["topology", "findpeaks"])
def test_what_does_not_fit_is_refused(name):
    finder = make_finder(name, 1, 1)
    with pytest.raises(ValueError, match="rows and columns"):
        finder(np.zeros(5))
    with pytest.raises(ValueError, match=r"mask has shape \(5, 4\)"):
        finder(np.zeros((4, 5)), np.zeros((5, 4), bool))
    for limits in ((np.nan, 1), (np.inf, 1), (1, np.nan)):
        with pytest.raises(ValueError, match="must be numbers"):
            make_finder(name, *limits)


def test_finders_have_names():
    assert isinstance(make_finder("topology", 1, 1), TopologyFinder)
    assert isinstance(make_finder("findpeaks", 1, 1), FindpeaksFinder)
    with pytest.raises(UserError, match="known are topology, findpeaks"):
        make_finder("peakfinder8", 1, 1)


def test_the_reference_leaves_no_trace(capfd, caplog):
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    FindpeaksFinder(1, 1)(np.eye(8))
    assert (root.level, root.handlers) == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize("dtype", "u1 i1 u2 i2 >u2 >i2 u4 i4 >u4 u8 i8 >i8 f2 f4 f8 >f8".split())
def test_every_type_gives_the_same_peaks(dtype):
    frame = np.random.default_rng(5).integers(0, 100, (30, 40))
    assert_same(TopologyFinder(50, 10)(frame.astype(dtype)), TopologyFinder(50, 10)(frame))


def test_every_memory_layout_gives_the_same_peaks():
    frame = np.random.default_rng(6).integers(0, 100, (30, 40)).astype(np.uint16)
    masked = frame % 7 == 0
    finder = TopologyFinder(50, 10)
    expected = finder(frame, masked)
    unaligned = np.frombuffer(b"-" + frame.tobytes(), np.uint16, offset=1).reshape(frame.shape)
    twice = frame.repeat(2, axis=1)[:, ::2]
    for same in (np.asfortranarray(frame), unaligned, twice, frame[::-1][::-1]):
        assert_same(finder(same, masked), expected)
        assert_same(finder(same, np.asfortranarray(masked)), expected)
    assert_same(finder(frame, masked.astype(np.uint8)), expected)


@pytest.mark.parametrize(
    ("dtype", "highest"), [("u1", 255), ("i2", 2**15 - 1), ("u2", 2**16 - 1), ("u4", 2**32 - 1)]
)
def test_the_highest_level_of_a_type_is_a_level(dtype, highest):
    frame = np.zeros((5, 7), dtype)
    frame[2, 3] = highest
    assert listed(TopologyFinder(highest, highest)(frame)) == [(2, 3, highest)]
    assert len(TopologyFinder(highest + 1, 1)(frame)) == 0
    assert len(TopologyFinder(1, highest + 1)(frame)) == 0


def test_a_finder_remembers_nothing_of_earlier_frames():
    rng = np.random.default_rng(7)
    finder = TopologyFinder(3, 2)
    earlier = []
    for _ in range(60):
        shape = [(20, 30), (30, 20), (7, 2), (20, 30), (20, 30)][rng.integers(5)]
        frame = rng.integers(0, 9, shape).astype(rng.choice(["u1", "u2", "i4", "f8"]))
        peaks, expected = finder(frame), TopologyFinder(3, 2)(frame)
        assert_same(peaks, expected)
        earlier.append((peaks, expected))
    for peaks, expected in earlier:
        assert_same(peaks, expected)


def test_a_finder_survives_a_frame_it_refused():
    finder = TopologyFinder(0, 1)
    frame = np.random.default_rng(8).random((20, 20))
    expected = finder(frame)
    with pytest.raises(ValueError, match="NaN"):
        finder(np.where(frame > 0.9, np.nan, frame))
    assert_same(finder(frame), expected)


@given(ISLANDS)
@settings(max_examples=200)
def test_peaks_are_sorted_and_whole(frame):
    peaks = any_peaks(frame)
    order = [(-score, row, col) for row, col, score in listed(peaks)]
    assert order == sorted(order)
    assert all(score >= 1 and score == int(score) for score in peaks.score)
    assert all(frame[row, col] >= score for row, col, score in listed(peaks))


@given(ISLANDS, st.integers(1, 65535))
@settings(max_examples=200)
def test_a_hot_pixel_apart_adds_one_peak(frame, hot):
    row = len(frame)
    with_hot = np.pad(frame, ((0, 2), (0, 0)))
    with_hot[row, 1] = hot
    assert sorted(listed(any_peaks(with_hot))) == sorted([*listed(any_peaks(frame)), (row, 1, hot)])


@given(ISLANDS, st.data())
@settings(max_examples=200)
def test_masked_is_zeroed(frame, data):
    masked = data.draw(hnp.arrays(np.bool_, frame.shape))
    assert_same(any_peaks(frame, masked), any_peaks(np.where(masked, 0, frame)))


@given(ISLANDS)
@settings(max_examples=200)
def test_scores_know_no_direction(frame):
    expected = any_peaks(frame).score
    for turned in (frame.T, frame[::-1], frame[:, ::-1]):
        np.testing.assert_array_equal(any_peaks(turned).score, expected)


@given(ISLANDS, st.integers(1, 60000), st.integers(1, 60000))
@settings(max_examples=200)
def test_minscore_only_leaves_out(frame, minval, minscore):
    everything = TopologyFinder(minval, 1)(frame)
    expected = [peak for peak in listed(everything) if peak[2] >= minscore]
    assert listed(TopologyFinder(minval, minscore)(frame)) == expected


@given(ISLANDS)
@settings(max_examples=200)
def test_floats_give_the_peaks_of_integers(frame):
    assert_same(any_peaks(frame.astype(np.float64)), any_peaks(frame))
