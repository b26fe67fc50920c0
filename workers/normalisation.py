"""Patches as a network wants them: between 0 and 1, with every pixel filled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["border_level", "normalise"]


def normalise(
    patches: NDArray[np.float32], valid: NDArray[np.bool_], keep_background: bool = True
) -> NDArray[np.float32]:
    """Scale each patch so that its valid pixels span 0 to 1.

    Parameters
    ----------
    patches
        (n, size, size) raw counts; what invalid pixels hold does not matter.
    valid
        (n, size, size), False where a pixel must not be used. Pixels that are not finite count as
        invalid too.
    keep_background
        False takes the background off first, for networks that never saw one: the median of the
        border is subtracted, and what is then less than three standard deviations of the
        background's counts is set to 0.

    Returns
    -------
    NDArray
        (n, size, size) float32 from 0 to 1. A lone invalid pixel (five of its eight neighbours
        valid, such as a hot one) is the mean of those neighbours; others (edges, gaps) are 0, a
        value that whole areas never have otherwise. A patch that is flat, or has no valid pixel,
        is all 0.
    """
    images = np.empty(patches.shape, np.float32)
    _normalise(
        np.ascontiguousarray(patches, np.float32),
        np.ascontiguousarray(valid, np.bool_),
        keep_background,
        images,
    )
    return images


@njit(cache=True, nogil=True)
def border_level(patch: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Median of the valid pixels on the border of a (size, size) patch; NaN without any."""
    size = patch.shape[0]
    values = np.empty(4 * size, np.float32)
    count = 0
    for row in range(size):
        step = 1 if row in (0, size - 1) else size - 1
        for col in range(0, size, step):
            if valid[row, col] and math.isfinite(patch[row, col]):
                values[count] = patch[row, col]
                count += 1
    if count == 0:
        return math.nan
    # Forty numbers: insertion sort beats the general median by far.
    for i in range(1, count):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return 0.5 * (float(values[(count - 1) // 2]) + float(values[count // 2]))


@njit(cache=True, nogil=True)
def _normalise(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    keep_background: bool,
    images: NDArray[np.float32],
) -> None:
    n, size, _ = patches.shape
    usable = np.empty((size, size), np.bool_)
    for i in range(n):
        patch, image = patches[i], images[i]
        level, threshold = 0.0, -math.inf
        if not keep_background:
            level = border_level(patch, valid[i])
            if math.isnan(level):
                level = 0.0
            threshold = 3.0 * math.sqrt(max(level, 0.0))
        low, high = math.inf, -math.inf
        for row in range(size):
            for col in range(size):
                usable[row, col] = valid[i, row, col] and math.isfinite(patch[row, col])
                if usable[row, col]:
                    value = patch[row, col] - level
                    if value < threshold:
                        value = 0.0
                    image[row, col] = value
                    low, high = min(low, value), max(high, value)
        if not high > low:
            image[:] = 0.0
            continue
        scale = 1.0 / (high - low)
        for row in range(size):
            for col in range(size):
                if usable[row, col]:
                    image[row, col] = (image[row, col] - low) * scale
        for row in range(size):
            for col in range(size):
                if not usable[row, col]:
                    image[row, col] = _fill(image, usable, row, col)


@njit(cache=True, nogil=True)
def _fill(image: NDArray[np.float32], usable: NDArray[np.bool_], row: int, col: int) -> float:
    size = image.shape[0]
    total, count = 0.0, 0
    for r in range(max(row - 1, 0), min(row + 2, size)):
        for c in range(max(col - 1, 0), min(col + 2, size)):
            if usable[r, c]:
                total += image[r, c]
                count += 1
    return total / count if count >= 5 else 0.0
