"""The pixels of a frame that stand above its background, in counts above it.

Where many do, in blocks side by side, there is a structure that the coarse `Background` does not
follow: a powder ring, the steep foot of a halo. Each of their pixels is then held against its own
surroundings.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.detect.background import BLOCK, Background, cells, level_at, line_of, low_at, spread_at
from workers.detect.image import Image
from workers.detect.surroundings import DIRECTIONS, box_means, box_memory, local_level
from workers.detect.usable import unusable

__all__ = ["Flattener", "Pixels"]

_BAND = 32
"""Rows that share a line of limits."""
_SHARE = 32
"""Columns that share a limit."""
_CROWD = 100
"""Pixels of a block above which, with two blocks beside it, there may be a structure."""
_LOW = 3.2
_ONE, _NEXT = np.uint64(1), np.uint32(1)
_ONES = np.uint64(0x0101010101010101)
_LAST_BYTE = np.uint64(56)

Pixels = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Raster indices, rising, and counts above the background."""


class Flattener:
    """Takes the background off frames; keeps its memory for the next frame of the same shape."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()

    def __call__(self, image: Image, background: Background) -> Pixels:
        """Return the pixels above the background.

        Raises
        ------
        ValueError
            A pixel that is not masked is NaN.
        """
        frame = image.pixels
        if frame.shape != self._shape:
            self._allocate(*frame.shape)
        whole = frame.dtype.kind in "iu"
        limits = np.empty(frame.shape[1], frame.dtype)
        info = np.iinfo(frame.dtype.name) if whole else None
        lowest, highest = (float(info.min), float(info.max)) if info else (-math.inf, math.inf)
        count = _above(
            *image,
            background,
            whole,
            limits,
            lowest,
            highest,
            self._search,
            self._crowd,
            self._index,
            self._value,
        )
        if count < 0:
            raise ValueError("the frame holds NaN: mask these pixels or set them to 0")
        count = _follow(*image, background, whole, self._crowd, self._index, self._value, count)
        return self._index[:count], self._value[:count]

    def _allocate(self, rows: int, cols: int) -> None:
        words = np.zeros((cols + 7) // 8, np.uint64)
        self._search = words.view(np.uint8), words, np.empty(len(words), np.int64)
        self._index = np.empty(rows * cols, np.int64)
        self._value = np.empty(rows * cols, np.float64)
        self._crowd = np.empty((-(-rows // BLOCK), -(-cols // BLOCK)), np.int64)
        self._shape = rows, cols


@njit(cache=True, nogil=True)
def _above(  # type: ignore[no-untyped-def]
    frame, bad, least, most, background, whole, limits, lowest, highest, search, crowd, index, value
):
    """List the pixels that are not below `low_at`; see `workers.detect.superlevels.collect`."""
    hits, words, hit_words = search
    rows, cols = frame.shape
    level, low, pitch = background.level, background.low, background.pitch
    cell, part = np.empty(cols, np.uint32), np.empty(cols)
    cells(pitch[1], level.shape[1], cell, part)
    levels, lows = np.empty(level.shape[1] + 1), np.empty(level.shape[1] + 1)
    crowd[:] = 0
    count, first = 0, 0
    while first < rows:
        last = _band_end(background, first, rows)
        _limits(background, first, last - 1, whole, limits, lowest, highest)
        for row in range(first, last):
            line = frame[row]
            for col in range(cols):
                hits[col] = not ((line[col] < limits[col]) | (line[col] > most))
            n_words = 0
            for word_at in range(words.size):
                hit_words[n_words] = word_at
                n_words += words[word_at] != 0
            if n_words:
                line_of(level, row, pitch[0], levels)
                line_of(low, row, pitch[0], lows)
            for word_at in hit_words[:n_words]:
                word = words[word_at]
                while word:
                    others = word & (word - _ONE)
                    below = (((word ^ others) - _ONE) & _ONES) * _ONES >> _LAST_BYTE
                    word = others
                    col = 8 * word_at + np.intp(below)
                    if unusable(frame, bad, least, most, row, col):
                        continue
                    pixel = float(line[col])
                    if math.isnan(pixel):
                        return -1
                    j, right = cell[col], part[col]
                    if pixel < lows[j] + right * (lows[j + _NEXT] - lows[j]):
                        continue
                    here = levels[j] + right * (levels[j + _NEXT] - levels[j])
                    index[count] = row * cols + col
                    value[count] = pixel - (math.floor(here + 0.5) if whole else here)
                    crowd[row // BLOCK, col // BLOCK] += 1
                    count += 1
        first = last
    return count


@njit(cache=True, nogil=True)
def _band_end(background, first, rows):  # type: ignore[no-untyped-def]
    """Return where a band ends: after so many rows, or at a middle, where slopes change."""
    pitch = background.pitch[0]
    block = math.floor((first + 0.5) / pitch - 0.5) + 1
    middle = math.ceil((block + 0.5) * pitch - 0.5)
    end = min(first + _BAND, rows)
    if 0 < block < background.level.shape[0] - 1 and first < middle < end:
        end = middle
    return end


@njit(cache=True, nogil=True)
def _limits(background, first, last, whole, limits, lowest, highest):  # type: ignore[no-untyped-def]
    """Write for each column what no pixel of a band's rows may be below to be something."""
    nodes, (_, pitch) = background.low, background.pitch
    cells = max(nodes.shape[1] - 1, 1)
    for cell in range(cells):
        begin = 0 if cell == 0 else math.ceil((cell + 0.5) * pitch - 0.5)
        end = len(limits) if cell == cells - 1 else math.ceil((cell + 1.5) * pitch - 0.5)
        # Between its ends a straight line is not below both: a few columns share a limit.
        for col in range(begin, end, _SHARE):
            last_col = min(col + _SHARE, end) - 1
            limit = min(
                min(low_at(background, first, col), low_at(background, first, last_col)),
                min(low_at(background, last, col), low_at(background, last, last_col)),
            )
            # What is decided here is decided again, exactly.
            limit -= 1e-6 * abs(limit)
            if whole:
                limit = min(max(math.ceil(limit), lowest), highest)
            limits[col : last_col + 1] = limit


@njit(cache=True, nogil=True)
def _follow(frame, bad, least, most, background, whole, crowd, index, value, count):  # type: ignore[no-untyped-def]
    """Hold the pixels of crowded blocks against their own surroundings; return how many stay."""
    rows, cols = frame.shape
    n_rows, n_cols = crowd.shape
    structured = np.zeros((n_rows, n_cols), np.bool_)
    some = False
    for r in range(n_rows):
        for c in range(n_cols):
            if crowd[r, c] > _CROWD:
                near = crowd[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
                structured[r, c] = (near > _CROWD).sum() > 2
                some |= structured[r, c]
    if not some:
        return count
    boxes = np.empty((rows, cols), np.float32)
    memory = box_memory(BLOCK, BLOCK)
    for r in range(n_rows):
        for c in range(n_cols):
            if structured[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].any():
                top, left = r * BLOCK, c * BLOCK
                part = box_means(frame, bad, least, most, top, left, memory)
                last_row, last_col = min(top + BLOCK, rows), min(left + BLOCK, cols)
                boxes[top:last_row, left:last_col] = part[: last_row - top, : last_col - left]
    directions = np.empty((2, DIRECTIONS))
    kept = 0
    for i in range(count):
        row, col = index[i] // cols, index[i] % cols
        if structured[row // BLOCK, col // BLOCK]:
            coarse, spread = level_at(background, row, col), spread_at(background, row, col)
            level, doubt = local_level(boxes, row, col, coarse, spread, directions)
            pixel = float(frame[row, col])
            variance = spread * spread + background.gain * max(level - coarse, 0.0)
            above = _LOW * math.sqrt(variance + max(doubt, 0.0) ** 2)
            if pixel < level + (max(above, 1.0) if whole else above):
                continue
            value[i] = pixel - (math.floor(level + 0.5) if whole else level)
        index[kept], value[kept] = index[i], value[i]
        kept += 1
    return kept
