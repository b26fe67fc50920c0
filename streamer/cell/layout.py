"""Where the names of a table's columns stand, what lies before them, and what parts them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from streamer.cell.names import ABSOLUTE, DIMENSIONS, ELAPSED, Name, is_unit, ranked
from streamer.cell.numbers import decimal_of
from streamer.errors import UserError

__all__ = ["Layout", "cells_of", "find_layout"]

_MOST_LINES = 2000
"""Names of columns are looked for in the first lines only."""
_LONGEST = 20_000
_GAPS, _BLANKS = "gaps", "blanks"
_SEPARATORS = ("\t", ";", ",", "|", _GAPS, _BLANKS)
_MARKS = re.compile(r"^\ufeff?[#~%]+ *")
"""Before a line that is no row for other programs."""
_BIOLOGIC = re.compile(r"\W*(EC|BT)-Lab ASCII FILE", re.IGNORECASE)
_START = re.compile(
    r"\b(?:start(?:ed)?|began|begin|beginn)\b[^:=\d]*?[:=\t;,]\s*(?P<at>[^\t;]*\d:\d\d[^\t;]*)",
    re.IGNORECASE,
)
_DEFAULTS = {"time": "s", "voltage": "V", "current": "A", "capacity": "Ah"}
_HEADED = 100
"""Score of a line with names of times and of the voltage."""
_UNCONFIRMED = 60
"""Less is that of words in a sentence, with no numbers below."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is laid out."""

    separator: str
    names: tuple[Name, ...]
    units: dict[int, str]
    """Units by column, where others than its name say them."""
    n_before: int
    """Lines before the first reading."""
    places: dict[str, int]
    """Columns of voltage, current and capacity; charged and discharged in place of the latter."""
    moments: list[int]
    """Columns that may hold moments, the more certain first."""
    elapsed: list[int]
    """Columns that may hold times since a start, the more certain first."""
    states: list[int]
    """Columns that may hold the cycler's state, the more certain first."""
    start: str | None
    """When the measurement began, as the lines before the names say."""
    is_biologic: bool

    @property
    def parts_by_blanks(self) -> bool:
        """True where an empty cell cannot be seen."""
        return self.separator in (_GAPS, _BLANKS)

    def factor(self, quantity: str, place: int) -> float:
        """Return what to multiply a column's numbers by to get s, V, A, Ah."""
        return self.names[place].factor(quantity, self.units.get(place, ""))

    def names_unit(self, quantity: str, place: int) -> bool:
        """Tell whether a column says in which unit its numbers are."""
        name = self.names[place]
        return place in self.units or bool(name.unit) or name.stem in DIMENSIONS[quantity]

    def is_other_head(self, line: str) -> bool:
        """Tell whether a line names the columns once more, and in another order."""
        try:
            texts = [cell.lstrip("\ufeff") for cell in cells_of(line, self.separator)]
        except ValueError:
            return False
        known = [name.text for name in self.names]
        n_alike = len({text for text in texts if text} & set(known))
        return n_alike > 1 and 2 * n_alike > len(texts) and texts != known

    def words(self, quantity: str, place: int) -> str:
        """Return a column with its unit, for a user."""
        name = self.names[place]
        if place in self.units:
            return f"{name.text} (in {self.units[place]})"
        if quantity == "state" or self.names_unit(quantity, place):
            return name.text
        return f"{name.text} (no unit named: taken as {_DEFAULTS[quantity]})"

    def with_units(self, line: str) -> Layout | None:
        """Return this layout with the units that a line below the names says; None if none."""
        try:
            row = cells_of(line, self.separator)
        except ValueError:
            return None
        place = self.places["voltage"]
        if place >= len(row) or (row[place] and not is_unit(row[place])):
            return None
        units = {n: cell.strip("[]() ") for n, cell in enumerate(row) if is_unit(cell)}
        return replace(self, units=units | self.units) if units else None


def cells_of(line: str, separator: str) -> list[str]:
    """Part a line.

    Raises
    ------
    ValueError
        It is no line of a table.
    """
    if separator == _BLANKS:
        return line.split()
    if separator == _GAPS:
        return re.split(r"\s{2,}", line.strip())
    if '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def find_layout(lines: Sequence[str], columns: Mapping[Any, str], path: object) -> Layout:
    """Find the names of the columns.

    Parameters
    ----------
    lines
        Of the file, from its start.
    columns
        Names of columns by quantity, as the user gives them; with a unit in brackets behind them
        where the file has none.

    Raises
    ------
    UserError
        There are none, or not those that are needed.
    """
    best_score, n_before, separator = -1, 0, ""
    names: tuple[Name, ...] = ()
    first = _announced(lines)
    for number, line in enumerate(lines[:_MOST_LINES]):
        if number < first:
            continue
        if len(line) > _LONGEST or not line.strip():
            continue
        for one in _SEPARATORS:
            found = _names(line, one)
            score = _score(found, columns)
            if score >= _HEADED and not _is_followed(found, lines[number + 1 :], one, columns):
                score -= _UNCONFIRMED
            if score > best_score:
                best_score, n_before, separator, names = score, number + 1, one, found
        if best_score >= _HEADED:
            break
    if not any(name.text for name in names):
        raise UserError(f"the cell file {path} has no line with the names of its columns")
    told, units = _told(names, columns, path)
    moments = [told["time"]] if "time" in told else _times(names, (*ABSOLUTE, *ELAPSED))
    if not moments:
        raise _lacks("time", names, path)
    before = lines[: n_before - 1]
    starts = [match["at"] for line in before if (match := _START.search(line))]
    return Layout(
        separator=separator,
        names=names,
        units=units,
        n_before=n_before,
        places=_places(names, told, path),
        moments=moments,
        elapsed=[told["time"]] if "time" in told else _times(names, ELAPSED),
        states=[told["state"]] if "state" in told else ranked(names, "state"),
        start=starts[0].strip(" ,\"'") if starts else None,
        is_biologic=any(_BIOLOGIC.match(line) for line in before[:1]),
    )


@lru_cache(maxsize=4096)
def _name(text: str) -> Name:
    return Name.of(text)


def _names(line: str, separator: str) -> tuple[Name, ...]:
    try:
        cells = cells_of(_MARKS.sub("", line), separator)
    except ValueError:
        return ()
    return tuple(_name(cell.lstrip("\ufeff")) for cell in cells)


def _score(names: Sequence[Name], columns: Mapping[Any, str]) -> int:
    """Tell how much a line looks like the names of columns."""
    texts = {name.text for name in names}
    has_time, has_voltage = (
        _bare(columns[quantity], texts) is not None if quantity in columns else is_there
        for quantity, is_there in (
            ("time", bool(_times(names, (*ABSOLUTE, *ELAPSED)))),
            ("voltage", bool(ranked(names, "voltage"))),
        )
    )
    n_known = sum(bool(ranked(names, one)) for one in ("current", "capacity", "state"))
    return _HEADED * (has_time and has_voltage) + 10 * n_known + 5 * has_voltage + (len(names) > 1)


def _announced(lines: Sequence[str]) -> int:
    """Return how many lines BioLogic says to be before that with the names; 0 where it does not."""
    for line in lines[:5] if lines and _BIOLOGIC.match(lines[0]) else []:
        if found := re.match(r"Nb header lines\s*:\s*(\d{1,4})\b", line):
            return int(found[1]) - 1 if int(found[1]) <= len(lines) else 0
    return 0


def _is_followed(
    names: Sequence[Name], below: Sequence[str], separator: str, columns: Mapping[Any, str]
) -> bool:
    """Tell whether voltages or their unit stand below the names, or nothing yet."""
    texts = [name.text for name in names]
    told = _bare(columns["voltage"], set(texts)) if "voltage" in columns else None
    place = texts.index(told) if told is not None else ranked(names, "voltage")[0]
    row = next((line for line in below if line.strip()), None)
    if row is None:
        return True
    try:
        cell = cells_of(row[:_LONGEST], separator)[place]
    except (ValueError, IndexError):
        return False
    return is_unit(cell) or bool(decimal_of([cell], "")) or cell.lstrip("-").isdecimal()


def _bare(wanted: str, texts: set[str]) -> str | None:
    """Return which name of a column is meant, if need be without the unit behind it."""
    if wanted in texts:
        return wanted
    bare = re.sub(r"\s*[\[(][^\[\]()]*[\])]$", "", wanted)
    return bare if bare in texts else None


def _told(
    names: Sequence[Name], columns: Mapping[Any, str], path: object
) -> tuple[dict[str, int], dict[int, str]]:
    """Return the columns that the user names, and the units behind them."""
    texts = [name.text for name in names]
    told: dict[str, int] = {}
    units: dict[int, str] = {}
    for quantity, wanted in columns.items():
        bare = _bare(wanted, set(texts))
        if bare is None:
            raise UserError(
                f"the cell file {path} has no column {wanted!r}: set cell.columns from"
                f" {', '.join(texts)}"
            )
        told[quantity] = texts.index(bare)
        if bare != wanted:
            units[told[quantity]] = wanted[len(bare) :].strip("[]() ")
    return told, units


def _places(names: Sequence[Name], told: Mapping[str, int], path: object) -> dict[str, int]:
    places = {name: told[name] for name in ("voltage", "current", "capacity") if name in told}
    for quantity in ("voltage", "current"):
        found = ranked(names, quantity)
        if quantity in places:
            continue
        if not found:
            _refuse_unit(names, quantity, path)
            continue
        ranks = [names[place].means(quantity) for place in found]
        equal = [p for p, rank in zip(found, ranks, strict=True) if rank and ranks[0]
                 and rank[0] == ranks[0][0]]  # fmt: skip
        if len(equal) > 1:
            texts = " or ".join(names[place].text for place in equal)
            raise UserError(
                f"the cell file {path} has {len(equal)} columns that look like its {quantity}: set"
                f" cell.columns.{quantity} to {texts}"
            )
        places[quantity] = found[0]
    if "voltage" not in places:
        raise _lacks("voltage", names, path)
    if "capacity" not in places:
        whole, charged, discharged = (
            ranked(names, one) for one in ("capacity", "charged", "discharged")
        )
        if whole:
            places["capacity"] = whole[0]
        elif charged and discharged:
            places |= {"charged": charged[0], "discharged": discharged[0]}
    return places


def _refuse_unit(names: Sequence[Name], quantity: str, path: object) -> None:
    """Refuse a column whose unit is not known, rather than be without it."""
    if doubtful := [name.text for name in names if name.may_be(quantity)]:
        raise UserError(
            f"the unit of the column {doubtful[0]} of the cell file {path} is not known: name it"
            f" behind the column's name, as in cell.columns.{quantity}="
            f"'{doubtful[0]} [{_DEFAULTS[quantity]}]'"
        )


def _times(names: Sequence[Name], known: tuple[str, ...]) -> list[int]:
    found = [(known.index(name.stem), n) for n, name in enumerate(names) if name.is_time(known)]
    return [place for _, place in sorted(found)]


def _lacks(quantity: str, names: Sequence[Name], path: object) -> UserError:
    return UserError(
        f"the cell file {path} has no column that looks like its {quantity}: set"
        f" cell.columns.{quantity} to one of {', '.join(name.text for name in names)}"
    )
