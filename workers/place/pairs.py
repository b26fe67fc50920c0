"""Pairs of places that are close together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["close_pairs"]

Floats = NDArray[np.float64]


def close_pairs(
    points: Floats, others: Floats, gate: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return all pairs of points and others, (n, 2) each, at most `gate` apart, and how far.

    Others are sorted by stripes of rows as high as the gate, and by column within a stripe: what
    can be near a point follows on each other in three stripes. For the few hundred peaks of a frame
    that is faster than a tree.
    """
    none = np.empty(0, np.intp)
    if not len(points) or not len(others):
        return none, none, np.empty(0)
    left = min(points[:, 1].min(), others[:, 1].min()) - gate
    width = max(points[:, 1].max(), others[:, 1].max()) + 2.0 * gate - left
    places = np.floor(others[:, 0] / gate) * width + (others[:, 1] - left)
    order = np.argsort(places, kind="stable")
    places = places[order]
    middle = np.floor(points[:, 0] / gate) * width + (points[:, 1] - left)
    mine = np.argsort(middle)  # what is searched for in order is found faster
    middle = (middle[mine] + width * np.array([[-1.0], [0.0], [1.0]])).ravel()
    # A little wider, so that rounding loses nothing.
    reach = gate * (1.0 + 1e-9) + 1e-6
    low = np.searchsorted(places, middle - reach, "left")
    count = np.searchsorted(places, middle + reach, "right") - low
    point = np.repeat(np.tile(mine, 3), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    other = order[np.repeat(low, count) + within]
    distance = np.hypot(*(points[point] - others[other]).T)
    near = distance <= gate
    return point[near], other[near], distance[near]
