"""Until when a node may go on that another may be started in place of.

Who looks after a node renews its lease for as long as the engine says that it is the one. A node
whose lease has run out ends at once: it may be cut off, and have a successor elsewhere.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["Lease", "now"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_WIDTH = 24


def now() -> float:
    """Return the seconds since this host was started, those that it slept included."""
    return time.clock_gettime(_CLOCK)


class Lease:
    """A file of this host that says until when, by its clock.

    Parameters
    ----------
    path
        The file; who renews makes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def renew(self, until: float) -> None:
        """Let the node go on until `now` says so.

        It takes no room on a disk that is full: what is written is always as long.
        """
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, f"{until:{_WIDTH}.3f}".encode(), 0)
        finally:
            os.close(file)

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 where nothing is known."""
        try:
            return float(self._path.read_text(encoding="ascii")) - now()
        except (OSError, ValueError):
            return 0.0
