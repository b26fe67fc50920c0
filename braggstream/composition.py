"""What commands work with: configurations, and sessions that join the packages.

Nothing is imported before it is asked for, so that who wants help does not wait.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.config import Config
    from streamer.run.session import Session

__all__ = ["session", "settings_of"]


def settings_of(
    path: Path | None, overrides: list[str] | None, options: Mapping[str, object] | None = None
) -> Config:
    """Return the configuration of a file, with keys changed one by one and by options.

    Raises
    ------
    UserError
        It cannot be read, or what it says is no configuration.
    """
    from streamer.config import load_config

    return load_config(path, overrides, options)


def session() -> Session:
    """Join those who run sources with those who compute and those who report."""
    from streamer.results.arrow import leave_pandas_out
    from streamer.run.session import Session
    from workers import compute

    leave_pandas_out()
    return Session(compute, _command, _report_at_end, Console())


def _report_at_end(folder: Path) -> Path:
    from streamer.report.session import report_at_end
    from workers.compute import run_refitter

    return report_at_end(folder, run_refitter)


def _command(words: list[str]) -> list[str]:
    """Return the command line that runs this program with other words."""
    return [sys.executable, str(Path(__file__).resolve().with_name("__main__.py")), *words]
