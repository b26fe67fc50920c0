"""Shapes of Bragg peaks on a detector.

A peak of amplitude 1 is a function of ``r2``, the squared distance from its centre in units of its
width: ``r2 = a*dx**2 + 2*b*dx*dy + c*dy**2`` with the precision matrix ``[[a, b], [b, c]]``, ``dx``
along columns and ``dy`` along rows, in pixels.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["precision", "pseudo_voigt"]

_TWO_LN2 = 2.0 * math.log(2.0)


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
