"""One file of the spool."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from streamer.frames.events import Buffer, Frame, Series
from streamer.ingest.records import Head, pack_record, read_record, walk
from streamer.transport.messages import pack

__all__ = ["SpoolFile"]

logger = logging.getLogger(__name__)


class SpoolFile:
    """Frames one behind the other, each series before the first of its frames.

    Parameters
    ----------
    path
        The file, made if it is not there.

    Raises
    ------
    OSError
        It can be neither opened nor made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stop = Head.SIZE
        """Where the next record goes."""
        self._file = FileIO(path, "r+" if path.exists() else "w+")
        self._series: Series | None = None  # the newest in it
        self._series_at = 0

    def walk(self) -> Iterator[tuple[Series | Frame, int, int]]:
        """Yield what the file was left with: records, where they are, and where their series is.

        The pixels of frames are not read. What is cut off at the end is left out, with a warning.

        Raises
        ------
        ValueError
            It is no such file.
        """
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return
        head = Head.read(self._file)
        self.stop = head.start
        for at, after, header in walk(self._file, head):
            if isinstance(header, Series):
                self._series, self._series_at = header, at
            if isinstance(header, Series | Frame):
                yield header, at, self._series_at
            self.stop = max(self.stop, after)
        if size > self.stop:
            logger.warning(
                "the last %d bytes of %s are no whole frame: left out", size - self.stop, self.path
            )

    def append(self, series: Series | None, frame: Frame) -> tuple[int, int]:
        """Write a frame, and its series if that was not written; return where both are.

        Raises
        ------
        OSError
            There is no room; what is not written whole is overwritten by the next.
        """
        if self.stop == Head.SIZE:
            Head(0, Head.SIZE).write(self._file)
        if series is not None and series is not self._series:
            self._series_at = self._write(pack(series))
            self._series = series
        return self._write(pack(frame)), self._series_at

    def read(self, at: int) -> Frame:
        """Return the frame at a place.

        Raises
        ------
        OSError
            There is none.
        """
        header = read_record(self._file, at)
        if not isinstance(header, Frame):
            raise OSError(f"{self.path} was changed by somebody else")
        return header

    def begin_at(self, at: int, series_at: int) -> None:
        """Note that what is before a place counts no more, but for the series there."""
        with contextlib.suppress(OSError):  # more is taken over than need be
            Head(series_at, at).write(self._file)

    def clear(self) -> None:
        """Forget all."""
        self.stop, self._series_at, self._series = Head.SIZE, 0, None
        with contextlib.suppress(OSError):  # the room is kept
            self._file.truncate(0)

    def close(self, *, remove: bool) -> None:
        """Close it."""
        self._file.close()
        if remove:
            with contextlib.suppress(OSError):  # it takes room, no more
                self.path.unlink()

    def _write(self, parts: list[Buffer]) -> int:
        """Write a record and return where."""
        at, record = self.stop, pack_record(parts)
        size = sum(memoryview(part).nbytes for part in record)
        if os.pwritev(self._file.fileno(), record, at) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.stop += size
        return at
