"""Decoding against what HDF5's own filters write, and refusal of what does not fit."""

import io
import sys
import zlib

import blosc
import h5py
import hdf5plugin
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from streamer.frames import codecs
from streamer.frames.codecs import MAX_FRAME_BYTES, DecodeError, decode

FILTERS = {
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(),
}
COMPRESSED = [*FILTERS, "zlib", "blosc"]


def chunk(frame, encoding):
    """Code a frame as the HDF5 filter does, or as the library of that name."""
    if encoding == "raw":
        return frame.tobytes()
    if encoding == "zlib":
        return zlib.compress(frame.tobytes())
    if encoding == "blosc":
        return blosc.compress(frame.tobytes(), frame.itemsize, cname="lz4")
    if encoding == "jpeg":
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95)
        return file.getvalue()
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(
            "d", data=frame[None], chunks=(1, *frame.shape), **FILTERS[encoding]
        )
        mask, coded = data.id.read_direct_chunk((0, 0, 0))
    assert mask == 0
    return coded


def poisson(shape, dtype="<u2"):
    return np.random.default_rng(1).poisson(0.3, shape).astype(dtype)


@pytest.mark.parametrize("encoding", ["raw", *COMPRESSED])
@pytest.mark.parametrize("shape", [(514, 103), (33, 101), (64, 64), (1, 9)])
@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", "<i4", ">u4", "<f4", "<f8"])
def test_pixels_come_back(encoding, shape, dtype):
    frame = poisson(shape, dtype)
    pixels = decode(chunk(frame, encoding), encoding, dtype, shape)
    np.testing.assert_array_equal(pixels, frame)
    assert pixels.dtype == frame.dtype.newbyteorder("=")
    assert pixels.dtype.isnative
    assert not pixels.flags.writeable


@settings(max_examples=30)
@given(
    rows=st.integers(1, 40),
    cols=st.integers(8, 150),
    highest=st.sampled_from([0, 3, 65535]),
    encoding=st.sampled_from(COMPRESSED),
)
def test_any_shape_comes_back(rows, cols, highest, encoding):
    rng = np.random.default_rng(rows * cols)
    frame = rng.integers(0, highest, (rows, cols), dtype="<u2", endpoint=True)
    pixels = decode(chunk(frame, encoding), encoding, "<u2", frame.shape)
    np.testing.assert_array_equal(pixels, frame)


@pytest.mark.parametrize(("encoding", "header_bytes"), [("bslz4", 12), ("lz4", 16)])
def test_stripped_header_is_put_back(encoding, header_bytes):
    frame = poisson((100, 200))
    coded = chunk(frame, encoding)[header_bytes:]
    np.testing.assert_array_equal(decode(coded, encoding, "<u2", frame.shape), frame)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, zmq.Frame])
@pytest.mark.parametrize("encoding", ["raw", "bslz4"])
def test_any_buffer_will_do(wrap, encoding):
    frame = poisson((20, 30))
    pixels = decode(wrap(chunk(frame, encoding)), encoding, "<u2", frame.shape)
    np.testing.assert_array_equal(pixels, frame)


@pytest.mark.parametrize("shuffle", [blosc.NOSHUFFLE, blosc.SHUFFLE, blosc.BITSHUFFLE])
@pytest.mark.parametrize("compressor", blosc.compressor_list())
def test_every_compressor_of_blosc(compressor, shuffle):
    frame = poisson((100, 200), "<u4")
    coded = blosc.compress(frame.tobytes(), 4, cname=compressor, shuffle=shuffle)
    np.testing.assert_array_equal(decode(coded, "blosc", "<u4", frame.shape), frame)


def test_jpeg_is_nearly_what_was_coded():
    frame = np.add.outer(np.arange(60), 2 * np.arange(90)).astype(np.uint8)
    pixels = decode(chunk(frame, "jpeg"), "jpeg", "|u1", frame.shape)
    np.testing.assert_allclose(pixels, frame, atol=3)


def test_raw_pixels_are_not_copied():
    data = bytearray(poisson((20, 30)).tobytes())
    pixels = decode(data, "raw", "<u2", (20, 30))
    before = int(pixels[0, 0])
    data[0] += 1
    assert pixels[0, 0] == before + 1


def test_decodes_into_an_array():
    frame = poisson((20, 30), ">u2")
    out = np.empty((20, 30), np.float32)
    assert decode(chunk(frame, "lz4"), "lz4", ">u2", (20, 30), out) is out
    np.testing.assert_array_equal(out, frame)
    with pytest.raises(DecodeError, match="cannot hold"):
        decode(chunk(frame, "lz4"), "lz4", ">u2", (20, 30), np.empty((20, 30), np.uint8))
    with pytest.raises(DecodeError, match="shape"):
        decode(chunk(frame, "lz4"), "lz4", ">u2", (20, 30), np.empty((30, 20), np.uint16))


@pytest.mark.parametrize(
    ("data", "encoding", "dtype", "shape", "says"),
    [
        (bytes(100), "raw", "<u2", (5, 11), "hold 100 bytes, a 5 x 11 <u2 frame has 110"),
        (bytes(100), "gzip", "<u2", (5, 10), "unknown coding 'gzip'"),
        (bytes(100), "raw", "nonsense", (5, 10), "not a dtype"),
        (bytes(100), "raw", "?", (10, 10), "not a dtype of pixels"),
        (bytes(100), "raw", "O", (10, 10), "not a dtype of pixels"),
        (bytes(100), "raw", "<u2", (0, 10), "not a shape"),
        (bytes(100), "raw", "<u2", (-5, -10), "not a shape"),
        (b"", "bslz4", "<u2", (5, 10), "cut off"),
        (bytes(7), "lz4", "<u2", (5, 10), "cut off"),
        (bytes(20), "bslz4", "<u8", (1 << 20, 1 << 20), f"limit of {MAX_FRAME_BYTES}"),
        (memoryview(bytes(100))[::2], "raw", "|u1", (5, 10), "contiguous"),
    ],
)
def test_what_does_not_fit_is_refused(data, encoding, dtype, shape, says):
    with pytest.raises(DecodeError, match=says) as caught:
        decode(data, encoding, dtype, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", list(FILTERS))
@pytest.mark.parametrize("declared", [0, 1999, 2001, 1 << 30, (1 << 31) + 5])
def test_declared_size_is_checked_before_decoding(encoding, declared):
    coded = chunk(poisson((20, 50)), encoding)
    with pytest.raises(DecodeError, match=f"declare {declared}, the frame has 2000 bytes"):
        decode(declared.to_bytes(8, "big") + coded[8:], encoding, "<u2", (20, 50))


@pytest.mark.parametrize("encoding", [*COMPRESSED, "jpeg"])
def test_damaged_bytes_never_do_more_than_raise(encoding):
    rng = np.random.default_rng(3)
    frame = poisson((64, 64), "|u1" if encoding == "jpeg" else "<u2")
    whole = chunk(frame, encoding)
    refused = 0
    for _ in range(300):
        coded = bytearray(whole)
        for at in rng.integers(0, len(coded), rng.integers(1, 6)):
            coded[at] = rng.integers(256)
        if rng.random() < 0.3:
            del coded[rng.integers(len(coded)) :]
        try:
            assert decode(coded, encoding, frame.dtype.str, frame.shape).shape == frame.shape
        except DecodeError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("coded", "encoding", "dtype", "says"),
    [
        (chunk(poisson((20, 51)), "zlib"), "zlib", "<u2", "more than the 2000 bytes"),
        (chunk(poisson((20, 49)), "zlib"), "zlib", "<u2", "hold 1960 bytes"),
        (chunk(poisson((20, 50)), "zlib")[:-9], "zlib", "<u2", "cut off"),
        (zlib.compress(bytes(1 << 24)), "zlib", "<u2", "more than the 2000 bytes"),
        (chunk(poisson((20, 51)), "blosc"), "blosc", "<u2", "declare 2040, the frame has 2000"),
        (chunk(poisson((20, 50)), "blosc")[:-9], "blosc", "<u2", "came"),
        (chunk(poisson((20, 50)), "blosc")[:9], "blosc", "<u2", "cut off"),
        (b"", "zlib", "<u2", "cut off after 0 of 2000"),
        (b"", "blosc", "<u2", "cut off"),
        (b"", "jpeg", "|u1", "damaged"),
        (chunk(poisson((20, 50), "|u1"), "jpeg"), "jpeg", "<u2", "the frame is 20 x 50 <u2"),
        (chunk(poisson((50, 20), "|u1"), "jpeg"), "jpeg", "|u1", "are 50 x 20 of mode L"),
        (chunk(np.zeros((20, 50, 3), np.uint8), "jpeg"), "jpeg", "|u1", "20 x 50 of mode RGB"),
    ],
)
def test_compressed_pixels_of_another_size_are_refused(coded, encoding, dtype, says):
    with pytest.raises(DecodeError, match=says) as caught:
        decode(coded, encoding, dtype, (20, 50))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("encoding", "package"), [("blosc", "blosc"), ("jpeg", "PIL")])
def test_package_that_is_missing_is_named(monkeypatch, encoding, package):
    coded = chunk(poisson((20, 50), "|u1"), encoding)
    codecs._blosc.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DecodeError, match=r"pip install 'braggstream\[pva\]'$"):
        decode(coded, encoding, "|u1", (20, 50))
