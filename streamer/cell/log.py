"""The cell's channel of a run: read as it grows, kept in the run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from streamer.cell.base import CellSource, Readings
from streamer.cell.cycles import KINDS, half_cycles
from streamer.cell.tables import TableSource
from streamer.config import CellConfig
from streamer.errors import UserError
from streamer.results.folder import RunFolder
from streamer.results.schema import CELL

__all__ = ["CellLog", "open_cell"]

logger = logging.getLogger(__name__)

_WRITE_S = 2.0


def open_cell(config: CellConfig) -> CellSource:
    """Open a cell channel.

    Raises
    ------
    UserError
        It cannot be read; the text says what to do.
    """
    place = str(config.file)
    if place.startswith("pva://"):
        from streamer.cell.epics import PvSource

        return PvSource(place, config.columns)
    path = Path(place)
    start = None if config.start is None else _nanoseconds(config.start)
    if path.suffix.lower() == ".mpr":
        from streamer.cell.biologic import MprSource

        return MprSource(path)
    return TableSource(path, config.columns, start)


class CellLog:
    """Takes readings from a source and keeps ``cell.parquet`` up to date.

    Whatever goes wrong on the way is logged once, and tried again: a run does not end because of
    its cycler. Only what is wrong from the start is a user's mistake.

    Parameters
    ----------
    config
        The channel and the offset of its clock.
    folder
        Run folder.
    clock
        Returns a monotonic time in seconds.

    Raises
    ------
    UserError
        The channel cannot be read.
    """

    def __init__(
        self, config: CellConfig, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = open_cell(config)
        self._offset_ns = round(config.offset_s * 1e9)
        self._folder = RunFolder(folder)
        self._clock = clock
        self._readings = Readings.empty()
        if str(config.file).startswith("pva://"):  # it tells nothing twice, unlike a file
            self._readings = _readings(self._folder.read_cell(), self._offset_ns)
        self._n_written = len(self._readings)
        self._next_s = clock()
        self._trouble: dict[str, str] = {}
        """What was last said of what could not be done."""
        try:
            self._take()
        except UserError:
            self._source.close()
            raise
        except Exception as error:
            self._note("read", error)
        self._attempt("written", self.write)

    def poll(self) -> None:
        """Take what is new; write it when it is time. Raises nothing."""
        self._attempt("read", self._take)
        if self._clock() >= self._next_s:
            self._attempt("written", self.write)

    def write(self) -> None:
        """Write what has come, if there is anything new."""
        self._next_s = self._clock() + _WRITE_S
        if len(self._readings) == self._n_written:
            return
        self._folder.write_cell(_table(self._readings, self._offset_ns))
        self._n_written = len(self._readings)

    def close(self) -> None:
        """Take and write the last readings. Raises nothing."""
        self._attempt("read", self._take)
        self._attempt("written", self.write)
        self._attempt("closed", self._source.close)

    def _take(self) -> None:
        new = self._source.poll()
        if len(new):
            self._readings = self._readings.then(new)

    def _attempt(self, what: str, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # of any type: what is read was written by others
            self._note(what, error)

    def _note(self, what: str, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if reason != self._trouble.get(what):
            logger.warning("the cell channel cannot be %s: %s", what, reason)
        self._trouble[what] = reason


def _readings(table: pa.Table, offset_ns: int) -> Readings:
    """Return what `_table` was made of."""
    times, *others = (table[name].to_numpy() for name in table.column_names[:4])
    return Readings(times - offset_ns, *others)


def _table(readings: Readings, offset_ns: int) -> pa.Table:
    order = np.argsort(readings.time_ns, kind="stable")
    readings = Readings(
        readings.time_ns[order] + offset_ns,
        readings.voltage_v[order],
        readings.current_a[order],
        readings.capacity_ah[order],
    )
    number, sign = half_cycles(readings)
    return pa.table(
        {
            "time_ns": readings.time_ns,
            "voltage_v": readings.voltage_v,
            "current_a": readings.current_a,
            "capacity_ah": readings.capacity_ah,
            "half_cycle": number,
            "kind": [KINDS[one] for one in sign.tolist()],
        },
        schema=CELL,
    )


def _nanoseconds(date: datetime) -> int:
    return round(date.replace(tzinfo=date.tzinfo or UTC).timestamp() * 1e6) * 1000
