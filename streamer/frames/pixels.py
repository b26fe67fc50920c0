"""Arrays of pixels and their bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.frames.events import Pixels

__all__ = ["as_bytes", "is_pixels", "uncoded"]


def is_pixels(dtype: np.dtype[Any]) -> bool:
    """Tell whether numbers of this type can be pixels: integers and floats of up to 8 bytes."""
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def uncoded(data: bytes | zmq.Frame, dtype: np.dtype[Any], shape: tuple[int, int]) -> Pixels | str:
    """Return pixels that a message has without any coding, or what is wrong with their number."""
    n_bytes = math.prod(shape) * dtype.itemsize
    if len(data) != n_bytes:
        return f"{len(data)} bytes of pixels instead of {n_bytes}"
    return Pixels(data, "raw", dtype.str, shape)


def as_bytes(frame: NDArray[Any]) -> memoryview:
    """Return the memory of a frame, copied only if its pixels are not in C order."""
    return np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data
