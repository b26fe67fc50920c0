"""The flags of positions of which nothing else is known."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, UNTRUSTED
from workers.place.base import TRAINED_PX, Positions

__all__ = ["flagged"]


def flagged(
    offsets: NDArray[np.float64], patches: NDArray[np.float32], valid: NDArray[np.bool_]
) -> Positions:
    """Return positions of unknown sigma at `offsets`, (n, 2) pixels, with their flags."""
    flags = np.empty(len(offsets), np.int32)
    _flag(
        np.ascontiguousarray(patches, np.float32),
        np.ascontiguousarray(valid, np.bool_),
        offsets,
        flags,
    )
    unknown = np.full(len(offsets), np.nan)
    row, col = offsets.T.copy()
    return Positions(row, col, unknown, unknown.copy(), flags, (flags & POOR_FIT) != 0)


@njit(cache=True, nogil=True)
def _flag(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    offsets: NDArray[np.float64],
    flags: NDArray[np.int32],
) -> None:
    """Set `UNTRUSTED` by distance, `POOR_FIT` where the brightest 3 x 3 pixels are elsewhere."""
    n, size, _ = patches.shape
    middle = size // 2
    for i in range(n):
        flags[i] = 0
        if not (abs(offsets[i, 0]) <= TRAINED_PX and abs(offsets[i, 1]) <= TRAINED_PX):
            flags[i] |= UNTRUSTED
        best, dimmest = -math.inf, math.inf
        best_row, best_col = 0, 0
        for row in range(1, size - 1):
            for col in range(1, size - 1):
                total, count = 0.0, 0
                for r in range(row - 1, row + 2):
                    for c in range(col - 1, col + 2):
                        if valid[i, r, c] and math.isfinite(patches[i, r, c]):
                            total += patches[i, r, c]
                            count += 1
                if count >= 5:
                    mean = total / count
                    dimmest = min(dimmest, mean)
                    if mean > best:
                        best, best_row, best_col = mean, row, col
        apart = math.hypot(
            best_row - middle - offsets[i, 0],
            best_col - middle - offsets[i, 1],
        )
        if not best > dimmest or apart > 2.5:
            flags[i] |= POOR_FIT
