"""The peaks that other thresholds would give on one frame, found as the run finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config
from streamer.errors import UserError
from streamer.frames.events import Series
from streamer.results.thresholds import Threshold
from streamer.run.inputs import kept_image
from streamer.sources.images import load_dark, load_mask
from workers.detect.base import Finder, found_by
from workers.detect.choice import finder_of
from workers.detect.correction import Correction

__all__ = ["PeakPreview"]


class PeakPreview:
    """Finds peaks in frames of a run with thresholds that are tried out.

    Parameters
    ----------
    config
        Of the run.
    out
        Run folder, which keeps its mask and its dark frame.
    """

    def __init__(self, config: Config, out: Path) -> None:
        self._detect, self._out = config.detect, out
        self._images: tuple[NDArray[np.bool_] | None, NDArray[np.float32] | None] | None = None
        self._finder: tuple[tuple[Threshold, Threshold], Finder] | None = None

    def check(self, minval: Threshold, minscore: Threshold) -> None:
        """See that a run can go on with these thresholds.

        Raises
        ------
        UserError
            It cannot; the text says why.
        """
        self._finder_with(minval, minscore)

    def __call__(
        self,
        pixels: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        flatfield: NDArray[np.float32] | None,
        minval: Threshold,
        minscore: Threshold,
    ) -> dict[str, NDArray[np.float32]]:
        """Return ``row``, ``col`` in detector pixels and ``score`` of the peaks of a frame.

        Parameters
        ----------
        pixels
            (rows, cols), counts as the source gave them.
        mask, flatfield
            (rows, cols), as the source gave them.

        Raises
        ------
        UserError
            There is no finder with these thresholds, or they find nothing in such a frame.
        """
        finder = self._finder_with(minval, minscore)
        user_mask, dark = self._corrections()
        series = Series(name="", pixel_mask=mask, flatfield=flatfield)
        n = self._detect.binning
        try:
            correction = Correction.for_series(series, user_mask, dark, n, self._detect.saturation)
            image, _ = correction(pixels)
            found = found_by(finder, image)
        except ValueError as error:
            raise UserError(str(error)) from None
        middle = (n - 1) // 2
        return {
            "row": (found.row * n + middle).astype(np.float32),
            "col": (found.col * n + middle).astype(np.float32),
            "score": found.score.astype(np.float32),
        }

    def _finder_with(self, minval: Threshold, minscore: Threshold) -> Finder:
        # The newest alone: each has working memory of the size of a few frames.
        wanted = minval, minscore
        if self._finder is None or self._finder[0] != wanted:
            try:
                self._finder = wanted, finder_of(self._detect.with_thresholds(*wanted))
            except ValueError as error:
                raise UserError(str(error)) from None
        return self._finder[1]

    def _corrections(self) -> tuple[NDArray[np.bool_] | None, NDArray[np.float32] | None]:
        if self._images is None:
            mask, dark = self._detect.mask, self._detect.dark
            self._images = (
                kept_image(self._out, "mask", mask, load_mask) if mask else None,
                kept_image(self._out, "dark", dark, load_dark) if dark else None,
            )
        return self._images
