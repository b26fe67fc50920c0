"""Poisson counts, fast: training is limited by how many patches can be simulated."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["draw_counts"]

_QUANTILES = ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
"""A standard normal number is one of these, drawn by 16 random bits."""
_LARGE = 16.0
"""Expected counts from which the normal approximation is used."""


def draw_counts(expected: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a count for each expected one.

    Exact below 16. Above, a normal number is given the right skewness by the first terms of the
    expansion of Cornish and Fisher and rounded: mean and variance are right to 0.1 %, and the
    probabilities are those of the Poisson distribution to a few per cent of the rarest.

    Parameters
    ----------
    expected
        Any shape, contiguous; not negative.
    rng
        Gives the seed.
    """
    counts = np.empty(expected.shape, np.float32)
    _draw(
        expected.reshape(-1), counts.reshape(-1), rng.integers(1, 2**63, 4, np.uint64), _QUANTILES
    )
    return counts


@njit(cache=True, nogil=True)
def _draw(
    expected: NDArray[np.float32],
    counts: NDArray[np.float32],
    state: NDArray[np.uint64],
    quantiles: NDArray[np.float32],
) -> None:
    a, b, c, d = state[0], state[1], state[2], state[3]
    for k in range(len(expected)):
        # xoshiro256+, Blackman and Vigna, https://doi.org/10.1145/3460772.
        bits = a + d
        shifted = b << np.uint64(17)
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = (d << np.uint64(45)) | (d >> np.uint64(19))
        mean = expected[k]
        if mean >= _LARGE:
            z = quantiles[bits >> np.uint64(48)]
            value = mean + math.sqrt(mean) * z + (z * z - np.float32(1.0)) * np.float32(1.0 / 6.0)
            counts[k] = math.floor(value + np.float32(0.5))
            continue
        # Inversion: walk up the distribution until it exceeds a uniform number.
        uniform = np.float64(bits >> np.uint64(11)) * 2.0**-53
        share = math.exp(-np.float64(mean))
        count = 0
        while uniform > share and count < 100:
            uniform -= share
            count += 1
            share *= mean / count
        counts[k] = count
