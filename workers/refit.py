"""A second opinion on patches that a method says it cannot place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamer.flags import POOR_FIT
from workers.positions import PositionMethod, Positions

__all__ = ["refit"]


def refit(
    placed: Positions,
    counts: NDArray[np.float32],
    valid: NDArray[np.bool_],
    hopeless: NDArray[np.bool_],
    fit: PositionMethod,
) -> Positions:
    """Place those peaks anew that a method flagged as not one clean peak.

    A network knows one peak to a patch. Where it says that there is something else, a joint fit
    of two or three often explains the counts; where that fails too, the first answer stays.

    Parameters
    ----------
    placed
        What the method said, (n,).
    counts, valid
        (n, size, size), the patches and which of their pixels count.
    hopeless
        (n,), True where no method could do better, as for hot pixels.
    fit
        Places the others.
    """
    again = np.flatnonzero(((placed.flags & POOR_FIT) != 0) & ~hopeless)
    if not len(again):
        return placed
    fitted = fit.place(counts[again], valid[again])
    better = (fitted.flags & POOR_FIT) == 0
    at = again[better]
    columns = {}
    for name in Positions.__slots__:
        columns[name] = getattr(placed, name).copy()
        columns[name][at] = getattr(fitted, name)[better]
    return replace(placed, **columns)
