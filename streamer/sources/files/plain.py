"""Frames that lie in a file one after another, without any coding."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import UserError, as_line
from streamer.frames.events import Pixels
from streamer.frames.pixels import MAX_FRAME_BYTES, is_pixels

__all__ = ["MOST_LOST", "check_frames", "one_line", "plain_frames"]

MOST_LOST = 1 << 24
"""Frames that may be declared and not be there."""


def plain_frames(
    path: Path, offset: int, n_frames: int, shape: tuple[int, int], dtype: np.dtype[Any]
) -> Callable[[int], Pixels | str]:
    """Return what reads the frames of a file, mapped into memory and not copied.

    Parameters
    ----------
    offset
        Where the first frame begins, in bytes.
    n_frames
        Frames that should be there; of a truncated file those are read that are.

    Raises
    ------
    UserError
        Not even the first is there, or too few of those that the header declares.
    """
    size = math.prod(shape) * dtype.itemsize
    n_there = min(n_frames, (path.stat().st_size - offset) // size)
    if n_there < 1:
        raise UserError(f"{path} is truncated: it has not one whole frame; copy it again")
    if n_frames - n_there > MOST_LOST:
        raise UserError(
            f"{path} has a damaged header: it declares {n_frames} frames, {n_there} are there;"
            " copy it again"
        )
    view = np.memmap(path, np.uint8, "r").data
    cut_off = f"{path.name} is truncated: it has {n_there} of {n_frames} frames"

    def coded(frame: int) -> Pixels | str:
        if frame >= n_there:
            return cut_off
        start = offset + frame * size
        return Pixels(view[start : start + size], "raw", dtype.str, shape)

    return coded


def check_frames(
    where: str, shape: tuple[int, ...], dtype: np.dtype[Any] | None, axes: tuple[int, ...] = (2, 3)
) -> None:
    """Check that an array can be frames.

    Raises
    ------
    UserError
        It cannot.
    """
    if dtype is None or not is_pixels(np.dtype(dtype)):
        raise UserError(f"{where} holds {dtype}: frames are integers or floats")
    if len(shape) not in axes:
        raise UserError(f"{where} has shape {shape}: a stack of frames is (frames, rows, cols)")
    if min(shape) < 1:
        raise UserError(f"{where} has no frames (shape {shape})")
    if math.prod(shape[-2:]) * np.dtype(dtype).itemsize > MAX_FRAME_BYTES:
        raise UserError(
            f"{where} declares frames of {shape[-2]} x {shape[-1]} {dtype}, more than the limit of"
            f" {MAX_FRAME_BYTES} bytes: is its header damaged?"
        )


def one_line(error: BaseException) -> str:
    """Return what an error says in one line."""
    return as_line((str(error).strip() or type(error).__name__).splitlines()[0])
