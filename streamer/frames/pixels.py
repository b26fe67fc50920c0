"""Arrays of pixels and their bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.frames.events import Pixels

__all__ = ["as_bytes", "dtype_in_words", "dtype_named", "is_pixels", "uncoded", "unfit"]

_LONGEST_NAME = 16
MAX_FRAME_BYTES = 1 << 30
"""Largest frame; a larger one is taken for a damaged header."""


def is_pixels(dtype: np.dtype[Any]) -> bool:
    """Tell whether numbers of this type can be pixels: integers and floats of up to 8 bytes."""
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def dtype_named(name: object) -> np.dtype[Any] | None:
    """Return the type of numbers that numpy calls so; None when there is none."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return None
    try:
        return np.dtype(name)
    except Exception:  # of any type: numpy parses what it does not know as if it were Python
        return None


def dtype_in_words(name: str) -> str:
    """Return a numpy dtype string in words, such as ``uint16, little-endian`` for ``<u2``."""
    dtype = dtype_named(name)
    if dtype is None:
        return name
    order = {"<": ", little-endian", ">": ", big-endian"}.get(name[:1], "")
    return dtype.name + (order if dtype.itemsize > 1 else "")


def unfit(pixels: Pixels) -> str | None:
    """Tell from the size that is declared why pixels cannot be a frame; None when they can."""
    rows, cols = pixels.shape
    if min(rows, cols) < 1:
        return "its shape is no pair of sizes"
    if rows * cols > MAX_FRAME_BYTES:
        return f"more pixels are declared than the {MAX_FRAME_BYTES} bytes that a frame may have"
    return None


def uncoded(data: bytes | zmq.Frame, dtype: np.dtype[Any], shape: tuple[int, int]) -> Pixels | str:
    """Return pixels that a message has without any coding, or what is wrong with their number."""
    n_bytes = math.prod(shape) * dtype.itemsize
    if len(data) != n_bytes:
        return f"{len(data)} bytes of pixels instead of {n_bytes}"
    return Pixels(data, "raw", dtype.str, shape)


def as_bytes(frame: NDArray[Any]) -> memoryview:
    """Return the memory of a frame, copied only if its pixels are not in C order."""
    return np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data
