"""Bright pixels of coded frames against frames decoded as a whole."""

import ctypes.util

import dectris.compression
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import Config
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Frame
from streamer.simulator.stream_v2 import encode_bslz4
from workers.detect import bright
from workers.detect.base import lowest_of
from workers.detect.bright import BrightReader
from workers.detect.choice import finder_of, make_finder
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame

DTYPES = ["|u1", "<u2", "<u4"]
HEADER_BYTES = 12


@pytest.fixture(autouse=True)
def many_may_be_bright(monkeypatch):
    monkeypatch.setattr(bright, "_SHARE", 1)


def spots(shape, dtype, rng, n_spots=4):
    """Noise with spots, hot pixels and a gap."""
    rows, cols = np.indices(shape)
    counts = np.full(shape, rng.choice([0.0, 0.4, 6.0]))
    for _ in range(n_spots):
        at = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        counts += rng.uniform(20, 120) * np.exp(-((rows - at[0]) ** 2 + (cols - at[1]) ** 2) / 4)
    frame = rng.poisson(counts).astype(dtype)
    frame[rng.random(shape) < 0.01] = rng.integers(0, np.iinfo(dtype).max, endpoint=True)
    frame[rng.integers(shape[0])] = np.iinfo(dtype).max
    return frame


def coded(frame, data=None, encoding="bslz4"):
    return Frame(
        series="a",
        frame=1,
        time_ns=0,
        shape=frame.shape,
        dtype=frame.dtype.str,
        encoding=encoding,
        data=memoryview(encode_bslz4(frame) if data is None else data),
    )


def both_ways(frame, correction, finder, data=None, patch_size=7, reader=None):
    """Return what is found with all pixels, and with those that are bright."""
    one = coded(frame, data)
    known = (reader or BrightReader(least=0))(one, correction, lowest_of(finder))
    pixels = decode(one.data, one.encoding, one.dtype, one.shape)
    expected = find_in_frame(pixels, correction, finder, patch_size)
    if known is None:
        return expected, None
    return expected, find_in_frame(known.pixels, correction, finder, patch_size, bright=known)


def assert_same(found, expected):
    peaks, patches = found
    expected_peaks, expected_patches = expected
    np.testing.assert_array_equal(peaks, expected_peaks)
    for name in ("counts", "valid", "flags", "intensity"):
        np.testing.assert_array_equal(getattr(patches, name), getattr(expected_patches, name))


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    rows=st.integers(3, 90),
    cols=st.integers(8, 190),
    minval=st.one_of(st.integers(-1, 60), st.floats(1, 254)),
    is_masked=st.booleans(),
    saturation=st.sampled_from([np.inf, 90.0]),
    stripped=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_bright_pixels_tell_what_all_do(
    dtype, rows, cols, minval, is_masked, saturation, stripped, seed
):
    rng = np.random.default_rng(seed)
    frame = spots((rows, cols), dtype, rng)
    bad = rng.random(frame.shape) < 0.1 if is_masked else None
    data = encode_bslz4(frame)[HEADER_BYTES if stripped else 0 :]
    finder = make_finder("topology", minval, 2.0)
    expected, found = both_ways(frame, Correction(bad, saturation=saturation), finder, data)
    assert found is not None
    assert_same(found, expected)


def test_nothing_stays_of_frames_before():
    rng, reader = np.random.default_rng(3), BrightReader(least=0)
    finder, total = make_finder("topology", 20, 10), 0
    for shape in 3 * [(70, 80), (70, 80), (40, 50)]:
        frame = spots(shape, rng.choice(DTYPES), rng)
        expected, found = both_ways(frame, Correction(), finder, reader=reader)
        assert_same(found, expected)
        total += len(expected[0])
    assert total > 9


def test_peaks_beside_higher_ones_are_left_out_as_ever():
    config = Config.model_validate({"detect": {"minval": 20, "minscore": 5, "merge_px": 12}})
    finder = finder_of(config.detect)
    frame = spots((90, 90), "<u2", np.random.default_rng(5), n_spots=30)
    expected, found = both_ways(frame, Correction(), finder)
    assert_same(found, expected)
    assert len(expected[0]) > 3


@pytest.mark.parametrize(
    ("dtype", "encoding", "minval", "correction"),
    [
        ("<i4", "bslz4", 9, Correction()),
        (">u2", "bslz4", 9, Correction()),
        ("<u8", "bslz4", 9, Correction()),
        ("<u2", "raw", 9, Correction()),
        ("|u1", "bslz4", 255, Correction()),
        ("<u2", "bslz4", "auto", Correction()),
        ("<u2", "bslz4", 9, Correction(dark=np.ones((64, 64), np.float32))),
        ("<u2", "bslz4", 9, Correction(flatfield=np.ones((64, 64), np.float32))),
        ("<u2", "bslz4", 9, Correction(binning=2)),
        ("<u2", "bslz4", 9, Correction(np.zeros((64, 63), np.bool_))),
    ],
)
def test_what_needs_all_pixels_gets_them(dtype, encoding, minval, correction):
    frame = np.ones((64, 64), dtype)
    data = frame.tobytes() if encoding == "raw" else encode_bslz4(frame)
    finder = make_finder("topology", minval, 9)
    read = BrightReader(least=0)
    assert read(coded(frame, data, encoding), correction, lowest_of(finder)) is None


def test_of_many_bright_pixels_none_are_picked_out(monkeypatch):
    monkeypatch.setattr(bright, "_SHARE", 1024)
    read = BrightReader(least=0)
    few, many = np.zeros((2, 256, 256), "<u2")
    few[9, 9], many[::2] = 100, 100
    assert read(coded(few), Correction(), 9).count == 1
    assert read(coded(many), Correction(), 9) is None
    tried = [read(coded(few), Correction(), 9) is not None for _ in range(20)]
    assert tried.index(True) == 16
    assert all(tried[16:])


def test_small_frames_and_narrow_ones_are_decoded_as_a_whole():
    assert BrightReader()(coded(np.ones((64, 64), "<u2")), Correction(), 9) is None
    assert BrightReader(least=0)(coded(np.ones((64, 2), "<u2")), Correction(), 9) is None


def test_no_memory_is_taken_for_a_frame_that_would_be_refused():
    frame = msgspec.structs.replace(coded(np.ones((64, 64), "<u2")), shape=(1 << 20, 1 << 20))
    assert BrightReader()(frame, Correction(), 9) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_damaged_bytes_are_left_to_who_refuses_them(dtype):
    rng = np.random.default_rng(8)
    frame = spots((101, 123), dtype, rng)
    whole = encode_bslz4(frame)
    finder, refused = make_finder("topology", 20, 10), 0
    for trial in range(1500):
        data = bytearray(whole)
        if trial % 3 == 0:
            del data[rng.integers(len(data)) :]
        elif trial % 3 == 1:
            for at in rng.integers(0, len(data), rng.integers(1, 5)):
                data[at] = rng.integers(256)
        else:
            data += rng.bytes(rng.integers(1, 9))
        known = BrightReader(least=0)(coded(frame, data), Correction(), 20)
        try:
            expected = decode(data, "bslz4", dtype, frame.shape)
        except DecodeError:
            assert known is None
            refused += 1
            continue
        if known is not None:  # what is damaged may still be pixels: the same ones
            assert_same(
                find_in_frame(known.pixels, Correction(), finder, 7, bright=known),
                find_in_frame(expected, Correction(), finder, 7),
            )
    assert refused > 500


def test_nothing_is_written_beside_the_memory_for_a_frame():
    frame = spots((101, 123), "<u2", np.random.default_rng(9))
    read = BrightReader(least=0)
    read(coded(frame), Correction(), 20)
    guarded = {name: getattr(read, name) for name in ("_planes", "_index", "_level")}
    for name, array in guarded.items():
        room = np.full(array.nbytes + 128, 0xA5, np.uint8)
        setattr(read, name, room[64 : 64 + array.nbytes].view(array.dtype))
        guarded[name] = room
    whole = encode_bslz4(frame)
    rng = np.random.default_rng(10)
    for _ in range(2000):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        read._pause = 0
        read(coded(frame, data), Correction(), 20)
    for room in guarded.values():
        assert (room[:64] == 0xA5).all()
        assert (room[-64:] == 0xA5).all()


def test_a_library_that_hides_lz4_costs_speed_alone(monkeypatch):
    monkeypatch.setattr(dectris.compression, "__file__", ctypes.util.find_library("c"))
    assert not bright._find_lz4()
    monkeypatch.setattr(bright, "_HAS_LZ4", False)
    assert BrightReader(least=0)(coded(np.ones((64, 64), "<u2")), Correction(), 9) is None
