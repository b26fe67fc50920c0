"""Cutting the surroundings of peaks out of a frame, with what is known of their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import EDGE, MASKED, NEIGHBOUR, POOR_FIT, SATURATED
from workers.detect.image import Image, Saturation
from workers.detect.usable import unusable

__all__ = ["Patches", "cut_patches", "with_noise_of"]

_LEAST_SPREAD = 0.1
"""Share of its height that a peak must reach on one of the pixels around its highest. The sharpest
that a pixel detector sees, 0.5 px wide and centred on a pixel, has 0.14; a hot pixel has none."""


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of the peaks of one frame."""

    counts: NDArray[np.float32]
    """(n, size, size), counts of the unthresholded frame; 0 outside of it and where masked."""
    valid: NDArray[np.bool_]
    """(n, size, size), False outside the frame and where a pixel is masked or saturated."""
    flags: NDArray[np.int32]
    """(n,), sums of `streamer.frames.flags`."""
    intensity: NDArray[np.float64]
    """(n,), counts in the valid pixels above the median of the patch's border."""


def cut_patches(
    image: Image,
    saturation: Saturation,
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    size: int,
) -> Patches:
    """Cut a patch of `size` x `size` pixels around each peak.

    Parameters
    ----------
    image, saturation
        Counts, not thresholded, and which of them hold all they can.
    rows, cols
        (n,), the pixel that is the middle of each patch.
    size
        Odd number of pixels.
    """
    n = len(rows)
    patches = Patches(
        np.empty((n, size, size), np.float32),
        np.empty((n, size, size), np.bool_),
        np.empty(n, np.int32),
        np.empty(n, np.float64),
    )
    _cut(
        *image,
        saturation,
        rows,
        cols,
        np.argsort(rows, kind="stable"),
        patches.counts,
        patches.valid,
        patches.flags,
        patches.intensity,
    )
    return patches


def with_noise_of(
    patches: Patches, shift: NDArray[np.float64], scale: NDArray[np.float64]
) -> Patches:
    """Return patches whose counts scatter as those of the detector do.

    What was subtracted from a frame took no noise away, and a factor takes some along. A fit that
    reckons with the noise of what it sees needs the counts as they were; where a peak stands does
    not depend on it.

    Parameters
    ----------
    shift
        (n,), counts to add to the pixels of each patch after that.
    scale
        (n,), factor for them.
    """
    counts = patches.counts * scale[:, None, None] + shift[:, None, None]
    return replace(patches, counts=counts.astype(np.float32))


@njit(cache=True, nogil=True)
def _cut(  # type: ignore[no-untyped-def]
    frame, bad, least, most, saturation, rows, cols, order, counts, valid, flags, intensity
):
    size = counts.shape[1]
    half = size // 2
    sent, full, binning = saturation
    height, width = frame.shape
    border, reached = np.empty(4 * size, np.float32), np.empty(4 * size, np.float32)
    sums = np.empty(size)
    for k in order:
        top, left = rows[k] - half, cols[k] - half
        flag, total, used, on_border = 0, 0.0, 0, 0
        first_row, last_row = max(-top, 0), min(height - top, size)
        first_col, last_col = max(-left, 0), min(width - left, size)
        outside = last_row - first_row < size or last_col - first_col < size
        if outside:
            flag |= EDGE
            counts[k], valid[k] = 0.0, False
        alone = size == 1  # its own border
        if not (outside or alone) and _copy(frame, bad, least, most, top, left, counts[k], sums):
            total, used, on_border = sums.sum(), size * size, 4 * size - 4
            for i in range(size - 1):
                border[4 * i], border[4 * i + 1] = counts[k, 0, i], counts[k, size - 1, i + 1]
                border[4 * i + 2], border[4 * i + 3] = counts[k, i + 1, 0], counts[k, i, size - 1]
            valid[k] = True
            if full < math.inf and _mark(sent, full, binning, top, left, valid[k]):
                flag |= SATURATED
            first_row = last_row
        for i in range(first_row, last_row):
            y = top + i
            for j in range(first_col, last_col):
                x = left + j
                if unusable(frame, bad, least, most, y, x):
                    flag |= MASKED
                    counts[k, i, j], valid[k, i, j] = 0.0, False
                    continue
                value = np.float32(frame[y, x])
                counts[k, i, j] = value
                # Of a full pixel nobody knows more than that it holds at least as much.
                is_full = full < math.inf and _is_full(sent, full, binning, y, x)
                valid[k, i, j] = not is_full
                if is_full:
                    flag |= SATURATED
                total += float(value)
                used += 1
                if i == 0 or i == size - 1 or j == 0 or j == size - 1:
                    border[on_border] = value
                    on_border += 1
        low, high, floor = _quantiles(border, on_border, reached)
        background = float(low) if on_border % 2 else (low + high) / 2
        intensity[k] = total - used * background
        beside = 0.0
        for i in range(max(half - 1, 0), min(half + 2, size)):
            for j in range(max(half - 1, 0), min(half + 2, size)):
                y, x = top + i, left + j
                inside = 0 <= y < height and 0 <= x < width
                if (
                    inside
                    and not unusable(frame, bad, least, most, y, x)
                    and not (i == half and j == half)
                ):
                    beside = max(beside, float(counts[k, i, j]) - floor)
        if beside < _LEAST_SPREAD * (float(counts[k, half, half]) - floor):
            flag |= POOR_FIT
        flags[k] = flag
    _flag_neighbours(rows, cols, order, half, flags)


@njit(cache=True, nogil=True, forceinline=True)
def _copy(frame, bad, least, most, top, left, counts, sums):  # type: ignore[no-untyped-def]
    """Copy a patch and sum its columns, a row at a time; tell whether all of it may be used."""
    size = counts.shape[0]
    sums[:] = 0.0
    n_bad = 0
    for i in range(size):
        line, into = frame[top + i, left : left + size], counts[i]
        for j in range(size):
            n_bad += (line[j] < least) | (line[j] > most)
            into[j] = line[j]
            sums[j] += into[j]
    if bad.size:
        for i in range(size):
            for j in range(size):
                n_bad += bad[top + i, left + j]
    return n_bad == 0


@njit(cache=True, nogil=True, forceinline=True)
def _mark(counts, least, n, top, left, valid):  # type: ignore[no-untyped-def]
    """Clear `valid` where a pixel holds all it can; tell whether one does."""
    size = valid.shape[0]
    n_full = 0
    for i in range(size):
        if n == 1:
            line = counts[top + i, left : left + size]
            for j in range(size):
                n_full += float(line[j]) >= least
        else:
            for j in range(size):
                n_full += _is_full(counts, least, n, top + i, left + j)
    if n_full:
        for i in range(size):
            for j in range(size):
                valid[i, j] = not _is_full(counts, least, n, top + i, left + j)
    return n_full > 0


@njit(cache=True, nogil=True)
def _quantiles(values, count, reached):  # type: ignore[no-untyped-def]
    """Return both middle ones of the first few dozen numbers, and that above the lowest quarter.

    Counting how many each reaches takes no guesses, of which sorting gets many wrong. Of no numbers
    all three are 0. A neighbour lifts the median of a border, hardly its lowest quarter.
    """
    if count == 0:
        return np.float32(0.0), np.float32(0.0), np.float32(0.0)
    one, zero, most = np.float32(1.0), np.float32(0.0), np.float32(math.inf)
    for j in range(count):
        reached[j] = zero
    for i in range(count):
        value = values[i]
        for j in range(count):
            reached[j] += one if value <= values[j] else zero
    low = high = floor = most
    for j in range(count):
        value, n = values[j], reached[j]
        low = min(low, value if n > (count - 1) // 2 else most)
        high = min(high, value if n > count // 2 else most)
        floor = min(floor, value if n > count // 4 else most)
    return low, high, floor


@njit(cache=True, nogil=True, forceinline=True)
def _is_full(counts, least, n, row, col):  # type: ignore[no-untyped-def]
    """Tell whether a pixel, or one of those that were summed to it, holds all it can."""
    if n == 1:
        return float(counts[row, col]) >= least
    for r in range(row * n, row * n + n):
        for c in range(col * n, col * n + n):
            if float(counts[r, c]) >= least:
                return True
    return False


@njit(cache=True, nogil=True)
def _flag_neighbours(rows, cols, order, half, flags):  # type: ignore[no-untyped-def]
    """Flag peaks with another within `half` pixels; `order` is that of their rows."""
    n = len(order)
    for i in range(n):
        row, col = rows[order[i]], cols[order[i]]
        for step in (-1, 1):
            j = i + step
            while 0 <= j < n and abs(rows[order[j]] - row) <= half:
                if abs(cols[order[j]] - col) <= half:
                    flags[order[i]] |= NEIGHBOUR
                    break
                j += step
            if flags[order[i]] & NEIGHBOUR:
                break
