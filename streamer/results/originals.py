"""Where the files are that a run read, or kept its stream in."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streamer.config import SourceConfig
from streamer.results.folder import RunFolder
from streamer.sources.files.address import OF_FILES, is_live

__all__ = ["originals"]

_PARTS = re.compile(rf"((?:(?:{'|'.join(OF_FILES)}):(?://)?)?)(.+?)((?:::|\?).*)?", re.DOTALL)
"""Scheme, files and the place in each."""


def originals(folder: RunFolder) -> tuple[str, SourceConfig]:
    """Return what a run read and how, with paths that lead there from any folder.

    A relative path counts from the folder that the run was started in: from what lies there now
    where the run folder was moved together with its recording, else from where it was then.
    """
    summary, config = folder.read_summary(), folder.read_config().source
    places = list(_places(folder.path.resolve(), summary))
    source = str(summary["source"])
    if config.record is not None:
        config = config.model_copy(update={"record": Path(_located(str(config.record), places))})
    return source if is_live(source) else _located(source, places), config


def _places(path: Path, summary: Mapping[str, Any]) -> Iterator[Path]:
    """Yield folders that relative paths may count from, the likeliest first."""
    out = Path(summary["out"])
    if not out.is_absolute() and path.parts[-len(out.parts) :] == out.parts and out.parts:
        yield path.parents[len(out.parts) - 1]
    if summary["cwd"]:
        yield Path(summary["cwd"])


def _located(said: str, places: list[Path]) -> str:
    parts = _PARTS.fullmatch(said)
    if parts is None or not places:
        return said
    scheme, files, inner = parts.groups("")
    for place in places:
        # What looks like the place in a file may be part of its name.
        if (place / (files + inner)).exists() or glob.glob(str(place / files)):
            return f"{scheme}{place / files}{inner}"
    return f"{scheme}{places[0] / files}{inner}"
