"""The command that hands a run to other programs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from streamer.errors import UserError
from streamer.export.formats import export_run
from streamer.export.tiled import register_run

__all__ = ["hand_over"]


def hand_over(
    folder: Path, console: Console, format_: str | None, tiled: str | None, out: Path | None
) -> None:
    """Write a run in a format, or register it with the server at `tiled`, and say where it is.

    Raises
    ------
    UserError
        Both are asked for, or none, or it cannot be done.
    """
    if (format_ is None) == (tiled is None):
        raise UserError("say what to write: either --format or --tiled")
    with console.status(f"writing {format_ or 'tables'}"):
        if tiled is not None:
            written = f"registered {register_run(folder, tiled, out)}"
        else:
            written = f"{format_} {export_run(folder, str(format_), out)}"
    console.print(written, highlight=False, soft_wrap=True)
