"""The process variables of a run, and what serves them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from p4p import Value
from p4p.nt import NTScalar, NTTable
from p4p.server import Server, StaticProvider
from p4p.server.thread import SharedPV

from streamer.config import WATCHED, AlarmsConfig, LimitsConfig, PvaConfig
from streamer.errors import UserError
from streamer.results.alarms import COLUMNS, UNITS, Alarm, Severity, alarm_of, alarms, living
from streamer.results.schema import Columns

__all__ = ["Channels"]

_PEAKS = {
    "row": "d", "row_sigma": "d", "col": "d", "col_sigma": "d", "intensity": "d", "score": "d",
    "two_theta": "d", "d": "d", "flags": "i", "track": "l",
}  # fmt: skip
"""Columns of the table of peaks, and their types in EPICS' letters."""
_TRACKS = {"track": "l", "reflection": "l", "n_frames": "l", "row": "d", "col": "d",
           "drift": "d", "drift_sigma": "d", "strain": "d", "strain_sigma": "d",
           "fwhm_major": "d", "d": "d", "d_sigma": "d"}  # fmt: skip
_COUNTS = {
    "FramesReceived": "frames that came", "FramesDone": "frames on disk",
    "FramesFailed": "frames that could not be worked on",
    "FramesMissing": "frames that never came", "FramesShed": "frames that were shed",
    "PeaksTotal": "peaks on disk", "TracksTotal": "tracks seen often enough",
}  # fmt: skip
_NAMES = {"drift": "Drift", "strain": "Strain", "fwhm": "Fwhm", "d": "D"}
_RECORD = 3
"""EPICS' status of an alarm that a value has raised."""
_MOST_KEPT = 8000
"""Variables of tracks, with those that have ended: those go first."""
_LIMITS = {"lolo": "lowAlarm", "low": "lowWarning", "high": "highWarning", "hihi": "highAlarm"}


class Channels:
    """Serves the variables of a run; what is posted is what a client gets until the next time.

    Parameters
    ----------
    config
        Prefix, address and how many tracks have variables of their own.
    limits
        Beyond which tracks are in alarm.

    Raises
    ------
    UserError
        It cannot be served there.
    """

    def __init__(self, config: PvaConfig, limits: AlarmsConfig) -> None:
        self._prefix = config.prefix
        self._most = config.tracks
        self._limits = limits
        self._provider = StaticProvider("braggstream")
        self._tracks: dict[tuple[int, str], SharedPV] = {}
        self._peaks_type = _table_type(_PEAKS)
        self._tracks_type = _table_type(_TRACKS)
        self._pvs = {
            **{name: self._add(name, "s", "") for name in ("State", "Series", "Alarms")},
            **{name: self._add(name, "l", 0) for name in ("Frame", *_COUNTS)},
            "Latency": self._add("Latency", "d", np.nan),
            "Peaks": self._add_table("Peaks", self._peaks_type),
            "Tracks": self._add_table("Tracks", self._tracks_type),
        }
        for name, words in _COUNTS.items():
            self._pvs[name].post({"display.description": words})
        self._pvs["Latency"].post({"display.description": "arrival to disk", "display.units": "ms"})
        where = {"EPICS_PVAS_INTF_ADDR_LIST": config.host, "EPICS_PVAS_SERVER_PORT": config.port}
        if config.host in ("127.0.0.1", "localhost", "::1"):
            where["EPICS_PVAS_AUTO_BEACON_ADDR_LIST"] = "NO"
        try:
            self._server = Server([self._provider], conf={k: str(v) for k, v in where.items()})
        except RuntimeError as error:
            raise UserError(
                f"process variables cannot be served on {config.host}:{config.port} ({error}): "
                "set publish.pva.host and publish.pva.port"
            ) from None

    @property
    def port(self) -> int:
        """Port on which clients are answered, over TCP."""
        return int(self._server.conf()["EPICS_PVAS_SERVER_PORT"])

    def post_state(self, state: str, counts: Mapping[str, int], latency_ms: float) -> None:
        """Post how the run stands; a state that is no more known is an invalid one.

        Parameters
        ----------
        state
            In words; empty where the run does not say.
        counts
            By the names of the variables.
        """
        severity = Severity.NONE if state else Severity.INVALID
        self._post("State", state or "the run says nothing", severity)
        for name, count in counts.items():
            self._post(name, count)
        self._post("Latency", latency_ms)

    def post_peaks(self, series: str, frame: int, time_ns: int, peaks: Columns) -> None:
        """Post the peaks of a frame, which has the time at which it was taken."""
        at_ns = time_ns or time.time_ns()
        self._post("Series", series, at_ns=at_ns)
        self._post("Frame", frame, at_ns=at_ns)
        self._post_table("Peaks", self._peaks_type, {name: peaks[name] for name in _PEAKS}, at_ns)

    def post_tracks(self, tracks: pa.Table) -> None:
        """Post the tracks that go on, the longest first, and what is beyond its limits."""
        found = alarms(tracks, self._limits)
        beyond = {(one.track, one.quantity): one for one in found}
        alive = tracks.filter(pa.array(living(tracks))).sort_by([("n_frames", "descending")])
        # Those in alarm, those with limits of their own and those served before come first.
        known = {track for track, _ in (*beyond, *self._tracks)} | set(self._limits.tracks)
        first = np.isin(alive["track"].to_numpy(), list(known))
        chosen = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])[: self._most]
        shown = alive.take(chosen)
        now = time.time_ns()
        columns = {name: shown[name].to_numpy() for name in _TRACKS}
        self._post_table("Tracks", self._tracks_type, columns, now)
        for row in shown.select(["track", "reflection", *COLUMNS.values()]).to_pylist():
            for quantity in WATCHED:
                self._post_track(
                    row["track"], quantity, row[COLUMNS[quantity]],
                    self._limits.limits(row["track"], row["reflection"], quantity), now,
                )  # fmt: skip
        self._leave(set(shown["track"].to_pylist()), now)
        self._post_alarms(found)

    def close(self) -> None:
        """Serve no more."""
        self._server.stop()

    def _post_track(
        self, track: int, quantity: str, value: float, limits: LimitsConfig | None, at_ns: int
    ) -> None:
        key = track, quantity
        if key not in self._tracks:
            self._tracks[key] = self._add(f"Track{track}:{_NAMES[quantity]}", "d", np.nan)
        severity, limit = alarm_of(value, limits)
        if np.isnan(value):
            severity, limit = Severity.INVALID, "not known"
        content = {
            "value": value, "display.units": UNITS[quantity], **_limit_fields(limits),
            **_alarm(severity, limit),
        }  # fmt: skip
        self._tracks[key].post(content, timestamp=_stamp(at_ns))

    def _leave(self, shown: set[int], at_ns: int) -> None:
        """Let the variables of tracks that are not shown any more say so, with their last value."""
        for (track, _), pv in self._tracks.items():
            if track not in shown:
                gone = _alarm(Severity.INVALID, "the track has ended")
                pv.post({"value": pv.current().raw.value, **gone}, timestamp=_stamp(at_ns))
        ended = [key for key in self._tracks if key[0] not in shown]
        for track, quantity in ended[: max(0, len(self._tracks) - _MOST_KEPT)]:
            self._tracks.pop((track, quantity)).close()
            self._provider.remove(f"{self._prefix}Track{track}:{_NAMES[quantity]}")

    def _post_alarms(self, found: list[Alarm]) -> None:
        worst = max((one.severity for one in found), default=Severity.NONE)
        self._post("Alarms", "; ".join(map(str, found[: self._most])), worst)

    def _post(self, name: str, value: Any, severity: int = 0, at_ns: int = 0) -> None:
        content = {"value": value, **_alarm(severity, str(value) if severity else "")}
        self._pvs[name].post(content, timestamp=_stamp(at_ns or time.time_ns()))

    def _post_table(self, name: str, kind: Any, columns: Columns, at_ns: int) -> None:
        seconds, nanoseconds = _stamp(at_ns)
        stamp = {"secondsPastEpoch": seconds, "nanoseconds": nanoseconds}
        table = {"labels": list(columns), "value": dict(columns), "timeStamp": stamp}
        self._pvs[name].post(Value(kind, table))

    def _add(self, name: str, kind: str, value: Any) -> SharedPV:
        is_number = kind != "s"
        pv = SharedPV(nt=NTScalar(kind, display=is_number, valueAlarm=kind == "d"), initial=value)
        self._provider.add(self._prefix + name, pv)
        return pv

    def _add_table(self, name: str, kind: Any) -> SharedPV:
        pv = SharedPV(initial=Value(kind, {"labels": []}))
        self._provider.add(self._prefix + name, pv)
        return pv


def _stamp(at_ns: int) -> tuple[int, int]:
    return divmod(at_ns, 1_000_000_000)


def _table_type(columns: Mapping[str, str]) -> Any:
    return NTTable.buildType([(name, f"a{kind}") for name, kind in columns.items()])


def _alarm(severity: int, message: str) -> dict[str, Any]:
    status = _RECORD if severity else 0
    return {"alarm.severity": int(severity), "alarm.status": status, "alarm.message": message}


def _limit_fields(limits: LimitsConfig | None) -> dict[str, Any]:
    """Return the limits as a client shows them; one that is not set is not a number."""
    fields: dict[str, Any] = {"valueAlarm.active": limits is not None}
    for name, field in _LIMITS.items():
        value = getattr(limits, name, None)
        fields[f"valueAlarm.{field}Limit"] = np.nan if value is None else value
        severity = Severity.MAJOR if name in ("lolo", "hihi") else Severity.MINOR
        fields[f"valueAlarm.{field}Severity"] = 0 if value is None else int(severity)
    return fields
