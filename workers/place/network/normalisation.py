"""Patches as a network wants them: between 0 and 1, with every pixel filled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.border import border_level

__all__ = ["FLIP_COLS", "FLIP_ROWS", "N_SCALES", "SWAP", "Inputs", "normalise", "prepare"]

N_SCALES = 3
"""Numbers that `prepare` gives about the scale of a patch."""
FLIP_ROWS, FLIP_COLS, SWAP = 1, 2, 4
"""Bits of `Inputs.turns`."""


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


class Inputs(NamedTuple):
    """What a network of ours sees of n patches."""

    images: NDArray[np.float32]
    """(n, 2, size, size): as `normalise` scales them, and 1 where a pixel is invalid; turned
    so that the counts lean towards high rows, and less towards high columns. So the
    network has an eighth to learn, and treats all directions alike."""
    scales: NDArray[np.float32]
    """(n, 3): what the scaling takes away, of order 1. Logarithms of the span of the counts, of
    their minimum, and of `guess`."""
    guess: NDArray[np.float32]
    """(n,) pixels: roughly the smallest possible error of a position, from span and border."""
    turns: NDArray[np.uint8]
    """(n,), how images were turned: `FLIP_ROWS` and `FLIP_COLS`, then `SWAP`."""
    blank: NDArray[np.bool_]
    """(n,), where a patch is flat or has no valid pixel."""


def prepare(patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Inputs:
    """Make the inputs of networks of ours; see `normalise` for what is expected of patches."""
    n, size = len(patches), patches.shape[-1]
    inputs = Inputs(
        np.empty((n, 2, size, size), np.float32),
        np.empty((n, N_SCALES), np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.uint8),
        np.empty(n, np.bool_),
    )
    _prepare(
        np.ascontiguousarray(patches, np.float32), np.ascontiguousarray(valid, np.bool_), *inputs
    )
    return inputs


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


@njit(cache=True, nogil=True)
def _prepare(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    images: NDArray[np.float32],
    scales: NDArray[np.float32],
    guess: NDArray[np.float32],
    turns: NDArray[np.uint8],
    blank: NDArray[np.bool_],
) -> None:
    n, size, _ = patches.shape
    middle = size // 2
    for i in range(n):
        patch, image, missing = patches[i], images[i, 0], images[i, 1]
        low, high = np.float32(math.inf), np.float32(-math.inf)
        n_missing, rows, cols = 0, 0, 0
        along_rows, along_cols = np.float32(0.0), np.float32(0.0)
        for row in range(size):
            for col in range(size):
                value = patch[row, col]
                if valid[i, row, col] and math.isfinite(value):
                    low, high = min(low, value), max(high, value)
                    along_rows += value * np.float32(row - middle)
                    along_cols += value * np.float32(col - middle)
                else:
                    n_missing += 1
                    rows -= row - middle
                    cols -= col - middle
        blank[i] = not high > low
        turns[i] = 0
        if blank[i]:
            images[i] = 0.0
            scales[i] = 0.0
            guess[i] = 1.0
            continue
        # Pixels that are missing count as the lowest: so the missing side is always the same.
        along_rows -= low * np.float32(rows)
        along_cols -= low * np.float32(cols)
        flip_rows, flip_cols = along_rows < 0.0, along_cols < 0.0
        swap = abs(along_cols) > abs(along_rows)
        turns[i] = FLIP_ROWS * flip_rows + FLIP_COLS * flip_cols + SWAP * swap
        span = high - low
        scale = np.float32(1.0) / span
        for row in range(size):
            r = size - 1 - row if flip_rows else row
            for col in range(size):
                c = size - 1 - col if flip_cols else col
                usable = valid[i, row, col] and math.isfinite(patch[row, col])
                value = (patch[row, col] - low) * scale if usable else np.float32(0.0)
                absent = np.float32(0.0) if usable else np.float32(1.0)
                if swap:
                    image[c, r], missing[c, r] = value, absent
                else:
                    image[r, c], missing[r, c] = value, absent
        if n_missing:
            for row in range(size):
                for col in range(size):
                    if missing[row, col] != 0.0:
                        image[row, col] = _mean_of_near(image, missing, row, col)
        # Counts may be negative after a dark was subtracted.
        floor = max(low, np.float32(0.0))
        border = floor + span * _mean_of_border(image, missing)
        variance = (0.159 + 0.637 * border / span) / span
        guess[i] = math.sqrt(variance)
        scales[i, 0] = 0.4 * math.log(span) - 2.0
        scales[i, 1] = 0.4 * math.log(floor + 1.0) - 1.0
        scales[i, 2] = 0.5 * math.log(variance) + 3.0


@njit(cache=True, nogil=True)
def _mean_of_border(image: NDArray[np.float32], missing: NDArray[np.float32]) -> float:
    size = image.shape[0]
    total, count = 0.0, 0
    for k in range(size - 1):
        for row, col in ((0, k), (k + 1, 0), (size - 1, k + 1), (k, size - 1)):
            if missing[row, col] == 0.0:
                total += image[row, col]
                count += 1
    return total / count if count else 0.0


@njit(cache=True, nogil=True)
def _mean_of_near(
    image: NDArray[np.float32], missing: NDArray[np.float32], row: int, col: int
) -> float:
    """Mean of the valid neighbours of a lone invalid pixel; 0 for others."""
    size = image.shape[0]
    total, count = 0.0, 0
    for r in range(max(row - 1, 0), min(row + 2, size)):
        for c in range(max(col - 1, 0), min(col + 2, size)):
            if missing[r, c] == 0.0:
                total += image[r, c]
                count += 1
    return total / count if count >= 5 else 0.0
