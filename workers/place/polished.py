"""A network's positions made exact by the likelihood of the counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from workers.place.base import TRAINED_PX, PositionMethod, Positions
from workers.place.fit.methods import EXCESS, Noise, flags_of, polish

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

        Where the steps lead to no peak, the method's answer stays, and is `unsure`.
        """
        begun = self._method.place(patches, valid)
        places = np.stack([begun.row, begun.col], axis=1)
        fits = polish(patches, valid, places, self._noise)
        known = fits.converged
        sigmas = np.sqrt(fits.covariance[:, (0, 1), (0, 1)])
        # Of what stands further out than it learnt, a network says that it is no peak.
        knows = np.maximum(np.abs(fits.row), np.abs(fits.col)) <= TRAINED_PX
        spoilt = np.where(knows, begun.flags & POOR_FIT, 0)
        return Positions(
            np.where(known, fits.row, begun.row),
            np.where(known, fits.col, begun.col),
            np.where(known, sigmas[:, 0], begun.row_sigma),
            np.where(known, sigmas[:, 1], begun.col_sigma),
            np.where(known, flags_of(fits) | spoilt, begun.flags),
            begun.unsure | ~known | (fits.excess > EXCESS),
            fits.shape,
            begun=places,
        )
