"""Several files of one cell, as one source: a cycler writes one for each technique."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from streamer.cell.base import Account, CellSource, Readings
from streamer.errors import UserError, as_line

__all__ = ["SeveralFiles", "is_pattern"]

logger = logging.getLogger(__name__)

_SUFFIXES = {".csv", ".tsv", ".txt", ".mpt", ".mpr", ".nda", ".ndax", ".dat", ".asc", ".bdf", ""}
"""Others of the same name hold settings and pictures."""
_OVERLAP_NS = 60 * 10**9
"""Files of one cell follow each other; techniques may share as much at their ends."""


def is_pattern(place: str) -> bool:
    """Tell whether a file's name stands for several."""
    return glob.has_magic(place) and not Path(place).exists()


class SeveralFiles:
    """Reads all files that a pattern names, also those that are made later.

    Parameters
    ----------
    pattern
        As the shell has them.
    open_file
        Opens one of them.

    Raises
    ------
    UserError
        There is none, one cannot be read, or two were written at the same time.
    """

    def __init__(self, pattern: str, open_file: Callable[[Path], CellSource]) -> None:
        self._pattern = pattern
        self._open = open_file
        self._sources: dict[Path, CellSource] = {}
        self._spans: dict[Path, tuple[int, int]] = {}
        self._refused: dict[Path, str] = {}
        paths = self._paths()
        if not paths:
            raise UserError(f"there is no cell file {pattern}")
        self._first: Readings | None = Readings.empty()
        for path in paths:
            self._sources[path] = open_file(path)
            self._first = self._first.then(self._take(path))
        for (one, (_, stop)), (other, (start, _)) in pairwise(
            sorted(self._spans.items(), key=lambda item: item[1])
        ):
            if stop - start > _OVERLAP_NS:
                raise UserError(
                    f"{one} and {other} were written at the same time: name the files of one cell"
                    " in cell.file"
                )

    def poll(self) -> Readings:
        """Return what is new in any of the files."""
        readings, self._first = self._first or Readings.empty(), None
        for path in self._paths():
            try:
                if path not in self._sources:
                    self._sources[path] = self._open(path)
                readings = readings.then(self._take(path))
                self._refused.pop(path, None)
            except (OSError, ValueError, UserError) as error:
                reason = as_line(str(error))
                if self._refused.get(path) != reason:
                    logger.warning("the cell file %s cannot be read: %s", path, reason)
                self._refused[path] = reason
        return readings

    def accounts(self) -> list[Account]:
        """Return what was taken of each file."""
        read = [one for source in self._sources.values() for one in source.accounts()]
        closed = [path for path in self._refused if path not in self._sources]
        return read + [Account(str(path), why=self._refused[path]) for path in closed]

    def close(self) -> None:
        """Close all."""
        for source in self._sources.values():
            source.close()

    def _take(self, path: Path) -> Readings:
        new = self._sources[path].poll()
        if len(new):
            low, high = self._spans.get(path, (1 << 62, 0))
            self._spans[path] = (
                min(low, int(new.time_ns.min())),
                max(high, int(new.time_ns.max())),
            )
        return new

    def _paths(self) -> list[Path]:
        """Return the files in the order of the numbers in their names; a text before its binary."""
        found = [Path(name) for name in glob.glob(self._pattern, recursive=True)]
        texts = {path.with_suffix("") for path in found if path.suffix.lower() == ".mpt"}
        kept = [
            path
            for path in found
            if path.suffix.lower() in _SUFFIXES
            and path.is_file()
            and not path.name.startswith(".")
            and not (path.suffix.lower() == ".mpr" and path.with_suffix("") in texts)
        ]
        return sorted(kept, key=lambda path: [
            part.zfill(20) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))
        ])  # fmt: skip
