"""Shapes of Bragg peaks on a detector.

A peak of amplitude 1 is a function of ``r2``, the squared distance from its centre in units of its
width: ``r2 = a*dx**2 + 2*b*dx*dy + c*dy**2`` with the precision matrix ``[[a, b], [b, c]]``, ``dx``
along columns and ``dy`` along rows, in pixels.

A table of spots has a row per spot: row, column, amplitude, sigma_major, sigma_minor, angle, eta.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["draw_spots", "precision", "prominences", "pseudo_voigt"]

_TWO_LN2 = 2.0 * math.log(2.0)

_FAINT = 0.2
"""Counts below which the outskirts of a spot are not drawn."""
_REACH = 64.0
"""Pixels beyond which they are not drawn in any case."""
_NARROW = 1.2
"""Width in pixels below which a profile is integrated over each pixel."""
_CORE = 36.0
"""`r2` beyond which the Gaussian part is nothing and the Lorentzian part is flat."""
_NODE = math.sqrt(0.15)
"""Outer nodes of the 3-point Gauss-Legendre rule on a pixel from -0.5 to 0.5."""


@njit(cache=True, inline="always")
def precision(sigma_major: float, sigma_minor: float, angle: float) -> tuple[float, float, float]:
    """Precision matrix of an ellipse of widths `sigma_major`, `sigma_minor` in pixels.

    `angle` is that of the major axis to the column axis, in radians, towards growing rows.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    p, q = 1.0 / (sigma_major * sigma_major), 1.0 / (sigma_minor * sigma_minor)
    return cos * cos * p + sin * sin * q, cos * sin * (p - q), sin * sin * p + cos * cos * q


@njit(cache=True, inline="always")
def pseudo_voigt(r2: float, eta: float) -> float:
    """Pseudo-Voigt profile of amplitude 1: Gaussian for `eta` = 0, Lorentzian for `eta` = 1.

    Both parts have the same full width at half maximum, ``2*sqrt(2*ln 2)`` widths.
    """
    return (1.0 - eta) * math.exp(-0.5 * r2) + eta / (1.0 + r2 / _TWO_LN2)


@njit(cache=True, nogil=True)
def draw_spots(image: NDArray[np.float32], spots: NDArray[np.float64]) -> None:
    """Add spots to `image`, (rows, cols), in counts.

    Parameters
    ----------
    image
        Changed in place.
    spots
        (n, 7), a table of spots.
    """
    rows, cols = image.shape
    for k in range(spots.shape[0]):
        y, x, amplitude, major, minor, angle, eta = spots[k]
        if amplitude < _FAINT:
            continue
        reach = major * math.sqrt(2.0 * math.log(amplitude / _FAINT))
        tail = major * math.sqrt(_TWO_LN2 * amplitude * eta / _FAINT)
        reach = min(max(reach, tail), _REACH)
        a, b, c = precision(major, minor, angle)
        for row in range(max(math.ceil(y - reach), 0), min(math.floor(y + reach) + 1, rows)):
            dy = row - y
            for col in range(max(math.ceil(x - reach), 0), min(math.floor(x + reach) + 1, cols)):
                dx = col - x
                r2 = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy
                if r2 > _CORE:
                    image[row, col] += amplitude * eta / (1.0 + r2 / _TWO_LN2)
                elif minor > _NARROW:
                    image[row, col] += amplitude * pseudo_voigt(r2, eta)
                else:
                    image[row, col] += amplitude * _pixel_mean(dx, dy, a, b, c, eta)


@njit(cache=True)
def _pixel_mean(dx: float, dy: float, a: float, b: float, c: float, eta: float) -> float:
    """Mean of the profile over the pixel whose centre is (dx, dy) from the spot's."""
    total = 0.0
    for i in range(3):
        v = dy + (i - 1) * _NODE
        for j in range(3):
            u = dx + (j - 1) * _NODE
            weight = (8.0 if i == 1 else 5.0) * (8.0 if j == 1 else 5.0) / 324.0
            total += weight * pseudo_voigt(a * u * u + 2.0 * b * u * v + c * v * v, eta)
    return total


@njit(cache=True)
def prominences(spots: NDArray[np.float64], neighbours: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each spot stands out above the saddle towards a stronger neighbour.

    Parameters
    ----------
    spots, neighbours
        (n, 7), tables of spots; the n-th spot is compared with the n-th neighbour.

    Returns
    -------
    prominences
        (n,), counts; the amplitude of a spot that is stronger than its neighbour.
    """
    result = spots[:, 2].copy()
    for k in range(spots.shape[0]):
        if spots[k, 2] >= neighbours[k, 2]:
            continue
        summit, saddle = 0.0, math.inf
        for step in range(33):
            share = step / 32.0
            y = spots[k, 0] + share * (neighbours[k, 0] - spots[k, 0])
            x = spots[k, 1] + share * (neighbours[k, 1] - spots[k, 1])
            height = _height(spots[k], y, x) + _height(neighbours[k], y, x)
            if step == 0:
                summit = height
            saddle = min(saddle, height)
        result[k] = min(result[k], summit - saddle)
    return result


@njit(cache=True)
def _height(spot: NDArray[np.float64], y: float, x: float) -> float:
    a, b, c = precision(spot[3], spot[4], spot[5])
    dy, dx = y - spot[0], x - spot[1]
    r2 = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy
    return float(spot[2] * pseudo_voigt(r2, spot[6]))
