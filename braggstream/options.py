"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigFile", "DashboardPort", "Folder", "Out", "Overrides", "Resume", "Stream"]

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yaml", help="Configuration of the run.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one key; may be repeated."),
]
Stream = Annotated[str, typer.Argument(help="Live stream, such as dectris://host:31001.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder, made by the run.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on in a run folder whose run did not end.")
]
DashboardPort = Annotated[
    int | None,
    typer.Option(
        "--dashboard",
        metavar="PORT",
        min=0,
        max=65535,
        help="Port of the live page, or the next free one; 0 for none.",
    ),
]
