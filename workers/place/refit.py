"""A second opinion on patches that may not hold one clean peak."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, SATURATED
from workers.place.base import Positions
from workers.place.neighbours import Neighbours

__all__ = ["Fit", "doubtful", "refit"]


class Fit(Protocol):
    """Places peaks of which some are known to have others beside them."""

    def place(
        self,
        patches: NDArray[np.float32],
        valid: NDArray[np.bool_],
        others: NDArray[np.float64] | None = None,
    ) -> Positions:
        """Place one peak in each patch; see `workers.place.fit.methods.GaussianFit.place`."""
        ...


def doubtful(placed: Positions, peaks: NDArray[np.void], near: Neighbours) -> NDArray[np.bool_]:
    """Tell which peaks to place anew: the method is unsure or another peak is near.

    Parameters
    ----------
    placed
        What the method said of `peaks`, (n,) of `streamer.frames.peaks.PEAK`.
    """
    # Of a hot pixel nobody knows better.
    hopeless = (peaks["flags"] & POOR_FIT) != 0
    beside = near.crowded(placed)
    # A network has never seen a peak without its top.
    full = (peaks["flags"] & SATURATED) != 0
    found: NDArray[np.bool_] = (placed.unsure | beside | full) & ~hopeless
    return found


def refit(
    placed: Positions,
    counts: NDArray[np.float32],
    valid: NDArray[np.bool_],
    again: NDArray[np.bool_],
    fit: Fit,
    near: Neighbours | None = None,
) -> Positions:
    """Place some of the peaks anew.

    A network knows one peak to a patch. Where there may be something else, a joint fit of two or
    three often explains the counts; where that fails too, the first answer stays.

    Parameters
    ----------
    placed
        What the method said, (n,).
    counts, valid
        (n, size, size), the patches and which of their pixels count.
    again
        (n,), True where a peak is to be placed anew.
    fit
        Does it.
    near
        Where other peaks are known to be.
    """
    chosen = np.flatnonzero(again)
    if not len(chosen):
        return placed
    others = None if near is None else near.starts(counts)[chosen]
    fitted = fit.place(counts[chosen], valid[chosen], others)
    better = (fitted.flags & POOR_FIT) == 0
    at = chosen[better]
    columns = {}
    for name in ("row", "col", "row_sigma", "col_sigma", "flags"):
        columns[name] = getattr(placed, name).copy()
        columns[name][at] = getattr(fitted, name)[better]
    for name in ("shape", "single"):
        told, new = getattr(placed, name), getattr(fitted, name)
        if new is not None:
            told = np.full((len(placed), new.shape[1]), np.nan) if told is None else told.copy()
            told[at] = new[better]
            columns[name] = told
    return replace(placed, **columns)
