"""What a network says of peaks in patches, as one plain loop asks it; nothing is the product's.

But the weights: those are read from the file that they come in.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from tests.benchmarks.floor_find import SIZE

__all__ = ["FAST", "Network", "exponential", "prepare", "read_weights"]

_F = np.float32
_ZERO, _HALF, _ONE = _F(0.0), _F(0.5), _F(1.0)
_LOG2E, _LOWEST, _BIAS, _MANTISSA = _F(1.44269504), _F(-80.0), np.int32(127), np.int32(23)
_POWERS = tuple(_F(math.log(2.0) ** n / math.factorial(n)) for n in range(7))
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = _POWERS
_PIXELS, _MIDDLE = SIZE * SIZE, SIZE // 2
FAST = {"reassoc", "contract", "nsz"}
"""Sums may be reordered, so that they are computed with vectors."""


class Network(NamedTuple):
    """Weights (inputs, units) and biases of the layers, all but the last of which are gated."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map (n, inputs) to (n, outputs)."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = _gate(x @ weight, bias)
        return x @ self.weights[-1] + self.biases[-1]


def read_weights(path: Path) -> Network:
    """Read the dense network from the file that it comes in."""
    import torch

    state = torch.load(path, weights_only=True)
    names = sorted(
        (name.removesuffix(".weight") for name in state if name.endswith(".weight")),
        key=lambda name: int(name.split(".")[1]),
    )
    return Network(
        tuple(np.ascontiguousarray(state[f"{name}.weight"].numpy().T) for name in names),
        tuple(state[f"{name}.bias"].numpy() for name in names),
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def exponential(x):
    """Return e to the power of a float32, of -80 below that."""
    x = max(x, _LOWEST) * _LOG2E
    whole = np.floor(x + _HALF)
    f = x - whole
    power = _P0 + f * (_P1 + f * (_P2 + f * (_P3 + f * (_P4 + f * (_P5 + f * _P6)))))
    return power * np.int32((np.int32(whole) + _BIAS) << _MANTISSA).view(np.float32)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _gate(both, bias):
    n, units = len(both), both.shape[1] // 2
    out = np.empty((n, units), np.float32)
    for i in range(n):
        for k in range(units):
            gate = min(max(both[i, units + k] + bias[units + k], _LOWEST), -_LOWEST)
            out[i, k] = (both[i, k] + bias[k]) / (_ONE + exponential(-gate))
    return out


def prepare(counts, valid):
    """Return what a network sees of n patches.

    Returns
    -------
    x, guess, turns
        (n, inputs): pixels from 0 to 1, turned so that they lean one way; gaps; the scale. What
        standard deviations are told in. How patches were turned, -1 for those that are flat.
    """
    n = len(counts)
    x = np.empty((n, 2 * _PIXELS + 3), np.float32)
    guess, turns = np.empty(n, np.float32), np.empty(n, np.int64)
    _prepare(counts, valid, x, guess, turns)
    return x, guess, turns


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(counts, valid, x, guess, turns):
    for k in range(len(counts)):
        low, high = _F(np.inf), _F(-np.inf)
        down = right = rows_missing = cols_missing = _ZERO
        missing = 0
        for i in range(SIZE):
            for j in range(SIZE):
                dy, dx = _F(i - _MIDDLE), _F(j - _MIDDLE)
                if valid[k, i, j]:
                    value = counts[k, i, j]
                    low, high = min(low, value), max(high, value)
                    down += value * dy
                    right += value * dx
                else:
                    missing += 1
                    rows_missing += dy
                    cols_missing += dx
        x[k], guess[k], turns[k] = _ZERO, _ONE, -1
        if not high > low:
            continue
        down += low * rows_missing
        right += low * cols_missing
        swap = abs(right) > abs(down)
        turns[k] = (down < 0) + 2 * (right < 0) + 4 * swap
        span = high - low
        scale = _ONE / span
        image, gaps = (
            x[k, :_PIXELS].reshape(SIZE, SIZE),
            x[k, _PIXELS : 2 * _PIXELS].reshape(SIZE, SIZE),
        )
        for i in range(SIZE):
            r = SIZE - 1 - i if down < 0 else i
            for j in range(SIZE):
                c = SIZE - 1 - j if right < 0 else j
                if swap:
                    a, b = c, r
                else:
                    a, b = r, c
                if valid[k, i, j]:
                    image[a, b] = (counts[k, i, j] - low) * scale
                else:
                    gaps[a, b] = _ONE
        total, n = 0.0, 0
        for i in range(SIZE):
            for j in range(SIZE):
                if missing and gaps[i, j] != 0:
                    near, m = 0.0, 0
                    for r in range(max(i - 1, 0), min(i + 2, SIZE)):
                        for c in range(max(j - 1, 0), min(j + 2, SIZE)):
                            if gaps[r, c] == 0:
                                near += image[r, c]
                                m += 1
                    if m >= 5:
                        image[i, j] = near / m
                elif i == 0 or j == 0 or i == SIZE - 1 or j == SIZE - 1:
                    total += image[i, j]
                    n += 1
        floor = max(low, _ZERO)
        border = floor + span * (total / n if n else 0.0)
        variance = (0.159 + 0.637 * border / span) / span
        guess[k] = math.sqrt(variance)
        x[k, 2 * _PIXELS] = 0.4 * math.log(span) - 2.0
        x[k, 2 * _PIXELS + 1] = 0.4 * math.log(floor + 1.0) - 1.0
        x[k, 2 * _PIXELS + 2] = 0.5 * math.log(variance) + 3.0
