"""Positions by a network."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, UNTRUSTED
from workers.place.base import TRAINED_PX, Positions
from workers.place.fit.methods import Noise
from workers.place.flagging import flagged
from workers.place.network.architecture import Architecture, Convention
from workers.place.network.backend import InferenceBackend
from workers.place.network.normalisation import FLIP_COLS, FLIP_ROWS, SWAP, normalise, prepare

__all__ = ["NetworkMethod"]


_SPOILT_LOGIT = 0.0
"""A network's logit above which a patch does not hold one clean peak."""


_UNSURE_LOGIT = -3.0
"""That above which it may not: so do 1.5 % of clean peaks, and most of the patches in which the
network overlooks that a spot is about to split."""


_PIXEL_SIGMA = 12.0**-0.5
"""Least standard deviation of what is no peak: that of a place anywhere in a pixel."""


_LONGEST_LOG = 6.0
"""Standard deviations stay within exp(6) of `workers.place.network.normalisation.Inputs.guess`."""


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
    noise
        Of the detector; networks of ours learnt from photons, and are shown counts that are as
        noisy as as many photons. A photon counter's unless said otherwise.
    """

    name = "braggnn"

    def __init__(
        self,
        backend: InferenceBackend,
        architecture: Architecture,
        convention: Convention | None = None,
        noise: Noise | None = None,
    ):
        self._noise = noise or Noise()
        self.patch_size = architecture.patch_size
        self._backend = backend
        self._convention = convention if not architecture.scales else None

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `PositionMethod.place`."""
        if self._convention is not None:
            images = normalise(patches, valid, self._convention.keep_background)
            answers = self._backend(images[:, None], np.empty((len(images), 0), np.float32))
            return flagged(self._convention.offsets(answers, self.patch_size), patches, valid)
        gain, read = self._noise.gain, self._noise.read_noise
        if gain > 0.0 and (gain != 1.0 or read > 0.0):
            patches = (patches / np.float32(gain) + np.float32((read / gain) ** 2)).astype("f4")
        inputs = prepare(patches, valid)
        answers = self._backend(inputs.images, inputs.scales)
        found = np.empty((4, len(answers)))
        flags, unsure = np.empty(len(answers), np.int32), np.empty(len(answers), np.bool_)
        _read(answers, inputs.guess, inputs.turns, inputs.blank, found, flags, unsure)
        row, col, row_sigma, col_sigma = found
        return Positions(row, col, row_sigma, col_sigma, flags, unsure)


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
            trusted &= abs(offset) <= TRAINED_PX
            log = min(max(answers[i, 2 + k], -_LONGEST_LOG), _LONGEST_LOG)
            found[2 + axis, i] = guess[i] * math.exp(log)
        if not trusted:
            flags[i] |= UNTRUSTED
        unsure[i] = blank[i] or answers[i, 4] > _UNSURE_LOGIT
        if blank[i] or answers[i, 4] > _SPOILT_LOGIT:
            flags[i] |= POOR_FIT
            for axis in range(2, 4):
                found[axis, i] = max(found[axis, i], _PIXEL_SIGMA)
