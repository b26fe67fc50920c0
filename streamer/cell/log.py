"""The cell's channel of a run: read as it grows, kept in the run folder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.cell.base import CellSource, Readings
from streamer.cell.binary import BinarySource
from streamer.cell.cycles import KINDS, half_cycles, kinds_from
from streamer.cell.several import SeveralFiles, is_pattern
from streamer.cell.tables import TableSource
from streamer.cell.told import as_record
from streamer.cell.zone import Zone
from streamer.config import CellConfig
from streamer.errors import UserError, as_line
from streamer.results.folder import RunFolder
from streamer.results.schema import CELL

__all__ = ["CellLog", "open_cell"]

logger = logging.getLogger(__name__)

_WRITE_S = 2.0
_QUIET_S, _QUIET_STEPS, _LATELY = 20.0, 5.0, 100
"""A channel is silent after so long and so many times what is between the newest readings."""
_MOST_SAID = 100
"""Different things that are logged of what could not be done."""
_NOT_READ = {
    ".res": "export the test as CSV from MITS Pro, or have mdb-export of mdbtools write one",
    ".mdb": "have mdb-export of mdbtools write a CSV file",
    ".xls": "save the sheet with the records as CSV",
    ".xlsx": "save the sheet with the records as CSV",
    ".mps": "name the .mpt or .mpr files of the experiment",
}


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
    Zone(config.timezone)
    if is_pattern(place):
        return SeveralFiles(place, partial(_open_file, config=config))
    return _open_file(Path(place), config)


def _open_file(path: Path, config: CellConfig) -> CellSource:
    suffix = path.suffix.lower()
    if suffix in _NOT_READ:
        raise UserError(f"{path}: {suffix} files are not read: {_NOT_READ[suffix]}")
    if suffix == ".mpr":
        from streamer.cell.biologic import mpr_loader

        return BinarySource(path, mpr_loader(config, path))
    if suffix in (".nda", ".ndax"):
        from streamer.cell.neware import nda_loader

        return BinarySource(path, nda_loader(config, path))
    return TableSource(path, config)


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
        self._grown_s: float | None = None  # when it last had something new, once it grows
        self._trouble: dict[str, str] = {}
        """Why what cannot be done cannot be."""
        self._said: set[tuple[str, str]] = set()
        try:
            self._take()
        except UserError:
            self._source.close()
            raise
        except Exception as error:
            self._note("read", error)
        self._grown_s = None
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

    def record(self, frames_ns: NDArray[np.int64] | None = None) -> dict[str, Any]:
        """Return what was taken, for ``run.json``; see `streamer.cell.told`.

        Parameters
        ----------
        frames_ns
            (n,) Unix time of each frame in ns, 0 where not known, once the run is over.
        """
        if frames_ns is not None and (apart := self._apart(frames_ns[frames_ns > 0])):
            self._trouble["laid beside the frames"] = apart
        record = as_record(self._source.accounts(), self._readings)
        return record | {"troubles": dict(self._trouble), "lost": self.lost()}

    def _apart(self, frames_ns: NDArray[np.int64]) -> str:
        """Say that no reading is of the time of the frames; empty where one is."""
        cell_ns = self._readings.time_ns + self._offset_ns
        if not len(frames_ns) or not len(cell_ns):
            return ""
        if cell_ns.min() <= frames_ns.max() and cell_ns.max() >= frames_ns.min():
            return ""
        return (
            f"its readings are of {_span(cell_ns)}, the frames of {_span(frames_ns)}: see"
            " cell.timezone, cell.offset_s and cell.start"
        )

    def lost(self) -> str:
        """Return what could not be read, in words; empty where all could."""
        n_unread = sum(account.n_unread for account in self._source.accounts())
        words = [f"{n_unread:,} rows of the cell's file not read"] if n_unread else []
        words += [f"the cell cannot be {what}: {why}" for what, why in self._trouble.items()]
        return ", ".join(words)

    def missed(self) -> str:
        """Return what could not be read, and whether a channel that grew does no more, in words."""
        quiet_s = 0.0 if self._grown_s is None else self._clock() - self._grown_s
        silent = f"cell silent for {quiet_s:.0f} s" if quiet_s > self._patience_s else ""
        return ", ".join(filter(None, (self.lost(), silent)))

    @property
    def _patience_s(self) -> float:
        """So long a channel may be quiet: several times what it was lately."""
        steps = np.diff(np.sort(self._readings.time_ns[-_LATELY:])) / 1e9
        return max(_QUIET_S, _QUIET_STEPS * float(np.median(steps))) if len(steps) else math.inf

    def close(self) -> None:
        """Take and write the last readings. Raises nothing."""
        self._attempt("read", self._take)
        self._attempt("written", self.write)
        self._attempt("closed", self._source.close)

    def _take(self) -> None:
        while len(new := self._source.poll()):  # a large file comes in portions
            news = new.without(self._readings)
            self._grown_s = self._clock() if len(news) else self._grown_s
            self._readings = self._readings.then(news)

    def _attempt(self, what: str, do: Callable[[], None]) -> None:
        try:
            do()
            self._trouble.pop(what, None)
        except Exception as error:  # of any type: what is read was written by others
            self._note(what, error)

    def _note(self, what: str, error: Exception) -> None:
        reason = as_line(str(error)) or type(error).__name__
        if (what, reason) not in self._said and len(self._said) < _MOST_SAID:
            logger.warning("the cell channel cannot be %s: %s", what, reason)
            self._said.add((what, reason))
        self._trouble[what] = reason


def _span(times_ns: NDArray[np.int64]) -> str:
    first, last = (
        datetime.fromtimestamp(int(ns) / 1e9, UTC).isoformat(sep=" ", timespec="seconds")
        for ns in (times_ns.min(), times_ns.max())
    )
    return f"{first} to {last}"


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
        readings.states[order],
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
            "kind_from": kinds_from(readings),
        },
        schema=CELL,
    )
