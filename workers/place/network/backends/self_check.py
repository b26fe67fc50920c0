"""Whether a backend gives the answers that the network has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from streamer.simulator.patches import PeakRanges, draw_peaks, draw_valid, expected_counts
from workers.place.base import Positions
from workers.place.network.backend import InferenceBackend
from workers.place.network.braggnn import BraggNN
from workers.place.network.method import NetworkMethod

if TYPE_CHECKING:
    from workers.place.network.architecture import Convention

__all__ = ["Deviation", "PlainBackend", "SelfCheck"]

_MOST_PX = 0.0025
"""Half of the 0.005 px that are promised, for the check does not meet the worst of all patches."""
_MOST_SIGMA = 0.01


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a backend is from the float32 reference; infinite where it has no finite answer."""

    px: float
    """Largest distance between two positions along an axis, in pixels."""
    sigma: float
    """Largest difference between two standard deviations, relative; 0 where there are none."""

    @property
    def accepted(self) -> bool:
        """True if the backend may be used."""
        return self.px <= _MOST_PX and self.sigma <= _MOST_SIGMA

    def __str__(self) -> str:
        return f"{self.px:.2g} px and {self.sigma:.2g} of sigma"


class PlainBackend:
    """The reference: the network layer by layer, in float32 on the CPU, all patches at once."""

    def __init__(self, network: BraggNN):
        self._network = network

    @torch.inference_mode()
    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers; see `workers.place.network.backend.InferenceBackend`."""
        answers = self._network(torch.from_numpy(images), torch.from_numpy(scales))
        result: NDArray[np.float32] = answers.numpy()
        return result


class SelfCheck:
    """Simulated patches over all that networks are trained on, and where the reference puts them.

    Parameters
    ----------
    network
        The network, on the CPU.
    convention
        See `workers.place.network.method.NetworkMethod`.
    n
        Patches.
    """

    def __init__(self, network: BraggNN, convention: Convention | None, n: int = 512):
        self._architecture, self._convention = network.architecture, convention
        size, rng = network.architecture.patch_size, np.random.default_rng(512)
        peaks = draw_peaks(n, PeakRanges(), rng)
        self._patches = rng.poisson(expected_counts(peaks, size)).astype(np.float32)
        self._valid = draw_valid(n, PeakRanges(), rng, size)
        self._expected = self.place(PlainBackend(network.eval()))

    def place(self, backend: InferenceBackend) -> Positions:
        """Place the peaks of the patches with a backend."""
        method = NetworkMethod(backend, self._architecture, self._convention)
        return method.place(self._patches, self._valid)

    def deviation(self, backend: InferenceBackend) -> Deviation:
        """Compare a backend with the reference."""
        found, expected = self.place(backend), self._expected
        return Deviation(
            max(_largest(found.row - expected.row), _largest(found.col - expected.col)),
            max(
                _largest(ours / theirs - 1.0, theirs)
                for ours, theirs in (
                    (found.row_sigma, expected.row_sigma),
                    (found.col_sigma, expected.col_sigma),
                )
            ),
        )


def _largest(difference: NDArray[np.float64], known: NDArray[np.float64] | None = None) -> float:
    """Return the largest size of a difference where `known` is finite."""
    if known is not None:
        difference = difference[np.isfinite(known)]
    sizes = np.where(np.isfinite(difference), np.abs(difference), np.inf)
    return float(sizes.max(initial=0.0))
