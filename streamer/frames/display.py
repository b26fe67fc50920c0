"""What is shown of a frame: fewer pixels, and 8 bits of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PATCH_SIZE", "Display", "Patch", "coarser", "cut_patch", "display", "highest"]

PATCH_SIZE = 11
_MOST_PIXELS = 512
_LOW_SHARE, _HIGH_SHARE = 0.01, 0.9999
"""Shares of the pixels below the lowest and the highest level; a few peaks are the rest."""
_KNEE_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class Display:
    """A frame as it is shown.

    The counts of a level are ``low + knee*((1 + (high - low)/knee)**((level - 1)/254) - 1)``.
    """

    pixels: NDArray[np.uint8]
    """(h, w), 0 masked, else 1 to 255."""
    binning: int
    """Pixels of the detector along each axis of one of these, which shows the highest of them."""
    low: float
    """Counts at level 1."""
    high: float
    """Counts at level 255."""
    knee: float
    """Counts above `low` up to which levels are about linear."""


@dataclass(frozen=True, slots=True)
class Patch:
    """The surroundings of a peak."""

    counts: NDArray[np.float32]
    """(size, size), as the detector sent them; NaN where not valid."""
    row: int
    """Of the first pixel."""
    col: int


def display(frame: NDArray[Any], mask: NDArray[np.bool_] | None) -> Display:
    """Return what is shown of a frame.

    Parameters
    ----------
    frame
        (rows, cols), counts. The largest value of an unsigned type, negative integers and what is
        not finite are masked pixels.
    mask
        (rows, cols), True where a pixel is masked too; one of another shape is left out.
    """
    lifted, nothing = _lifted(frame, mask)
    binning = max(1, -(-max(frame.shape) // _MOST_PIXELS))
    lifted = _highest(lifted, binning, nothing)
    valid = lifted != nothing
    counts = lifted.astype(np.float32) - (0 if lifted.dtype.kind == "f" else 1)
    values = counts[valid]
    if not len(values):
        return Display(np.zeros(lifted.shape, np.uint8), binning, 0.0, 1.0, 1.0)
    places = [int(share * (len(values) - 1)) for share in (_LOW_SHARE, _HIGH_SHARE)]
    low, high = (float(one) for one in np.partition(values, places)[places])
    if not high > low:
        high = max(float(values.max()), low + 1.0)
    knee = min(1.0, _KNEE_SHARE * (high - low))
    scale = np.float32(254.0 / np.log1p((high - low) / knee))
    above = np.clip(counts, low, high, out=counts)
    above -= np.float32(low)
    above /= np.float32(knee)
    np.log1p(above, out=above)
    above *= scale
    above += np.float32(1.5)
    above[~valid] = 0.0
    return Display(above.astype(np.uint8), binning, low, high, knee)


def coarser(shown: Display, most: int) -> Display:
    """Return the same with at most so many pixels along each side."""
    n = -(-max(shown.pixels.shape) // most)
    # The level of the highest counts is the highest level; masked pixels have the lowest.
    return replace(shown, pixels=_highest(shown.pixels, n, 0), binning=shown.binning * n)


def cut_patch(frame: NDArray[Any], mask: NDArray[np.bool_] | None, row: float, col: float) -> Patch:
    """Cut the pixels around a place; what is outside the frame is not valid."""
    half = PATCH_SIZE // 2
    top, left = round(row) - half, round(col) - half
    counts = np.full((PATCH_SIZE, PATCH_SIZE), np.nan, np.float32)
    rows, cols = (
        slice(max(0, start), max(0, min(length, start + PATCH_SIZE)))
        for start, length in zip((top, left), frame.shape, strict=True)
    )
    part = frame[rows, cols]
    if part.size:
        lifted, nothing = _lifted(part, None if mask is None else mask[rows, cols])
        inside = np.where(lifted == nothing, np.float32(np.nan), part.astype(np.float32))
        counts[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = inside
    return Patch(counts, top, left)


def highest(
    frame: NDArray[Any], mask: NDArray[np.bool_] | None, n: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the highest counts of each n x n pixels and where there are any.

    Parameters
    ----------
    frame, mask
        As in `display`.

    Returns
    -------
    counts, valid
        (h, w), at the last edges of as many pixels as there are; counts as they were where all
        pixels are masked and n is 1.
    """
    lifted, nothing = _lifted(frame, mask)
    lifted = _highest(lifted, n, nothing)
    valid = lifted != nothing
    if n == 1:
        return frame, valid
    return (lifted if lifted.dtype.kind == "f" else lifted - lifted.dtype.type(1)), valid


def _lifted(
    frame: NDArray[Any], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], int | float]:
    """Return pixels of which those that are masked have the lowest value there is.

    Integers are raised by one, which turns the largest of an unsigned type to 0.
    """
    nothing: int | float = 0
    if frame.dtype.kind == "u":
        lifted = frame + frame.dtype.type(1)
    elif frame.dtype.kind == "i":
        lifted = np.clip(frame, -1, np.iinfo(frame.dtype).max - 1) + frame.dtype.type(1)
    else:
        nothing = -np.inf
        lifted = np.where(np.isfinite(frame), frame, frame.dtype.type(nothing))
    if mask is not None and mask.shape == frame.shape:
        lifted[mask] = nothing
    return lifted, nothing


def _highest(lifted: NDArray[Any], n: int, nothing: int | float) -> NDArray[Any]:
    """Return the highest of each n x n pixels, at the last edges of as many as there are."""
    if n == 1:
        return lifted
    rows, cols = lifted.shape
    if rows % n or cols % n:
        filled = np.full((rows + -rows % n, cols + -cols % n), nothing, lifted.dtype)
        filled[:rows, :cols] = lifted
        lifted = filled
    narrow = lifted.reshape(-1, n, lifted.shape[1]).max(axis=1)
    highest: NDArray[Any] = narrow[:, ::n].copy()
    for offset in range(1, n):
        np.maximum(highest, narrow[:, offset::n], out=highest)
    return highest
