"""Neware's binary files, through the package fastnda."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamer.cell.base import Account, Readings
from streamer.cell.binary import Load
from streamer.cell.states import state_of
from streamer.cell.zone import Zone
from streamer.config import CellConfig
from streamer.errors import UserError

__all__ = ["nda_loader"]

_LOCAL = "dates of the cycler's clock, where the file has no others, are taken as UTC"
_COLUMNS = {
    "voltage": ("voltage_V", 1.0),
    "current": ("current_mA", 1e-3),
    "capacity": ("capacity_mAh", 1e-3),
}


def nda_loader(config: CellConfig, path: Path) -> Load:
    """Return what reads ``.nda`` and ``.ndax`` files.

    Raises
    ------
    UserError
        The package fastnda is not installed.
    """
    try:
        with _own_zlib():
            from fastnda import read
    except ImportError:
        raise UserError(
            f"{path}: to read .nda and .ndax files install fastnda (pip install"
            " 'braggstream[cell]'), or export the records as CSV"
        ) from None

    def load(path: Path) -> tuple[Readings, Account]:
        with _own_zlib():
            table = read(path, cycle_mode="raw")
        return _readings(table, config, path)

    return load


@contextmanager
def _own_zlib() -> Iterator[None]:
    """Keep zlib as it is: fastnda puts others in its place, for all, with errors of their own."""
    kept = zlib.decompress, zlib.decompressobj
    try:
        yield
    finally:
        zlib.decompress, zlib.decompressobj = kept


def _readings(table: Any, config: CellConfig, path: Path) -> tuple[Readings, Account]:
    names = set(table.columns)

    def column(name: str) -> Any:
        if name not in names:
            return np.full(len(table), np.nan)
        return np.asarray(table[name].to_numpy(), np.float64)

    if "unix_time_s" in names and config.start is None:
        time_name, times = "unix_time_s", f"s since 1970, as fastnda reads them; {_LOCAL}"
        start_ns = 0
    elif config.start is not None:
        time_name, times = "total_time_s", "counted from cell.start"
        start_ns = Zone(config.timezone).ns(config.start)
    else:
        raise UserError(
            f"the times in {path} count from the start of the measurement: set cell.start to when"
            " that was, such as 2026-11-22T09:30:00+01:00"
        )
    seconds = column(time_name)
    if not np.isfinite(seconds).all() or np.abs(seconds).max(initial=0.0) > 4e9:
        raise ValueError("its times are none")
    values = {q: column(name) * factor for q, (name, factor) in _COLUMNS.items()}
    states = None
    if "step_type" in names:
        words = [str(one) for one in table["step_type"].to_list()]
        states = np.array([state_of(one) for one in words], np.int8)
    taken = {"time": time_name, **{q: name for q, (name, _) in _COLUMNS.items() if name in names}}
    if states is not None:
        taken["state"] = "step_type"
    readings = Readings(
        start_ns + np.rint(seconds * 1e9).astype(np.int64),
        values["voltage"],
        values["current"],
        values["capacity"],
        states,
    )
    return readings, Account(str(path), taken, times)
