"""Charge and discharge: which reading is of which half-cycle, and from when to when those went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.cell.base import UNKNOWN, Readings
from streamer.cell.rest import rest_below

__all__ = ["GUESS", "KINDS", "Span", "half_cycles", "kinds_from", "spans"]

KINDS = ("rest", "charge", "discharge")
"""By the sign of the current: 0, 1, -1."""

GUESS = "guess"
"""What a kind is from where nothing but the voltage is known."""

_REST_V_PER_H = 0.002
"""Slope of the voltage that counts as none, where no current is known."""
_SHORTEST = 3
"""Readings that a half-cycle has at least: shorter ones are spikes."""
_SMOOTH = 5


@dataclass(frozen=True, slots=True)
class Span:
    """One half-cycle."""

    kind: str
    """charge or discharge."""
    number: int
    """Of its kind, from 1."""
    start_ns: int
    stop_ns: int
    is_guess: bool = False
    """Told by the slope of the voltage alone."""


def half_cycles(readings: Readings) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Tell charging from discharging.

    What the cycler says decides; where it says nothing, the sign of the current; where there is no
    current, the slope of the voltage, which is a guess. Half-cycles are counted through, a rest
    between two of the same sign does not part them.

    Returns
    -------
    number, sign
        (n,) number of the half-cycle, from 0, and -1 at rest; (n,) 1 charge, -1 discharge, 0 rest.
    """
    said = readings.states
    sign = np.where(said == UNKNOWN, _without_spikes(_sign(readings)), said).astype(np.int8)
    number = np.full(len(sign), -1, np.int32)
    moving = np.flatnonzero(sign)
    if len(moving):
        number[moving] = np.cumsum(np.diff(sign[moving], prepend=sign[moving[0]]) != 0)
    return number, sign


def kinds_from(readings: Readings) -> list[str]:
    """Return (n,) what the kind of each reading is from: cycler, current, or guess."""
    else_ = "current" if np.isfinite(readings.current_a).any() else GUESS
    return [else_ if state == UNKNOWN else "cycler" for state in readings.states.tolist()]


def spans(cell: pa.Table) -> list[Span]:
    """Return the half-cycles in a table of `streamer.results.schema.CELL`."""
    half = cell["half_cycle"].to_numpy()
    kinds, sources = cell["kind"].to_pylist(), cell["kind_from"].to_pylist()
    times = cell["time_ns"].to_numpy()
    found: list[Span] = []
    for number in np.unique(half[half >= 0]).tolist():
        rows = np.flatnonzero(half == number)
        kind = kinds[rows[0]]
        again = 1 + sum(one.kind == kind for one in found)
        ends = int(times[rows[0]]), int(times[rows[-1]])
        found.append(Span(kind, again, *ends, is_guess=sources[rows[0]] == GUESS))
    return found


def _sign(readings: Readings) -> NDArray[np.int8]:
    if not len(readings):
        return np.zeros(0, np.int8)
    current = readings.current_a
    if np.isfinite(current).any():
        known = np.nan_to_num(current)
        return _thresholded(known, rest_below(known))
    if len(readings) < 2:
        return np.zeros(len(readings), np.int8)
    hours = readings.time_ns / 3.6e12
    voltage = readings.voltage_v
    if len(voltage) >= _SMOOTH:
        padded = np.pad(voltage, _SMOOTH // 2, mode="edge")
        voltage = np.convolve(padded, np.full(_SMOOTH, 1 / _SMOOTH), mode="valid")
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.nan_to_num(np.gradient(voltage, hours), posinf=0.0, neginf=0.0)
    return _thresholded(slope, _REST_V_PER_H)


def _thresholded(values: NDArray[np.float64], least: float) -> NDArray[np.int8]:
    return np.where(np.abs(values) > least, np.sign(values), 0).astype(np.int8)


def _without_spikes(sign: NDArray[np.int8]) -> NDArray[np.int8]:
    """Let short runs take the sign of what was before."""
    if not len(sign):
        return sign
    starts = np.flatnonzero(np.diff(sign, prepend=sign[0] + 1))
    lengths = np.diff(np.append(starts, len(sign)))
    kept = sign.copy()
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        # The last run may still become longer.
        if 0 < start and length < _SHORTEST and start + length < len(sign):
            kept[start : start + length] = kept[start - 1]
    return kept
