"""What a fit expects: counts of peaks on a background, and their derivatives."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.elementary import FAST, exponential
from workers.place.fit.likelihood import LANES, PSEUDO_VOIGT, TILTED, Lanes, Workspace, n_blocks

__all__ = ["TWO_LN2", "evaluate"]

TWO_LN2 = 2.0 * math.log(2.0)
_NODE = math.sqrt(0.15)
"""Outer nodes of the 3-point Gauss-Legendre rule on a pixel from -0.5 to 0.5."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def evaluate(
    work: Workspace, m: int, parameters: NDArray[np.float64], n_peaks: int, each: int, fine: bool
) -> None:
    """Write expected counts and their derivatives for the first `m` pixels.

    `fine` integrates over each pixel by 3 x 3 Gauss-Legendre nodes, else the profile is sampled at
    the pixel's centre.
    """
    last, lanes = n_peaks * each, work.lanes
    for block in range(n_blocks(m)):
        expected, constant = lanes.expected[block], lanes.slopes[last, block]
        background = parameters[last]
        for k in range(LANES):
            expected[k] = background
        for k in range(LANES):
            constant[k] = 1.0
        if work.ground[0] == TILTED:
            rows, cols = lanes.rows[block], lanes.cols[block]
            along_rows, along_cols = lanes.slopes[last + 1, block], lanes.slopes[last + 2, block]
            down, right = parameters[last + 1], parameters[last + 2]
            for k in range(LANES):
                expected[k] += down * rows[k] + right * cols[k]
            for k in range(LANES):
                along_rows[k] = rows[k]
            for k in range(LANES):
                along_cols[k] = cols[k]
        for first in range(0, last, each):
            peak, slopes = parameters[first : first + each], lanes.slopes[first : first + each]
            if fine:
                _integrate(lanes, block, peak, slopes)
            else:
                _sample(lanes, block, peak, slopes, block, 0.0, 0.0)
            amplitude, heights = peak[0], slopes[0, block]
            for k in range(LANES):
                expected[k] += amplitude * heights[k]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _integrate(
    lanes: Lanes, block: int, peak: NDArray[np.float64], slopes: NDArray[np.float64]
) -> None:
    """Write the derivatives of a peak to a block of `slopes`, integrated over pixels."""
    for i in range(len(peak)):
        slope = slopes[i, block]
        for k in range(LANES):
            slope[k] = 0.0
    for row in range(-1, 2):
        for col in range(-1, 2):
            weight = (8.0 if row == 0 else 5.0) * (8.0 if col == 0 else 5.0) / 324.0
            _sample(lanes, block, peak, lanes.node, 0, row * _NODE, col * _NODE)
            for i in range(len(peak)):
                slope, node = slopes[i, block], lanes.node[i, 0]
                for k in range(LANES):
                    slope[k] += weight * node[k]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sample(
    lanes: Lanes,
    block: int,
    peak: NDArray[np.float64],
    slopes: NDArray[np.float64],
    target: int,
    shift_row: float,
    shift_col: float,
) -> None:
    """Write the derivatives of a peak at points that are shifted from the pixels' centres.

    They become the block `target` of `slopes`. Most loops write one array: of more the compiler
    cannot tell whether they overlap, and uses no vectors.
    """
    amplitude, row, col = peak[0], peak[1] - shift_row, peak[2] - shift_col
    a, b, c = peak[3], peak[4], peak[5]
    rows, cols, falls = lanes.rows[block], lanes.cols[block], lanes.products[block]
    heights, to_row, to_col = slopes[0, target], slopes[1, target], slopes[2, target]
    to_a, to_b, to_c = slopes[3, target], slopes[4, target], slopes[5, target]
    for k in range(LANES):
        dy, dx = rows[k] - row, cols[k] - col
        heights[k] = exponential(-0.5 * (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy))
    for k in range(LANES):
        falls[k] = amplitude * heights[k]
    if len(peak) == PSEUDO_VOIGT:
        eta, mixed = peak[6], slopes[6, target]
        for k in range(LANES):
            dy, dx = rows[k] - row, cols[k] - col
            tail = 1.0 / (1.0 + (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy) / TWO_LN2)
            mixed[k] = tail
        for k in range(LANES):
            # The fall is minus twice the derivative of the profile by the squared distance.
            falls[k] += eta * amplitude * (mixed[k] * mixed[k] * (2.0 / TWO_LN2) - heights[k])
        for k in range(LANES):
            mixed[k] -= heights[k]
        for k in range(LANES):
            heights[k] += eta * mixed[k]
        for k in range(LANES):
            mixed[k] *= amplitude
    for k in range(LANES):
        to_row[k] = falls[k] * (b * (cols[k] - col) + c * (rows[k] - row))
    for k in range(LANES):
        to_col[k] = falls[k] * (a * (cols[k] - col) + b * (rows[k] - row))
    for k in range(LANES):
        to_a[k] = -0.5 * falls[k] * (cols[k] - col) * (cols[k] - col)
    for k in range(LANES):
        to_b[k] = -falls[k] * (cols[k] - col) * (rows[k] - row)
    for k in range(LANES):
        to_c[k] = -0.5 * falls[k] * (rows[k] - row) * (rows[k] - row)
