"""What a detector worker found in each series, for whoever asks whether thresholds suit it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.frames.contradictions import like_gaps
from streamer.frames.flags import POOR_FIT
from workers.detect.adaptive import AdaptivePeaks
from workers.detect.base import Peaks
from workers.detect.image import Image

__all__ = ["Findings"]

_EVERY = 16
"""Of so many frames one is asked for its thresholds, or where there are no peaks for its brightest
pixel."""
_MOST = 100
"""Series that are told of, the newest."""


@dataclass(slots=True)
class _Series:
    frames: int = 0
    peaks: int = 0
    poor: int = 0
    """Peaks that are a pixel alone."""
    merged: int = 0
    """Peaks left out beside higher ones."""
    empty: bool = True
    """Whether the newest frame has no peaks."""
    brightest: float | None = None
    """Counts, of frames without a peak."""
    masked: int = 0
    """Pixels of the first frame that are not used."""
    gaps: list[tuple[float, int]] | None = None
    """Values that pixels of it share as gaps do, and how many."""
    thresholds: dict[str, list[float]] | None = None
    """By name: lowest and highest seen, in counts."""


class Findings:
    """Counts, for each series, frames, peaks and what they were found by."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}

    def looks_at(self, name: str, frame: int) -> bool:
        """Tell whether `note` will want to see all of a frame's pixels.

        It does at the first frame of a series, and now and then where the one before had no peaks.
        """
        one = self._series.get(name)
        return one is None or (one.empty and frame % _EVERY == 0)

    def note(
        self, name: str, frame: int, found: Any, flags: NDArray[np.int32], image: Image
    ) -> None:
        """Take down what was found on a frame."""
        whole = self.looks_at(name, frame)
        if name not in self._series and len(self._series) >= _MOST:
            del self._series[next(iter(self._series))]
        one = self._series.setdefault(name, _Series())
        if one.frames == 0:
            masked = image.masked
            one.masked = int(np.count_nonzero(masked))
            one.gaps = like_gaps(image.pixels[np.logical_not(masked, out=masked)])
        one.frames += 1
        one.peaks += len(flags)
        one.poor += int(np.count_nonzero(flags & POOR_FIT))
        if isinstance(found, Peaks):
            one.merged += found.merged
        one.empty = not len(flags)
        valid = image.pixels[~image.masked] if one.empty and whole else None
        if valid is not None and valid.size:
            brightest = float(valid.max())
            one.brightest = max(brightest, one.brightest or brightest)
        if isinstance(found, AdaptivePeaks) and (one.frames == 1 or frame % _EVERY == 0):
            one.thresholds = one.thresholds or {}
            for key, value in asdict(found.thresholds()).items():
                low, high = one.thresholds.get(key, (value, value))
                one.thresholds[key] = [min(low, value), max(high, value)]

    def info(self) -> dict[str, str]:
        """Return it as facts of a status report."""
        return {
            f"found/{name}": msgspec.json.encode(one).decode() for name, one in self._series.items()
        }
