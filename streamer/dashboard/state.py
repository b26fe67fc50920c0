"""How a run stands, as its folder tells it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamer.dashboard.archive import Archive
from streamer.run.launcher import has_died

__all__ = ["RunState", "lost_words"]

_RATE_SPAN_S = 5.0
_RANGES = 3
_LIVE = "live.json"
_DIED = "died"
_ALARMS = ("disk", "gone", "late")
_PHASES = {
    "done": "done",
    "stopped": "stopped by the user",
    "failed": "failed",
    _DIED: "the launcher died",
}


class RunState:
    """Reads ``run.json`` and ``live.json``.

    Parameters
    ----------
    folder
        Run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.summary: dict[str, Any] = {}
        """Content of ``run.json``; its state is ``died`` where the launcher could not say it."""
        self.now: dict[str, Any] = {}
        """Content of ``live.json`` while the run goes on, see `streamer.run.snapshot.Snapshot`."""
        self._folder = folder
        self._heard_s = 0.0
        self._past: deque[tuple[float, int, int]] = deque()
        self.refresh()

    @property
    def live(self) -> bool:
        """True while the run goes on, or did when it was last heard of."""
        return self.summary.get("state") == "running"

    @property
    def relay(self) -> str:
        """Address of the frames as they come; empty when there is none."""
        return str(self.now.get("relay", "")) if self.live else ""

    @property
    def feed(self) -> str:
        """Address of the peaks as they are found; empty when there is none."""
        return str(self.now.get("feed", "")) if self.live else ""

    @property
    def stale_s(self) -> float:
        """Seconds since the run said anything; 0 when it is over."""
        return max(0.0, time.time() - self._heard_s) if self.live else 0.0

    def refresh(self) -> None:
        """Read what is new."""
        summary = self._folder / "run.json"
        if not self._ended:
            self.summary, self._heard_s = _read(summary) or self.summary, _mtime(summary)
        if self._ended:
            return
        live = self._folder / _LIVE
        heard = _mtime(live)
        if heard > self._heard_s or (heard and not self.now):
            now = _read(live)
            if now:
                self.now = now
                self._note_rate(now)
        self._heard_s = max(self._heard_s, heard)
        if has_died(self.summary, time.time() - self._heard_s):
            self.summary = self.summary | {"state": _DIED}

    def row(self) -> dict[str, Any]:
        """Return what a list of runs says of this one."""
        counted = self._counted
        state = str(self.summary.get("state", ""))
        return {
            "state": self.now.get("phase", "starting") if self.live else _PHASES.get(state, state),
            "live": self.live,
            "started": self.summary.get("started", ""),
            "elapsed_s": counted.get("elapsed_s", 0.0),
            "frames": _frames(counted),
            "peaks": counted.get("peaks", 0),
            "source": str(self.summary.get("source", "")),
        }

    def health(self, archive: Archive, *more: str) -> dict[str, Any]:
        """Return the content of a ``health`` message, but for what concerns one viewer.

        Parameters
        ----------
        more
            Advice beside that of the run.
        """
        counted = self._counted
        frames, waiting = _frames(counted), counted.get("waiting", {})
        lost, cell = lost_words(frames, archive), _of_cell(counted)
        limits = str(counted.get("alarms") or "")
        alarms = [cell, limits]
        if self.live:
            alarms = [*(str(waiting.get(name) or "") for name in _ALARMS), *alarms]
        told = (lost, *alarms, *counted.get("advice", []), *more)
        content: dict[str, Any] = {
            "live": self.live,
            "frames": frames,
            "n_frames": archive.n_frames,
            "peaks": counted.get("peaks", 0),
            "disagreement_px": counted.get("disagreement_px"),
            "elapsed_s": counted.get("elapsed_s", 0.0),
            "stale_s": self.stale_s,
            "lost": ", ".join(filter(None, told)),
            "alarm": any(alarms),
        }
        if self.live:
            rate_in, rate_out = self._rates()
            return content | {
                "phase": self.now.get("phase", "starting"),
                "frames_in_hz": rate_in,
                "frames_out_hz": rate_out,
                "latency_ms": self.now.get("latency_ms"),
                "backlog": waiting.get("backlog", 0) + waiting.get("window", 0),
                "hosts": _by_host(self.now.get("nodes", [])),
            }
        rates = self.summary.get("rates", {})
        state = str(self.summary.get("state", ""))
        return content | {
            "phase": _PHASES.get(state, state),
            "frames_in_hz": None,
            "frames_out_hz": rates.get("frames_per_s"),
            "latency_ms": rates.get("latency_ms_median"),
            "backlog": 0,
        }

    @property
    def _counted(self) -> dict[str, Any]:
        """What holds the newest figures."""
        return self.summary if self._ended else self.now or self.summary

    @property
    def _ended(self) -> bool:
        """True once ``run.json`` says how the run ended."""
        return self.summary.get("state", _DIED) not in ("running", _DIED)

    def _note_rate(self, now: dict[str, Any]) -> None:
        frames = now.get("frames", {})
        processed = sum(frames.values()) - frames.get("missing", 0)
        self._past.append((now.get("elapsed_s", 0.0), now.get("received", 0), processed))
        while self._past[-1][0] - self._past[0][0] > _RATE_SPAN_S and len(self._past) > 2:
            self._past.popleft()

    def _rates(self) -> tuple[float | None, float | None]:
        if len(self._past) < 2:
            return None, None
        (then, received, processed), (now, *newer) = self._past[0], self._past[-1]
        span = max(now - then, 1e-3)
        return (newer[0] - received) / span, (newer[1] - processed) / span


def lost_words(frames: dict[str, int], archive: Archive) -> str:
    """Say how many frames have no result, and which; empty when all have."""
    words = []
    for state in ("missing", "failed", "shed"):
        if not frames.get(state):
            continue
        places = []
        for (series, kind), ranges in archive.losses.items():
            if kind != state:
                continue
            shown = [f"{a}" if a == b else f"{a} to {b}" for a, b in ranges[:_RANGES]]
            more = " and more" if len(ranges) > _RANGES else ""
            places.append(f"{archive.series[series]}: {', '.join(shown)}{more}")
        count = frames[state]
        where = f" ({'; '.join(places)})" if places else ""
        words.append(f"{count:,} {'frame' if count == 1 else 'frames'} {state}{where}")
    return ", ".join(words)


def _frames(counted: Mapping[str, Any]) -> dict[str, int]:
    """Return frames by state."""
    states = counted.get("frames")
    states = states if isinstance(states, dict) else {}
    return {state: states.get(state, 0) for state in ("done", "failed", "missing", "shed")}


def _of_cell(counted: Mapping[str, Any]) -> str:
    """Say what of the cell's readings could not be read."""
    cell = counted.get("cell", "")
    return str(cell.get("lost", "")) if isinstance(cell, dict) else str(cell)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _by_host(nodes: list[dict[str, Any]]) -> str:
    """Say which host does what, a line for each; empty where all are on that of the launcher."""
    hosts: dict[str, list[str]] = {}
    for node in nodes:
        if host := node.get("host"):
            hosts.setdefault(host, []).append(node["name"])
    return "\n".join(f"{host}: {', '.join(names)}" for host, names in sorted(hosts.items()))
