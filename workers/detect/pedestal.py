"""What was subtracted from a frame before it came, from the scatter that it left behind."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.detect.image import Image
from workers.detect.usable import unusable

__all__ = ["subtracted"]

_REACH = 20
"""Pixels on each side of a peak that are looked at: their scatter tells a variance to a tenth."""
_FEWEST = 200
_TO_SIGMA = 1.0 / (0.6745 * np.sqrt(2.0))
"""From the middle of absolute differences of two pixels to a standard deviation."""
_ALIKE = 0.15
"""Share of the variance by which half of the places may differ from all of them by chance."""


def subtracted(
    image: Image,
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    gain: float,
    read_noise: float,
) -> NDArray[np.float64]:
    """Return (n,), the counts that lack around each peak for its pixels to scatter as they do.

    They are the same for all peaks where that may be, as those of a pedestal are; those of a dark
    image or of a background that was fitted are not. 0 where too little is seen.

    Parameters
    ----------
    rows, cols
        (n,), the peaks, at least one.
    """
    level, spread = _around(*image, rows, cols)
    expected = (spread**2 - read_noise**2) / gain
    lacking = expected - level
    if np.isnan(lacking).all():
        return np.zeros(len(rows))
    common = np.nanmedian(lacking)
    apart = np.nanmedian(np.abs(lacking - common) / np.maximum(expected, 1e-9))
    return np.asarray(np.where(np.isnan(lacking) | (apart <= _ALIKE), common, lacking))


@njit(cache=True, nogil=True)
def _around(frame, bad, least, most, rows, cols):  # type: ignore[no-untyped-def]
    """Return level and standard deviation around each peak, NaN where too few pixels are seen.

    Pixels are compared with their neighbours, and a slope makes all of these differ alike.
    """
    n = len(rows)
    level, spread = np.full(n, np.nan), np.full(n, np.nan)
    size = 2 * _REACH + 1
    values, steps = np.empty(size * size), np.empty(size * size)
    for k in range(n):
        used = 0
        for r in range(max(rows[k] - _REACH, 0), min(rows[k] + _REACH + 1, frame.shape[0]), 2):
            for c in range(max(cols[k] - _REACH, 0), min(cols[k] + _REACH, frame.shape[1] - 1)):
                if not (
                    unusable(frame, bad, least, most, r, c)
                    or unusable(frame, bad, least, most, r, c + 1)
                ):
                    values[used] = frame[r, c]
                    steps[used] = float(frame[r, c + 1]) - float(frame[r, c])
                    used += 1
        if used >= _FEWEST:
            level[k] = np.median(values[:used])
            slope = np.median(steps[:used])
            spread[k] = _TO_SIGMA * np.median(np.abs(steps[:used] - slope))
    return level, spread
