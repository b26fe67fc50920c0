"""Frames that lie in a file one after another, without any coding."""

from __future__ import annotations

import math
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import UserError, as_line
from streamer.frames.events import Pixels
from streamer.frames.memory import read_part
from streamer.frames.pixels import MAX_FRAME_BYTES, is_pixels

__all__ = [
    "AXES",
    "MOST_LOST",
    "FileBytes",
    "PlainFrames",
    "check_frames",
    "in_words",
    "one_line",
    "unlike_frames",
]

AXES = (2, 3, 4, 5)
"""Of an array whose last two are those of a frame, and the others count frames."""
MOST_LOST = 1 << 24
"""Frames that may be declared and not be there."""

_FEWEST_COLS, _TIMES_AS_MANY = 16, 4


class FileBytes:
    """The bytes of a file, as long as somebody wants any.

    They are read and not mapped into memory: a file that is cut short while it is read ends a
    process that looks at what was mapped.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return os.fstat(self._file).st_size

    def read(self, offset: int, size: int) -> memoryview:
        """Return bytes of the file, fewer at its end.

        Raises
        ------
        OSError
            They cannot be read.
        """
        return read_part(self._file, offset, size)


class PlainFrames:
    """Reads the frames of a file that lie one after another; called with the number of one.

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

    def __init__(
        self, path: Path, offset: int, n_frames: int, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None:
        self._name = path.name
        self._offset, self._n_frames = offset, n_frames
        self._shape, self._dtype = shape, dtype
        self._size = math.prod(shape) * dtype.itemsize
        self._file = FileBytes(path)
        if self._n_there < 1:
            raise UserError(f"{path} is truncated: it has not one whole frame; copy it again")
        if n_frames - self._n_there > MOST_LOST:
            raise UserError(
                f"{path} has a damaged header: it declares {n_frames} frames, {self._n_there} are"
                " there; copy it again"
            )

    def __call__(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        try:
            data = self._file.read(self._offset + frame * self._size, self._size)
        except OSError as error:
            return f"{self._name} cannot be read: {error.strerror}"
        if len(data) == self._size:
            return Pixels(data, "raw", self._dtype.str, self._shape)
        return f"{self._name} is truncated: it has {self._n_there} of {self._n_frames} frames"

    @property
    def _n_there(self) -> int:
        return min(self._n_frames, max(0, len(self._file) - self._offset) // self._size)


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


def unlike_frames(shape: tuple[int, ...]) -> str:
    """Say why the axes of an array are not those of (frames, rows, cols); empty where they can be.

    Colours, or frames along the last axis, make images of a few columns.
    """
    *lead, rows, cols = shape
    if not lead or cols >= _FEWEST_COLS or rows < _TIMES_AS_MANY * cols:
        return ""
    words = " x ".join(map(str, shape))
    if cols in (3, 4) and lead[-1] >= _TIMES_AS_MANY * cols:
        return f"({words}) looks like a colour image: give one of its channels"
    if lead[-1] >= _TIMES_AS_MANY * cols:
        return f"({words}) has its frames on the last axis: save them as (frames, rows, cols)"
    return ""


def in_words(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Return what an array is, such as ``20 x 512 x 512 uint16``."""
    return f"{' x '.join(map(str, shape)) or 'one'} {dtype}"


def one_line(error: BaseException) -> str:
    """Return what an error says in one line."""
    return as_line((str(error).strip() or type(error).__name__).splitlines()[0])
