"""What every peak finder gives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.plugins import Plugin
from workers.detect.image import Image, image_of

if TYPE_CHECKING:  # it needs a compiler
    from workers.detect.bright import Bright

__all__ = [
    "Finder",
    "FinderPlugin",
    "ImageFinder",
    "Peaks",
    "Thresholds",
    "check_limits",
    "check_numbers",
    "found_by",
    "lowest_of",
    "sorted_peaks",
    "zeroed",
]


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """The peaks of one frame, by falling score, then by raster index."""

    row: NDArray[np.int32]
    """(n,), pixel index."""
    col: NDArray[np.int32]
    """(n,), pixel index."""
    score: NDArray[np.float64]
    """(n,), persistence in counts, above 0; a whole number for an integer frame."""
    merged: int = field(default=0, kw_only=True)
    """How many more were found that are left out as too close to a higher one."""

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What peaks were found by, in counts; where it varies over a frame, that of most of it."""

    background: float
    """Level of the background."""
    noise: float
    """Its standard deviation for one pixel."""
    minval: float
    """Pixels below are nothing."""
    minscore: float
    """What a peak of one pixel must reach."""


class Finder(Protocol):
    """Finds the peaks of a frame."""

    def __call__(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Peaks:
        """Return the peaks of `frame`.

        Parameters
        ----------
        frame
            (rows, cols), integers or floats, in counts.
        masked
            (rows, cols), True where a pixel counts as 0; None masks nothing.

        Raises
        ------
        ValueError
            `frame` is not two-dimensional, the shapes differ, or a pixel that is not masked is NaN.
        """
        ...


class ImageFinder(ABC):
    """A `Finder` that needs no image of what is masked."""

    def __call__(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Peaks:
        """Return the peaks of `frame`; see `Finder`."""
        return self.find(image_of(frame, masked))

    @abstractmethod
    def find(self, image: Image) -> Peaks:
        """Return the peaks of a frame; pixels that must not be used count as 0.

        Raises
        ------
        ValueError
            A pixel that may be used is NaN.
        """

    @property
    def lowest(self) -> int | None:
        """Counts from which a pixel matters; None where all pixels do, so that none is left out."""
        return None

    def find_bright(self, bright: Bright) -> Peaks:
        """Return the peaks of a frame of which the pixels from `lowest` up are known."""
        raise NotImplementedError


def found_by(finder: Finder, image: Image, bright: Bright | None = None) -> Peaks:
    """Return the peaks that any finder finds on a frame, of which `bright` may be all it needs."""
    if not isinstance(finder, ImageFinder):
        return finder(image.pixels, image.masked)
    return finder.find(image) if bright is None else finder.find_bright(bright)


def lowest_of(finder: Finder) -> int | None:
    """Return `ImageFinder.lowest` of any finder."""
    return finder.lowest if isinstance(finder, ImageFinder) else None


class FinderPlugin(Plugin):
    """Makes a finder; its name in the configuration is `detect.finder`."""

    slow: ClassVar[bool] = False
    """True where a frame takes so long that no other frame should wait in one message with it."""

    def make(self, minval: float, minscore: float) -> Finder:
        """Make the finder, ready to use.

        Parameters
        ----------
        minval
            Counts; pixels below count as 0.
        minscore
            Counts; persistence that a peak must reach, or what the finder takes for it.

        Raises
        ------
        UserError
            It cannot be made; the text says what to do.
        """
        raise NotImplementedError


def sorted_peaks(
    row: NDArray[np.int32], col: NDArray[np.int32], score: NDArray[np.float64]
) -> Peaks:
    """Return peaks in the order of `Peaks`, without those of score 0."""
    order = np.lexsort((col, row, -score))
    order = order[score[order] > 0]
    return Peaks(row[order], col[order], score[order])


def check_limits(minval: float, minscore: float) -> tuple[float, float]:
    """Return both thresholds as floats; ValueError where one is no number."""
    if not math.isfinite(minval) or math.isnan(minscore):
        raise ValueError(f"minval {minval} and minscore {minscore} must be numbers")
    return float(minval), float(minscore)


def check_numbers(values: NDArray[np.float64]) -> None:
    """Raise ValueError where a pixel is NaN."""
    if np.isnan(values).any():
        raise ValueError("the frame holds NaN: mask these pixels or set them to 0")


def zeroed(image: Image, minval: float) -> NDArray[np.float64]:
    """Return the frame as findpeaks is to see it."""
    # findpeaks takes the pixels of narrow frames in the order of memory.
    values = np.array(image.pixels, np.float64, order="C")
    values[image.masked] = 0.0
    check_numbers(values)
    values[values < max(minval, 0.0)] = 0.0
    return values
