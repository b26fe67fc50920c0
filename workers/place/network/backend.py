"""What every backend looks like to the rest of the program."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["InferenceBackend"]


class InferenceBackend(Protocol):
    """Computes the answers of one network."""

    def __call__(
        self, images: NDArray[np.float32], scales: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Map inputs to answers.

        Parameters
        ----------
        images
            (n, inputs, size, size); n may be 0. For the names of lengths see
            `workers.place.network.architecture.Architecture`.
        scales
            (n, scales).

        Returns
        -------
        NDArray
            (n, outputs), the caller's own.
        """
        ...
