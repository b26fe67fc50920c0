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
from streamer.store import CELL, RunFolder

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

    What goes wrong on the way is logged once, and tried again: a run does not end because of its
    cycler.

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
        self._n_written = 0
        self._next_s = clock()
        self._trouble = ""
        self.poll()

    def poll(self) -> None:
        """Take what is new; write it when it is time."""
        try:
            new = self._source.poll()
            self._trouble = ""
        except UserError:
            raise
        except (OSError, ValueError) as error:
            if str(error) != self._trouble:
                logger.warning("the cell channel cannot be read: %s", error)
            self._trouble = str(error)
            return
        if len(new):
            self._readings = self._readings.then(new)
        if self._clock() >= self._next_s:
            self.write()

    def write(self) -> None:
        """Write what has come, if there is anything new."""
        self._next_s = self._clock() + _WRITE_S
        if len(self._readings) == self._n_written:
            return
        self._folder.write_cell(_table(self._readings, self._offset_ns))
        self._n_written = len(self._readings)

    def close(self) -> None:
        """Take and write the last readings."""
        try:
            self.poll()
            self.write()
        finally:
            self._source.close()


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
