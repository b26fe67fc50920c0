"""Thresholds from the noise of each frame: what `auto` means for `minval` and `minscore`.

Nothing is remembered from one frame to the next: a frame has the same peaks whichever worker takes
it, when it is sent again and when it is replayed, at any speed and with whatever frames before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.detect.background import Background, estimate
from workers.detect.base import Finder, ImageFinder, Peaks, Thresholds, found_by
from workers.detect.flatten import Flattener
from workers.detect.image import Image, image_of
from workers.detect.significance import TESTS, judge
from workers.detect.topology import TopologyFinder

__all__ = ["ANY_SCORE", "AdaptiveFinder", "AdaptivePeaks"]

ANY_SCORE = 5e-324
"""Least score of a finder whose peaks are judged one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptivePeaks(Peaks):
    """Peaks and what they were found by."""

    background: Background
    minval: float | None
    minscore: float | None
    limit: float
    """Standard deviations by which a peak must stand out."""

    def thresholds(self) -> Thresholds:
        """Return what a pixel must reach where the background is as on most of the frame."""
        level, low, noise = (
            float(np.median(nodes))
            for nodes in (self.background.level, self.background.low, self.background.spread)
        )
        least = self.limit * noise + self.background.unit * (self.limit**2 - 1.0) / 6.0
        return Thresholds(
            background=level,
            noise=noise,
            minval=low if self.minval is None else self.minval,
            minscore=least if self.minscore is None else self.minscore,
        )


class AdaptiveFinder(ImageFinder):
    """Finds peaks by another finder, with one or both thresholds taken from the frame.

    With `minval` from the frame, its background is taken off first and a pixel that is not above it
    counts as 0; scores are counts above the background then. With `minscore` from the frame, a peak
    must stand out from the noise around it and from higher peaks beside it.

    Parameters
    ----------
    inner
        Finds the peaks; made with `minval` 0 where that is None, and with `ANY_SCORE` where
        `minscore` is None.
    minval, minscore
        Counts, or None where the frame decides.
    false_peaks
        Peaks of noise that a frame may have on average.
    """

    def __init__(
        self, inner: Finder, minval: float | None, minscore: float | None, false_peaks: float
    ) -> None:
        self._inner = inner
        self._minval, self._minscore = minval, minscore
        self._false_peaks = false_peaks
        self._flatten = Flattener()

    def find(self, image: Image) -> AdaptivePeaks:
        """Return the peaks of a frame; see `ImageFinder`."""
        image = _plain(image)
        size = image.pixels.size
        if not size:
            found = found_by(self._inner, image)
            background = Background(*(np.zeros((1, 1)),) * 3, (1.0, 1.0), 0.0, 0.0, False)
        else:
            background = estimate(image)
            found = self._found(image, background)
        limit = NormalDist().inv_cdf(1.0 - min(self._false_peaks / (TESTS * max(size, 1)), 0.1))
        if self._minscore is None and len(found):
            keep = np.empty(len(found), np.bool_)
            judge(*image, background, found.row, found.col, found.score, limit, keep)
            found = Peaks(found.row[keep], found.col[keep], found.score[keep])
        return AdaptivePeaks(
            found.row, found.col, found.score, background, self._minval, self._minscore, limit
        )

    def flattened(self, frame: NDArray[Any], masked: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the frame as the inner finder is to see it: counts above the background or 0."""
        image = _plain(image_of(frame, masked))
        index, value = self._flatten(image, estimate(image))
        flat = np.zeros(frame.shape)
        flat.ravel()[index] = value
        return flat

    def _found(self, image: Image, background: Background) -> Peaks:
        if self._minval is not None:
            return found_by(self._inner, image)
        index, value = self._flatten(image, background)
        frame = image.pixels
        if isinstance(self._inner, TopologyFinder):
            rows, cols = frame.shape
            return self._inner.sparse((rows, cols), index, value, frame.dtype.kind in "iu")
        flat = np.zeros(frame.shape)
        flat.ravel()[index] = value
        return self._inner(flat)


def _plain(image: Image) -> Image:
    """Return a frame in one of the few types that kernels are compiled for."""
    frame = image.pixels
    kind, size = frame.dtype.kind, frame.dtype.itemsize
    if kind not in "iu":
        return image.astype(np.dtype(np.float32 if size <= 4 else np.float64))
    dtype = np.dtype(f"{kind}{max(size, 2)}") if size < 8 else _narrower(frame)
    return image.astype(dtype)


def _narrower(frame: NDArray[Any]) -> np.dtype[Any]:
    """Return integers of 32 bits where those hold the frame's, of 64, else floats."""
    for dtype in (np.uint32, np.int32):
        info = np.iinfo(dtype)
        if not frame.size or (info.min <= frame.min() and frame.max() <= info.max):
            return np.dtype(dtype)
    return np.dtype(np.float64)
