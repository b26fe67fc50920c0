"""Where a detector stands, from where its pixels lie."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from streamer.errors import UserError
from streamer.frames.geometry import Geometry

__all__ = ["geometry_of_vectors"]

_SQUARE = 1e-5
"""Largest cosine of the angle between rows and columns, which are at right angles."""


def geometry_of_vectors(
    origin_m: ArrayLike,
    fast_m: ArrayLike,
    slow_m: ArrayLike,
    *,
    wavelength_a: float = math.nan,
    source: str = "",
) -> Geometry:
    """Return the geometry of a detector whose pixels lie at ``origin + col * fast + row * slow``.

    Parameters
    ----------
    origin_m
        (3,) centre of the pixel at row 0 and column 0, in the frame of NeXus: the third axis goes
        along the beam, the second up, and the sample is at the origin.
    fast_m, slow_m
        (3,) from a pixel to the next one in its row, and to the one in the next row.

    Raises
    ------
    UserError
        They are those of no detector that the beam's diffraction can reach.
    """
    # Rows count downwards and columns to the right of who looks along the beam, as in headers.
    origin, fast, slow = (
        np.asarray(vector, np.float64)[[1, 0, 2]] * (-1, -1, 1)
        for vector in (origin_m, fast_m, slow_m)
    )
    height, width = float(np.linalg.norm(slow)), float(np.linalg.norm(fast))
    if not (
        math.isfinite(float(np.sum(origin))) and 0 < height < math.inf and 0 < width < math.inf
    ):
        raise UserError(f"{source}: its pixels have no size or no place")
    first, second = slow / height, fast / width
    if abs(first @ second) > _SQUARE:
        raise UserError(f"{source}: its rows and columns are not at right angles")
    normal = np.cross(first, second)
    if normal @ origin < 0:  # columns run against the axis
        second, normal, width = -second, -normal, -width
    turn = np.stack([first, second, normal], axis=1)
    rot2 = math.asin(float(np.clip(turn[2, 0], -1.0, 1.0)))
    rot1 = math.atan2(-turn[2, 1], turn[2, 2])
    rot3 = math.atan2(turn[1, 0], turn[0, 0])
    if math.hypot(turn[2, 1], turn[2, 2]) < 1e-9:  # only the sum of both others is known
        rot1, rot3 = 0.0, math.atan2(-turn[0, 1], turn[1, 1])
    return Geometry(
        distance_m=float(normal @ origin),
        poni1_m=height / 2 - float(first @ origin),
        poni2_m=width / 2 - float(second @ origin),
        rot1=rot1,
        rot2=rot2,
        rot3=rot3,
        pixel1_m=height,
        pixel2_m=width,
        wavelength_a=wavelength_a,
        source=source,
    )
