"""The battery cell: its state through one cycle, its voltage, and the lattice of its cathode.

The cathode is a high-voltage spinel. Little charged it is a solid solution whose cubic lattice
shrinks as lithium leaves; over the middle of the charge two phases stand side by side, each of
fixed composition, in the amounts of the lever rule; fully charged it is a solid solution again.
The state of charge runs from 0 (discharged, all lithium in the cathode) to 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CAPACITY_AH",
    "CURRENT_A",
    "CellState",
    "cell_state",
    "current",
    "lattice",
    "phase_fraction",
]

Floats = NDArray[np.float64]

CAPACITY_AH = 0.003
"""Charge that the cell takes from empty to full."""
CURRENT_A = 0.003
"""While charging: what a cycler would say, whose cycle takes hours and not seconds."""

_STARTS = np.array([0.0, 0.03, 0.48, 0.52, 0.97, 1.0])
"""Start of rest, charge, rest, discharge, rest, in cycles; the last is the end."""
_CURRENTS = (0.0, 1.0, 0.0, -1.0, 0.0)
_RELAXATION = 0.012
"""Time constant of the polarisation in cycles."""

_TWO_PHASE = (0.35, 0.70)
"""States of charge between which both phases exist."""
_HYSTERESIS = 0.015
"""How far that region lags behind the current."""
_BLUR = 0.008
"""Rounding of the region's ends, in state of charge."""

_LITHIATED_A = 8.17
"""Lattice parameter of the discharged cathode in angstroms."""
_STRAINS = (-0.010, -0.019, -0.008)
"""Relative change over the first solid solution, from phase to phase, over the second one."""


class CellState(NamedTuple):
    """State of the cell at a number of moments, each an array of their shape."""

    soc: Floats
    """State of charge, 0 to 1."""
    polarisation: Floats
    """-1 to 1: follows the sign of the current, relaxing to 0 at rest."""
    voltage: Floats
    """Between the terminals, in V."""


def cell_state(cycles: Floats) -> CellState:
    """Return the state at times given in cycles, from 0 to 1."""
    soc = np.interp(cycles, _STARTS, (0.0, 0.0, 1.0, 1.0, 0.0, 0.0))
    polarisation = np.zeros_like(soc)
    before = 0.0
    for start, stop, current in zip(_STARTS, _STARTS[1:], _CURRENTS, strict=False):
        decay = np.exp(-np.clip(cycles - start, 0.0, None) / _RELAXATION)
        polarisation = np.where(cycles >= start, current + (before - current) * decay, polarisation)
        before = current + (before - current) * np.exp((start - stop) / _RELAXATION)
    return CellState(soc, polarisation, _voltage(soc, polarisation))


def current(cycles: Floats) -> Floats:
    """Return the current at times given in cycles, from 0 to 1: 1 charging, -1 discharging, 0."""
    step = np.searchsorted(_STARTS, cycles, side="right") - 1
    return np.asarray(_CURRENTS)[np.clip(step, 0, len(_CURRENTS) - 1)]


def phase_fraction(soc: Floats, polarisation: Floats) -> Floats:
    """Share of the delithiated phase by the lever rule, 0 to 1."""
    low, high = (edge + _HYSTERESIS * polarisation for edge in _TWO_PHASE)
    return np.clip((soc - low) / (high - low), 0.0, 1.0)


def lattice(soc: Floats, polarisation: Floats) -> tuple[Floats, Floats]:
    """Lattice parameters of the lithiated and the delithiated phase in angstroms.

    Vegard's law in the solid solutions; where both phases exist, or a phase does not exist, its
    composition is that of its edge of the two-phase region.
    """
    lithiated, delithiated = _solid_solutions(soc, polarisation)
    first, gap, second = _STRAINS
    return (
        _LITHIATED_A * (1.0 + first * lithiated),
        _LITHIATED_A * (1.0 + first + gap + second * delithiated),
    )


def _solid_solutions(soc: Floats, polarisation: Floats) -> tuple[Floats, Floats]:
    """How much of each solid solution the cell has gone through, 0 to 1."""
    low, high = (edge + _HYSTERESIS * polarisation for edge in _TWO_PHASE)
    below = low - _BLUR * np.logaddexp(0.0, (low - soc) / _BLUR)
    above = _BLUR * np.logaddexp(0.0, (soc - high) / _BLUR)
    return np.clip(below / low, 0.0, 1.0), np.clip(above / (1.0 - high), 0.0, 1.0)


def _voltage(soc: Floats, polarisation: Floats) -> Floats:
    """Solid solutions slope, the two-phase region is a plateau; the current adds its overvoltage.

    The logarithms are those of ideal solutions: the voltage is steep where a site fills up.
    """
    lithiated, delithiated = _solid_solutions(soc, polarisation)
    ends = 0.03 * (np.log(lithiated + 0.004) - np.log(1.004 - delithiated))
    slopes = 0.07 * lithiated + 0.02 * soc + 0.07 * delithiated
    return 4.64 + slopes + ends + 0.035 * polarisation
