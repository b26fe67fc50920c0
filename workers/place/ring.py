"""The background of a patch, told by rings around its peak."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "N_PAIRS",
    "Sectors",
    "level_of",
    "lowest_within",
    "ring_width",
    "sectors_of",
    "slope_of",
]

Sectors = NDArray[np.int8]
"""(size, size), to which pair of opposite sectors a pixel belongs: 0 to 7 on the outermost ring, 8
to 15 on the one within, -1 nearer to the middle."""

N_PAIRS = 8
"""Pairs of opposite sectors of a ring. A fringe or a neighbour lies in some of them; a slope is in
none, since it cancels."""
_SECOND_OF = np.array([np.nan, np.nan, np.nan, 0.0, -0.297, -0.495, -0.642, -0.757, -0.852])
"""Expected second lowest of so many normal numbers."""
_HIGH, _LOW = 2.0, 4.0
"""Standard deviations by which a pair may be above and below the others."""
_ROUNDS = 8


def ring_width(size: int) -> int:
    """Return the pixels across a ring of a patch of `size` x `size` pixels."""
    return (size + 5) // 10


def sectors_of(size: int) -> Sectors:
    """Return which pixels of a patch of `size` x `size` pixels are of which sectors."""
    away = np.arange(size) - size // 2
    row, col = np.meshgrid(away, away, indexing="ij")
    pair = np.rint(np.arctan2(row, col) * N_PAIRS / np.pi).astype(np.int8) % N_PAIRS
    ring = (size // 2 - np.maximum(np.abs(row), np.abs(col))) // ring_width(size)
    return np.where(ring < 2, pair + N_PAIRS * ring, -1).astype(np.int8)


@njit(cache=True, nogil=True)
def level_of(
    patch: NDArray[np.float32],
    usable: NDArray[np.bool_],
    sectors: Sectors,
    gain: float,
    read_variance: float,
    is_clean: NDArray[np.bool_],
) -> tuple[float, float]:
    """Return the background in counts per pixel and its variance; NaN where it is not seen.

    It is the mean of those pairs of opposite sectors of the outermost ring that nothing stands on.
    Where they differ by more than their noise, so does the variance. `is_clean`, (N_PAIRS,),
    becomes which they are.
    """
    count, total = _pairs(patch, usable, sectors, 0)
    is_clean[:] = False
    seen = np.flatnonzero(count > 0.0)
    if len(seen) < 3:
        return math.nan, math.nan
    mean = total[seen] / count[seen]
    # What stands on the ring only adds: a low pair is nearest to what is below.
    second = np.argsort(mean)[1]
    few = count[seen[second]]
    spread = math.sqrt(_variance(mean[second], few, gain, read_variance) / few)
    level = mean[second] - _SECOND_OF[len(seen)] * spread
    chi2, n_clean, n_pixels = 0.0, 0, 0.0
    for _ in range(_ROUNDS):
        before, n_before = level, n_clean
        chi2, n_clean, n_pixels, counts = 0.0, 0, 0.0, 0.0
        for pair in seen:
            n = count[pair]
            off = total[pair] / n - before
            spread = math.sqrt(_variance(before, n, gain, read_variance) / n)
            high = _HIGH + gain / n / spread
            is_clean[pair] = -_LOW * spread <= off <= high * spread
            if is_clean[pair]:
                n_clean, n_pixels = n_clean + 1, n_pixels + n
                counts += total[pair] + n * spread * _taken(high)
                chi2 += (off / spread) ** 2
        if n_clean < 2:
            return math.nan, math.nan
        level = counts / n_pixels
        if level == before and n_clean == n_before:
            break
    uneven = max(1.0, chi2 / (n_clean - 1))
    return level, uneven * _variance(level, n_pixels, gain, read_variance) / n_pixels


@njit(cache=True, nogil=True)
def lowest_within(
    patch: NDArray[np.float32],
    usable: NDArray[np.bool_],
    sectors: Sectors,
    gain: float,
    read_variance: float,
) -> tuple[float, float]:
    """Return the level of the lowest pair of sectors of the second ring, and its variance."""
    lowest, variance = math.nan, math.nan
    count, total = _pairs(patch, usable, sectors, 1)
    for pair in range(N_PAIRS):
        n = count[pair]
        if n > 0.0 and not total[pair] / n >= lowest:
            lowest = total[pair] / n
            variance = _variance(lowest, n, gain, read_variance) / n
    return lowest, variance


@njit(cache=True, nogil=True)
def slope_of(
    patch: NDArray[np.float32],
    usable: NDArray[np.bool_],
    sectors: Sectors,
    is_clean: NDArray[np.bool_],
    level: float,
    gain: float,
    read_variance: float,
) -> tuple[float, float, float, float]:
    """Return the slope along rows and columns, in counts per pixel, and the variances of both.

    It is told by the clean pairs of the outermost ring. Noise makes a slope too, so that as much
    is taken off as is to be expected of it; what is no more than noise becomes 0. What is taken off
    may have been a slope: it counts in the variance.
    """
    size = patch.shape[0]
    middle = size // 2
    rr = rc = cc = xr = xc = n = 0.0
    for i in range(size):
        for j in range(size):
            pair = sectors[i, j]
            if 0 <= pair < N_PAIRS and is_clean[pair]:
                if usable[i, j] and usable[size - 1 - i, size - 1 - j]:
                    r, c = i - middle, j - middle
                    rr, rc, cc, n = rr + r * r, rc + r * c, cc + c * c, n + 1.0
                    xr += (patch[i, j] - level) * r
                    xc += (patch[i, j] - level) * c
    determinant = rr * cc - rc * rc
    if not determinant > 1e-6 * rr * cc:
        return 0.0, 0.0, 0.0, 0.0
    row, col = (cc * xr - rc * xc) / determinant, (rr * xc - rc * xr) / determinant
    variance = _variance(level, n, gain, read_variance)
    share = max(0.0, 1.0 - 2.0 * variance / max(row * xr + col * xc, 1e-300))
    scale = share * variance / determinant
    # With half of the square, sigmas are honest on flat and on sloping ground, within a tenth.
    off = 0.5 * (1.0 - share) ** 2
    return share * row, share * col, scale * cc + off * row**2, scale * rr + off * col**2


@njit(cache=True, nogil=True)
def _variance(level: float, n: float, gain: float, read_variance: float) -> float:
    """Variance of a pixel; of `n` that have counted nothing, as if there had been one photon."""
    return gain * max(level, gain / n) + read_variance


@njit(cache=True, nogil=True)
def _pairs(
    patch: NDArray[np.float32], usable: NDArray[np.bool_], sectors: Sectors, ring: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pixels and counts of each pair of a ring, of pixels whose opposite is usable too."""
    size = patch.shape[0]
    count, total = np.zeros((2, N_PAIRS))
    for i in range(size):
        for j in range(size):
            pair = sectors[i, j] - N_PAIRS * ring
            if 0 <= pair < N_PAIRS and usable[i, j] and usable[size - 1 - i, size - 1 - j]:
                count[pair] += 1.0
                total[pair] += patch[i, j]
    return count, total


@njit(cache=True, nogil=True)
def _taken(high: float) -> float:
    """Return by how much leaving out what is above `high` lowers the mean, normal numbers."""
    below = 0.5 * (1.0 + math.erf(high / math.sqrt(2.0)))
    return math.exp(-0.5 * high * high) / (math.sqrt(2.0 * math.pi) * below)
