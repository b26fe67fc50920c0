"""A frame that peaks can be looked for in, and which of its pixels are no counts."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_MASK", "Image", "Saturation", "image_of", "in_one_layout"]


class Image(NamedTuple):
    """Counts, and how to tell pixels that must not be used.

    Detectors mark these by values, which are told where a pixel is looked at: an image of flags for
    each frame would take longer than all that is done with it.
    """

    pixels: NDArray[Any]
    """(rows, cols), counts."""
    bad: NDArray[np.bool_]
    """(rows, cols), True where a pixel must not be used; of size 0 where only values tell."""
    lowest: np.generic
    """Of the type of counts; smaller ones mark pixels that must not be used."""
    highest: np.generic
    """Larger ones do."""

    @property
    def masked(self) -> NDArray[np.bool_]:
        """(rows, cols), True where a pixel must not be used; made anew at each call."""
        masked = self.bad.copy() if self.bad.size else np.zeros(self.pixels.shape, np.bool_)
        lowest, highest = _range(self.pixels.dtype)
        if self.lowest != lowest:
            masked |= self.pixels < self.lowest
        if self.highest != highest:
            masked |= self.pixels > self.highest
        return masked

    def astype(self, dtype: np.dtype[Any]) -> Image:
        """Return it with counts of another type that holds them, in the layout of kernels."""
        pixels = in_one_layout(self.pixels, dtype)
        if dtype == self.pixels.dtype:
            return self._replace(pixels=pixels)
        lowest, highest = _range(dtype)
        if dtype.kind in "iu" and self.pixels.dtype.kind in "iu":
            lowest = dtype.type(max(int(self.lowest), int(lowest)))
            highest = dtype.type(min(int(self.highest), int(highest)))
            return Image(pixels, self.bad, lowest, highest)
        # Neighbouring integers may be the same float.
        return Image(pixels, in_one_layout(self.masked, NO_MASK.dtype), lowest, highest)


class Saturation(NamedTuple):
    """How to tell pixels that hold all they can, also where counts were corrected or summed."""

    counts: NDArray[Any]
    """(rows, cols), as the detector sent them."""
    least: float
    """Counts from which a pixel is saturated."""
    binning: int = 1
    """Pixels of `counts` along each axis of a pixel that is asked for."""


def in_one_layout(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `array` in the one memory layout that kernels are compiled for."""
    array = np.ascontiguousarray(array, dtype)
    array = array.view() if array.flags.aligned else array.copy()
    array.setflags(write=False)
    return array


NO_MASK: NDArray[np.bool_] = in_one_layout(np.zeros((0, 0)), np.dtype(np.bool_))
"""What `Image.bad` is where only values tell."""


def image_of(frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Image:
    """Return an image of which `masked` alone tells what must not be used.

    Raises
    ------
    ValueError
        `frame` is not two-dimensional, or the shapes differ.
    """
    if frame.ndim != 2:
        raise ValueError(f"a frame has rows and columns, this one has shape {frame.shape}")
    if masked is None:
        return Image(frame, NO_MASK, *_range(frame.dtype))
    if masked.shape != frame.shape:
        raise ValueError(f"the mask has shape {masked.shape}, the frame {frame.shape}")
    return Image(frame, in_one_layout(masked, NO_MASK.dtype), *_range(frame.dtype))


@cache
def _range(dtype: np.dtype[Any]) -> tuple[np.generic, np.generic]:
    """Return the lowest and the highest number of a type."""
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    info = np.iinfo(dtype.name if dtype.kind != "b" else "u1")
    return dtype.type(info.min), dtype.type(info.max)
