"""Frames that wait in a file, which outlives the node that wrote them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from msgspec.structs import replace

from streamer.frames.events import Buffer, Frame, Series
from streamer.ingest.records import Head, pack_record, read_record, walk
from streamer.transport.messages import pack

__all__ = ["Spool"]

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
"""From one attempt to write to a disk that failed to the next."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a frame is in the file."""

    seq: int
    series_at: int
    """Where its series is."""
    at: int


class Spool:
    """Keeps frames in a file until their results are on disk.

    What a predecessor that died left in the file comes first. While the file cannot be written,
    because the disk is full for instance, the source has to wait.

    Parameters
    ----------
    path
        The file; it is made for the first frame, and removed on `close` if nothing waits in it.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._file: FileIO | None = None
        self._series: Series | None = None
        self._written: Series | None = None  # in the file, before what comes next
        self._series_at = 0
        self._stored: deque[_Place] = deque()
        self._given: deque[_Place] = deque()  # before all that is stored; not on disk elsewhere
        self._stop = Head.SIZE
        self._held: deque[tuple[Series | None, Frame]] = deque()  # behind all that is stored
        self._again = 0.0
        self._trouble = ""

    def __len__(self) -> int:
        return len(self._stored) + len(self._held)

    @property
    def holds_back(self) -> bool:
        """True while the file cannot be written."""
        return bool(self._held)

    @property
    def size(self) -> int:
        """Bytes on disk; they are given back when the results of all frames are there."""
        return self._stop - Head.SIZE

    def take_over(self, next_seq: Callable[[], int]) -> Iterator[Series]:
        """Take over what a predecessor left: its frames get new numbers, each after its series."""
        try:
            if not self._path.stat().st_size:
                return
            self._file = FileIO(self._path, "r+")
            head = Head.read(self._file)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            logger.warning("what %s holds cannot be used: %s", self._path, error)
            return
        self._stop = head.start
        for at, after, header in walk(self._file, head):
            if isinstance(header, Series):
                self._series = self._written = header
                self._series_at = at
                yield header
            elif isinstance(header, Frame):
                self._stored.append(_Place(next_seq(), self._series_at, at))
            self._stop = max(self._stop, after)
        logger.info("%d frames of a node that died wait in %s", len(self._stored), self._path)
        cut = os.fstat(self._file.fileno()).st_size - self._stop
        if cut > 0:
            logger.warning("the last %d bytes of %s are no whole frame: left out", cut, self._path)

    def begin(self, series: Series) -> None:
        """Know the series of the frames that come."""
        self._series = series

    def retry(self) -> None:
        """Write what could not be written, if it can be now; not more often than makes sense."""
        if self._held and self._clock() >= self._again:
            self._store()

    def push(self, frame: Frame) -> list[Frame]:
        """Write a frame to the file; none is ever shed."""
        self._held.append((self._series, frame))
        if len(self._held) == 1:
            self._store()
        return []

    def pop(self) -> Frame:
        """Return the oldest frame; what the file has of it stays until `settle`."""
        if not self._stored or self._file is None:
            return self._held.popleft()[1]
        place = self._stored.popleft()
        self._given.append(place)
        header = read_record(self._file, place.at)
        if not isinstance(header, Frame):
            raise OSError(f"{self._path} was changed by somebody else")
        return replace(header, seq=place.seq)

    def settle(self, upto: int) -> None:
        """Give up what the file has of frames with numbers below `upto`: they are on disk."""
        if self._file is None or not self._given or self._given[0].seq >= upto:
            return
        while self._given and self._given[0].seq < upto:
            self._given.popleft()
        first = next(iter(self._given or self._stored), None)
        with contextlib.suppress(OSError):  # more is taken over than need be, or the room is kept
            if first is not None:
                Head(first.series_at, first.at).write(self._file)
            else:
                self._stop, self._series_at, self._written = Head.SIZE, 0, None
                self._file.truncate(0)

    def close(self) -> None:
        """Close the file; remove it if nothing is left for a successor."""
        if self._file is not None:
            self._file.close()
            if not self._stored and not self._given:
                with contextlib.suppress(OSError):  # it takes room, no more
                    self._path.unlink()

    def _store(self) -> None:
        """Write what is held, as far as that can be done."""
        try:
            while self._held:
                self._append(*self._held[0])
                self._held.popleft()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            if reason != self._trouble:
                logger.warning("no frame can wait in %s, the source has to: %s", self._path, reason)
            self._trouble, self._again = reason, self._clock() + _PAUSE_S
        else:
            self._trouble = ""

    def _append(self, series: Series | None, frame: Frame) -> None:
        """Write a frame, and its series if that was not written."""
        if self._file is None:
            self._file = FileIO(self._path, "w+")
        if self.size == 0:
            Head(0, Head.SIZE).write(self._file)
        if series is not None and series is not self._written:
            self._series_at = self._write(self._file, pack(series))
            self._written = series
        at = self._write(self._file, pack(frame))
        self._stored.append(_Place(frame.seq, self._series_at, at))

    def _write(self, file: FileIO, parts: list[Buffer]) -> int:
        """Write a record and return where; one not written whole is overwritten by the next."""
        at, record = self._stop, pack_record(parts)
        size = sum(memoryview(part).nbytes for part in record)
        if os.pwritev(file.fileno(), record, at) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._stop += size
        return at
