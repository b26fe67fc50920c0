"""Bright peaks without noise, on which a network must do well whatever it learnt from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamer.simulator.patches import PeakRanges, draw_peaks, expected_counts
from workers.place.network.architecture import Architecture, Convention
from workers.place.network.backend import InferenceBackend
from workers.place.network.method import NetworkMethod

__all__ = ["MOST_PX", "median_distance", "place_known"]

MOST_PX = 0.3
"""Least error in pixels that makes a network useless: the middle of the patch as constant answer
is 0.4 px off, and it must do clearly better."""

_SHAPES = PeakRanges(
    amplitude=(1000.0, 1000.0), background=(10.0, 10.0), width=(1.0, 1.7), offset=0.5, voigt_share=0
)


def place_known(
    backend: InferenceBackend, architecture: Architecture, convention: Convention
) -> tuple[NDArray[np.float64], float]:
    """Let a network place peaks whose positions are known.

    Returns
    -------
    positions
        (n, 2) of row and column, in pixels from the middle.
    error
        Median distance from the truth in pixels; infinite where there is none.
    """
    peaks = draw_peaks(200, _SHAPES, np.random.default_rng(7))
    counts = expected_counts(peaks, architecture.patch_size).astype(np.float32)
    placed = NetworkMethod(backend, architecture, convention).place(
        counts, np.ones(counts.shape, np.bool_)
    )
    positions = np.stack([placed.row, placed.col], axis=1)
    error = median_distance(positions, np.stack([peaks.row, peaks.col], axis=1))
    return positions, error if math.isfinite(error) else math.inf


def median_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the median distance in pixels of (n, 2) positions from others."""
    return float(np.median(np.hypot(*(one - other).T)))
