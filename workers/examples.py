"""Simulated patches to learn from, with what is to be learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workers.counting import draw_counts
from workers.normalisation import FLIP_COLS, FLIP_ROWS, SWAP, Inputs, prepare
from workers.peaksim import PeakRanges, Peaks, draw_peaks, draw_valid, expected_counts

__all__ = ["Examples", "draw_examples"]

_SPOILT_SHARE = 0.15
"""Share of patches that get something beside the peak."""
_NOTICEABLE = 30.0
"""Least sum of (excess counts)**2 / (expected counts) of what makes a patch spoilt."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Patches and the truth about them; n of each."""

    inputs: Inputs
    offsets: NDArray[np.float32]
    """(n, 2) pixels, row and column from the middle, in the turned image."""
    spoilt: NDArray[np.bool_]
    """(n,), where the patch does not hold one clean peak."""


def draw_examples(n: int, size: int, ranges: PeakRanges, rng: np.random.Generator) -> Examples:
    """Simulate `n` patches of (size, size) pixels."""
    peaks = draw_peaks(n, ranges, rng)
    valid = draw_valid(n, ranges, rng, size)
    expected = expected_counts(peaks, size)
    spoilt = _spoil(expected, peaks, valid, rng)
    patches = draw_counts(expected.astype(np.float32), rng)
    offsets = np.stack([peaks.row, peaks.col], axis=1).astype(np.float32)
    inputs = prepare(patches, valid)
    return Examples(inputs, _turned(offsets, inputs.turns), spoilt)


def _turned(offsets: NDArray[np.float32], turns: NDArray[np.uint8]) -> NDArray[np.float32]:
    flipped = (turns[:, None] & np.array([FLIP_ROWS, FLIP_COLS], np.uint8)) != 0
    offsets = np.where(flipped, -offsets, offsets)
    return np.where((turns[:, None] & SWAP) != 0, offsets[:, ::-1], offsets)


def _spoil(
    expected: NDArray[np.float64],
    peaks: Peaks,
    valid: NDArray[np.bool_],
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
    weight = np.where(valid[which], excess**2 / (expected[which] + excess), 0.0)
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
