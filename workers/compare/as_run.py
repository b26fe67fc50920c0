"""What a run does: a network's answers, and fits in place of those that may not be one peak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workers.place.base import PositionMethod, Positions
from workers.place.neighbours import Neighbours
from workers.place.refit import Fit, doubtful, refit

__all__ = ["AsRun"]


class AsRun:
    """A method with its second opinion, as GPU workers have them.

    Parameters
    ----------
    method, second
        Place peaks, and those of them again that may not be one clean peak.
    peaks
        (n,) of `streamer.frames.peaks.PEAK`, all that are placed at once; None where nothing is
        known of them but their patches.
    sizes
        How many of them are of each frame.
    binning
        Detector pixels per patch pixel along each axis.
    """

    name = "as a run"

    def __init__(
        self,
        method: PositionMethod,
        second: Fit,
        peaks: NDArray[np.void] | None = None,
        sizes: Sequence[int] = (),
        binning: int = 1,
    ) -> None:
        self.patch_size = method.patch_size
        self._method, self._second = method, second
        self._peaks, self._sizes, self._binning = peaks, sizes, binning

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `workers.place.base.PositionMethod.place`."""
        placed = self._method.place(patches, valid)
        if self._peaks is None:
            return refit(placed, patches, valid, placed.unsure, self._second)
        near = Neighbours(self._peaks, self._sizes, self._binning, self.patch_size)
        again = doubtful(placed, self._peaks, near)
        return refit(placed, patches, valid, again, self._second, near)
