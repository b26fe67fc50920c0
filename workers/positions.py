"""Where in its patch a peak stands, by a method chosen by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.config import PositionsConfig
from streamer.flags import POOR_FIT, UNTRUSTED
from workers.normalisation import border_level, normalise

if TYPE_CHECKING:
    from workers.backends import InferenceBackend
    from workers.checkpoints import Convention

__all__ = [
    "TRUSTED_PX",
    "Centroid",
    "NetworkMethod",
    "PositionMethod",
    "Positions",
    "make_method",
]

TRUSTED_PX = 1.0
"""Furthest trusted distance from the middle pixel's centre along each axis, in pixels."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of the peaks in n patches; each array (n,)."""

    row: NDArray[np.float64]
    """Offset in pixels from the centre of the patch's middle pixel; always finite."""
    col: NDArray[np.float64]
    row_sigma: NDArray[np.float64]
    """Standard deviation in pixels; NaN where the method does not know."""
    col_sigma: NDArray[np.float64]
    flags: NDArray[np.int32]
    """`POOR_FIT` and `UNTRUSTED` where they apply."""

    def __len__(self) -> int:
        return len(self.row)


class PositionMethod(Protocol):
    """Places the peaks of many patches at once."""

    name: str
    """As in the configuration."""
    patch_size: int
    """Pixels along each axis of the patches it wants; odd."""

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch.

        Parameters
        ----------
        patches
            (n, patch_size, patch_size) raw counts with their background, not thresholded; what
            invalid pixels hold does not matter. n may be 0.
        valid
            Same shape, False where a pixel must not be used.
        """
        ...


class Centroid:
    """Centre of mass above the background: quick, and off by the most of all methods.

    The background is the median of the patch's border; what is below counts as nothing.
    """

    name = "centroid"
    patch_size = 11

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `PositionMethod.place`."""
        offsets = np.empty((len(patches), 2))
        patches = np.ascontiguousarray(patches, np.float32)
        valid = np.ascontiguousarray(valid, np.bool_)
        _centroids(patches, valid, offsets)
        return _positions(offsets, patches, valid)


class NetworkMethod:
    """A network and what is needed around it.

    Parameters
    ----------
    backend
        Computes answers from normalised patches.
    convention
        What the network expects and what its answers mean.
    patch_size
        Pixels along each axis of the patches the network was trained on.
    """

    name = "braggnn"

    def __init__(self, backend: InferenceBackend, convention: Convention, patch_size: int):
        self.patch_size = patch_size
        self._backend = backend
        self._convention = convention

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `PositionMethod.place`."""
        images = normalise(patches, valid, self._convention.keep_background)
        offsets = self._convention.offsets(self._backend(images), self.patch_size)
        return _positions(offsets, patches, valid)


def make_method(config: PositionsConfig, n_threads: int) -> PositionMethod:
    """Make the configured method, ready to use.

    Parameters
    ----------
    config
        Method, checkpoint and device.
    n_threads
        CPU threads that inference may use; torch is set to it for the whole process.

    Raises
    ------
    UserError
        The checkpoint cannot be used or the device does not exist.
    """
    if config.method == "centroid":
        return Centroid()
    if config.method in ("gaussian", "pseudovoigt"):
        # Only here: fits know what positions are, not the other way round.
        from workers.fits import GaussianFit, Noise, PseudoVoigtFit

        fit = GaussianFit if config.method == "gaussian" else PseudoVoigtFit
        return fit(Noise(config.gain, config.read_noise))
    # torch takes seconds to import: only those who need it wait for it.
    from workers.backends import TorchBackend, choose_device
    from workers.checkpoints import WEIGHTS, load_network

    device = choose_device(config.device)
    network, convention = load_network(config.checkpoint or WEIGHTS / "braggnn.pt")
    backend = TorchBackend(network, device, n_threads)
    return NetworkMethod(backend, convention, network.architecture.patch_size)


def _positions(
    offsets: NDArray[np.float64], patches: NDArray[np.float32], valid: NDArray[np.bool_]
) -> Positions:
    flags = np.empty(len(offsets), np.int32)
    _flag(
        np.ascontiguousarray(patches, np.float32),
        np.ascontiguousarray(valid, np.bool_),
        offsets,
        flags,
    )
    unknown = np.full(len(offsets), np.nan)
    return Positions(offsets[:, 0].copy(), offsets[:, 1].copy(), unknown, unknown.copy(), flags)


@njit(cache=True, nogil=True)
def _centroids(
    patches: NDArray[np.float32], valid: NDArray[np.bool_], offsets: NDArray[np.float64]
) -> None:
    n, size, _ = patches.shape
    middle = size // 2
    for i in range(n):
        level = border_level(patches[i], valid[i])
        total, along_rows, along_cols = 0.0, 0.0, 0.0
        for row in range(size):
            for col in range(size):
                value = patches[i, row, col] - level
                if valid[i, row, col] and math.isfinite(value) and value > 0.0:
                    total += value
                    along_rows += value * (row - middle)
                    along_cols += value * (col - middle)
        offsets[i, 0] = along_rows / total if total > 0.0 else 0.0
        offsets[i, 1] = along_cols / total if total > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _flag(
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    offsets: NDArray[np.float64],
    flags: NDArray[np.int32],
) -> None:
    """Set `UNTRUSTED` by distance, `POOR_FIT` where the brightest 3 x 3 pixels are elsewhere."""
    n, size, _ = patches.shape
    middle = size // 2
    for i in range(n):
        flags[i] = 0
        if not (abs(offsets[i, 0]) <= TRUSTED_PX and abs(offsets[i, 1]) <= TRUSTED_PX):
            flags[i] |= UNTRUSTED
        best, dimmest = -math.inf, math.inf
        best_row, best_col = 0, 0
        for row in range(1, size - 1):
            for col in range(1, size - 1):
                total, count = 0.0, 0
                for r in range(row - 1, row + 2):
                    for c in range(col - 1, col + 2):
                        if valid[i, r, c] and math.isfinite(patches[i, r, c]):
                            total += patches[i, r, c]
                            count += 1
                if count >= 5:
                    mean = total / count
                    dimmest = min(dimmest, mean)
                    if mean > best:
                        best, best_row, best_col = mean, row, col
        apart = math.hypot(
            best_row - middle - offsets[i, 0],
            best_col - middle - offsets[i, 1],
        )
        if not best > dimmest or apart > 2.5:
            flags[i] |= POOR_FIT
