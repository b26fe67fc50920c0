"""Patches to learn from, with what is to be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamer.simulator.noise import poisson
from streamer.simulator.patches import PeakRanges, Peaks, draw_peaks, draw_valid, expected_counts
from workers.place.fit.methods import Noise
from workers.place.network.normalisation import FLIP_COLS, FLIP_ROWS, SWAP, Inputs, prepare

__all__ = ["Examples", "draw_examples", "join", "measured_examples", "noisy_counts", "simulate"]

_SPOILT_SHARE = 0.15
"""Share of patches that get something beside the peak."""
_NOTICEABLE = 30.0
"""Least sum of (excess counts)**2 / (variance of the counts) of what makes a patch spoilt."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Patches and what is known about them; n of each."""

    inputs: Inputs
    offsets: NDArray[np.float32]
    """(n, 2) pixels, row and column from the middle, in the turned image."""
    spoilt: NDArray[np.bool_]
    """(n,), where the patch does not hold one clean peak."""
    measured: NDArray[np.bool_]
    """(n,), where `offsets` are not the truth but what a fit made of the same counts. They share
    their error with the counts, so that a network's distance from them says nothing about its own
    error: no standard deviation may be learnt from it."""


def draw_examples(
    n: int, size: int, ranges: PeakRanges, rng: np.random.Generator, noise: Noise | None = None
) -> Examples:
    """Simulate `n` patches of (size, size) pixels; see `simulate` for the noise."""
    peaks = draw_peaks(n, ranges, rng)
    valid = draw_valid(n, ranges, rng, size)
    # A patch that lacks a whole row or column leaves the frame.
    cut = (~valid).sum(axis=(1, 2)) >= size
    near = cut & (rng.random(n) < ranges.edge_near_share)
    reach = np.where(near, 0.5, 1.0)
    peaks = replace(peaks, row=reach * peaks.row, col=reach * peaks.col)
    return simulate(peaks, expected_counts(peaks, size), valid, rng, noise)


def simulate(
    peaks: Peaks,
    expected: NDArray[np.float64],
    valid: NDArray[np.bool_],
    rng: np.random.Generator,
    noise: Noise | None = None,
) -> Examples:
    """Spoil some of n peaks and draw the counts of all.

    Parameters
    ----------
    peaks
        The truth.
    expected
        (n, size, size), their counts without noise; changed in place where something is added.
    valid
        Same shape, False where a pixel must not be used.
    noise
        Of the detector; a photon counter unless said otherwise.
    """
    noise = noise or Noise()
    spoilt = _spoil(expected, peaks, valid, noise, rng)
    inputs = prepare(noisy_counts(expected, noise, rng), valid)
    offsets = np.stack([peaks.row, peaks.col], axis=1).astype(np.float32)
    return Examples(inputs, _turned(offsets, inputs.turns), spoilt, np.zeros(len(peaks), np.bool_))


def measured_examples(
    patches: NDArray[np.float32], valid: NDArray[np.bool_], offsets: NDArray[np.float64]
) -> Examples:
    """Make examples of n clean patches that were recorded, and fitted.

    Parameters
    ----------
    patches, valid
        (n, size, size), counts and which of them to use.
    offsets
        (n, 2) pixels, row and column from the middle, by the fit.
    """
    inputs, n = prepare(patches, valid), len(patches)
    turned = _turned(offsets.astype(np.float32), inputs.turns)
    return Examples(inputs, turned, np.zeros(n, np.bool_), np.ones(n, np.bool_))


def join(parts: Sequence[Examples]) -> Examples:
    """Put examples one behind the other."""
    inputs = zip(*(part.inputs for part in parts), strict=True)
    return Examples(
        Inputs(*(np.concatenate(arrays) for arrays in inputs)),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.spoilt for part in parts]),
        np.concatenate([part.measured for part in parts]),
    )


def noisy_counts(
    expected: NDArray[np.float64], noise: Noise, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw counts with the noise of a detector.

    Parameters
    ----------
    expected
        Any shape, contiguous; what is below 0 counts as 0 where noise grows with the counts.
    """
    counts = expected.astype(np.float32)
    if noise.gain > 0.0:
        photons = (np.maximum(expected, 0.0) / noise.gain).astype(np.float32)
        counts = np.float32(noise.gain) * poisson(photons, rng)
    if noise.read_noise > 0.0:
        counts += np.float32(noise.read_noise) * rng.standard_normal(counts.shape, np.float32)
    return counts


def _turned(offsets: NDArray[np.float32], turns: NDArray[np.uint8]) -> NDArray[np.float32]:
    flipped = (turns[:, None] & np.array([FLIP_ROWS, FLIP_COLS], np.uint8)) != 0
    offsets = np.where(flipped, -offsets, offsets)
    return np.where((turns[:, None] & SWAP) != 0, offsets[:, ::-1], offsets)


def _spoil(
    expected: NDArray[np.float64],
    peaks: Peaks,
    valid: NDArray[np.bool_],
    noise: Noise,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Add a second peak, a hot pixel that nobody masked or a step to some patches, in place."""
    n, size = len(peaks), expected.shape[-1]
    which = np.flatnonzero(rng.random(n) < _SPOILT_SHARE)
    kind = rng.random(len(which))
    excess = _second_peaks(_take(peaks, which), size, rng)
    hot = np.flatnonzero(kind < 0.15)
    excess[hot] = 0.0
    pixel = rng.integers(0, size * size, len(hot))
    height = np.exp(rng.uniform(np.log(0.5), np.log(50.0), len(hot)))
    excess.reshape(len(which), size * size)[hot, pixel] = peaks.amplitude[which[hot]] * height
    step = np.flatnonzero((kind >= 0.15) & (kind < 0.3))
    excess[step] = _steps(len(step), size, rng) * peaks.amplitude[which[step], None, None]
    variance = noise.gain * np.maximum(expected[which] + excess, 0.0) + noise.read_noise**2
    weight = np.divide(excess**2, variance, out=np.zeros_like(excess), where=valid[which])
    noticeable = weight.sum(axis=(1, 2)) > _NOTICEABLE
    which = which[noticeable]
    expected[which] += excess[noticeable]
    spoilt = np.zeros(n, np.bool_)
    spoilt[which] = True
    return spoilt


def _take(peaks: Peaks, which: NDArray[np.intp]) -> Peaks:
    return Peaks(**{name: getattr(peaks, name)[which] for name in Peaks.__slots__})


def _second_peaks(first: Peaks, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the counts of a second peak beside each, half of them of the same shape."""
    n = len(first)
    stretch = np.where(rng.random(n) < 0.5, 1.0, rng.uniform(0.7, 1.4, n))
    turn = np.where(rng.random(n) < 0.5, 0.0, rng.uniform(0.0, np.pi, n))
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    apart = rng.uniform(2.0, 4.5, n) * np.maximum(first.major, first.minor)
    return expected_counts(
        replace(
            first,
            row=first.row + apart * np.sin(angle),
            col=first.col + apart * np.cos(angle),
            amplitude=first.amplitude * np.exp(rng.uniform(np.log(0.2), np.log(3.0), n)),
            background=np.zeros(n),
            major=first.major * stretch,
            angle=first.angle + turn,
        ),
        size,
    )


def _steps(n: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return half planes of a random direction and height that leave the middle free."""
    axis = np.arange(size) - size // 2
    angle, reach = rng.uniform(0.0, 2.0 * np.pi, (2, n, 1, 1))
    along = np.sin(angle) * axis[:, None] + np.cos(angle) * axis
    height = rng.uniform(0.2, 2.0, (n, 1, 1))
    return np.asarray(height * (along > 2.0 + reach * (2.5 / (2.0 * np.pi))), np.float64)
