"""Networks of nothing but gated dense layers, as the one that comes with the project, in numpy.

A GPU worker on a CPU needs no torch for them, and is ready seconds earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.place.network.architecture import Architecture, own_architecture
from workers.place.network.archive import read_arrays

__all__ = ["DenseNetwork", "read_dense"]

_CHUNK = 256
"""Patches at once: what they become stays in a core's cache."""

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights (inputs, outputs) and biases."""


class DenseNetwork:
    """Computes the answers of a network; see `workers.place.network.backend.InferenceBackend`.

    Parameters
    ----------
    architecture
        Its shape.
    layers
        One after the other. All but the last give twice their units, see `Architecture.gated`.
    """

    def __init__(self, architecture: Architecture, layers: Sequence[Layer]) -> None:
        self.architecture = architecture
        self._layers = layers

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers."""
        answers = np.empty((len(images), self.architecture.outputs), np.float32)
        (first, bias), *hidden, last = self._layers
        for begin in range(0, len(images), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            both = _enter(images[part].reshape(len(images[part]), -1), scales[part], first)
            x = _gated(both, bias)
            for weight, bias_of in hidden:
                x = _gated(x @ weight, bias_of)
            answers[part] = x @ last[0] + last[1]
        return answers


def _enter(
    pixels: NDArray[np.float32], scales: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what the first layer makes of images, a channel after the other, and scales.

    Most patches have no invalid pixel: all of the last channel is 0, and not multiplied.
    """
    width, n_pixels = pixels.shape[1], pixels.shape[1] // 2
    both: NDArray[np.float32] = pixels[:, :n_pixels] @ weight[:n_pixels]
    both += scales @ weight[width:]
    holed = np.flatnonzero(pixels[:, n_pixels:].any(axis=1))
    both[holed] += pixels[holed, n_pixels:] @ weight[n_pixels:width]
    return both


def _gated(both: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    both += bias
    n_units = both.shape[1] // 2
    units, gate = both[:, :n_units], both[:, n_units:]
    # The logistic function, which this form of overflows nowhere.
    share: NDArray[np.float32] = np.tanh(gate * np.float32(0.5))
    share += 1.0
    share *= np.float32(0.5)
    share *= units
    return share


def read_dense(path: Path) -> DenseNetwork | None:
    """Read a network of ours; None where it is not of this kind, or not as it should be."""
    content = read_arrays(path)
    if content is None:
        return None
    try:
        architecture = own_architecture(content)
        layers = _layers(architecture, content)
    except (KeyError, TypeError, ValueError):
        return None
    return None if layers is None else DenseNetwork(architecture, layers)


def _layers(architecture: Architecture, content: Mapping[str, Any]) -> list[Layer] | None:
    shape = architecture
    if shape.channels or shape.branch or not (shape.dense and shape.gated):
        return None
    widths = (shape.inputs * shape.patch_size**2 + shape.scales, *shape.dense, shape.outputs)
    layers = []
    for index, (width, units) in enumerate(pairwise(widths)):
        outputs = units if index == len(shape.dense) else 2 * units
        name = f"dense_layers.{2 * index}"
        weight, bias = content[f"{name}.weight"], content[f"{name}.bias"]
        if (weight.shape, bias.shape) != ((outputs, width), (outputs,)):
            return None
        layers.append((np.ascontiguousarray(weight.T), bias))
    arrays = sum(isinstance(item, np.ndarray) for item in content.values())
    return layers if arrays == 2 * len(layers) else None
