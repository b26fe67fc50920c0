"""Files of a cycler that are read as a whole, by a package that knows their form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamer.cell.base import Account, Readings
from streamer.errors import UserError, as_line

__all__ = ["BinarySource", "Load"]

Load = Callable[[Path], tuple[Readings, Account]]
"""Returns all readings of a file; may raise whatever the package that reads it does."""


class BinarySource:
    """Reads a file again whenever it has changed.

    Parameters
    ----------
    path
        The file.
    load
        Reads it.

    Raises
    ------
    UserError
        It is not what it says.
    """

    def __init__(self, path: Path, load: Load) -> None:
        self._path = path
        self._load = load
        self._seen: tuple[int, int, int] | None = None
        self._n_given = 0
        self._account = Account(str(path))
        self._first: Readings | None = None
        try:
            self._first = self.poll()
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read the cell file {path}: {as_line(str(error))}") from None

    def poll(self) -> Readings:
        """Return the readings that were added since the last call."""
        first, self._first = self._first, None
        if first is not None:
            return first
        stat = self._path.stat()
        state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if state == self._seen:
            return Readings.empty()
        try:
            readings, account = self._load(self._path)
        except UserError:
            raise
        except Exception as error:  # of any type: readers trust what a half-written file says
            why = as_line(str(error)) or type(error).__name__
            raise ValueError(f"it is half written, or none of its kind: {why}") from None
        if self._seen is not None and (state[0] != self._seen[0] or len(readings) < self._n_given):
            self._n_given = 0
        new = readings.taken(np.arange(self._n_given, len(readings)))
        self._seen = state
        self._n_given = len(readings)
        good = np.isfinite(new.voltage_v)
        self._account = replace(
            account,
            n_read=self._account.n_read + int(good.sum()),
            n_unread=self._account.n_unread + int((~good).sum()),
            why="" if good.all() else "no voltage",
        )
        return new.taken(good)

    def accounts(self) -> list[Account]:
        """Return what was taken."""
        return [self._account]

    def close(self) -> None:
        """Nothing is held open."""
