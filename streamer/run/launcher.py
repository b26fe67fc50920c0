"""The process that runs a run, as others can tell whether it still does."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["has_died", "this_process"]

_SILENT_S = 30.0
"""After so long a launcher of another machine, which says something every second, is dead."""


def this_process() -> dict[str, Any]:
    """Return what ``run.json`` says of this process as the launcher of a run."""
    pid = os.getpid()
    return {"where": _where(), "pid": pid, "start": _start_of(pid)}


def has_died(summary: Mapping[str, Any], silent_s: float) -> bool:
    """Tell whether a run has ended without a word, its launcher having died.

    Parameters
    ----------
    summary
        Content of ``run.json``.
    silent_s
        Seconds since the run said anything.
    """
    launcher = summary.get("launcher")
    if summary.get("state") != "running" or not isinstance(launcher, dict):
        return False
    start, pid = launcher.get("start"), launcher.get("pid")
    if type(start) is type(pid) is int and launcher.get("where") == _where():
        # A process with its number that began at another time is another one.
        return _start_of(pid) != start
    return silent_s > _SILENT_S


def _where() -> str:
    """Return what tells this machine, since it was started, and its processes' numbers apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        numbers = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        boot = numbers = ""
    return " ".join((socket.gethostname(), boot, numbers))


def _start_of(pid: int) -> int | None:
    """Return when a process began, in the system's own units; None if there is none or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state == "Z" else int(rest[18])
