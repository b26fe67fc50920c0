"""A second opinion on patches that may not hold one clean peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, SATURATED
from streamer.frames.peaks import SHAPE
from streamer.tracks.tracker import close_pairs
from workers.place.base import PATCH_SIZE, PositionMethod, Positions
from workers.place.flanks import draws

__all__ = ["crowded", "doubtful", "refit"]

_FLANK_PX = 7.0
"""Two peaks reach into each other's patch when one is this near to the other's patch."""
_DRAWN = 0.3
"""Standard deviations that a flank may draw a position: less adds less than 5 % to its error."""
_WIDTH = 1.5
"""Width in pixels of a peak of which the counts tell none."""
_KNOWN = 0.3
"""Relative error of a width that is known; a faint peak is taken to be as wide as the other."""
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_APART = 1e5
"""Rows between frames that are laid side by side."""


def crowded(
    peaks: NDArray[np.void],
    counts: Sequence[int],
    binning: int = 1,
    patch_size: int = PATCH_SIZE,
    placed: Positions | None = None,
) -> NDArray[np.bool_]:
    """Tell which peaks have another one so near that its flank matters in their patch.

    Hot pixels have no flanks. Where the shape of peaks is known, what draws a position by much less
    than its standard deviation does not matter: low thresholds find noise beside every peak.

    Parameters
    ----------
    peaks
        (n,) of `streamer.frames.peaks.PEAK`, frame after frame.
    counts
        How many are of each frame.
    binning
        Detector pixels per patch pixel along each axis.
    patch_size
        Pixels along each axis of their patches.
    placed
        What is known of the peaks; None: nothing.
    """
    frame = np.repeat(np.arange(len(counts)), counts)
    points = np.stack([peaks["row"] + _APART * frame, peaks["col"]], axis=1) / binning
    with_flanks = np.flatnonzero((peaks["flags"] & POOR_FIT) == 0)
    peak, other, distance = close_pairs(points, points[with_flanks], patch_size // 2 + _FLANK_PX)
    peak, other = peak[distance > 0.0], with_flanks[other[distance > 0.0]]
    found = np.zeros(len(peaks), np.bool_)
    if placed is not None and placed.shape is not None and len(peak):
        at = 2 * SHAPE.index("fwhm_major")
        widths, errors = placed.shape[:, at] / _FWHM, placed.shape[:, at + 1] / _FWHM
        known = errors < _KNOWN * widths
        own = np.where(known, widths, _WIDTH)[peak]
        drawn = draws(
            points[other] - points[peak],
            np.stack([peaks["score"][peak], peaks["score"][other]], axis=1),
            np.stack([own, np.where(known[other], widths[other], own)], axis=1),
            placed.shape[peak, 2 * SHAPE.index("background")],
            patch_size // 2,
        )
        sigma = np.minimum(placed.row_sigma, placed.col_sigma)[peak]
        # What is not known may matter, and how high a saturated peak is is not known.
        clipped = (peaks["flags"][other] & SATURATED) != 0
        peak = peak[clipped | ~(drawn < _DRAWN * sigma)]
    found[peak] = True
    return found


def doubtful(
    placed: Positions,
    peaks: NDArray[np.void],
    counts: Sequence[int],
    binning: int = 1,
    patch_size: int = PATCH_SIZE,
) -> NDArray[np.bool_]:
    """Tell which peaks to place anew: the method is unsure or another peak is near.

    Parameters
    ----------
    placed
        What the method said of `peaks`; see `crowded` for the others.
    """
    # Of a hot pixel nobody knows better.
    hopeless = (peaks["flags"] & POOR_FIT) != 0
    beside = crowded(peaks, counts, binning, patch_size, placed)
    # A network has never seen a peak without its top.
    full = (peaks["flags"] & SATURATED) != 0
    found: NDArray[np.bool_] = (placed.unsure | beside | full) & ~hopeless
    return found


def refit(
    placed: Positions,
    counts: NDArray[np.float32],
    valid: NDArray[np.bool_],
    again: NDArray[np.bool_],
    fit: PositionMethod,
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
    """
    chosen = np.flatnonzero(again)
    if not len(chosen):
        return placed
    fitted = fit.place(counts[chosen], valid[chosen])
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
