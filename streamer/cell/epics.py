"""Process variables of a cycler, over EPICS PVAccess."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamer.cell.base import Account, Readings
from streamer.errors import UserError

__all__ = ["PvSource"]

_CONNECT_S = 5.0
_UNITS = {"voltage": "V", "current": "A", "capacity": "Ah"}


class PvSource:
    """Takes a reading whenever the voltage's process variable changes.

    Parameters
    ----------
    place
        ``pva://NAME`` of the voltage, in V.
    names
        Names of the process variables of ``current`` (A) and ``capacity`` (Ah), where there are.

    Raises
    ------
    UserError
        The package p4p is not installed, or the voltage does not answer.
    """

    def __init__(self, place: str, names: Mapping[Any, str]) -> None:
        try:
            from p4p.client.thread import Context
        except ImportError:
            raise UserError(
                f"{place}: to read process variables install p4p (pip install 'braggstream[pva]')"
            ) from None
        self._place = place
        voltage = place.removeprefix("pva://")
        self._lock = threading.Lock()
        self._latest = {"current": math.nan, "capacity": math.nan}
        self._n_read = 0
        self._columns = {"voltage": voltage} | {q: names[q] for q in self._latest if q in names}
        self._rows: list[tuple[int, float, float, float]] = []
        self._context = Context("pva")
        try:
            self._context.get(voltage, timeout=_CONNECT_S)
        except TimeoutError:
            self._context.close()
            raise UserError(
                f"the process variable {voltage} does not answer: is its name right, and is its"
                " host in EPICS_PVA_ADDR_LIST?"
            ) from None
        self._subscriptions = [self._context.monitor(voltage, self._take_voltage)]
        for quantity in self._latest:
            if quantity in names:
                self._subscriptions.append(
                    self._context.monitor(names[quantity], self._keeper(quantity))
                )

    def poll(self) -> Readings:
        """Return the readings since the last call."""
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return Readings.empty()
        self._n_read += len(rows)
        values = np.array([row[1:] for row in rows])
        times = np.array([row[0] for row in rows], np.int64)
        return Readings(times, values[:, 0], values[:, 1], values[:, 2])

    def accounts(self) -> list[Account]:
        """Return what is taken."""
        columns = {q: f"{name} (taken as {_UNITS[q]})" for q, name in self._columns.items()}
        times = "of the process variables"
        return [Account(self._place, columns, times, n_read=self._n_read)]

    def close(self) -> None:
        """Disconnect."""
        for subscription in self._subscriptions:
            subscription.close()
        self._context.close()

    def _take_voltage(self, value: Any) -> None:
        time_ns = round(value.timestamp * 1e9)
        with self._lock:
            latest = self._latest
            self._rows.append((time_ns, float(value), latest["current"], latest["capacity"]))

    def _keeper(self, quantity: str) -> Any:
        def keep(value: Any) -> None:
            with self._lock:
                self._latest[quantity] = float(value)

        return keep
