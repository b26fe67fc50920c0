"""Readings of a cell, whatever instrument they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellSource", "Readings"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings in the order in which they were taken; NaN where one is not known."""

    time_ns: NDArray[np.int64]
    """(n,) Unix time in ns."""
    voltage_v: Floats
    """(n,) between the terminals, in V."""
    current_a: Floats
    """(n,) in A, positive while charging."""
    capacity_ah: Floats
    """(n,) in Ah, as the instrument counts it."""

    @classmethod
    def empty(cls) -> Readings:
        """Return no readings."""
        none = np.empty(0)
        return cls(np.empty(0, np.int64), none, none, none)

    def __len__(self) -> int:
        return len(self.time_ns)

    def then(self, later: Readings) -> Readings:
        """Return these readings and those that followed."""
        return Readings(
            np.concatenate([self.time_ns, later.time_ns]),
            np.concatenate([self.voltage_v, later.voltage_v]),
            np.concatenate([self.current_a, later.current_a]),
            np.concatenate([self.capacity_ah, later.capacity_ah]),
        )


class CellSource(Protocol):
    """Gives readings as they are taken; made by a constructor that raises `UserError`."""

    def poll(self) -> Readings:
        """Return what is new since the last call.

        Raises
        ------
        OSError, ValueError
            It cannot be read now; the text says why. A later call may work.
        """
        ...

    def close(self) -> None:
        """Release what is open."""
        ...
