"""How far the flank of a peak beside another one can draw that one's position."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.place.fit.elementary import FAST, exponential
from workers.place.fit.expected import TWO_LN2

__all__ = ["draws"]

_TAILS = 0.2
"""Lorentzian share that a flank is taken to have: tails reach farther than a Gaussian."""
_DIMMEST = 0.01
"""Least background in counts: what flanks bring there is seen against it, not against nothing."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def draws(
    steps: NDArray[np.float64],
    heights: NDArray[np.float64],
    widths: NDArray[np.float64],
    backgrounds: NDArray[np.float64],
    half: int,
) -> NDArray[np.float64]:
    """Return by how much a fit of one peak is drawn by the flank of another, to first order.

    Both peaks are taken to be round.

    Parameters
    ----------
    steps
        (n, 2), rows and columns from the peak to the other one, in pixels of the patch.
    heights
        (n, 2) counts above the background, of the peak and the other one.
    widths
        (n, 2) pixels, Gaussian standard deviations.
    backgrounds
        (n,) counts per pixel.
    half
        The patch reaches so many pixels from its middle along each axis.

    Returns
    -------
    NDArray
        (n,) pixels; NaN where something is not known.
    """
    found = np.empty(len(steps))
    for i in range(len(steps)):
        distance = math.hypot(steps[i, 0], steps[i, 1])
        down, right = steps[i, 0] / distance, steps[i, 1] / distance
        own, other = 1.0 / widths[i, 0] ** 2, 1.0 / widths[i, 1] ** 2
        ground = max(backgrounds[i], _DIMMEST)
        drawn, held = 0.0, 0.0
        for row in range(-half, half + 1):
            for col in range(-half, half + 1):
                peak = heights[i, 0] * exponential(-0.5 * own * float(row * row + col * col))
                dy, dx = row - steps[i, 0], col - steps[i, 1]
                far = other * (dy * dy + dx * dx)
                flank = (1.0 - _TAILS) * exponential(-0.5 * far) + _TAILS / (1.0 + far / TWO_LN2)
                slope = own * peak * (down * row + right * col)
                weight = 1.0 / (peak + ground)
                drawn += weight * slope * flank
                held += weight * slope * slope
        found[i] = abs(heights[i, 1] * drawn / held)
    return found
