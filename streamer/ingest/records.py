"""How frames lie in a file that may be cut off at any byte.

A head says from where on what is there still counts, and where the series of that is. Then come
records: a mark, how many parts, a checksum, the bytes of each part, the parts. What is no whole
record ends the file.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from typing import ClassVar, Self

from streamer.frames.events import Buffer
from streamer.transport.messages import Header, MessageError, unpack

__all__ = ["Head", "pack_record", "read_record", "walk"]

_PREFIX = struct.Struct("<4sII")
_MARK = b"rec1"
_MOST_PARTS = 3
"""A series with a mask and a flat field."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the file begins with."""

    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<8sQQ")
    _MAGIC: ClassVar[bytes] = b"bragspl1"
    SIZE: ClassVar[int] = _LAYOUT.size

    series_at: int
    """Where the series of the first record that counts is; 0 where it comes after the head."""
    start: int
    """Where the first record is that counts."""

    @classmethod
    def read(cls, file: FileIO) -> Self:
        """Read it.

        Raises
        ------
        ValueError
            There is none.
        """
        data = os.pread(file.fileno(), cls.SIZE, 0)
        if len(data) < cls.SIZE or not data.startswith(cls._MAGIC):
            raise ValueError("it does not begin as it should")
        _, series_at, start = cls._LAYOUT.unpack(data)
        if max(series_at, start) > os.fstat(file.fileno()).st_size:
            raise ValueError("it says that it begins behind its end")
        return cls(series_at, start)

    def write(self, file: FileIO) -> None:
        """Put it in place of what the file says now."""
        os.pwrite(file.fileno(), self._LAYOUT.pack(self._MAGIC, self.series_at, self.start), 0)


def pack_record(parts: list[Buffer]) -> list[Buffer]:
    """Return what to write for the parts of a message of at most three parts, not copied."""
    sizes = struct.pack(f"<{len(parts)}Q", *(memoryview(part).nbytes for part in parts))
    return [_PREFIX.pack(_MARK, len(parts), _checksum(sizes, parts[0])), sizes, *parts]


def read_record(file: FileIO, at: int) -> Header | None:
    """Return what was written at a place; None if there is no whole record."""
    found = _look(file, at)
    if found is None:
        return None
    header, sizes, data_at = found
    parts: list[Buffer] = [header]
    for size in sizes:
        parts.append(os.pread(file.fileno(), size, data_at))
        data_at += size
    return _unpacked(parts)


def walk(file: FileIO, head: Head) -> Iterator[tuple[int, int, Header]]:
    """Yield where each record that counts is, where it ends, and what it says, up to what is cut.

    The pixels of frames are not read. The series of the first frame comes first, wherever it is.
    """
    if head.series_at and (series := read_record(file, head.series_at)) is not None:
        yield head.series_at, head.series_at, series
    at = head.start
    while (found := _look(file, at)) is not None:
        header, sizes, data_at = found
        after = data_at + sum(sizes)
        # Only a frame fits with pixels that are not there.
        record = _unpacked([header, *[b""] * len(sizes)]) or read_record(file, at)
        if record is None:
            return
        yield at, after, record
        at = after


def _look(file: FileIO, at: int) -> tuple[bytes, list[int], int] | None:
    """Return header, sizes of the other parts and their place; None if the record is not whole."""
    number = file.fileno()
    prefix = os.pread(number, _PREFIX.size + 8 * _MOST_PARTS, at)
    if len(prefix) < _PREFIX.size:
        return None
    mark, n_parts, checksum = _PREFIX.unpack_from(prefix)
    sizes_end = _PREFIX.size + 8 * n_parts
    if mark != _MARK or not 1 <= n_parts <= _MOST_PARTS or len(prefix) < sizes_end:
        return None
    raw = prefix[_PREFIX.size : sizes_end]
    first, *others = struct.unpack(f"<{n_parts}Q", raw)
    if at + sizes_end + first + sum(others) > os.fstat(number).st_size:
        return None
    header = os.pread(number, first, at + sizes_end)
    if _checksum(raw, header) != checksum:
        return None
    return header, others, at + sizes_end + first


def _unpacked(parts: list[Buffer]) -> Header | None:
    try:
        return unpack(parts)[0]
    except MessageError:
        return None


def _checksum(sizes: bytes, header: Buffer) -> int:
    return zlib.crc32(header, zlib.crc32(sizes))
