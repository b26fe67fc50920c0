"""BioLogic's binary files, through the package galvani."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamer.cell.base import Floats, Readings
from streamer.documents import open_regular
from streamer.errors import UserError, as_line

__all__ = ["MprSource"]

_FIELDS = {
    "voltage": {"Ewe/V": 1.0, "<Ewe>/V": 1.0, "Ecell/V": 1.0},
    "current": {"I/mA": 1e-3, "<I>/mA": 1e-3, "I/A": 1.0, "control/mA": 1e-3},
    "capacity": {"(Q-Qo)/mA.h": 1e-3, "(Q-Qo)/C": 1 / 3600, "Q charge/discharge/mA.h": 1e-3},
}


class MprSource:
    """Reads an ``.mpr`` file, again whenever it has changed.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    UserError
        The package galvani is not installed, or the file is not what it says.
    """

    def __init__(self, path: Path) -> None:
        try:
            from galvani import BioLogic
        except ImportError:
            raise UserError(
                f"{path}: to read .mpr files install galvani (pip install 'braggstream[biologic]'),"
                " or export the measurement as .mpt"
            ) from None
        self._reader: Any = BioLogic.MPRfile
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._n_given = 0
        self._first: Readings | None = None
        try:
            self._first = self.poll()
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read the cell file {path}: {error}") from None

    def poll(self) -> Readings:
        """Return the readings that were added since the last call."""
        first, self._first = self._first, None
        if first is not None:
            return first
        stat = self._path.stat()
        if (stat.st_size, stat.st_mtime_ns) == self._seen:
            return Readings.empty()
        try:
            with open_regular(self._path) as opened:
                file = self._reader(opened)
            data = file.data
            readings = _readings(file.timestamp, data[self._n_given :])
        except Exception as error:  # of any type: galvani trusts what a half-written file says
            why = as_line(str(error)) or type(error).__name__
            raise ValueError(f"not a BioLogic file that can be read: {why}") from None
        self._seen = (stat.st_size, stat.st_mtime_ns)
        self._n_given = len(data)
        return readings

    def close(self) -> None:
        """Nothing is held open."""


def _readings(started: datetime, new: Any) -> Readings:
    # The date in the file is that of the instrument's computer, whose zone it does not say.
    start_ns = round(started.astimezone().timestamp() * 1e6) * 1000
    return Readings(
        start_ns + np.rint(new["time/s"] * 1e9).astype(np.int64),
        _column(new, "voltage"),
        _column(new, "current"),
        _column(new, "capacity"),
    )


def _column(data: Any, quantity: str) -> Floats:
    for name, factor in _FIELDS[quantity].items():
        if name in data.dtype.names:
            return np.asarray(data[name], np.float64) * factor
    return np.full(len(data), np.nan)
