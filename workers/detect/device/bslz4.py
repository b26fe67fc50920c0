"""From a bitshuffled and LZ4-coded frame to its pixels on a device."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from streamer.frames.codecs import DecodeError, with_header
from streamer.frames.events import Frame
from streamer.frames.pixels import MAX_FRAME_BYTES, dtype_named
from workers.detect.device.lz4 import Unpack, unpack_blocks

__all__ = ["SIGNED", "Bslz4Decoder"]

SIGNED = {
    np.dtype(np.uint8): torch.int8,
    np.dtype(np.uint16): torch.int16,
    np.dtype(np.uint32): torch.int32,
}
"""Pixels that can be decoded, and how torch sees them, which computes little with unsigned ones."""
_HEADER_BYTES = 12
_SIZE_BYTES = 4
_TRANSPOSE = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))


class Bslz4Decoder:
    """Decodes frames on a device; the memory of one stays for the next.

    Parameters
    ----------
    device
        Where.
    unpack
        Decodes LZ4 there.
    """

    def __init__(self, device: torch.device, unpack: Unpack = unpack_blocks) -> None:
        self._device = device
        self._unpack = unpack
        self._staged = _Staged(device, torch.uint8), _Staged(device, torch.int64)

    @staticmethod
    def takes(frame: Frame) -> bool:
        """Tell whether frames like this one can be decoded here."""
        return frame.encoding == "bslz4" and dtype_named(frame.dtype) in SIGNED

    def __call__(self, frame: Frame) -> tuple[Tensor, Tensor] | None:
        """Decode a frame, as far as that can be told before the device has done it.

        Returns
        -------
        pixels, damaged
            (rows, cols) of the type `SIGNED` names, in memory that the next frame does not
            overwrite, and (1,) uint8, not 0 where they are wrong because the frame is damaged.
            None where that is known already.
        """
        chunk = _chunk_of(frame)
        if chunk is None:
            return None
        dtype, size, whole = np.dtype(frame.dtype), chunk.size, chunk.whole
        sent, bounds = self._staged[0](chunk.coded), self._staged[1](chunk.bounds)
        planes = torch.empty(whole, dtype=torch.uint8, device=self._device)
        damaged = torch.zeros(1, dtype=torch.uint8, device=self._device)
        if whole:
            self._unpack(sent, bounds, size, planes, damaged)
        full = whole // size * size
        parts = [
            _unshuffled(planes[:full].view(-1, size), dtype.itemsize),
            _unshuffled(planes[full:].view(-1, max(whole - full, 1)), dtype.itemsize),
            sent[len(sent) - chunk.left_over :],
        ]
        return torch.cat(parts).view(SIGNED[dtype]).view(frame.shape), damaged


class _Chunk(NamedTuple):
    """Coded bytes of a frame and how they are laid out."""

    coded: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    """(blocks, 2), where in `coded` each block begins and ends."""
    size: int
    """Bytes of a decoded block; the last may be smaller."""
    whole: int
    """Bytes of all decoded blocks."""
    left_over: int
    """Bytes at the end of `coded` that are not coded: of pixels that fill no byte of a plane."""


def _chunk_of(frame: Frame) -> _Chunk | None:
    """Find the blocks of a frame; None where they do not fit it."""
    itemsize = np.dtype(frame.dtype).itemsize
    n_bytes = math.prod(frame.shape) * itemsize
    if min(frame.shape) < 1 or n_bytes > MAX_FRAME_BYTES:
        return None
    try:
        view = memoryview(frame.data).cast("B").toreadonly()
        coded = np.frombuffer(with_header(view, "bslz4", frame.dtype, frame.shape), np.uint8)
    except DecodeError:
        return None
    size = int.from_bytes(coded[8:_HEADER_BYTES].tobytes(), "big")
    left_over = n_bytes % (8 * itemsize)
    whole = n_bytes - left_over
    if size == 0 or size % (8 * itemsize) or size > MAX_FRAME_BYTES:
        return None
    n_blocks = -(-whole // size)
    if n_blocks > len(coded) // _SIZE_BYTES:  # nobody need make room for them
        return None
    bounds = np.empty((n_blocks, 2), np.int64)
    end = _find_blocks(coded, _HEADER_BYTES, bounds)
    if end < 0 or (left_over and len(coded) - end != left_over):
        return None
    return _Chunk(coded, bounds, size, whole, left_over)


class _Staged:
    """Memory that a device can copy from by itself, which grows as needed."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._memory = torch.empty(0, dtype=dtype)

    def __call__(self, array: NDArray[np.generic]) -> Tensor:
        """Return a copy on the device, flat where bytes are copied; see `Bslz4Decoder`."""
        if array.size > self._memory.numel():
            pinned = self._device.type == "cuda"
            self._memory = torch.empty(array.size * 5 // 4, dtype=self._dtype, pin_memory=pinned)
        staged = self._memory[: array.size].view(array.shape)
        staged.numpy()[...] = array
        return staged.to(self._device, non_blocking=True)


@njit(cache=True, nogil=True)
def _find_blocks(coded, at, bounds):  # type: ignore[no-untyped-def]
    """Enter where coded blocks begin and end; return the end of the last, -1 beyond the buffer."""
    for block in range(len(bounds)):
        if len(coded) - at < _SIZE_BYTES:
            return -1
        size = np.int64(0)
        for byte in coded[at : at + _SIZE_BYTES]:
            size = size << 8 | np.int64(byte)
        at += _SIZE_BYTES
        if size > len(coded) - at:
            return -1
        bounds[block, 0], bounds[block, 1] = at, at + size
        at += size
    return at


def _unshuffled(planes: Tensor, itemsize: int) -> Tensor:
    """Return the bytes of pixels whose bits were sorted into planes, block by block.

    Parameters
    ----------
    planes
        (blocks, bytes of a block).
    """
    blocks, size = planes.shape
    n = size // itemsize
    if not planes.numel():
        return planes.view(-1)
    # The eight planes of a byte of eight pixels are a matrix of 8 x 8 bits, to be transposed.
    matrices = planes.view(blocks, itemsize, 8, n // 8).transpose(2, 3)
    words = matrices.reshape(-1).view(torch.int64)
    for shift, mask in _TRANSPOSE:
        swapped = (words ^ (words >> shift)) & mask
        words = words ^ swapped ^ (swapped << shift)
    return words.view(torch.uint8).view(blocks, itemsize, n).transpose(1, 2).reshape(-1)
