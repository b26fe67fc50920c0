"""Coded frames, and what the CPU and a device make of them."""

from __future__ import annotations

import h5py
import hdf5plugin
import numpy as np
import torch
from numba import njit

from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Frame
from workers.detect.base import lowest_of
from workers.detect.correction import Correction
from workers.detect.device.lz4 import block_decoder
from workers.detect.device.reader import DeviceReader
from workers.detect.node import find_in_frame
from workers.detect.topology import TopologyFinder

MINVAL, MINSCORE = 12.5, 6.0
PATCH = 11

decode_block = njit(block_decoder(njit(lambda: None)))


@njit
def _unpack(coded, bounds, size, plain, damaged):
    for block in range(len(bounds)):
        start, (begin, end) = block * size, bounds[block]
        stop = min(start + size, plain.size)
        if not decode_block(coded, begin, end, plain, start, stop, 0, 1):
            damaged[0] = 1


def unpack_on_host(coded, bounds, size, plain, damaged):
    """What the kernel does, by one lane for all blocks."""
    _unpack(coded.numpy(), bounds.numpy(), size, plain.numpy(), damaged.numpy())


def reader_on_host():
    return DeviceReader(torch.device("cpu"), unpack_on_host)


def coded(pixels, block=0, dtype=None):
    """Return a frame as a bslz4 chunk, with so many pixels in a block."""
    with h5py.File("coded", "w", driver="core", backing_store=False) as file:
        kind = hdf5plugin.Bitshuffle(nelems=block, cname="lz4")
        data = file.create_dataset("data", data=pixels, chunks=pixels.shape, **kind)
        chunk = data.id.read_direct_chunk((0, 0))[1]
    return frame_of(chunk, pixels.shape, pixels.dtype.str)


def frame_of(data, shape, dtype):
    return Frame(
        series="s",
        frame=3,
        time_ns=0,
        shape=shape,
        dtype=dtype,
        encoding="bslz4",
        data=memoryview(data),
    )


def picture(rng, shape, dtype, spots=6):
    """Noise and spots, with gaps, marked pixels and pixels that are full."""
    pixels = rng.poisson(8.0, shape).astype(np.float64)
    row, col = np.indices(shape)
    for _ in range(spots):
        r, c = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        pixels += rng.uniform(20, 400) * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 3.0)
    most = np.iinfo(dtype).max
    pixels = np.minimum(pixels, min(most - 1, 300)).astype(dtype)
    pixels[rng.random(shape) < 0.02] = most
    pixels[rng.random(shape) < 0.01] = most - 1
    pixels[:, shape[1] // 3 : shape[1] // 3 + 2] = 0
    return pixels


def by_cpu(frame, correction, patch_size=PATCH, finder=None):
    """Return the table and the patches of a frame, or why there are none."""
    try:
        pixels = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    except DecodeError as error:
        return str(error)
    return find_in_frame(pixels, correction, finder or TopologyFinder(MINVAL, MINSCORE), patch_size)


def by_device(reader, frame, correction, patch_size=PATCH, finder=None):
    """Return them as a device knows them, None where it leaves the frame to others."""
    finder = finder or TopologyFinder(MINVAL, MINSCORE)
    bright = reader(frame, correction, lowest_of(finder))
    if bright is None:
        return None
    return find_in_frame(bright.pixels, correction, finder, patch_size, bright=bright)


def assert_same(ours, theirs):
    np.testing.assert_array_equal(ours[0], theirs[0])
    for name in ("counts", "valid", "flags", "intensity"):
        np.testing.assert_array_equal(getattr(ours[1], name), getattr(theirs[1], name), name)


def corrections(rng, shape):
    """Corrections that a device is to reckon with."""
    masked = rng.random(shape) < 0.05
    return [Correction(), Correction(bad=masked, saturation=290.0), Correction(saturation=150.0)]
