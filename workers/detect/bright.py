"""The bright pixels of a frame, found while it is decompressed.

A bitshuffled block holds the lowest bits of all its pixels, then the next ones, and so on. Held
against a limit as they lie there, 64 pixels take as many operations on words as one has bits, and
only what is bright, or near a peak, becomes a pixel again.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from dectris import compression
from llvmlite import binding
from numba import njit, types
from numpy.typing import NDArray

from streamer.frames.events import Frame
from streamer.frames.pixels import MAX_FRAME_BYTES, dtype_named
from workers.detect.correction import Correction
from workers.detect.image import NO_MASK, in_one_layout

__all__ = ["Bright", "BrightReader", "Reader"]

_HEADER_BYTES = 12
_BLOCK_BYTES = 8192
_DTYPES = tuple(np.dtype(name) for name in ("u1", "<u2", "<u4"))
_LEAST = 1 << 20
"""Pixels of frames below which little is gained."""
_SHARE = 1024
"""One of so many pixels may be bright: with more, and peaks around them, it is faster to decode all
and to look at them then."""
_PAUSE = 16
"""Frames that are not tried after one where that was in vain."""
_ONE = np.uint64(1)
_NONE, _ALL = np.uint8(0), np.uint8(255)
_TRANSPOSING = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))
)
_DE_BRUIJN, _TOP = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
_PLACE = np.zeros(64, np.int64)
_PLACE[(_ONE << np.arange(64, dtype=np.uint64)) * _DE_BRUIJN >> _TOP] = np.arange(64)


def _find_lz4() -> bool:
    """Let kernels call LZ4 of the library that decodes whole frames; False where it hides it."""
    if sys.byteorder != "little":
        return False
    try:
        function = ctypes.CDLL(compression.__file__).LZ4_decompress_safe
    except (AttributeError, OSError):
        return False
    binding.add_symbol("LZ4_decompress_safe", ctypes.cast(function, ctypes.c_void_p).value)
    return True


_HAS_LZ4 = _find_lz4()
_decompress: Any = types.ExternalFunction(
    "LZ4_decompress_safe", types.int32(types.intp, types.intp, types.int32, types.int32)
)


@dataclass(frozen=True, slots=True, eq=False)
class Bright:
    """A frame of which some pixels are known, until the next one is read."""

    pixels: NDArray[np.unsignedinteger[Any]]
    """(rows, cols), read-only; what is neither bright nor asked for is anything."""
    count: int
    """How many pixels are bright."""
    index: NDArray[np.uint32]
    """(more than `count`,), where they are in a frame with a margin of 1, rising."""
    level: NDArray[np.uint32]
    """(more than `count`,), their counts."""
    know: Callable[[NDArray[np.int32], NDArray[np.int32], int], None]
    """Asks for what is around pixels, given by rows and columns, so far along each axis."""


class Reader(Protocol):
    """Reads coded frames for who looks at bright pixels and their surroundings alone."""

    def __call__(self, frame: Frame, correction: Correction, lowest: int | None) -> Bright | None:
        """Return a frame in which pixels are bright that reach `lowest` and may be used.

        Returns
        -------
        bright
            None where a frame is better decoded as a whole, or cannot be: who does knows why.
        """
        ...


class BrightReader:
    """A `Reader` on the CPU.

    Its memory stays for the next frame of the same shape.

    Parameters
    ----------
    least
        Pixels of frames that are worth it.
    """

    def __init__(self, least: int = _LEAST) -> None:
        self._least = least
        self._known = np.empty((0, 0), np.uint16)
        self._pause = 0

    def __call__(self, frame: Frame, correction: Correction, lowest: int | None) -> Bright | None:
        """Return a frame, or None; see `Reader`."""
        dtype, bad = dtype_named(frame.dtype), correction.bad
        size = math.prod(frame.shape)
        if (
            not _HAS_LZ4
            or not self._least <= size <= MAX_FRAME_BYTES // 4
            or min(frame.shape) < 3  # finders have other rules for these
            or frame.encoding != "bslz4"
            or dtype not in _DTYPES
            or lowest is None
            or not correction.is_mask
            or (bad is not None and bad.shape != tuple(frame.shape))
            or not 0 < lowest < np.iinfo(dtype).max
        ):
            return None
        if self._pause:
            self._pause -= 1
            return None
        coded = np.frombuffer(frame.data, np.uint8)
        coded.flags.writeable = False
        at = 0
        if int.from_bytes(coded[:8].tobytes(), "big") == size * dtype.itemsize:
            if int.from_bytes(coded[8:12].tobytes(), "big") not in (0, _BLOCK_BYTES):
                return None
            at = _HEADER_BYTES
        if self._known.shape != tuple(frame.shape) or self._known.dtype != dtype:
            self._allocate(frame.shape, dtype)
        hidden = NO_MASK if bad is None else in_one_layout(bad, NO_MASK.dtype)
        count = _list(
            coded, at, hidden, lowest, self._planes, self._known, self._index, self._level
        )
        if count < 0:
            self._pause = _PAUSE
            return None
        pixels = self._known.view()
        pixels.flags.writeable = False
        return Bright(pixels, count, self._index, self._level, self._know)

    def _know(self, rows: NDArray[np.int32], cols: NDArray[np.int32], reach: int) -> None:
        _know(self._planes, rows, cols, reach, self._known)

    def compile(self, dtype: np.dtype[Any]) -> None:
        """Compile what frames of a type need."""
        self._allocate((8, 8), dtype)
        nothing, nowhere = np.zeros(0, np.uint8), np.zeros(0, np.int32)
        nothing.flags.writeable = False
        if _HAS_LZ4:
            _list(nothing, 0, NO_MASK, 1, self._planes, self._known, self._index, self._level)
        _know(self._planes, nowhere, nowhere, 1, self._known)

    def _allocate(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        size = math.prod(shape)
        self._known = np.empty(shape, dtype)
        self._planes = np.empty(size * dtype.itemsize, np.uint8)
        most = size // _SHARE + 2
        self._index, self._level = np.empty(most, np.uint32), np.empty(most, np.uint32)


@njit(cache=True, nogil=True)
def _list(coded, at, bad, lowest, planes, pixels, kept, levels):  # type: ignore[no-untyped-def]
    """List bright pixels and return how many; -1 where they are too many or the data damaged.

    The highest number of the type is never bright: it marks gaps.
    """
    cols = pixels.shape[1]
    flat, hidden = pixels.reshape(-1), bad.reshape(-1)
    size, item = flat.size, flat.itemsize
    in_block, whole = _BLOCK_BYTES // item, flat.size // 8 * 8
    hits = np.zeros(in_block // 8, np.uint8)
    gaps = np.zeros(in_block // 8, np.uint8)
    hit_words, gap_words = hits.view(np.uint64), gaps.view(np.uint64)
    count = 0
    for first in range(0, whole, in_block):
        n = min(in_block, whole - first)
        if at + 4 > coded.size:
            return -1
        n_coded = np.int64(0)
        for _ in range(4):
            n_coded = n_coded << 8 | np.int64(coded[at])
            at += 1
        if n_coded > min(coded.size - at, 2 * _BLOCK_BYTES):
            return -1
        source, target = coded.ctypes.data + at, planes.ctypes.data + first * item
        if _decompress(source, target, n_coded, n * item) != n * item:
            return -1
        at += n_coded
        step = n // 8
        block = planes[first * item : (first + n) * item].reshape((8 * item, step))
        _compare(block, lowest, hits, gaps)
        if step < hits.size:
            hits[step:] = 0
        for k in range(hit_words.size):
            word = hit_words[k] & ~gap_words[k]
            known = -1
            while word:
                lone = word & (~word + _ONE)
                word ^= lone
                place = first + 64 * k + _PLACE[(lone * _DE_BRUIJN) >> _TOP]
                if hidden.size and hidden[place]:
                    continue
                if count == kept.size - 1:
                    return -1
                if place // 8 != known:
                    known = place // 8
                    _unshuffle(planes, first * item + known - first // 8, step, flat, 8 * known)
                kept[count] = place + 2 * (place // cols) + cols + 3
                levels[count] = flat[place]
                count += 1
    rest = flat[whole:].view(np.uint8)
    if coded.size - at != rest.size:
        return -1
    rest[:] = coded[at:]
    for place in range(whole, size):
        if lowest <= flat[place] < ~flat.dtype.type(0) and not (hidden.size and hidden[place]):
            if count == kept.size - 1:
                return -1
            kept[count] = place + 2 * (place // cols) + cols + 3
            levels[count] = flat[place]
            count += 1
    return count


@njit(cache=True, nogil=True)
def _compare(planes, limit, hits, gaps):  # type: ignore[no-untyped-def]
    """Set the bits of pixels that reach a limit, and of those in which all bits are set.

    `planes` holds the lowest bit of all pixels, then the next ones. From one to the next a pixel
    reaches what was reached and is 1 there, or either of that where the limit is 0. Compilers make
    it fast for four at a time.
    """
    depth, n = planes.shape
    for k in range(n):
        hits[k] = gaps[k] = _ALL
    for bit in range(0, depth, 4):
        p = _NONE if limit >> bit & 1 else _ALL
        q = _NONE if limit >> (bit + 1) & 1 else _ALL
        r = _NONE if limit >> (bit + 2) & 1 else _ALL
        s = _NONE if limit >> (bit + 3) & 1 else _ALL
        for k in range(n):
            a, b, c, d = planes[bit, k], planes[bit + 1, k], planes[bit + 2, k], planes[bit + 3, k]
            hit = hits[k]
            hit = hit & (a | p) | a & p
            hit = hit & (b | q) | b & q
            hit = hit & (c | r) | c & r
            hits[k] = hit & (d | s) | d & s
            gaps[k] &= a & b & c & d


@njit(cache=True, nogil=True)
def _unshuffle(planes, at, step, pixels, first):  # type: ignore[no-untyped-def]
    """Write eight pixels from `first` on, the bits of which are in bytes `step` apart."""
    of_type = pixels.dtype.type
    for part in range(pixels.itemsize):
        bits = np.uint64(0)
        for bit in range(8):
            bits |= np.uint64(planes[at + bit * step]) << np.uint64(8 * bit)
        at += 8 * step
        for shift, mask in _TRANSPOSING:
            swapped = (bits ^ (bits >> shift)) & mask
            bits ^= swapped ^ (swapped << shift)
        for k in range(8):
            byte = of_type(bits >> np.uint64(8 * k) & np.uint64(255))
            if part == 0:
                pixels[first + k] = byte
            else:
                pixels[first + k] |= byte << of_type(8 * part)


@njit(cache=True, nogil=True)
def _know(planes, rows, cols, reach, pixels):  # type: ignore[no-untyped-def]
    """Unshuffle what is around pixels."""
    height, width = pixels.shape
    flat = pixels.reshape(-1)
    item = flat.itemsize
    in_block, whole = _BLOCK_BYTES // item, flat.size // 8 * 8
    for peak in range(len(rows)):
        for row in range(max(rows[peak] - reach, 0), min(rows[peak] + reach + 1, height)):
            left = row * width + max(cols[peak] - reach, 0)
            right = row * width + min(cols[peak] + reach, width - 1)
            for group in range(left // 8, right // 8 + 1):
                if 8 * group >= whole:
                    break
                first = 8 * group // in_block * in_block
                step = min(in_block, whole - first) // 8
                at = first * item + group - first // 8
                _unshuffle(planes, at, step, flat, 8 * group)
