"""LZ4 blocks on a CUDA device: a warp decodes a block.

All lanes of a warp read the same tokens and so agree on every step; what a step copies is shared
out among them. Each size and offset is compared with what is left of both buffers before a byte is
read or written by it. Wherever the reference decoder refuses a block, so does this one, but it
refuses more (an offset of 0): who is refused asks the reference decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from torch import Tensor

__all__ = ["Unpack", "block_decoder", "unpack_blocks"]

Unpack = Callable[[Tensor, Tensor, int, Tensor, Tensor], None]
"""Decodes blocks into equal parts of a buffer; takes what `unpack_blocks` does."""

_LANES = 32
_MIN_MATCH = 4
_LAST_LITERALS = 5
"""Bytes at the end of a block that no match may write."""
_MATCH_FREE = 12
"""Bytes at the end of a block, ahead of which its last match begins."""
_MATCH_FREE_CODED = 8
"""Coded bytes at the end that are the last literals, if a sequence ends among them."""


def block_decoder(wait: Callable[[], None]) -> Callable[..., bool]:
    """Return the function that decodes a block, for a compiler.

    Parameters
    ----------
    wait
        Called by each lane before it reads what others have written.
    """

    def decode_block(  # type: ignore[no-untyped-def]
        coded, begin, end, plain, start, stop, lane, lanes
    ):
        """Decode ``coded[begin:end]`` to ``plain[start:stop]``; tell whether they fit exactly."""
        source, target = begin, start
        while source < end:
            token = np.int64(coded[source])
            source += 1
            length, more = token >> 4, np.int64(255)
            if length == 15:
                while more == 255:
                    if source >= end:
                        return False
                    more = np.int64(coded[source])
                    source += 1
                    length += more
            if length > end - source or length > stop - target:
                return False
            for i in range(lane, length, lanes):
                plain[target + i] = coded[source + i]
            source += length
            target += length
            if target > stop - _MATCH_FREE or source > end - _MATCH_FREE_CODED:
                return source == end and target == stop

            offset = np.int64(coded[source]) | np.int64(coded[source + 1]) << 8
            source += 2
            length, more = (token & 15) + _MIN_MATCH, np.int64(255)
            if length == 15 + _MIN_MATCH:
                while more == 255:
                    if source >= end:
                        return False
                    more = np.int64(coded[source])
                    source += 1
                    length += more
            if offset == 0 or offset > target - start or length > stop - _LAST_LITERALS - target:
                return False
            wait()
            # A match that overlaps itself repeats the bytes before it: all of them are there.
            step, k = lanes % offset, lane % offset
            for i in range(lane, length, lanes):
                plain[target + i] = plain[target - offset + k]
                k += step
                if k >= offset:
                    k -= offset
            target += length
        return False

    return decode_block


@cuda.jit(device=True)
def _wait():  # type: ignore[no-untyped-def]
    cuda.syncthreads()  # a block of threads is one warp


_decode_block = cuda.jit(device=True)(block_decoder(_wait))


@cuda.jit
def _unpack(coded, bounds, size, plain, damaged):  # type: ignore[no-untyped-def]
    block = np.int64(cuda.blockIdx.x)
    start = block * size
    stop = start + size
    if stop > plain.size:
        stop = np.int64(plain.size)
    begin, end = bounds[block, 0], bounds[block, 1]
    lane = np.int64(cuda.threadIdx.x)
    if not _decode_block(coded, begin, end, plain, start, stop, lane, np.int64(_LANES)):
        damaged[0] = 1


def unpack_blocks(coded: Tensor, bounds: Tensor, size: int, plain: Tensor, damaged: Tensor) -> None:
    """Decode LZ4 blocks, in the order of what else the device was told to do.

    Parameters
    ----------
    coded
        Bytes.
    bounds
        (blocks, 2) int64, where in `coded` each block begins and ends.
    size
        Bytes of a decoded block; the last may be smaller.
    plain
        Bytes to write; as many blocks fill it.
    damaged
        (1,), set to 1 where a block is not LZ4 of its size.
    """
    # Both torch and numba take the device's default stream. Numba's simulator wants arrays.
    given: list[Any] = [
        tensor if tensor.is_cuda else tensor.numpy() for tensor in (coded, bounds, plain, damaged)
    ]
    _unpack[len(bounds), _LANES](given[0], given[1], size, given[2], given[3])
