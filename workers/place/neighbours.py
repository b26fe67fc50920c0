"""Peaks that stand so near that one reaches into the other's patch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, SATURATED
from streamer.frames.peaks import SHAPE
from workers.place.base import PATCH_SIZE, Positions
from workers.place.fit.likelihood import MAX_PEAKS, OUTSIDE_PX
from workers.place.flanks import draws
from workers.place.pairs import close_pairs

__all__ = ["Neighbours"]

_FLANK_PX = 7.0
"""Two peaks reach into each other's patch when one is this near to the other's patch."""
_DRAWN = 0.3
"""Standard deviations that a flank may draw a position: less adds less than 5 % to its error."""
_WIDTH = 1.5
"""Width in pixels of a peak of which the counts tell none."""
_KNOWN = 0.3
"""Relative error of a width that is known; a faint peak is taken to be as wide as the other."""
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_INSIDE_PX = 0.2
"""How far within the limits of a fit it begins, in pixels."""
_APART = 1e5
"""Rows between frames that are laid side by side."""


class Neighbours:
    """The pairs of near peaks among those of some frames; hot pixels are nobody's neighbours.

    Parameters
    ----------
    peaks
        (n,) of `streamer.frames.peaks.PEAK`, frame after frame.
    sizes
        How many are of each frame.
    binning
        Detector pixels per patch pixel along each axis.
    patch_size
        Pixels along each axis of their patches.
    """

    def __init__(
        self,
        peaks: NDArray[np.void],
        sizes: Sequence[int],
        binning: int = 1,
        patch_size: int = PATCH_SIZE,
    ) -> None:
        frame = np.repeat(np.arange(len(sizes)), sizes)
        points = np.stack([peaks["row"] + _APART * frame, peaks["col"]], axis=1) / binning
        with_flanks = np.flatnonzero((peaks["flags"] & POOR_FIT) == 0)
        self._half = patch_size // 2
        peak, other, distance = close_pairs(points, points[with_flanks], self._half + _FLANK_PX)
        apart = distance > 0.0
        self._peaks = peaks
        self._peak, self._other = peak[apart], with_flanks[other[apart]]
        self._distance = distance[apart]
        self._step = points[self._other] - points[self._peak]

    def crowded(self, placed: Positions | None = None) -> NDArray[np.bool_]:
        """Tell which peaks have another one so near that its flank matters in their patch.

        Where the shape of peaks is known, what draws a position by much less than its standard
        deviation does not matter: low thresholds find noise beside every peak.

        Parameters
        ----------
        placed
            What is known of the peaks; None: nothing.
        """
        peaks, peak, other = self._peaks, self._peak, self._other
        found = np.zeros(len(peaks), np.bool_)
        if placed is not None and placed.shape is not None and len(peak):
            at = 2 * SHAPE.index("fwhm_major")
            widths, errors = placed.shape[:, at] / _FWHM, placed.shape[:, at + 1] / _FWHM
            known = errors < _KNOWN * widths
            own = np.where(known, widths, _WIDTH)[peak]
            drawn = draws(
                self._step,
                np.stack([peaks["score"][peak], peaks["score"][other]], axis=1),
                np.stack([own, np.where(known[other], widths[other], own)], axis=1),
                placed.shape[peak, 2 * SHAPE.index("background")],
                self._half,
            )
            sigma = np.minimum(placed.row_sigma, placed.col_sigma)[peak]
            # What is not known may matter, and how high a saturated peak is is not known.
            clipped = (peaks["flags"][other] & SATURATED) != 0
            peak = peak[clipped | ~(drawn < _DRAWN * sigma)]
        found[peak] = True
        return found

    def starts(self, counts: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return where the nearest others of each peak stand that a joint fit can hold.

        Parameters
        ----------
        counts
            (n, size, size), the peaks' patches.

        Returns
        -------
        NDArray
            (n, MAX_PEAKS - 1, 3), see `workers.place.fit.methods.GaussianFit.place`.
        """
        starts = np.full((len(self._peaks), MAX_PEAKS - 1, 3), np.nan)
        order = np.lexsort((self._distance, self._peak))
        peak, other = self._peak[order], self._other[order]
        first = np.searchsorted(peak, peak)  # of the pairs of the same peak
        rank = np.arange(len(peak)) - first
        near = rank < MAX_PEAKS - 1
        peak, other, rank = peak[near], other[near], rank[near]
        step = self._step[order[near]]
        # What stands further out than a fit puts it begins at its limit, in the right direction.
        out = np.abs(step).max(axis=1) / (self._half + 0.5 + OUTSIDE_PX - _INSIDE_PX)
        starts[peak, rank, :2] = step / np.maximum(out, 1.0)[:, None]
        starts[peak, rank, 2] = counts[other, self._half, self._half]
        return starts
