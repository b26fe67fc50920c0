"""What is near a place, without looking at all that is there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Cells", "around", "sort"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FARTHEST = 1e9
"""Pixels from the origin beyond which nothing is a place."""


class Cells(NamedTuple):
    """Squares that places are sorted into, about as many as there are places."""

    row: float
    col: float
    """Where the first one begins."""
    density: float
    """How many there are in a pixel, along each axis."""
    rows: int
    cols: int


@njit(cache=True, nogil=True, error_model="numpy")
def sort(places: Floats, least: float) -> tuple[Cells, Ints, Ints, Floats]:
    """Sort (n, 2) places into cells of at least so many pixels; those of NaN are in none.

    Returns
    -------
    cells
    start
        (rows * cols + 1,), where in `order` the places of each cell begin, row after row.
    order
        Indices of the places, those of a cell in order.
    there
        (n, 2), the places in this order.
    """
    n = 0
    top = left = np.inf
    bottom = right = -np.inf
    for row, col in places:
        if abs(row) < _FARTHEST and abs(col) < _FARTHEST:
            n += 1
            top, bottom = min(top, row), max(bottom, row)
            left, right = min(left, col), max(right, col)
    if n == 0:
        none = Cells(0.0, 0.0, 1.0, 0, 0)
        return none, np.zeros(1, np.int64), np.empty(0, np.int64), np.empty((0, 2))
    high, wide = bottom - top, right - left
    density = 1.0 / max(least, np.sqrt(high * wide / n), max(high, wide) / n)
    rows, cols = int(high * density) + 1, int(wide * density) + 1
    cell = np.full(len(places), -1)
    start = np.zeros(rows * cols + 2, np.int64)
    for i in range(len(places)):
        row, col = places[i]
        if abs(row) < _FARTHEST and abs(col) < _FARTHEST:
            cell[i] = int((row - top) * density) * cols + int((col - left) * density)
            start[cell[i] + 2] += 1
    start = np.cumsum(start)
    order, there = np.empty(n, np.int64), np.empty((n, 2))
    for i in range(len(places)):
        if cell[i] >= 0:
            k = start[cell[i] + 1]
            order[k], there[k, 0], there[k, 1] = i, places[i, 0], places[i, 1]
            start[cell[i] + 1] += 1
    return Cells(top, left, density, rows, cols), start[:-1], order, there


@njit(cache=True, nogil=True, error_model="numpy")
def around(cells: Cells, row: float, col: float, reach: float) -> tuple[int, int, int, int]:
    """Return the first and last rows and columns of cells that hold what is so near to a place.

    There are none where a last one is before the first.
    """
    reach = cells.density * (reach * (1.0 + 1e-9) + 1e-6)  # so that rounding loses nothing
    row, col = cells.density * (row - cells.row), cells.density * (col - cells.col)
    if not (-reach <= row <= cells.rows + reach and -reach <= col <= cells.cols + reach):
        return 0, -1, 0, -1
    return (
        max(0, int(row - reach)),
        min(cells.rows - 1, int(row + reach)),
        max(0, int(col - reach)),
        min(cells.cols - 1, int(col + reach)),
    )
