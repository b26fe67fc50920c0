"""Lines of a text file in whatever encoding, also while it grows or is replaced."""

from __future__ import annotations

import codecs
import os
import time
from pathlib import Path
from typing import BinaryIO

from streamer.documents import open_regular
from streamer.errors import UserError

__all__ = ["GrowingLines"]

_KNOWN_BY = 256
"""Bytes at the start and at the end of what was read by which a file is known again."""
_MOST_BYTES = 1 << 26
"""That are read at once; what is left is read at the next look."""
_LONGEST_LINE = 1 << 20
_SETTLED_S = 60.0
"""A file that has not changed for so long is whole, with a last line that has no end."""
_CHINESE = "电压电流时间"


class GrowingLines:
    """Reads the lines that were completed since the last time.

    A file that was cut short, written anew or replaced by another is read from its start again.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = (0, -1, 0)
        """Inode, size and time of the last change, as they were last seen."""
        self._n_read = 0
        self._head = self._tail = b""
        self._rest = ""
        """Of a line that has no end yet."""
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> tuple[list[str], bool]:
        """Return the lines that are new, and whether they are the first of the file.

        Raises
        ------
        OSError
            It cannot be read.
        UserError
            It is no text.
        """
        with open_regular(self._path) as file:
            stat = os.fstat(file.fileno())
            state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if state == self._state:
                return self._unended(stat), False
            if self._n_read and not self._goes_on(file, stat):
                self._n_read = 0
            file.seek(self._n_read)
            new = file.read(_MOST_BYTES)
        is_first = not self._n_read
        if is_first:
            encoding = _encoding(new, self._path)
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
            self._head = self._tail = b""
            self._rest = ""
        self._n_read += len(new)
        self._state = (stat.st_ino, self._n_read, stat.st_mtime_ns)
        self._head = (self._head + new[:_KNOWN_BY])[:_KNOWN_BY]
        self._tail = (self._tail + new[-_KNOWN_BY:])[-_KNOWN_BY:]
        *lines, self._rest = (self._rest + self._decoder.decode(new)).split("\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = self._rest[:_LONGEST_LINE]  # it cannot be read, and is not kept to the end
        return [line.rstrip("\r") for line in lines] + self._unended(stat), is_first

    def _goes_on(self, file: BinaryIO, stat: os.stat_result) -> bool:
        """Tell whether a file begins with what was read of it."""
        if stat.st_ino != self._state[0] or stat.st_size < self._n_read:
            return False
        head = file.read(len(self._head))
        file.seek(self._n_read - len(self._tail))
        return (head, file.read(len(self._tail))) == (self._head, self._tail)

    def _unended(self, stat: os.stat_result) -> list[str]:
        """Return a last line without an end, when nobody writes there any more."""
        is_all = self._n_read >= stat.st_size
        if not (is_all and self._rest.strip()) or time.time() - stat.st_mtime < _SETTLED_S:
            return []
        line, self._rest = self._rest, ""
        return [line]


def _encoding(start: bytes, path: Path) -> str:
    """Return how a text is coded, by its first bytes.

    Raises
    ------
    UserError
        It is no text.
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in start[:1000]:
        even, odd = start[:1000:2].count(0), start[1:1000:2].count(0)
        if max(even, odd) > 300 * min(len(start), 1000) // 1000 and not min(even, odd):
            return "utf-16-be" if even else "utf-16-le"
        raise UserError(f"the cell file {path} is no text: export the measurement as CSV or text")
    if _is(start, "utf-8"):
        return "utf-8-sig"
    if _is(start, "gb18030") and any(one in start.decode("gb18030", "ignore") for one in _CHINESE):
        return "gb18030"
    return "cp1252"


def _is(start: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(start)
    except UnicodeDecodeError:
        return False
    return True
