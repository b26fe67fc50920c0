"""What comes back from a device is what the CPU finds, and what is damaged the CPU refuses."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from dectris.compression import decompress
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from streamer.frames.codecs import DecodeError, decode
from tests.unit.workers.detect.device.coded import (
    MINSCORE,
    MINVAL,
    assert_same,
    by_cpu,
    by_device,
    coded,
    corrections,
    decode_block,
    frame_of,
    picture,
    reader_on_host,
)
from workers.detect.base import lowest_of
from workers.detect.correction import Correction
from workers.detect.device.lz4 import block_decoder
from workers.detect.device.making import agrees
from workers.detect.device.reader import DeviceReader
from workers.detect.merging import MergingFinder
from workers.detect.node import find_in_frame
from workers.detect.topology import TopologyFinder

DTYPES = ("u1", "<u2", "<u4")
SHAPES = st.tuples(st.integers(3, 90), st.integers(3, 90))


@settings(max_examples=150)
@given(
    shape=SHAPES,
    dtype=st.sampled_from(DTYPES),
    block=st.sampled_from([0, 8, 64, 1000, 4096]),
    patch_size=st.sampled_from([1, 5, 11, 15]),
    seed=st.integers(0, 1 << 20),
)
def test_peaks_and_patches_are_those_of_the_cpu(shape, dtype, block, patch_size, seed):
    rng = np.random.default_rng(seed)
    reader = reader_on_host()
    # One reader for all: what is left over from a frame must not show on the next.
    for correction in corrections(rng, shape):
        frame = coded(picture(rng, shape, dtype), block)
        ours = by_device(reader, frame, correction, patch_size)
        assert_same(ours, by_cpu(frame, correction, patch_size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("minval", [0.0, 0.5, 254.0, 255.0, 1e5, 1e12])
def test_thresholds_are_kept_to_the_last_count(dtype, minval):
    pixels = np.arange(256).astype(dtype).reshape(16, 16)
    pixels[3, 3] = np.iinfo(dtype).max - 1
    finder, frame = TopologyFinder(minval, 1.0), coded(pixels)
    ours = by_device(reader_on_host(), frame, Correction(), finder=finder)
    lowest = max(1, np.ceil(minval))
    assert (ours is None) == (lowest >= np.iinfo(dtype).max)
    if ours is not None:
        assert_same(ours, by_cpu(frame, Correction(), finder=finder))


def test_peaks_are_merged_as_on_the_cpu():
    frame = coded(picture(np.random.default_rng(4), (64, 64), "<u2", spots=30))
    finder = MergingFinder(TopologyFinder(MINVAL, MINSCORE), 9.0)
    ours = by_device(reader_on_host(), frame, Correction(), finder=finder)
    assert_same(ours, by_cpu(frame, Correction(), finder=finder))
    assert len(ours[0]) < len(by_cpu(frame, Correction())[0])


def test_a_header_that_a_sender_stripped_is_not_missed():
    frame = coded(picture(np.random.default_rng(5), (90, 80), "<u2"))
    assert int.from_bytes(frame.data[8:12], "big") == 8192
    stripped = frame_of(bytes(frame.data[12:]), frame.shape, frame.dtype)
    assert_same(by_device(reader_on_host(), stripped, Correction()), by_cpu(frame, Correction()))


@settings(max_examples=400)
@given(
    seed=st.integers(0, 1 << 20),
    dtype=st.sampled_from(DTYPES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    more=st.binary(max_size=3),
)
def test_what_a_device_takes_of_damaged_frames_the_cpu_takes_too(seed, dtype, changes, cut, more):
    rng = np.random.default_rng(seed)
    frame = coded(picture(rng, (23, 31), dtype), 128)
    data = bytearray(frame.data)
    for place, byte in changes:
        data[int(place * (len(data) - 1))] = byte
    data = bytes(data[: None if cut is None else int(cut * len(data))]) + more
    frame = frame_of(data, frame.shape, dtype)
    ours, theirs = by_device(reader_on_host(), frame, Correction()), by_cpu(frame, Correction())
    if ours is not None:
        assert_same(ours, theirs)


@pytest.mark.parametrize("keep", [0, 5, 12, 15, 16, 200, -1])
def test_a_frame_that_is_cut_off_is_left_to_the_cpu_which_says_why(keep):
    frame = coded(picture(np.random.default_rng(6), (64, 64), "<u2"))
    frame = frame_of(bytes(frame.data[:keep]), frame.shape, frame.dtype)
    assert by_device(reader_on_host(), frame, Correction()) is None
    with pytest.raises(DecodeError):
        decode(frame.data, frame.encoding, frame.dtype, frame.shape)


class Guarded:
    """Bytes of which only some may be looked at or written."""

    def __init__(self, data, first, last):
        self.data, self.first, self.last = data, first, last

    def __getitem__(self, index):
        assert self.first <= index < self.last
        return self.data[index]

    def __setitem__(self, index, value):
        assert self.first <= index < self.last
        self.data[index] = value


@settings(max_examples=500)
@given(
    data=st.lists(st.one_of(st.sampled_from([0, 1, 15, 31, 240, 255]), st.integers(0, 255))),
    size=st.integers(0, 80),
    lanes=st.sampled_from([1, 3, 32]),
)
def test_no_byte_beyond_a_block_is_touched_whatever_it_holds(data, size, lanes):
    source = Guarded(np.array([9, 9, *data, 9], np.uint8), 2, 2 + len(data))
    target = Guarded(np.zeros(size + 8, np.uint8), 4, 4 + size)
    decode = block_decoder(lambda: None)
    for lane in range(lanes):
        decode(source, 2, 2 + len(data), target, 4, 4 + size, lane, lanes)


def length_of(n):
    """Return what follows a nibble of 15."""
    return b"" if n < 15 else b"\xff" * ((n - 15) // 255) + bytes([(n - 15) % 255])


@st.composite
def nearly_blocks(draw):
    """Return an LZ4 block that keeps to all rules or breaks one at its edge, and its size."""
    block, size = b"", 0
    for _ in range(draw(st.integers(0, 3))):
        n, match = draw(st.integers(0, 40)), draw(st.integers(4, 300))
        size += n
        near = draw(st.sampled_from([size, size, size + 1, size - 1, 1, 2, 7]))
        offset = max(near, 0).to_bytes(2, "little")
        token = bytes([min(n, 15) << 4 | min(match - 4, 15)])
        block += token + length_of(n) + draw(st.binary(min_size=n, max_size=n))
        block += offset + length_of(match - 4)
        size += match
    n = draw(st.sampled_from([0, 3, 4, 5, 6, 7, 8, 9, 12, 40]))
    block += bytes([min(n, 15) << 4]) + length_of(n) + draw(st.binary(min_size=n, max_size=n))
    block += draw(st.sampled_from([b"", b"", b"", b"\0"]))
    return block, max(size + n + draw(st.sampled_from([0, 0, 0, 0, -1, 1])), 0)


@settings(max_examples=2000)
@given(made=nearly_blocks(), lanes=st.sampled_from([1, 32]))
def test_a_block_is_taken_only_where_the_reference_decoder_takes_it(made, lanes):
    block, size = made
    source = Guarded(np.frombuffer(bytes(2) + block + bytes(2), np.uint8), 2, 2 + len(block))
    target = Guarded(np.zeros(size + 8, np.uint8), 4, 4 + size)
    # All lanes step together, as a warp does: each waits for the others before a match is read.
    turns = threading.Barrier(lanes, timeout=30.0)  # one that fails is not waited for
    decode = block_decoder(turns.wait)
    with ThreadPoolExecutor(lanes) as pool:
        args = source, 2, 2 + len(block), target, 4, 4 + size
        taken = set(pool.map(lambda lane: decode(*args, lane, lanes), range(lanes)))
    assert len(taken) == 1
    # A block as long as what it holds would be taken for one that is not coded.
    if taken.pop() and len(block) != size:
        head = size.to_bytes(8, "big") + size.to_bytes(4, "big") + len(block).to_bytes(4, "big")
        expected = decompress(head + block, "lz4")
        assert target.data[4 : 4 + size].tobytes() == expected


def test_blocks_of_an_encoder_are_taken():
    frame = coded(picture(np.random.default_rng(9), (64, 64), "<u2"))
    size, end = int.from_bytes(frame.data[12:16], "big"), len(frame.data)
    assert 16 + size == end
    plain = np.zeros(8192, np.uint8)
    assert decode_block(np.frombuffer(frame.data, np.uint8), 16, end, plain, 0, 8192, 0, 1)


def test_an_offset_of_0_is_refused():
    block = bytes([0x14, 7, 0, 0, 0x50, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    plain = np.zeros(64, np.uint8)
    args = np.frombuffer(block, np.uint8), 0, len(block), plain, 0, 64, 0, 1
    assert not decode_block(*args)


@pytest.mark.parametrize(
    ("dtype", "encoding"), [("<i2", "bslz4"), (">u2", "bslz4"), ("<f4", "bslz4"), ("<u2", "raw")]
)
def test_frames_that_are_not_for_a_device_are_left_and_that_is_said_once(dtype, encoding, caplog):
    frame = frame_of(np.zeros((8, 8), dtype).tobytes(), (8, 8), dtype)
    frame = structs.replace(frame, encoding=encoding)
    reader = reader_on_host()
    with caplog.at_level(logging.WARNING):
        assert reader(frame, Correction(), 5) is None
        assert reader(frame, Correction(), 5) is None
    assert len(caplog.records) == 1


def test_a_device_that_fails_is_not_asked_again_and_no_frame_is_lost(caplog):
    asked = []

    def unpack(*args):
        asked.append(args)
        raise RuntimeError("an illegal memory access was encountered")

    frame = coded(picture(np.random.default_rng(8), (16, 16), "<u2"))
    reader = DeviceReader(torch.device("cpu"), unpack)
    assert reader(frame, Correction(), 5) is None
    assert reader(frame, Correction(), 5) is None
    assert len(asked) == 1
    assert "illegal memory access was encountered; from here on the CPU" in caplog.text


def test_a_device_that_fails_between_peaks_and_patches_leaves_them_right(caplog):
    frame = coded(picture(np.random.default_rng(8), (64, 64), "<u2"))
    reader, finder = reader_on_host(), TopologyFinder(MINVAL, MINSCORE)
    bright = reader(frame, Correction(), lowest_of(finder))
    reader._device = "nowhere"
    ours = find_in_frame(bright.pixels, Correction(), finder, 11, bright=bright)
    assert_same(ours, by_cpu(frame, Correction()))
    assert "from here on the CPU" in caplog.text
    assert reader(frame, Correction(), 5) is None


def test_frames_that_have_rules_of_their_own_are_left_to_the_cpu():
    frame = coded(picture(np.random.default_rng(8), (16, 16), "<u2"))
    narrow = coded(picture(np.random.default_rng(8), (16, 2), "<u2"))
    other = Correction(bad=np.zeros((8, 8), bool))
    for one, correction, lowest in (
        (frame, other, 5),
        (narrow, Correction(), 5),
        (frame, Correction(), None),
        (frame, Correction(), 65535),
    ):
        assert reader_on_host()(one, correction, lowest) is None


def test_a_chunk_that_declares_more_blocks_than_it_holds_is_given_no_room_for_them():
    header = (1 << 30).to_bytes(8, "big") + (8).to_bytes(4, "big")
    frame = frame_of(header + bytes(400), (1 << 15, 1 << 15), "u1")
    assert reader_on_host()(frame, Correction(), 5) is None


def test_frames_that_are_corrected_are_left_to_the_cpu():
    frame = coded(picture(np.random.default_rng(7), (16, 16), "<u2"))
    ones = np.ones((16, 16), np.float32)
    for correction in (Correction(dark=ones), Correction(flatfield=ones), Correction(binning=2)):
        assert reader_on_host()(frame, correction, 5) is None


def test_a_reader_that_knows_other_pixels_is_found_out():
    reader = reader_on_host()
    assert agrees(reader)
    assert not agrees(lambda frame, correction, lowest: None)
    assert not agrees(lambda frame, correction, lowest: reader(frame, correction, lowest + 1))
    # What is left over from a frame before would do.
    other = reader_on_host()
    assert not agrees(lambda *args: replace(other(*args), know=lambda *around: None))
