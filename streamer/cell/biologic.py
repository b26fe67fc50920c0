"""BioLogic's binary files, through the package galvani."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streamer.cell.base import UNKNOWN, Account, Floats, Readings
from streamer.cell.binary import Load
from streamer.cell.zone import Zone
from streamer.config import CellConfig
from streamer.documents import open_regular
from streamer.errors import UserError

__all__ = ["mpr_loader"]

_FIELDS: Mapping[str, Mapping[str, float]] = {
    "voltage": {"Ecell/V": 1.0, "Ewe-Ece/V": 1.0, "Ewe/V": 1.0, "<Ewe>/V": 1.0},
    "current": {"I/mA": 1e-3, "<I>/mA": 1e-3, "I/A": 1.0, "<I>/A": 1.0},
    "capacity": {"(Q-Qo)/mA.h": 1e-3, "(Q-Qo)/C": 1 / 3600, "Q charge/discharge/mA.h": 1e-3},
}
"""By name: what to multiply by to get V, A, Ah."""
_REST_MODE = 3


def mpr_loader(config: CellConfig, path: Path) -> Load:
    """Return what reads ``.mpr`` files.

    Raises
    ------
    UserError
        The package galvani is not installed.
    """
    try:
        from galvani import BioLogic
    except ImportError:
        raise UserError(
            f"{path}: to read .mpr files install galvani (pip install 'braggstream[cell]'), or"
            " export the measurement as .mpt"
        ) from None

    def load(path: Path) -> tuple[Readings, Account]:
        with open_regular(path) as opened:
            file: Any = BioLogic.MPRfile(opened)
        return _readings(file, config, path)

    return load


def _readings(file: Any, config: CellConfig, path: Path) -> tuple[Readings, Account]:
    data, zone = file.data, Zone(config.timezone)
    start = config.start or getattr(file, "timestamp", None)
    if start is None:  # what follows the data names the time, and is written last
        raise UserError(
            f"the times in {path} count from a start that it does not name yet: set cell.start to"
            " when that was, such as 2026-11-22T09:30:00+01:00"
        )
    seconds = np.asarray(data["time/s"], np.float64)
    if not np.isfinite(seconds).all() or np.abs(seconds).max(initial=0.0) > 3e8:
        raise ValueError("its times are none")
    voltage, voltage_name = _column(data, "voltage")
    current, current_name = _column(data, "current")
    capacity, capacity_name = _column(data, "capacity")
    if not voltage_name:
        raise ValueError(f"it has no voltage among {', '.join(data.dtype.names)}")
    state = np.full(len(data), UNKNOWN, np.int8)
    if "mode" in getattr(file, "flags_dict", {}):
        state[np.asarray(file.get_flag("mode")) == _REST_MODE] = 0
    names = {"time": "time/s", "voltage": voltage_name, "current": current_name,
             "capacity": capacity_name, "state": "mode"}  # fmt: skip
    readings = Readings(
        zone.ns(start) + np.rint(seconds * 1e9).astype(np.int64), voltage, current, capacity, state
    )
    return readings, Account(
        str(path),
        {quantity: name for quantity, name in names.items() if name},
        f"counted from {start.isoformat(sep=' ', timespec='seconds')}, as "
        + ("cell.start says" if config.start else "the file says"),
        zone.words if zone.was_needed else "",
    )


def _column(data: Any, quantity: str) -> tuple[Floats, str]:
    for name, factor in _FIELDS[quantity].items():
        if name in data.dtype.names:
            return np.asarray(data[name], np.float64) * factor, name
    return np.full(len(data), np.nan), ""
