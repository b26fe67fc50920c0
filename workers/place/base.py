"""Where in its patch a peak stands, by a method chosen by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.config import PositionsConfig
from streamer.frames.flags import POOR_FIT, UNTRUSTED
from workers.place.network.normalisation import (
    FLIP_COLS,
    FLIP_ROWS,
    SWAP,
    border_level,
    normalise,
    prepare,
)

if TYPE_CHECKING:
    from workers.place.network.backends import InferenceBackend
    from workers.place.network.braggnn import Architecture
    from workers.place.network.checkpoints import Convention

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
_SPOILT_LOGIT = 0.0
"""A network's logit above which a patch does not hold one clean peak."""
_UNSURE_LOGIT = -3.0
"""That above which it may not: so do 1.5 % of clean peaks, and most of the patches in which the
network overlooks that a spot is about to split."""
_PIXEL_SIGMA = 12.0**-0.5
"""Least standard deviation of what is no peak: that of a place anywhere in a pixel."""
_LONGEST_LOG = 6.0
"""Standard deviations stay within exp(6) of `workers.place.network.normalisation.Inputs.guess`."""


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
    unsure: NDArray[np.bool_]
    """True where the patch may not hold one clean peak, so that another method might do better."""

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

    Networks of ours know their standard deviations and whether a patch holds one clean peak; those
    of others know neither.

    Parameters
    ----------
    backend
        Computes answers.
    architecture
        The network's.
    convention
        What the answers of a network mean that sees nothing but an image.
    """

    name = "braggnn"

    def __init__(
        self,
        backend: InferenceBackend,
        architecture: Architecture,
        convention: Convention | None = None,
    ):
        self.patch_size = architecture.patch_size
        self._backend = backend
        self._convention = convention if not architecture.scales else None

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `PositionMethod.place`."""
        if self._convention is not None:
            images = normalise(patches, valid, self._convention.keep_background)
            answers = self._backend(images[:, None], np.empty((len(images), 0), np.float32))
            return _positions(self._convention.offsets(answers, self.patch_size), patches, valid)
        inputs = prepare(patches, valid)
        answers = self._backend(inputs.images, inputs.scales)
        found = np.empty((4, len(answers)))
        flags, unsure = np.empty(len(answers), np.int32), np.empty(len(answers), np.bool_)
        _read(answers, inputs.guess, inputs.turns, inputs.blank, found, flags, unsure)
        row, col, row_sigma, col_sigma = found
        return Positions(row, col, row_sigma, col_sigma, flags, unsure)


def make_method(config: PositionsConfig, n_threads: int) -> PositionMethod:
    """Make the configured method, ready to use.

    Parameters
    ----------
    config
        Method, checkpoint, device and backend.
    n_threads
        CPU threads that inference may use; torch is set to it for the whole process.

    Raises
    ------
    UserError
        The checkpoint cannot be used, the device does not exist, or the backend is not for it or
        not installed.
    """
    if config.method == "centroid":
        return Centroid()
    if config.method in ("gaussian", "pseudovoigt"):
        # Only here: fits know what positions are, not the other way round.
        from workers.place.fit.methods import GaussianFit, Noise, PseudoVoigtFit

        fit = GaussianFit if config.method == "gaussian" else PseudoVoigtFit
        return fit(Noise(config.gain, config.read_noise))
    # torch takes seconds to import: only those who need it wait for it.
    from workers.place.network.backends import choose_place, make_backend
    from workers.place.network.checkpoints import WEIGHTS, load_network

    device = choose_place(config.backend, config.device)
    network, convention = load_network(config.checkpoint or WEIGHTS / "compact.pt")
    backend = make_backend(config.backend, network, convention, device, n_threads)
    return NetworkMethod(backend, network.architecture, convention)


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
    row, col = offsets.T.copy()
    return Positions(row, col, unknown, unknown.copy(), flags, (flags & POOR_FIT) != 0)


@njit(cache=True, nogil=True)
def _read(
    answers: NDArray[np.float32],
    guess: NDArray[np.float32],
    turns: NDArray[np.uint8],
    blank: NDArray[np.bool_],
    found: NDArray[np.float64],
    flags: NDArray[np.int32],
    unsure: NDArray[np.bool_],
) -> None:
    """Turn answers of a network of ours into (4, n) offsets and standard deviations, and flags."""
    for i in range(len(answers)):
        flags[i] = 0
        swap = (turns[i] & SWAP) != 0
        trusted = True
        for axis in range(2):
            k = 1 - axis if swap else axis
            offset = answers[i, k]
            if turns[i] & (FLIP_COLS if axis else FLIP_ROWS):
                offset = -offset
            found[axis, i] = offset
            trusted &= abs(offset) <= TRUSTED_PX
            log = min(max(answers[i, 2 + k], -_LONGEST_LOG), _LONGEST_LOG)
            found[2 + axis, i] = guess[i] * math.exp(log)
        if not trusted:
            flags[i] |= UNTRUSTED
        unsure[i] = blank[i] or answers[i, 4] > _UNSURE_LOGIT
        if blank[i] or answers[i, 4] > _SPOILT_LOGIT:
            flags[i] |= POOR_FIT
            for axis in range(2, 4):
                found[axis, i] = max(found[axis, i], _PIXEL_SIGMA)


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
