"""The border of a patch, where there is little but background."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.detect.sorting import sort_few

__all__ = ["border_level"]


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
    sort_few(values, count)
    return 0.5 * (float(values[(count - 1) // 2]) + float(values[count // 2]))
