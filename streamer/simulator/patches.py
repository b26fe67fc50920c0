"""Simulated patches with one Bragg peak each, and how well such a peak can be placed at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.simulator.profiles import precision, pseudo_voigt

__all__ = ["PeakRanges", "Peaks", "cramer_rao", "draw_peaks", "draw_valid", "expected_counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakRanges:
    """What peaks are drawn from; the defaults are those that our networks are trained on."""

    amplitude: tuple[float, float] = (15.0, 20_000.0)
    """Counts above the background at the centre, uniform in the logarithm."""
    background: tuple[float, float] = (0.05, 300.0)
    """Counts per pixel, uniform in the logarithm."""
    width: tuple[float, float] = (0.7, 3.0)
    """Gaussian widths along both axes of the ellipse, in pixels; any orientation."""
    offset: float = 1.0
    """Furthest distance of the centre from that of the middle pixel along each axis, in pixels."""
    near_share: float = 0.0
    """Share of peaks whose centre is within the middle pixel."""
    voigt_share: float = 0.5
    """Share of pseudo-Voigt peaks, with any mixing from 0 to 1; the others are Gaussian."""
    edge_share: float = 0.1
    """Share of patches that leave the frame along one or both axes."""
    edge_pixels: tuple[int, int] = (0, 4)
    """Fewest and most rows or columns left beyond the middle pixel where the frame ends."""
    edge_near_share: float = 0.0
    """Share of those patches in which the centre is twice as near to the middle pixel's: a detector
    mostly finds a peak that it cuts in the pixel where the counts are highest."""
    corner_share: float = 1 / 3
    """Share of those patches that leave the frame along both axes."""
    hot_share: float = 0.1
    """Share of patches with one to four masked pixels."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Parameters of n peaks; each (n,) float64."""

    row: NDArray[np.float64]
    """Offset of the centre from that of the patch's middle pixel, in pixels."""
    col: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    """Counts above the background at the centre."""
    background: NDArray[np.float64]
    """Counts per pixel."""
    major: NDArray[np.float64]
    """Width in pixels along the axis that is turned by `angle`."""
    minor: NDArray[np.float64]
    angle: NDArray[np.float64]
    """Radians, see `streamer.simulator.profiles.precision`."""
    eta: NDArray[np.float64]
    """Mixing: 0 Gaussian, 1 Lorentzian."""

    def __len__(self) -> int:
        return len(self.row)


def draw_peaks(n: int, ranges: PeakRanges, rng: np.random.Generator) -> Peaks:
    """Draw the parameters of `n` peaks."""
    eta = rng.uniform(0.0, 1.0, n) * (rng.random(n) < ranges.voigt_share)
    reach = np.where(rng.random(n) < ranges.near_share, min(0.5, ranges.offset), ranges.offset)
    return Peaks(
        row=rng.uniform(-reach, reach),
        col=rng.uniform(-reach, reach),
        amplitude=_log_uniform(n, ranges.amplitude, rng),
        background=_log_uniform(n, ranges.background, rng),
        major=rng.uniform(*ranges.width, n),
        minor=rng.uniform(*ranges.width, n),
        angle=rng.uniform(0.0, np.pi, n),
        eta=eta,
    )


def _log_uniform(
    n: int, limits: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float64]:
    return np.exp(rng.uniform(math.log(limits[0]), math.log(limits[1]), n))


def draw_valid(
    n: int, ranges: PeakRanges, rng: np.random.Generator, size: int = 11
) -> NDArray[np.bool_]:
    """Draw (n, size, size) validity masks; the middle pixel is always valid."""
    valid = np.ones((n, size, size), np.bool_)
    middle = size // 2
    kind = rng.random(n) - ranges.edge_share
    edge = np.flatnonzero(kind < 0.0)
    hot = np.flatnonzero((kind >= 0.0) & (kind < ranges.hot_share))
    # Pixels left on the low and the high side of the middle, along rows and columns; the frame
    # ends on one side of an axis.
    left = np.full((len(edge), 2, 2), middle)
    corner = rng.random(len(edge)) < ranges.corner_share
    first = rng.integers(0, 2, len(edge))
    for axis in (0, 1):
        cut = np.flatnonzero(corner | (first == axis))
        fewest, most = ranges.edge_pixels
        most = min(most, middle - 1)
        left[cut, axis, rng.integers(0, 2, len(cut))] = rng.integers(fewest, most + 1, len(cut))
    distance = np.arange(size) - middle
    inside = (distance >= -left[:, :, :1]) & (distance <= left[:, :, 1:])
    valid[edge] = inside[:, 0, :, None] & inside[:, 1, None, :]
    # A pixel drawn twice is masked once.
    pixels = rng.integers(0, size * size, (len(hot), 4))
    wanted = np.arange(4) < rng.integers(1, 5, len(hot))[:, None]
    which, place = np.nonzero(wanted)
    valid.reshape(n, -1)[hot[which], pixels[which, place]] = False
    valid[:, middle, middle] = True
    return valid


def expected_counts(peaks: Peaks, size: int = 11) -> NDArray[np.float64]:
    """Return counts without noise, (n, size, size): the profile sampled at pixel centres."""
    counts = np.empty((len(peaks), size, size))
    _render(
        peaks.row,
        peaks.col,
        peaks.amplitude,
        peaks.background,
        peaks.major,
        peaks.minor,
        peaks.angle,
        peaks.eta,
        counts,
    )
    return counts


@njit(cache=True, nogil=True)
def _render(
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    background: NDArray[np.float64],
    major: NDArray[np.float64],
    minor: NDArray[np.float64],
    angle: NDArray[np.float64],
    eta: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> None:
    n, size, _ = counts.shape
    middle = size // 2
    for i in range(n):
        a, b, c = precision(major[i], minor[i], angle[i])
        for row in range(size):
            dy = row - middle - rows[i]
            for col in range(size):
                dx = col - middle - cols[i]
                r2 = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy
                counts[i, row, col] = background[i] + amplitude[i] * pseudo_voigt(r2, eta[i])


def cramer_rao(peaks: Peaks, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Smallest standard deviation with which an unbiased method can place Gaussian peaks.

    The bound for Poisson noise when all seven parameters are unknown (amplitude, centre, three of
    the precision matrix, background): the Fisher matrix is the sum over the valid pixels of
    ``d_i mu * d_j mu / mu`` with the expected counts ``mu``, and its inverse bounds the
    covariance. `eta` is taken as 0.

    Parameters
    ----------
    peaks
        n peaks.
    valid
        (n, size, size), False where a pixel is not used.

    Returns
    -------
    NDArray
        (n, 2) pixels, along rows and columns.
    """
    size = valid.shape[-1]
    axis = np.arange(size) - size // 2
    dy = axis[None, :, None] - peaks.row[:, None, None]
    dx = axis[None, None, :] - peaks.col[:, None, None]
    dy, dx = np.broadcast_arrays(dy, dx)
    cos, sin = np.cos(peaks.angle), np.sin(peaks.angle)
    p, q = peaks.major**-2.0, peaks.minor**-2.0
    a, b, c = (
        value[:, None, None]
        for value in (cos**2 * p + sin**2 * q, cos * sin * (p - q), sin**2 * p + cos**2 * q)
    )
    shape = np.exp(-0.5 * (a * dx**2 + 2.0 * b * dx * dy + c * dy**2))
    peak = peaks.amplitude[:, None, None] * shape
    gradient = np.stack(
        [
            peak * (b * dx + c * dy),
            peak * (a * dx + b * dy),
            shape,
            -0.5 * peak * dx**2,
            -peak * dx * dy,
            -0.5 * peak * dy**2,
            np.ones_like(peak),
        ],
        axis=-1,
    ).reshape(len(peaks), -1, 7)
    weight = (valid / (peak + peaks.background[:, None, None])).reshape(len(peaks), -1)
    fisher = np.einsum("nki,nk,nkj->nij", gradient, weight, gradient, optimize=True)
    covariance = np.linalg.inv(fisher)
    bound: NDArray[np.float64] = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)[:, :2])
    return bound
