"""Conventional fits of peaks that a run has placed, from the pixels of its frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config
from streamer.report.material import Refit
from streamer.sources.images import load_dark, load_mask
from workers.detect.correction import Correction
from workers.detect.patches import cut_patches
from workers.place.fit.methods import GaussianFit, Noise

__all__ = ["RunRefitter"]


class RunRefitter:
    """Fits a Gaussian to given peaks of a frame, corrected as the run did; a `Fitter`.

    A flat field that the source has not applied itself is left out.

    Parameters
    ----------
    config
        Of the run: its corrections and the noise of its detector.

    Raises
    ------
    UserError
        The run's mask or dark frame cannot be read any more.
    """

    def __init__(self, config: Config) -> None:
        detect, positions = config.detect, config.positions
        self._mask = load_mask(detect.mask) if detect.mask else None
        self._dark = load_dark(detect.dark) if detect.dark else None
        self._binning = detect.binning
        self._fit = GaussianFit(Noise(positions.gain, positions.read_noise))

    def __call__(
        self,
        pixels: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        rows: NDArray[np.int32],
        cols: NDArray[np.int32],
    ) -> Refit:
        """Fit the peaks whose highest pixels are given, in detector pixels.

        Raises
        ------
        ValueError
            A mask or a dark frame is not of the frame's shape.
        """
        masks = [one for one in (mask, self._mask) if one is not None]
        bad = np.logical_or.reduce(masks) if masks else None
        n = self._binning
        image, saturation = Correction(bad, self._dark, None, n)(pixels)
        rows, cols = (np.asarray(one, np.int32) // n for one in (rows, cols))
        patches = cut_patches(image, saturation, rows, cols, self._fit.patch_size)
        placed = self._fit.place(patches.counts, patches.valid)
        return Refit(
            counts=patches.counts,
            valid=patches.valid,
            row=(rows + placed.row + 0.5) * n - 0.5,
            col=(cols + placed.col + 0.5) * n - 0.5,
            row_sigma=placed.row_sigma * n,
            col_sigma=placed.col_sigma * n,
            flags=patches.flags | placed.flags,
            binning=n,
        )
