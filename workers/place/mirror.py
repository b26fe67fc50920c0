"""What pixels that are not seen would show, told by those opposite."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["mirror"]


@njit(cache=True, nogil=True)
def mirror(
    counts: NDArray[np.float64],
    variance: NDArray[np.float64],
    usable: NDArray[np.bool_],
    twice_row: int,
    twice_col: int,
    error: NDArray[np.float64],
) -> None:
    """Fill pixels that are not usable with the counts and variances of those opposite.

    Parameters
    ----------
    counts
        (size, size), above the background.
    twice_row, twice_col
        Twice the offset of the spot's centre from the middle pixel.
    error
        (size, size), becomes by how much a filled pixel may be wrong, in counts: the share of
        those around it by which the spot differs from itself turned by half a turn; infinite where
        the one opposite is not usable either.
    """
    size = counts.shape[0]
    unlike = alike = 0.0
    for i in range(size):
        for j in range(size):
            r, c = size - 1 + twice_row - i, size - 1 + twice_col - j
            if 0 <= r < size and 0 <= c < size and usable[i, j] and usable[r, c]:
                noise = variance[i, j] + variance[r, c]
                unlike += (counts[i, j] - counts[r, c]) ** 2 - noise
                alike += (counts[i, j] + counts[r, c]) ** 2 - noise
    share = min(1.0, math.sqrt(max(0.0, unlike) / alike)) if alike > 0.0 else 1.0
    for i in range(size):
        for j in range(size):
            error[i, j] = 0.0
            if not usable[i, j]:
                r, c = size - 1 + twice_row - i, size - 1 + twice_col - j
                if 0 <= r < size and 0 <= c < size and usable[r, c]:
                    counts[i, j], variance[i, j] = counts[r, c], variance[r, c]
                    error[i, j] = 2.0 * share * _highest(counts, usable, r, c)
                else:
                    counts[i, j] = variance[i, j] = 0.0
                    error[i, j] = math.inf


@njit(cache=True, nogil=True)
def _highest(counts: NDArray[np.float64], usable: NDArray[np.bool_], row: int, col: int) -> float:
    """Return the most counts, above or below the background, of a pixel and those around it."""
    size = counts.shape[0]
    highest = 0.0
    for i in range(max(row - 1, 0), min(row + 2, size)):
        for j in range(max(col - 1, 0), min(col + 2, size)):
            if usable[i, j]:
                highest = max(highest, abs(counts[i, j]))
    return highest
