"""Peaks of a frame as findpeaks' topology method gives them, at the speed of a detector.

A peak is a class of the 0-dimensional persistent homology of the frame's superlevel sets: as the
level falls, a component of the pixels above it is born at a local maximum, and dies where it meets
a component that was born higher. Its score is the height it lived through. Components are
8-connected; pixels below `minval` count as 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.detect.base import (
    ImageFinder,
    Peaks,
    check_limits,
    check_numbers,
    sorted_peaks,
    zeroed,
)
from workers.detect.bright import Bright
from workers.detect.image import Image, image_of, in_one_layout
from workers.detect.superlevels import collect, merge

__all__ = ["TopologyFinder"]

_EPS = float(np.finfo(np.float64).eps)
# How the kernel reads an integer frame, by type character: converted to the first type and seen as
# the second, which puts negative values above the highest level. All else is float64.
_INTEGERS = {
    char: (np.dtype(read), np.dtype(seen), int(np.iinfo(char).max))
    for char, read, seen in (
        ("B", "u2", "u2"),
        ("H", "u2", "u2"),
        ("b", "i2", "u2"),
        ("h", "i2", "u2"),
        ("i", "i4", "u4"),
        ("I", "u4", "u4"),
    )
}


class TopologyFinder(ImageFinder):
    """Finds exactly the peaks of `FindpeaksFinder`, thousands of times faster.

    Working memory stays for the next frame of the same shape, about 80 bytes for each pixel that
    takes part. An object must not be called by two threads at once; give each its own.

    Integers of 64 bits are taken as float64, as findpeaks does. An infinite pixel is a level like
    any other: a class that is born at +inf and dies below has score inf, one that dies at +inf is
    left out, and -inf counts as 0.

    Parameters
    ----------
    minval
        Counts; pixels below, and negative ones, count as 0.
    minscore
        Counts; peaks with a smaller score are left out, and so are those with score 0.

    Raises
    ------
    ValueError
        `minval` is not finite, or `minscore` is NaN.
    """

    def __init__(self, minval: float, minscore: float) -> None:
        self.minval, self.minscore = check_limits(minval, minscore)
        self._lowest = max(1, math.ceil(self.minval))
        self._least = max(1, math.ceil(min(self.minscore, 2.0**32)))
        self._shape: tuple[int, ...] = ()

    def find(self, image: Image) -> Peaks:
        """Return the peaks of a frame; see `ImageFinder`."""
        frame = image.pixels
        if frame.shape != self._shape:
            self._allocate(*frame.shape)
        if frame.shape[1] <= 2:
            return self._narrow(image)
        kind = _INTEGERS.get(frame.dtype.char)
        if kind is None:
            return self._floats(image)
        read, seen, most = kind
        highest = min(int(image.highest), most)
        if self._lowest > highest:
            return self._copied(0)
        pixels, low = in_one_layout(frame, read).view(seen), self._lowest
        count = collect(pixels, low, highest, image.bad, self._search, self._kept, self._level)
        return self._copied(self._merge(self._kept, self._level, count, self._least))

    @property
    def lowest(self) -> int:
        """Counts from which a pixel of integers matters."""
        return self._lowest

    def find_bright(self, bright: Bright) -> Peaks:
        """Return the peaks of a frame; see `ImageFinder`."""
        if bright.pixels.shape != self._shape:
            self._allocate(*bright.pixels.shape)
        return self._copied(self._merge(bright.index, bright.level, bright.count, self._least))

    def sparse(
        self,
        shape: tuple[int, int],
        index: NDArray[np.int64],
        value: NDArray[np.float64],
        whole: bool,
    ) -> Peaks:
        """Return the peaks of a frame of which all pixels but a few are 0.

        Parameters
        ----------
        index, value
            (n,), raster indices, rising, and counts above 0 and not below `minval`.
        whole
            Whether the counts are whole numbers, below 2^32.
        """
        if shape != self._shape:
            self._allocate(*shape)
        if shape[1] <= 2:
            frame = np.zeros(shape)
            frame.ravel()[index] = value
            return self._narrow(image_of(frame))
        count = len(index)
        self._kept[:count] = index + 2 * (index // shape[1]) + shape[1] + 3
        if whole:
            return self._copied(
                self._merge(self._kept, value.astype(np.uint32), count, self._least)
            )
        found = self._merge(self._kept, _ranks(value + index * _EPS), count, 1)
        self._flat[index] = value
        peaks = self._settled(found, self._flat)
        self._flat[index] = 0.0
        return peaks

    def _floats(self, image: Image) -> Peaks:
        image = image.astype(np.dtype(np.float64))
        frame = image.pixels
        lowest = max(self.minval, math.nextafter(0.0, 1.0))
        count = collect(frame, lowest, math.inf, image.bad, self._search, self._kept, self._value)
        values = self._value[:count]
        check_numbers(values)
        row, col = np.divmod(self._kept[:count].astype(np.int64), frame.shape[1] + 2)
        noise = ((row - 1) * frame.shape[1] + col - 1) * _EPS
        found = self._merge(self._kept, _ranks(values + noise), count, 1)
        return self._settled(found, frame.ravel())

    def _narrow(self, image: Image) -> Peaks:
        # The rule for one or two columns can lower a pixel below 0, where findpeaks does not look,
        # and of components that no pixel joins it knows the first alone.
        flat = zeroed(image, self.minval).ravel()
        distinct = _distinct(flat)
        rows, cols = image.pixels.shape
        taking_part = np.flatnonzero(distinct >= 0.0)
        with_margin = np.arange((rows + 2) * (cols + 2)).reshape(rows + 2, cols + 2)
        self._kept[: len(taking_part)] = with_margin[1:-1, 1:-1].ravel()[taking_part]
        found = self._merge(self._kept, _ranks(distinct[taking_part]), len(taking_part), 1)
        return self._settled(found, flat, first_alone=True)

    def _allocate(self, rows: int, cols: int) -> None:
        size = rows * cols
        if (rows + 2) * (cols + 2) >= 2**32:
            raise ValueError(f"a frame of {rows} x {cols} pixels is too large")
        # Two maxima are never neighbours. Lists have room for an entry that does not count.
        maxima = ((rows + 1) // 2) * ((cols + 1) // 2) + 1
        words = np.zeros((cols + 7) // 8, np.uint64)
        self._search = words.view(np.uint8), words, np.empty(len(words), np.int64)
        self._kept = np.empty(size + 1, np.uint32)
        self._level = np.empty(size, np.uint32)
        self._value = np.empty(size, np.float64)
        self._flat = np.zeros(size, np.float64)
        self._work = (
            np.empty(size + 1, np.uint64),
            np.empty(size, np.uint32),
            np.empty(size, np.uint32),
            np.empty(size, np.uint64),
            np.empty(size, np.uint32),
            np.empty((size, 4), np.uint32),
            np.empty(maxima, np.uint32),
            np.empty(maxima, np.uint64),
            np.empty(size, np.uint64),
            np.zeros(3 * (cols + 2), np.uint64),
        )
        self._found = (
            np.empty(maxima, np.int32),
            np.empty(maxima, np.int32),
            np.empty(maxima, np.float64),
            np.empty(maxima, np.int64),
        )
        self._shape = rows, cols

    def _merge(
        self, kept: NDArray[np.uint32], levels: NDArray[np.uint32], count: int, least: int
    ) -> int:
        stride = self._shape[1] + 2
        found: int = merge(kept, levels, count, stride, least, self._work, self._found)
        return found

    def _copied(self, found: int) -> Peaks:
        row, col, score, _ = self._found
        return Peaks(row[:found].copy(), col[:found].copy(), score[:found].copy())

    def _settled(self, found: int, flat: NDArray[Any], first_alone: bool = False) -> Peaks:
        """Return the classes with a score by value."""
        row, col, _, end = (array[:found] for array in self._found)
        start = row.astype(np.int64) * self._shape[1] + col
        with np.errstate(invalid="ignore"):
            score = flat[start].astype(np.float64) - np.where(end < 0, 0.0, flat[end])
        keep = score >= self.minscore
        if first_alone:
            # Classes come by falling score: the first is the one that was born highest.
            keep[1:] &= end[1:] >= 0
        return sorted_peaks(row[keep], col[keep], score[keep])


def _distinct(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values by which findpeaks orders the pixels of frames of one or two columns.

    A value that has come before is lowered, float by float, to one that has not.
    """
    distinct = np.empty_like(values)
    below: dict[float, float] = {}
    for index, value in enumerate(values.tolist()):
        taken = []
        while value in below and math.isfinite(value):
            taken.append(value)
            value = below[value]
        distinct[index] = value
        for other in (value, *taken):
            below[other] = math.nextafter(value, -math.inf)
    return distinct


def _ranks(values: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return 1 for the lowest value, 2 for the next; equal values count as rising."""
    ranks = np.empty(len(values), np.uint32)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks
