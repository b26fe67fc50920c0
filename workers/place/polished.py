"""A network's positions made exact by the likelihood of the counts."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, UNTRUSTED
from workers.place.base import TRAINED_PX, PositionMethod, Positions
from workers.place.fit.methods import EXCESS, FIT_TRUSTED_PX, Noise, polish_table

__all__ = ["Polished"]


class Polished:
    """Takes a few steps of a fit from where a method says that peaks stand.

    So positions are as precise as the counts allow whatever the method learnt, standard deviations
    come from the likelihood, and the shape of each peak is known. What remains the method's is
    where to begin, and whether a patch may hold something else than one clean peak.

    Parameters
    ----------
    method
        Says where peaks stand.
    noise
        Of the detector; a photon counter unless said otherwise.
    """

    def __init__(self, method: PositionMethod, noise: Noise | None = None) -> None:
        self.name = method.name
        self.patch_size = method.patch_size
        self._method = method
        self._noise = noise or Noise()

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `workers.place.base.PositionMethod.place`.

        Where the steps lead to no peak, the method's answer stays, and is `unsure`; it is
        `UNTRUSTED` where something brighter stands further out.
        """
        begun = self._method.place(patches, valid)
        places = np.stack([begun.row, begun.col], axis=1)
        spoilt = (begun.flags & POOR_FIT) != 0
        table, shape = polish_table(patches, valid, places, spoilt, self._noise)
        placed = np.stack([begun.row, begun.col, begun.row_sigma, begun.col_sigma])
        flags, unsure = begun.flags.copy(), begun.unsure.copy()
        _follow(table, placed, flags, unsure)
        row, col, row_sigma, col_sigma = placed
        return Positions(row, col, row_sigma, col_sigma, flags, unsure, shape, begun=places)


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(
    table: NDArray[np.void],
    placed: NDArray[np.float64],
    flags: NDArray[np.int32],
    unsure: NDArray[np.bool_],
) -> None:
    """Replace a method's answers, (4, n) places and standard deviations, by those of fits."""
    for i in range(len(table)):
        fit = table[i]
        good, far = fit.excess <= EXCESS, max(abs(fit.row), abs(fit.col))
        unsure[i] = unsure[i] or not (fit.converged and good)
        if not fit.converged and far > FIT_TRUSTED_PX:  # something brighter stands out there
            flags[i] |= UNTRUSTED
        if fit.converged:
            # Of what stands further out than it learnt, a network says that it is no peak.
            flag = flags[i] & POOR_FIT if far <= TRAINED_PX else 0
            flag |= 0 if good else POOR_FIT
            flags[i] = flag | UNTRUSTED if far > FIT_TRUSTED_PX else flag
            placed[0, i], placed[1, i] = fit.row, fit.col
            placed[2, i], placed[3, i] = math.sqrt(fit.row_variance), math.sqrt(fit.col_variance)
