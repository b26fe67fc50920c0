"""Where frames wait that came faster than they could be worked on."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Protocol

from streamer.config import Config
from streamer.frames.events import Buffer, Frame
from streamer.transport.messages import pack, unpack

__all__ = ["Backlog", "Newest", "Spool", "Wait", "make_backlog"]

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
"""From one attempt to write to a disk that failed to the next."""


class Backlog(Protocol):
    """Takes frames that cannot be sent on yet and gives them back in order."""

    @property
    def holds_back(self) -> bool:
        """True where the source is not read while there is no room for what it has."""
        ...

    @property
    def size(self) -> int:
        """Bytes on disk."""
        ...

    def __len__(self) -> int: ...

    def retry(self) -> None:
        """Do what could not be done before, from time to time."""
        ...

    def push(self, frame: Frame) -> list[Frame]:
        """Keep a frame; return those that had to be shed for it."""
        ...

    def pop(self) -> Frame:
        """Return the oldest frame."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


class Wait:
    """Has the source wait; keeps in memory the few frames that were read beyond the room."""

    holds_back = True
    size = 0

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def retry(self) -> None:
        """Do nothing: memory is always there."""

    def push(self, frame: Frame) -> list[Frame]:
        """Keep a frame; none is ever shed."""
        self._frames.append(frame)
        return []

    def pop(self) -> Frame:
        """Return the oldest frame."""
        return self._frames.popleft()

    def close(self) -> None:
        """Forget what is left."""
        self._frames.clear()


class Newest:
    """Keeps the newest frames in memory, so many and so many bytes at most; sheds older ones."""

    holds_back = False
    size = 0

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._frames: deque[Frame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def retry(self) -> None:
        """Do nothing: memory is always there."""

    def push(self, frame: Frame) -> list[Frame]:
        """Keep a frame; return those that had to be shed for it."""
        self._frames.append(frame)
        self._bytes += len(frame.data)
        shed = []
        while len(self._frames) > self._most or (
            self._bytes > self._most_bytes and len(self._frames) > 1
        ):
            shed.append(self.pop())
        return shed

    def pop(self) -> Frame:
        """Return the oldest frame."""
        frame = self._frames.popleft()
        self._bytes -= len(frame.data)
        return frame

    def close(self) -> None:
        """Forget what is left."""
        self._frames.clear()


class Spool:
    """Keeps frames in a file until they can be sent on; the file is emptied when all are.

    While the file cannot be written, because the disk is full for instance, the source has to wait.

    Parameters
    ----------
    path
        The file; it is made for the first frame and removed on `close`.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._file: FileIO | None = None
        self._stored: deque[list[int]] = deque()  # sizes of the parts of each frame
        self._start = self._stop = 0  # of what is stored
        self._held: deque[Frame] = deque()  # behind all that is stored
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
        """Bytes on disk; they are given back when all frames are."""
        return self._stop

    def retry(self) -> None:
        """Write what could not be written, if it can be now; not more often than makes sense."""
        if self._held and self._clock() >= self._again:
            self._store()

    def push(self, frame: Frame) -> list[Frame]:
        """Write a frame to the file; none is ever shed."""
        self._held.append(frame)
        if len(self._held) == 1:
            self._store()
        return []

    def pop(self) -> Frame:
        """Return the oldest frame."""
        if not self._stored or self._file is None:
            return self._held.popleft()
        parts = []
        for size in self._stored.popleft():
            parts.append(os.pread(self._file.fileno(), size, self._start))
            self._start += size
        if not self._stored:
            self._start = self._stop = 0
            with contextlib.suppress(OSError):  # the room is given back the next time
                self._file.truncate(0)
        header, _ = unpack(parts)
        if not isinstance(header, Frame):
            raise OSError(f"{self._path} was changed by somebody else")
        return header

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            with contextlib.suppress(OSError):  # it takes room, no more
                self._path.unlink()

    def _store(self) -> None:
        """Write what is held, as far as that can be done."""
        try:
            while self._held:
                self._append(pack(self._held[0]))
                self._held.popleft()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            if reason != self._trouble:
                logger.warning("no frame can wait in %s, the source has to: %s", self._path, reason)
            self._trouble, self._again = reason, self._clock() + _PAUSE_S
        else:
            self._trouble = ""

    def _append(self, parts: list[Buffer]) -> None:
        """Write a frame's parts; what is not written whole is overwritten by the next."""
        if self._file is None:
            self._file = FileIO(self._path, "w+")
        sizes = [memoryview(part).nbytes for part in parts]
        if os.pwritev(self._file.fileno(), parts, self._stop) < sum(sizes):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._stored.append(sizes)
        self._stop += sum(sizes)


def make_backlog(config: Config, folder: Path, *, live: bool) -> Backlog:
    """Return what ``overload`` asks for.

    Parameters
    ----------
    folder
        Run folder.
    live
        Whether frames that are not taken in time are lost.
    """
    overload = config.overload
    if overload == "auto":
        overload = "spool" if live else "wait"
    if overload == "spool":
        return Spool(folder / "spool.bin")
    if overload == "newest":
        transport = config.transport
        return Newest(max(1, transport.window_frames // 4), transport.window_mib << 18)
    return Wait()
