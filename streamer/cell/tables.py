"""Tables that a cycler writes as text, also while they grow."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from streamer.cell.base import Account, Readings
from streamer.cell.layout import Layout, find_layout
from streamer.cell.lines import GrowingLines
from streamer.cell.rows import Row, RowReader, survey
from streamer.cell.times import Counted, Dated
from streamer.config import CellConfig
from streamer.errors import UserError, as_line

__all__ = ["TableSource"]

logger = logging.getLogger(__name__)


class TableSource:
    """Reads a table with one line for each reading, from its start and then as it grows.

    Where the names of the columns stand, what they and their units mean, how numbers and dates are
    written and what the times count from is found out of all that is in the file; what is left open
    is asked for.

    Parameters
    ----------
    path
        The file.
    config
        What the user says of it.

    Raises
    ------
    UserError
        The file cannot be read, has no such columns, or none of its rows fits them.
    """

    def __init__(self, path: Path, config: CellConfig) -> None:
        self._path = path
        self._config = config
        self._lines = GrowingLines(path)
        self._layout: Layout | None = None
        self._reader: RowReader | None = None
        self._waiting: list[str] = []
        """Lines that nobody has read yet."""
        self._n_read = 0
        self.n_unreadable = 0
        """Lines that could not be read."""
        self._why = ""
        """Of the first of them."""
        self._is_over = False
        """What follows is in other columns."""
        self._first: Readings | None = None
        try:
            self._first = self.poll()
        except OSError as error:
            raise UserError(f"cannot read the cell file {path}: {error.strerror}") from None
        if self._layout is None:
            raise UserError(f"the cell file {path} has no line with the names of its columns")
        if self.n_unreadable and not self._n_read:
            raise UserError(
                f"none of the {self.n_unreadable:,} rows of the cell file {path} can be read:"
                f" {self._why}"
            )

    def poll(self) -> Readings:
        """Return the readings of the lines that were completed since the last call.

        A line that does not fit is left out and counted; the first one is logged. Lines wait as
        long as it is not known how to read them.

        Raises
        ------
        OSError
            The file cannot be read.
        UserError
            It cannot be told how to read it; the text says what to do.
        """
        first, self._first = self._first, None
        if first is not None:
            return first
        lines, is_first = self._lines.read()
        if is_first:
            self._begin()
        self._waiting += lines
        if self._layout is None:
            if not self._waiting:
                return Readings.empty()
            self._layout = find_layout(self._waiting, self._config.columns, self._path)
            del self._waiting[: self._layout.n_before]
        rows = self._rows(self._layout)
        if not rows:
            return Readings.empty()
        values = np.array([row[1:4] for row in rows], np.float64)
        return Readings(
            np.array([row[0] for row in rows], np.int64),
            values[:, 0],
            values[:, 1],
            values[:, 2],
            np.array([row[4] for row in rows], np.int8),
        )

    def accounts(self) -> list[Account]:
        """Return what was taken."""
        reader = self._reader
        if reader is None:
            n_waiting = sum(bool(line.strip()) for line in self._waiting)
            why = "it is not known how to read them" if n_waiting else ""
            return [Account(str(self._path), n_unread=n_waiting, why=why)]
        form = reader.time
        is_of_a_clock = isinstance(form, Dated | Counted) and form.zone.was_needed
        return [
            Account(
                str(self._path),
                reader.columns(),
                form.words,
                form.zone.words if isinstance(form, Dated | Counted) and is_of_a_clock else "",
                self._n_read,
                self.n_unreadable,
                self._why,
            )
        ]

    def close(self) -> None:
        """Nothing is held open."""

    def _begin(self) -> None:
        """Forget what was found out of a file that is there no more."""
        self._layout = self._reader = None
        self._waiting = []
        self._n_read = self.n_unreadable = 0
        self._why = ""
        self._is_over = False

    def _rows(self, layout: Layout) -> list[Row]:
        """Read the lines that wait."""
        self._waiting = [
            line for line in self._waiting if line.strip() and not line.lstrip().startswith("#")
        ]
        if self._reader is None and self._waiting:
            if (with_units := layout.with_units(self._waiting[0])) is not None:
                self._layout = layout = with_units
                del self._waiting[0]
            if self._waiting:
                self._reader = survey(self._waiting, layout, self._config, self._path)
        if self._reader is None:
            return []
        rows = []
        for line in self._waiting:
            try:
                if self._is_over:
                    raise ValueError("it is below a line that names other columns")
                rows.append(self._reader.read(line))
            except ValueError as error:
                self._is_over = self._is_over or layout.is_other_head(line)
                self._leave_out(line, error)
        self._waiting = []
        self._n_read += len(rows)
        return rows

    def _leave_out(self, line: str, error: Exception) -> None:
        if not self.n_unreadable:
            self._why = f"{as_line(str(error), 120)}, in the line {as_line(line, 80)}"
            if self._n_read:
                logger.warning("%s: a line is left out: %s", self._path, self._why)
        self.n_unreadable += 1
