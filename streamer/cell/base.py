"""Readings of a cell, whatever instrument they come from, and what was taken for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUANTITIES", "UNKNOWN", "Account", "CellSource", "Floats", "Readings", "States"]

QUANTITIES = ("time", "voltage", "current", "capacity", "state")
UNKNOWN = -128
"""A state of which the instrument says nothing."""

Floats = NDArray[np.float64]
States = NDArray[np.int8]


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
    state: States | None = None
    """(n,) 1 charge, -1 discharge, 0 rest, as the instrument says, or UNKNOWN; None where it says
    nothing at all."""

    @classmethod
    def empty(cls) -> Readings:
        """Return no readings."""
        none = np.empty(0)
        return cls(np.empty(0, np.int64), none, none, none)

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def states(self) -> States:
        """(n,) `state`, also where it is None."""
        return np.full(len(self), UNKNOWN, np.int8) if self.state is None else self.state

    def then(self, later: Readings) -> Readings:
        """Return these readings and those that followed."""
        return Readings(
            np.concatenate([self.time_ns, later.time_ns]),
            np.concatenate([self.voltage_v, later.voltage_v]),
            np.concatenate([self.current_a, later.current_a]),
            np.concatenate([self.capacity_ah, later.capacity_ah]),
            np.concatenate([self.states, later.states]),
        )

    def taken(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Readings:
        """Return some of the readings, by their places or a mask."""
        return Readings(
            self.time_ns[rows],
            self.voltage_v[rows],
            self.current_a[rows],
            self.capacity_ah[rows],
            self.states[rows],
        )

    def without(self, known: Readings) -> Readings:
        """Return the readings that are not among others: a file that was replaced repeats them."""
        if not len(self) or not len(known) or self.time_ns.min() > known.time_ns.max():
            return self
        old = set(zip(known.time_ns.tolist(), known.voltage_v.tolist(), strict=True))
        pairs = zip(self.time_ns.tolist(), self.voltage_v.tolist(), strict=True)
        return self.taken(np.fromiter((pair not in old for pair in pairs), np.bool_, len(self)))


@dataclass(frozen=True, slots=True)
class Account:
    """What was taken for a cell's readings, for a user to hold against what was meant."""

    file: str
    columns: dict[str, str] = field(default_factory=dict)
    """Names and units by quantity: of a table's columns, or of process variables."""
    times: str = ""
    """How times are written, and what they count from."""
    zone: str = ""
    """Time zone of times that name none; empty where all name theirs."""
    n_read: int = 0
    n_unread: int = 0
    """Rows that could not be read."""
    why: str = ""
    """Of the first of them."""


class CellSource(Protocol):
    """Gives readings as they are taken; made by a constructor that raises `UserError`."""

    def poll(self) -> Readings:
        """Return what is new since the last call.

        Raises
        ------
        OSError, ValueError, UserError
            It cannot be read now; the text says why. A later call may work.
        """
        ...

    def accounts(self) -> list[Account]:
        """Return what was taken, for each file."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...
