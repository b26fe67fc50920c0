"""Files in which a recorder keeps a live stream."""

from __future__ import annotations

import re
from pathlib import Path

from streamer.sources.files.hdf5.files import open_file

__all__ = ["around_number", "files_of", "title_of"]


def files_of(path: Path) -> list[Path]:
    """Return the files of recorders of `path`, in the order of their numbers."""
    start, end = map(re.escape, around_number(path))
    found = []
    for file in path.parent.iterdir():
        if match := re.fullmatch(rf"{start}(?:_(\d+))?{end}", file.name):
            found.append((int(match[1] or 1), file))
    return [file for _, file in sorted(found)]


def title_of(path: Path) -> str | None:
    """Return the series in a recorder's file; None when it cannot be read, or not yet."""
    try:
        with open_file(path, growing=True) as file:
            return str(file["entry/title"].asstr()[()])
    except (OSError, KeyError, TypeError, AttributeError, ValueError):  # not of a recorder
        return None


def around_number(path: Path) -> tuple[str, str]:
    """Return what stands before and behind the number in the names of further files."""
    master = "_master" if path.stem.endswith("_master") else ""
    return path.stem.removesuffix("_master"), f"{master}{path.suffix}"
