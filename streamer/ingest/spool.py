"""Frames that are kept in files, which outlive the node that wrote them."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from streamer.frames.events import Frame, Series
from streamer.ingest.spool_file import SpoolFile

__all__ = ["Spool"]

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
"""From one attempt to write to a disk that failed to the next."""
_FILE_BYTES = 256 << 20
"""A file that is larger is followed by another, and removed once all in it is on disk elsewhere."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a frame is."""

    seq: int
    file: SpoolFile
    at: int
    series_at: int
    """Where its series is."""
    n_bytes: int
    """Of its pixels; 0 for one that was taken over."""


class Spool:
    """Keeps frames in files until their results are on disk, those that need not wait as well.

    What a predecessor that died left in them comes first. While they cannot be written, because the
    disk is full for instance, the source has to wait.

    Parameters
    ----------
    path
        The first file; it is made for the first frame, and removed on `close` if nothing is left
        in it. Those after it have a number behind the name.
    file_bytes
        Size from which a file is followed by another.
    clock
        Returns a monotonic time in seconds.
    """

    lasting = True

    def __init__(
        self,
        path: Path,
        *,
        file_bytes: int = _FILE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size = 0
        """Bytes of the frames that wait on disk."""
        self._path, self._file_bytes, self._clock = path, file_bytes, clock
        self._files: list[SpoolFile] = []  # the last one is written to
        self._series: Series | None = None
        self._stored: deque[_Place] = deque()
        self._given: deque[_Place] = deque()  # before all that is stored; not on disk elsewhere
        self._held: deque[tuple[Series | None, Frame]] = deque()  # behind all that is stored
        self._again = 0.0
        self._trouble = ""

    def __len__(self) -> int:
        return len(self._stored) + len(self._held)

    @property
    def holds_back(self) -> bool:
        """True while the files cannot be written."""
        return bool(self._held)

    def take_over(self, next_seq: Callable[[], int]) -> Iterator[Series]:
        """Take over what a predecessor left: its frames get new numbers, each after its series."""
        for path in self._left():
            try:
                file = SpoolFile(path)
            except OSError as error:
                logger.warning("what %s holds cannot be used: %s", path, error)
                continue
            self._files.append(file)
            try:
                for header, at, series_at in file.walk():
                    if isinstance(header, Frame):
                        place = _Place(next_seq(), file, at, series_at, 0)
                        self._stored.append(place)
                        continue
                    # Each file begins with the series that was open then.
                    if self._series is None or header.name != self._series.name:
                        yield header
                    self._series = header
            except (OSError, ValueError) as error:
                logger.warning("what %s holds cannot be used: %s", path, error)
                if not any(place.file is file for place in self._stored):
                    file.clear()
        if self._stored:
            logger.info("%d frames of a node that died wait on disk", len(self._stored))

    def begin(self, series: Series) -> None:
        """Know the series of the frames that come."""
        self._series = series

    def retry(self) -> None:
        """Write what could not be written, if it can be now; not more often than makes sense."""
        if self._held and self._clock() >= self._again:
            self._store()

    def log(self, frame: Frame) -> bool:
        """Keep a frame that is sent at once, for a successor; False when it cannot be written."""
        try:
            self._given.append(self._append(self._series, frame))
        except OSError:
            return False
        return True

    def push(self, frame: Frame) -> list[Frame]:
        """Have a frame wait on disk; none is ever shed."""
        self._held.append((self._series, frame))
        if len(self._held) == 1:
            self._store()
        return []

    def pop(self) -> Frame:
        """Return the oldest frame; what the files have of it stays until `settle`."""
        if not self._stored:
            return self._held.popleft()[1]
        place = self._stored.popleft()
        self._given.append(place)
        self.size -= place.n_bytes
        return replace(place.file.read(place.at), seq=place.seq)

    def settle(self, upto: int) -> None:
        """Give up what the files have of frames with numbers below `upto`: they are on disk."""
        if not self._given or self._given[0].seq >= upto:
            return
        while self._given and self._given[0].seq < upto:
            self._given.popleft()
        first = next(iter(self._given or self._stored), None)
        needed = self._files[-1] if first is None else first.file
        while self._files[0] is not needed:
            self._files.pop(0).close(remove=True)
        if first is None:
            needed.clear()
        else:
            needed.begin_at(first.at, first.series_at)

    def close(self) -> None:
        """Close the files; remove them if nothing is left for a successor."""
        for file in self._files:
            file.close(remove=not self._stored and not self._given)

    def _left(self) -> list[Path]:
        """Return the files that are there, the oldest first."""
        found = {_number_of(path): path for path in self._path.parent.glob(f"{self._path.stem}*")}
        return [found[number] for number in sorted(found) if number >= 0]

    def _store(self) -> None:
        """Write what is held, as far as that can be done."""
        try:
            while self._held:
                place = self._append(*self._held[0])
                self._stored.append(place)
                self.size += place.n_bytes
                self._held.popleft()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            if reason != self._trouble:
                logger.warning("no frame can wait in %s, the source has to: %s", self._path, reason)
            self._trouble, self._again = reason, self._clock() + _PAUSE_S
        else:
            self._trouble = ""

    def _append(self, series: Series | None, frame: Frame) -> _Place:
        """Write a frame behind all others."""
        if not self._files:
            self._files.append(SpoolFile(self._path))
        elif self._files[-1].stop > self._file_bytes:
            number = _number_of(self._files[-1].path) + 1
            path = self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")
            self._files.append(SpoolFile(path))
        file = self._files[-1]
        at, series_at = file.append(series, frame)
        return _Place(frame.seq, file, at, series_at, len(frame.data))


def _number_of(path: Path) -> int:
    """Return which of the files of a spool a file is; -1 if it is none."""
    number = path.stem.rpartition("-")[2] if "-" in path.stem else "0"
    return int(number) if path.suffix == ".bin" and number.isdecimal() else -1
