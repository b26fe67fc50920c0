"""What every position method is and gives."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.config import PositionsConfig
from streamer.plugins import Plugin

__all__ = [
    "BATCH_PATCHES",
    "PATCH_SIZE",
    "TRAINED_PX",
    "MethodPlugin",
    "PositionMethod",
    "Positions",
]

BATCH_PATCHES = 512
"""Most patches in one batch."""
PATCH_SIZE = 11
"""Pixels along each axis of the patches of the project's own methods and networks."""
TRAINED_PX = 1.0
"""Distance in pixels from the middle pixel's centre, along each axis, up to which networks are
trained to find peaks; what they answer beyond is not trusted, nor is what centroids do. Fits are
trusted further out: see `workers.place.fit.methods.FIT_TRUSTED_PX`."""


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
    shape: NDArray[np.float64] | None = None
    """(n, 2 * len(`streamer.frames.peaks.SHAPE`)), each quantity followed by its standard
    deviation, in pixels of the patch; the centre of mass as `row` and `col` are. None where the
    method knows nothing of shapes, NaN where the counts do not tell."""
    single: NDArray[np.float64] | None = None
    """(n, 5), as `streamer.frames.peaks.SINGLE`, in pixels as `row` and `col` are; None where the
    method never doubts how many peaks there are."""
    begun: NDArray[np.float64] | None = None
    """(n, 2), rows and columns that a network said before fits followed; None where it had the last
    word."""

    def __len__(self) -> int:
        return len(self.row)

    def part(self, which: slice) -> Positions:
        """Return those of some patches, not copied."""
        columns: list[Any] = [getattr(self, field.name) for field in fields(self)]
        parts: list[Any] = [None if one is None else one[which] for one in columns]
        return Positions(*parts)


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


class MethodPlugin(Plugin):
    """Makes a position method; its name in the configuration is `positions.method`."""

    is_network: ClassVar[bool] = False
    """True for what learned to place peaks: it computes on `positions.device`, what it is unsure of
    is fitted (`positions.refit`), and so are some of its peaks (`positions.check_share`)."""

    def make(self, config: PositionsConfig, n_threads: int) -> PositionMethod:
        """Make the method, ready to use.

        Parameters
        ----------
        config
            What all methods are told.
        n_threads
            CPU threads that it may use.

        Raises
        ------
        UserError
            It cannot be made; the text says what to do.
        """
        raise NotImplementedError

    def known_patch_size(self, config: PositionsConfig) -> int | None:
        """Return the size of its patches; None where it must be made to know.

        For what takes seconds to make: the program asks before the nodes are started.
        """
        return None
