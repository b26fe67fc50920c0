"""Charges and discharges as stretches of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

__all__ = ["Span", "spans"]


@dataclass(frozen=True, slots=True)
class Span:
    """One half-cycle."""

    kind: str
    """charge or discharge."""
    number: int
    """Of its kind, from 1."""
    start_ns: int
    stop_ns: int


def spans(cell: pa.Table) -> list[Span]:
    """Return the half-cycles in a table of `streamer.results.schema.CELL`."""
    half = cell["half_cycle"].to_numpy()
    kinds, times = cell["kind"].to_pylist(), cell["time_ns"].to_numpy()
    found: list[Span] = []
    for number in np.unique(half[half >= 0]).tolist():
        rows = np.flatnonzero(half == number)
        kind = kinds[rows[0]]
        again = 1 + sum(one.kind == kind for one in found)
        found.append(Span(kind, again, int(times[rows[0]]), int(times[rows[-1]])))
    return found
