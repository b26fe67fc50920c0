"""How tracks move that have just begun: as those around them do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["course"]

Floats = NDArray[np.float64]

_SEEN = 4
"""Frames without a turn on which tracks were seen that tell a new one how to move."""
_FIELD_TRACKS = 6
"""Tracks that tell how velocity depends on place."""
_FASTER = 2.0
"""Times the speed of the fastest of these, at most, where the field is continued."""
_ROUNDS = 3
_ON_A_LINE = 1e-13
"""Share of the squared spread of places across the line that is nearest to them."""


class _Field(NamedTuple):
    """A velocity, in rows and columns a frame, that depends on the place to first order."""

    row: float
    col: float
    """A place, the velocity there, and how it grows along rows and columns."""
    down: float
    right: float
    down_by_row: float
    down_by_col: float
    right_by_row: float
    right_by_col: float


@njit(cache=True, nogil=True, error_model="numpy")
def course(live: NDArray[np.void], places: Floats) -> Floats:
    """Return the velocities (n, 2) of tracks that begin at (n, 2) places.

    They are those of the affine field nearest to what tracks do that are known, which a beam that
    drifts, a sample that turns and a lattice that breathes have; the median where these are too few
    to tell.
    """
    n = 0
    for i in range(len(live)):
        n += live[i].steady >= _SEEN
    known = np.empty((n, 4))
    n, fastest = 0, 0.0
    for i in range(len(live)):
        track = live[i]
        if track.steady >= _SEEN:
            down, right = track.row_velocity, track.col_velocity
            known[n, 0], known[n, 1], known[n, 2], known[n, 3] = (
                track.last_row,
                track.last_col,
                down,
                right,
            )
            fastest = max(fastest, np.sqrt(down * down + right * right))
            n += 1
    found = np.zeros((len(places), 2))
    if n < _FIELD_TRACKS:
        if n:
            found[:, 0], found[:, 1] = np.median(known[:, 2]), np.median(known[:, 3])
        return found
    weight, off = np.ones(n), np.empty(n)
    field = _fit(known, weight)
    for _ in range(_ROUNDS - 1):  # what moves by itself counts less and less
        for i in range(n):
            down, right = _at(field, known[i, 0], known[i, 1])
            off[i] = np.sqrt((known[i, 2] - down) ** 2 + (known[i, 3] - right) ** 2)
        scale = 2.0 * np.median(off) + 1e-3
        for i in range(n):
            weight[i] = (1.0 / (1.0 + (off[i] / scale) ** 2)) ** 2
        field = _fit(known, weight)
    for i in range(len(places)):
        down, right = _at(field, places[i, 0], places[i, 1])
        speed = np.sqrt(down * down + right * right)
        slower = min(1.0, _FASTER * fastest / max(speed, 1e-12))
        found[i, 0], found[i, 1] = slower * down, slower * right
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _at(field: _Field, row: float, col: float) -> tuple[float, float]:
    """Return the velocity at a place."""
    row, col = row - field.row, col - field.col
    return (
        field.down + field.down_by_row * row + field.down_by_col * col,
        field.right + field.right_by_row * row + field.right_by_col * col,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(known: Floats, weight: Floats) -> _Field:
    """Return the field nearest to places and velocities, (n, 4)."""
    mass = row = col = down = right = 0.0
    for i in range(len(known)):
        w = weight[i]
        mass += w
        row += w * known[i, 0]
        col += w * known[i, 1]
        down += w * known[i, 2]
        right += w * known[i, 3]
    row, col, down, right = row / mass, col / mass, down / mass, right / mass
    rr = rc = cc = dr = dc = er = ec = 0.0
    for i in range(len(known)):
        w, r, c = weight[i], known[i, 0] - row, known[i, 1] - col
        rr += w * r * r
        rc += w * r * c
        cc += w * c * c
        dr += w * r * (known[i, 2] - down)
        dc += w * c * (known[i, 2] - down)
        er += w * r * (known[i, 3] - right)
        ec += w * c * (known[i, 3] - right)
    area = rr * cc - rc * rc
    if area > _ON_A_LINE * (rr + cc) ** 2:
        irr, irc, icc = cc / area, -rc / area, rr / area
    else:  # across the line nothing is told
        over = max((rr + cc) ** 2, 1e-300)
        irr, irc, icc = rr / over, rc / over, cc / over
    return _Field(
        row,
        col,
        down,
        right,
        dr * irr + dc * irc,
        dr * irc + dc * icc,
        er * irr + ec * irc,
        er * irc + ec * icc,
    )
