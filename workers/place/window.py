"""A square window with edges between pixels, which stands where the centre of mass in it is.

A window that is the same on both sides of a centre keeps a constant background from drawing it, and
moves with a spot and its fringes where one that sits on pixels lets them in and out by turns.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["TRUSTED", "centre", "edges", "window"]

TRUSTED = 0.25
"""Share of the patch's size up to which a centre may be away from its middle."""
_STEPS = 60
_LEAST_STEP = 1e-6
_LEAST_GAIN = 0.25
"""Least motion of the centre of mass in the window for a motion of the spot that is reckoned
with."""


@njit(cache=True, nogil=True)
def window(at: float, half: float, share: NDArray[np.float64], place: NDArray[np.float64]) -> float:
    """Fill in which share of each pixel along an axis is in the window, and where it is.

    Parameters
    ----------
    at
        Middle of the window, counted from the patch's middle pixel.
    half
        Half its length in pixels; it becomes shorter where it would leave the patch.
    share, place
        (size,); `place` counts from `at`.

    Returns
    -------
    half
        What is left of it.
    """
    size = len(share)
    half = min(half, 0.5 * size - abs(at))
    for i in range(size):
        low, high = max(i - size // 2 - 0.5, at - half), min(i - size // 2 + 0.5, at + half)
        share[i], place[i] = max(0.0, high - low), 0.5 * (low + high) - at
    return half


@njit(cache=True, nogil=True)
def edges(
    counts: NDArray[np.float64],
    variance: NDArray[np.float64],
    at: float,
    half: float,
    across: NDArray[np.float64],
    total: float,
) -> float:
    """Return the share of a motion along the rows that edges of the window hide.

    What enters on one side of the window and leaves on the other draws the centre of mass back. As
    much is taken off as is to be expected of noise.

    Parameters
    ----------
    across
        (size,), shares of the columns that are in the window.
    total
        Counts in the window.
    """
    size = len(across)
    hidden = noise = 0.0
    for at_edge in (at - half, at + half):
        i = min(max(math.floor(at_edge + 0.5) + size // 2, 0), size - 1)
        for j in range(size):
            hidden += across[j] * counts[i, j]
            noise += across[j] ** 2 * variance[i, j]
    hidden *= half / total
    noise = max(noise, 0.0) * (half / total) ** 2
    return hidden**3 / (hidden**2 + noise) if hidden > 0.0 else 0.0


@njit(cache=True, nogil=True)
def centre(
    counts: NDArray[np.float64], variance: NDArray[np.float64], half: float
) -> tuple[float, float]:
    """Return where a window stands on the centre of mass in it, from the patch's middle pixel.

    Parameters
    ----------
    counts, variance
        (size, size), above the background.
    half
        Half the edge of the window in pixels.
    """
    size = counts.shape[0]
    rows, row_places, cols, col_places = np.empty((4, size))
    row = col = 0.0
    farthest = TRUSTED * size
    for _ in range(_STEPS):
        high = window(row, half, rows, row_places)
        wide = window(col, half, cols, col_places)
        total = along_rows = along_cols = 0.0
        for i in range(size):
            for j in range(size):
                part = rows[i] * cols[j] * counts[i, j]
                total += part
                along_rows += part * row_places[i]
                along_cols += part * col_places[j]
        if not total > 0.0:
            break
        gain = 1.0 - edges(counts, variance, row, high, cols, total)
        row_step = along_rows / (total * max(gain, _LEAST_GAIN))
        gain = 1.0 - edges(counts.T, variance.T, col, wide, rows, total)
        col_step = along_cols / (total * max(gain, _LEAST_GAIN))
        row_step, col_step = min(max(row_step, -1.0), 1.0), min(max(col_step, -1.0), 1.0)
        row = min(max(row + row_step, -farthest), farthest)
        col = min(max(col + col_step, -farthest), farthest)
        if max(abs(row_step), abs(col_step)) < _LEAST_STEP:
            break
    return row, col
