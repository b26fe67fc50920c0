"""Tables that a cycler writes: CSV and BioLogic text, also while they grow."""

from __future__ import annotations

import csv
import logging
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamer.cell.base import Readings
from streamer.documents import open_regular
from streamer.errors import UserError, as_line

__all__ = ["TableSource"]

logger = logging.getLogger(__name__)

QUANTITIES = ("time", "voltage", "current", "capacity")

# Names by quantity, in lower case without blanks, units and punctuation.
_NAMES = {
    "time": ("time", "times", "testtime", "datetime", "timestamp", "date", "timens", "unixtime"),
    "voltage": ("voltage", "v", "u", "ewe", "ecell", "voltagev", "potential", "cellvoltage"),
    "current": ("current", "i", "currenta", "cellcurrent"),
    "capacity": ("capacity", "q", "qqo", "capacityah", "qcharge", "charge"),
}
_UNITS = {
    "v": 1.0, "mv": 1e-3, "a": 1.0, "ma": 1e-3, "ua": 1e-6, "µa": 1e-6, "ah": 1.0, "mah": 1e-3,
    "uah": 1e-6, "µah": 1e-6, "s": 1.0, "ms": 1e-3, "ns": 1e-9, "min": 60.0, "h": 3600.0,
}  # fmt: skip
_BIOLOGIC = "EC-Lab ASCII FILE"
_UNIX_FROM_S = 3e8
"""Seconds from here on count from 1970, below from the start of the measurement."""
_MOST_BYTES = 1 << 26
"""That are read at once; what is left is read at the next look."""
_LONGEST_LINE = 1 << 20
_LATEST_S = 4e9
"""No reading is from later, seconds from 1970: it is in the year 2096."""


class TableSource:
    """Reads a table with one line for each reading, from its start and then as it grows.

    Columns are known by their names (``Ecell/V``, ``Voltage [mV]``, ``I/mA`` ...) or by what the
    user says. Times are Unix seconds, ISO dates (UTC when they name no zone), or seconds since the
    start of the measurement.

    Parameters
    ----------
    path
        The file: CSV with any of the usual separators, or BioLogic's ``.mpt``.
    columns
        Names of columns by quantity (time, voltage, current, capacity), where they are not known.
    start
        When the measurement began, Unix time in ns, for times that count from there; None takes
        what the file says.

    Raises
    ------
    UserError
        The file cannot be read, or has no such columns.
    """

    def __init__(
        self, path: Path, columns: Mapping[Any, str] | None = None, start: int | None = None
    ) -> None:
        self._path = path
        self._start_ns = start
        self._rest = b""
        self._n_read = 0
        try:
            lines = self._lines()
        except OSError as error:
            raise UserError(f"cannot read the cell file {path}: {error.strerror}") from None
        skipped = self._skip_biologic(lines)
        if len(lines) <= skipped:
            raise UserError(f"the cell file {path} has no line with the names of its columns")
        head = lines[skipped]
        self._separator = _separator(head)
        try:
            names = _cells(head, self._separator)
        except ValueError as error:
            raise UserError(f"the names of the columns of {path} cannot be read: {error}") from None
        self._places = _places(names, columns or {}, path)
        self._decimal = "," if self._separator != "," else "."
        self._waiting = lines[skipped + 1 :]
        self.n_unreadable = 0
        """Lines that could not be read."""

    def poll(self) -> Readings:
        """Return the readings of the lines that were completed since the last call.

        A line that does not fit is left out; the first one is logged.

        Raises
        ------
        UserError
            All times count from a start that nobody named.
        """
        lines, self._waiting = [*self._waiting, *self._lines()], []
        rows = []
        no_start: UserError | None = None
        for line in lines:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                rows.append(self._row(_cells(line, self._separator)))
            except (ValueError, IndexError) as error:
                self._leave_out(line, error)
            except UserError as error:
                self._leave_out(line, error)
                no_start = error
        if no_start is not None and not rows:
            raise no_start
        if not rows:
            return Readings.empty()
        values = np.array([row[1:] for row in rows], np.float64)
        times = np.array([row[0] for row in rows], np.int64)
        return Readings(times, values[:, 0], values[:, 1], values[:, 2])

    def close(self) -> None:
        """Nothing is held open."""

    def _leave_out(self, line: str, error: Exception) -> None:
        if not self.n_unreadable:
            reason, start = as_line(str(error), 120), as_line(line, 80)
            logger.warning("%s: a line is left out (%s): %s", self._path, reason, start)
        self.n_unreadable += 1

    def _lines(self) -> list[str]:
        """Return the complete lines that are new; the last one may be half written."""
        with open_regular(self._path) as file:
            file.seek(self._n_read)
            new = file.read(_MOST_BYTES)
        self._n_read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = self._rest[:_LONGEST_LINE]  # it cannot be read, and is not kept to the end
        return [line.decode("utf-8-sig", "replace").rstrip("\r") for line in lines]

    def _skip_biologic(self, lines: Sequence[str]) -> int:
        """Return the number of lines before the names of the columns."""
        if not lines or not lines[0].startswith(_BIOLOGIC):
            return 0
        count = 0
        for line in lines:
            if found := re.match(r"Nb header lines\s*:\s*(\d{1,9})\b", line):
                count = max(0, int(found[1]) - 1)
            if (found := re.match(r"Acquisition started on\s*:\s*(\S+ \S+)", line)) is not None:
                self._start_ns = self._start_ns or _american(found[1])
        return count

    def _row(self, cells: Sequence[str]) -> tuple[int, float, float, float]:
        place, factor = self._places["time"]
        time_ns = self._time_ns(cells[place], factor)
        values = []
        for name in QUANTITIES[1:]:
            if name not in self._places:
                values.append(math.nan)
                continue
            place, factor = self._places[name]
            values.append(factor * self._number(cells[place]))
        return time_ns, values[0], values[1], values[2]

    def _time_ns(self, text: str, factor: float) -> int:
        try:
            seconds = self._number(text) * factor
        except ValueError:
            date = datetime.fromisoformat(text.strip())
            seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
            if not abs(seconds) < _LATEST_S:
                raise ValueError(f"no time of a reading: {text}") from None
            return round(seconds * 1e6) * 1000
        if not abs(seconds) < _LATEST_S:
            raise ValueError(f"no time of a reading in seconds: {text}")
        if seconds >= _UNIX_FROM_S:
            return round(seconds * 1e9)
        if self._start_ns is None:
            raise UserError(
                f"the times in {self._path} count from the start of the measurement: set cell.start"
                " to when that was, such as 2026-11-22T09:30:00+01:00"
            )
        time_ns = self._start_ns + round(seconds * 1e9)
        if not abs(time_ns) < _LATEST_S * 1e9:
            raise ValueError(f"no time of a reading in seconds from the start: {text}")
        return time_ns

    def _number(self, text: str) -> float:
        return float(text.replace(",", ".") if self._decimal == "," else text)


def _american(text: str) -> int | None:
    """Return BioLogic's date, in the local zone of this machine, as Unix time in ns."""
    for form in ("%m/%d/%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"):
        try:
            date = datetime.strptime(text, form).astimezone()
        except (ValueError, OverflowError):  # the latter of a year that the zone leads out of
            continue
        return round(date.timestamp() * 1e6) * 1000
    return None


def _separator(line: str) -> str:
    return max(("\t", ";", ","), key=line.count)


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _places(
    names: Sequence[str], columns: Mapping[Any, str], path: Path
) -> dict[str, tuple[int, float]]:
    """Return the column of each quantity and what to multiply it by."""
    places: dict[str, tuple[int, float]] = {}
    for quantity in QUANTITIES:
        if quantity in columns:
            if columns[quantity] not in names:
                raise UserError(
                    f"the cell file {path} has no column {columns[quantity]!r}: set cell.columns"
                    f" from {', '.join(names)}"
                )
            place: int | None = names.index(columns[quantity])
        else:
            place = next(
                (i for i, name in enumerate(names) if _plain(name)[0] in _NAMES[quantity]), None
            )
        if place is not None:
            places[quantity] = (place, _UNITS.get(_plain(names[place])[1], 1.0))
    lacking = [name for name in ("time", "voltage") if name not in places]
    if lacking:
        raise UserError(
            f"the cell file {path} has no column that looks like its {lacking[0]}: set"
            f" cell.columns.{lacking[0]} to one of {', '.join(names)}"
        )
    return places


def _plain(name: str) -> tuple[str, str]:
    """Return a column's name and its unit in small letters: of ``Ecell/V``, ``Time [s]``."""
    found = re.fullmatch(r"\s*([^/\[(]+?)\s*(?:[/\[(]\s*([^\])]*?)\s*[\])]?)?\s*", name.lower())
    stem, unit = (found[1], found[2] or "") if found else (name.lower(), "")
    head, _, tail = stem.rpartition("_")
    if not unit and head and tail in _UNITS:
        stem, unit = head, tail
    return re.sub(r"[^a-zµ]", "", stem), unit.replace(".", "")
