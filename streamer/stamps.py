"""Whether a file is still the one that was seen, for those who look at it again and again."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Stamp", "stamp_of"]

Stamp = tuple[int, int]
"""Tells one content of a file from another: its inode and when it was written, in ns."""


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file that is replaced to be changed; None where none can be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
