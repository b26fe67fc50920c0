"""Rows of a cycler's table: what is found out of all of them, and how each is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median

from streamer.cell.base import UNKNOWN
from streamer.cell.layout import Layout, cells_of
from streamer.cell.numbers import decimal_of, number
from streamer.cell.states import state_of
from streamer.cell.times import Elapsed, TimeForm
from streamer.cell.timing import Columns, Numbers, find_times
from streamer.config import CellConfig
from streamer.errors import UserError

__all__ = ["Row", "RowReader", "survey"]

Row = tuple[int, float, float, float, int]
"""Time in ns, V, A, Ah, state."""

_NOTHING = {"", "-", "--", "nan", "n/a", "na", "null", "none", "#n/a"}
_BIOLOGIC_MODES = {"3": 0}
"""Galvanostatic and potentiostatic modes are told apart from rest, not from each other's sign."""
_MOST_VOLTS = 50.0
_KNOWN_SHARE = 0.2
"""Least share of the rows whose state a column tells, for it to be one of states."""


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads the rows of a table whose every column is known."""

    layout: Layout
    numbers: Numbers
    """Reads the numbers of a column."""
    time_places: tuple[int, ...]
    """One column, or those of the day and of the time of day."""
    time: TimeForm
    factors: Mapping[str, float]
    state_place: int | None
    sign: str
    """Where the sign of the current is from: "current"; "state"; or "state only", where currents
    have none and mean nothing without a state."""

    def read(self, line: str) -> Row:
        """Read a row.

        Raises
        ------
        ValueError
            It is none of the table.
        """
        cells = cells_of(line, self.layout.separator)
        n_columns = len(self.layout.names)
        is_short = self.layout.parts_by_blanks and len(cells) < n_columns
        if is_short or any(cells[n_columns:]):
            raise ValueError(f"{len(cells)} cells in {n_columns} columns")
        if max(self.time_places) >= len(cells):
            raise ValueError("no time")
        time_ns = self.time.ns(" ".join(cells[place] for place in self.time_places))
        places = self.layout.places
        voltage = self._value(cells, "voltage")
        if math.isnan(voltage):
            raise ValueError("no voltage")
        current = self._value(cells, "current") if "current" in places else math.nan
        state = UNKNOWN
        if self.state_place is not None and self.state_place < len(cells):
            state = _state(cells[self.state_place], self.layout)
        if self.sign != "current" and state in (1, -1):
            current = abs(current) * state
        elif self.sign == "state only" and state == UNKNOWN and current:
            current = math.nan
        return time_ns, voltage, current, self._capacity(cells), state

    def columns(self) -> dict[str, str]:
        """Return the columns by quantity, for a user."""
        layout, places = self.layout, self.layout.places
        unit = "state" if not isinstance(self.time, Elapsed) or ":" in self.time.sample else "time"
        said = {"time": " and ".join(layout.words(unit, place) for place in self.time_places)}
        said |= {q: layout.words(q, places[q]) for q in ("voltage", "current") if q in places}
        if "current" in said and self.sign != "current":
            said["current"] += ", its sign from the state"
        if "charged" in places:
            both = (layout.words("capacity", places[name]) for name in ("charged", "discharged"))
            said["capacity"] = " less ".join(both)
        elif "capacity" in places:
            said["capacity"] = layout.words("capacity", places["capacity"])
        if self.state_place is not None:
            said["state"] = layout.words("state", self.state_place)
        return said

    def _value(self, cells: Sequence[str], quantity: str) -> float:
        place = self.layout.places[quantity]
        text = cells[place] if place < len(cells) else ""
        if text.casefold() in _NOTHING:
            return math.nan
        return self.numbers[place](text) * self.factors[quantity]

    def _capacity(self, cells: Sequence[str]) -> float:
        places = self.layout.places
        if "charged" in places:
            return self._value(cells, "charged") - self._value(cells, "discharged")
        return self._value(cells, "capacity") if "capacity" in places else math.nan


def survey(lines: Sequence[str], layout: Layout, config: CellConfig, path: object) -> RowReader:
    """Find out of the rows of a table how they are to be read.

    Parameters
    ----------
    lines
        All that there are, at least one.

    Raises
    ------
    UserError
        They leave open what a user has to say.
    """
    columns = Columns(lines, layout)
    places = layout.places
    decimal = decimal_of(text for place in places.values() for text in columns[place])
    numbers = {
        place: partial(number, decimal=decimal_of(columns[place], decimal))
        for place in {*places.values(), *layout.moments, *layout.elapsed}
    }
    try:
        factors = {
            quantity: layout.factor("capacity" if quantity.endswith("charged") else quantity, place)
            for quantity, place in places.items()
        }
        time_places, time = find_times(columns, layout, config, numbers, path)
    except ValueError as error:
        raise UserError(f"the cell file {path}: {error}: see cell.columns") from None
    _check_volts(columns, layout, numbers, path)
    state_place = _state_place(columns, layout, "state" in config.columns)
    sign = "current"
    if state_place is not None and "current" in places:
        sign = _sign(
            columns[state_place], columns[places["current"]], layout, numbers[places["current"]]
        )
    return RowReader(layout, numbers, time_places, time, factors, state_place, sign)


def _check_volts(columns: Columns, layout: Layout, numbers: Numbers, path: object) -> None:
    """Refuse voltages that name no unit and are no volts of a cell.

    Raises
    ------
    UserError
        They are none.
    """
    place = layout.places["voltage"]
    if layout.names_unit("voltage", place):
        return
    values = []
    for text in columns[place]:
        with suppress(ValueError):
            values.append(abs(numbers[place](text)))
    if values and (middle := median(values)) > _MOST_VOLTS:
        name = layout.names[place].text
        raise UserError(
            f"the cell file {path} names no unit of {name}, and {middle:g} V is no voltage of a"
            f" cell: name it, as in cell.columns.voltage='{name} [mV]'"
        )


def _state(text: str, layout: Layout) -> int:
    if layout.is_biologic:
        return _BIOLOGIC_MODES.get(text, UNKNOWN)
    return state_of(text)


def _state_place(columns: Columns, layout: Layout, is_told: bool) -> int | None:
    """Return the column that tells the state of most rows."""
    if is_told:
        return layout.states[0]
    shares = []
    for place in layout.states:
        texts = [text for text in columns[place] if text]
        n_known = sum(_state(text, layout) != UNKNOWN for text in texts)
        share = n_known / len(texts) if texts else 0.0
        is_mode = layout.is_biologic and layout.names[place].stem == "mode"
        if share >= _KNOWN_SHARE or is_mode:
            shares.append((share, -place))
    return -max(shares)[1] if shares else None


def _sign(
    states: Sequence[str], currents: Sequence[str], layout: Layout, parse: Callable[[str], float]
) -> str:
    """Return where the sign of the current is from."""
    signs = {1: [0, 0], -1: [0, 0]}
    """Currents above and below zero while charging, and while discharging."""
    n_below = 0
    for state, text in zip(states, currents, strict=True):
        try:
            value = parse(text)
        except ValueError:
            continue
        n_below += value < 0
        if value and (known := _state(state, layout)) in signs:
            signs[known][value < 0] += 1
    (charge_up, charge_down), (discharge_up, discharge_down) = signs[1], signs[-1]
    if n_below and charge_up >= charge_down and discharge_down >= discharge_up:
        return "current"
    return "state only" if discharge_up and not n_below else "state"
