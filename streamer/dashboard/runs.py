"""The runs in a folder: which there are, and how each stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from streamer.dashboard.state import RunState
from streamer.stamps import Stamp, stamp_of

__all__ = ["RunList"]


class RunList:
    """Looks for run folders in a folder, again and again: they come, end, and are removed.

    Parameters
    ----------
    folder
        The folder; what lies deeper than its own folders is not looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Stamp, RunState]] = {}

    def refresh(self) -> None:
        """Look what there is by now."""
        found: dict[str, tuple[Stamp, RunState]] = {}
        for name in _folders(self._folder):
            path = self._folder / name
            if (stamp := stamp_of(path / "run.json")) is None:
                continue
            known = self._known.get(name)
            # How a run has ended is not read again, but a run may be followed by another.
            if known is None or known[0] != stamp:
                found[name] = stamp, RunState(path)
            else:
                found[name] = known
                if known[1].live:
                    known[1].refresh()
        self._known = found

    @property
    def newest(self) -> str | None:
        """Name of the run that began last."""
        return max(self._known, key=self._begun, default=None)

    def identity(self, name: str) -> str:
        """Return what tells a run from one that had its name before; empty where there is none."""
        known = self._known.get(name)
        return "" if known is None else str(known[1].summary.get("started", "?"))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of plain JSON types for each run, the newest first."""
        names = sorted(self._known, key=self._begun, reverse=True)
        return [{"name": name, **self._known[name][1].row()} for name in names]

    def _begun(self, name: str) -> tuple[str, str]:
        return self.identity(name), name  # UTC, all written alike


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [one.name for one in entries if not one.name.startswith(".") and one.is_dir()]
    except OSError:  # it may be there again
        return []
