"""Tracks beyond their limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import WATCHED, AlarmsConfig, LimitsConfig
from streamer.frames.flags import POOR_FIT

__all__ = [
    "COLUMNS",
    "UNITS",
    "Alarm",
    "Severity",
    "Watch",
    "alarm_of",
    "alarms",
    "alarms_in_words",
    "living",
]

COLUMNS = {"drift": "drift", "strain": "strain", "fwhm": "fwhm_major", "d": "d"}
"""Columns of the table of tracks, by what is watched."""
UNITS = {"drift": "px", "strain": "", "fwhm": "px", "d": "angstrom"}
_ALIVE_NS = 60_000_000_000
_MOST_WORDS = 3


class Severity(IntEnum):
    """How bad an alarm is, with EPICS' numbers."""

    NONE = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class Alarm:
    """A quantity of a track beyond a limit."""

    track: int
    reflection: int
    quantity: str
    value: float
    limit: str
    """``lolo``, ``low``, ``high`` or ``hihi``."""
    at: float
    """Value of the limit."""
    severity: Severity

    def __str__(self) -> str:
        unit = f" {UNITS[self.quantity]}" if UNITS[self.quantity] else ""
        side = "below" if self.limit in ("lolo", "low") else "above"
        return (
            f"track {self.track}: {self.quantity} {self.value:.6g}{unit} "
            f"is {side} {self.limit} {self.at:g}"
        )


def alarm_of(value: float, limits: LimitsConfig | None) -> tuple[Severity, str]:
    """Return how bad a value is and which limit says so; nothing is bad that is not known."""
    if limits is None or math.isnan(value):
        return Severity.NONE, ""
    for name, severity, sign in (
        ("hihi", Severity.MAJOR, 1), ("lolo", Severity.MAJOR, -1),
        ("high", Severity.MINOR, 1), ("low", Severity.MINOR, -1),
    ):  # fmt: skip
        limit = getattr(limits, name)
        if limit is not None and sign * value >= sign * limit:
            return severity, name
    return Severity.NONE, ""


def living(tracks: pa.Table) -> NDArray[np.bool_]:
    """Tell which tracks are of peaks, and were seen in the last minute of the newest one."""
    last = tracks["last_time_ns"].to_numpy()
    newest = last.max() if len(last) else 0
    is_peak = (tracks["flags"].to_numpy() & POOR_FIT) == 0
    return np.asarray(is_peak & (last >= newest - _ALIVE_NS))


def alarms(tracks: pa.Table, config: AlarmsConfig) -> list[Alarm]:
    """Return what is beyond its limits, the worst first.

    Parameters
    ----------
    tracks
        Table of tracks; those that have ended, or are of what is no peak, are in no alarm.
    """
    if not config.is_set or not tracks.num_rows:
        return []
    found = []
    alive = living(tracks)
    track, reflection = tracks["track"].to_numpy(), tracks["reflection"].to_numpy()
    for quantity in WATCHED:
        values = tracks[COLUMNS[quantity]].to_numpy()
        # Of many tracks few are beyond the limits of all, and few have limits of their own.
        is_own = np.isin(track, list(config.tracks)) | np.isin(reflection, list(config.reflections))
        general: LimitsConfig | None = getattr(config, quantity)
        suspect = is_own | _beyond(values, general)
        for row in np.flatnonzero(suspect & alive):
            number, spot, value = int(track[row]), int(reflection[row]), float(values[row])
            limits = config.limits(number, spot, quantity)
            severity, limit = alarm_of(value, limits)
            if severity:
                at = float(getattr(limits, limit))
                found.append(Alarm(number, spot, quantity, value, limit, at, severity))
    return sorted(found, key=lambda one: (-one.severity, one.track))


def alarms_in_words(found: list[Alarm]) -> str:
    """Return what is beyond its limits in a line; empty if nothing is."""
    words = [str(one) for one in found[:_MOST_WORDS]]
    if len(found) > _MOST_WORDS:
        words.append(f"and {len(found) - _MOST_WORDS:,} more beyond their limits")
    return ", ".join(words)


class Watch:
    """Keeps what is beyond its limits, looking at each table of tracks once."""

    def __init__(self, config: AlarmsConfig) -> None:
        self.words = ""
        """See `alarms_in_words`."""
        self.severities: dict[tuple[int, str], int] = {}
        """By track and quantity, of what is in alarm."""
        self._config = config
        self._seen: pa.Table | None = None

    def look(self, tracks: pa.Table) -> bool:
        """Take a table; False if it is the one that was looked at."""
        if tracks is self._seen:
            return False
        self._seen = tracks
        found = alarms(tracks, self._config)
        self.words = alarms_in_words(found)
        self.severities = {(one.track, one.quantity): int(one.severity) for one in found}
        return True


def _beyond(values: NDArray[np.float64], limits: LimitsConfig | None) -> NDArray[np.bool_]:
    beyond = np.zeros(len(values), np.bool_)
    if limits is not None:
        for limit in (limits.lolo, limits.low):
            beyond |= values <= (-np.inf if limit is None else limit)
        for limit in (limits.high, limits.hihi):
            beyond |= values >= (np.inf if limit is None else limit)
    return beyond
