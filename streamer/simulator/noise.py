"""Counting noise.

Almost all pixels of a frame hold a few counts, where numpy's Poisson generator takes longest. Those
are drawn from tables of the inverse distribution: several times faster for a whole frame.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["poisson"]

_LIMIT = 32
"""Means from here on are left to numpy."""
_STEPS = 32
"""Tabulated means per count; a mean between two of them draws from one or the other."""
_COUNTS = 96
"""Counts in the tables; a mean of 32 exceeds them once in 1e18 draws."""


def poisson(mean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw counts of the given means.

    Parameters
    ----------
    mean
        Any shape, not negative.
    rng
        The same generator state gives the same counts.

    Returns
    -------
    counts
        Of the same shape; whole numbers.
    """
    bits = rng.integers(0, 2**32, size=mean.shape, dtype=np.uint32)
    counts = np.empty(mean.shape, np.float32)
    _draw(mean.ravel(), bits.ravel(), *_tables(), counts.ravel())
    bright = np.flatnonzero(mean >= _LIMIT)
    counts.flat[bright] = rng.poisson(mean.flat[bright])
    return counts


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return the distribution functions in units of 2**-32, and where to start looking in them."""
    means = np.arange(_LIMIT * _STEPS + 1)[:, None] / _STEPS
    terms = np.hstack([np.exp(-means), means / np.arange(1, _COUNTS)])
    cumulative = np.cumsum(np.cumprod(terms, axis=1), axis=1) * 2.0**32
    thresholds = np.minimum(cumulative, 2.0**32 - 1).astype(np.uint32)
    thresholds[:, -1] = 2**32 - 1
    slots = (np.arange(256, dtype=np.uint32) << 24).astype(np.uint32)
    guides = np.stack([np.searchsorted(row, slots) for row in thresholds]).astype(np.uint8)
    return thresholds, guides


@njit(cache=True, nogil=True)
def _draw(mean, bits, thresholds, guides, counts):  # type: ignore[no-untyped-def]
    for i in range(mean.size):
        if mean[i] < _LIMIT:
            # Rounded up as often as it takes for the mean to stay what it is; the low bits are
            # as good as independent of the high ones that decide the count.
            level = int(mean[i] * _STEPS + (bits[i] & 0xFF) / 256.0)
            count = int(guides[level, bits[i] >> 24])
            while bits[i] > thresholds[level, count]:
                count += 1
            counts[i] = count
