"""The images that the pulses of an X-ray train made, in one array."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamer.frames.events import Pixels
from streamer.frames.pixels import as_bytes, is_pixels
from streamer.sources.live.karabo.trains import TrainArray

__all__ = ["PulseAxis", "can_be_images", "image_shape", "images", "n_images", "pulse_axis"]

PulseAxis = Literal["none", "first", "last"]
"""Which axis counts the pulses.

``none``: the array is one image, (slow, fast). ``first``: it is (pulse, slow, fast), as in files.
``last``: it is (fast, slow, pulse), as the calibration sends it online. Rows of an image are always
the slow axis.
"""

_BLOCK_ROWS = 16


def can_be_images(array: TrainArray, least_side: int = 1, n_more: int = 0) -> bool:
    """Tell whether an array has the axes and the type of images, the sides not being too short.

    Parameters
    ----------
    n_more
        Axes before those of the images, such as one of modules.
    """
    if len(array.shape) - n_more not in (2, 3) or not is_pixels(array.dtype):
        return False
    return sorted(array.shape)[-2] >= least_side


def pulse_axis(array: TrainArray, lengths: Collection[int] = ()) -> PulseAxis | None:
    """Tell which axis counts the pulses; None when there is no telling.

    Parameters
    ----------
    lengths
        Of the lists of pulses that came with the array; an axis as long as none of them may as well
        be that of modules. Without lists the shorter one of the two axes is taken, as detectors
        have more pixels along a side than pulses in a train.
    """
    if len(array.shape) == 2:
        return "none"
    first, _, last = array.shape
    if (first in lengths) != (last in lengths):
        return "first" if first in lengths else "last"
    if first == last or (lengths and 1 not in (first, last)):
        return None
    return "first" if first < last else "last"


def n_images(array: TrainArray, axis: PulseAxis) -> int:
    """Return the number of images in an array."""
    return 1 if axis == "none" else array.shape[0 if axis == "first" else -1]


def image_shape(array: TrainArray, axis: PulseAxis) -> tuple[int, int]:
    """Return (rows, cols) of its images."""
    if axis == "last":
        return array.shape[1], array.shape[0]
    return array.shape[-2], array.shape[-1]


def images(array: TrainArray, axis: PulseAxis) -> list[Pixels]:
    """Return the images of an array, not copied where each lies in one piece."""
    shape, dtype = image_shape(array, axis), array.dtype.str
    if axis == "none":
        return [Pixels(array.data, "raw", dtype, shape)]
    if axis == "last":
        return [Pixels(as_bytes(image), "raw", dtype, shape) for image in _pulses_first(array)]
    size = shape[0] * shape[1] * array.dtype.itemsize
    data = array.buffer
    return [Pixels(data[i : i + size], "raw", dtype, shape) for i in range(0, len(data), size)]


def _pulses_first(array: TrainArray) -> NDArray[Any]:
    """Reorder (fast, slow, pulse) to (pulse, slow, fast).

    In blocks, so that what is read across the grain is read from the cache.
    """
    n_fast, n_slow, n_pulses = array.shape
    given = np.frombuffer(array.buffer, array.dtype).reshape(array.shape)
    reordered = np.empty((n_pulses, n_slow, n_fast), array.dtype)
    for row in range(0, n_slow, _BLOCK_ROWS):
        reordered[:, row : row + _BLOCK_ROWS] = given[:, row : row + _BLOCK_ROWS].T
    return reordered
