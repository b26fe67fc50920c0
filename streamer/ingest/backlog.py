"""Where frames wait that came faster than they could be worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from streamer.config import Config
from streamer.frames.events import Frame, Series
from streamer.ingest.spool import Spool

__all__ = ["Backlog", "Newest", "Wait", "make_backlog"]


class Backlog(Protocol):
    """Takes frames that cannot be sent on yet and gives them back in order."""

    @property
    def holds_back(self) -> bool:
        """True where the source is not read while there is no room for what it has."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the frames that wait on disk."""
        ...

    @property
    def lasting(self) -> bool:
        """True where a successor takes over what was not on disk."""
        ...

    def __len__(self) -> int: ...

    def take_over(self, next_seq: Callable[[], int]) -> Iterator[Series]:
        """Take over what a predecessor that died left.

        Yields each series of which there are frames; these get their numbers after it.
        """
        ...

    def begin(self, series: Series) -> None:
        """Know the series of the frames that come."""
        ...

    def settle(self, upto: int) -> None:
        """Note that the results of all frames with numbers below `upto` are on disk."""
        ...

    def retry(self) -> None:
        """Do what could not be done before, from time to time."""
        ...

    def log(self, frame: Frame) -> bool:
        """Keep what a successor must know of a frame that is sent at once; False: it must wait."""
        ...

    def push(self, frame: Frame) -> list[Frame]:
        """Keep a frame; return those that had to be shed for it."""
        ...

    def pop(self) -> Frame:
        """Return the oldest frame."""
        ...

    def close(self) -> None:
        """Release files; what a successor can take over is left to it."""
        ...


class _Memory:
    """Keeps nothing for a successor."""

    size = 0
    lasting = False

    def log(self, frame: Frame) -> bool:
        """Keep nothing."""
        return True

    def take_over(self, next_seq: Callable[[], int]) -> Iterator[Series]:
        """Take over nothing."""
        return iter(())

    def begin(self, series: Series) -> None:
        """Do nothing: a frame says enough."""

    def settle(self, upto: int) -> None:
        """Do nothing: what was given is not kept."""

    def retry(self) -> None:
        """Do nothing: memory is always there."""


class Wait(_Memory):
    """Has the source wait; keeps in memory the few frames that were read beyond the room."""

    holds_back = True

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

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


class Newest(_Memory):
    """Keeps the newest frames in memory, so many and so many bytes at most; sheds older ones."""

    holds_back = False

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._frames: deque[Frame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

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


def make_backlog(config: Config, folder: Path, *, live: bool, window_bytes: int) -> Backlog:
    """Return what ``overload`` asks for.

    Parameters
    ----------
    folder
        Run folder.
    live
        Whether frames that are not taken in time are lost.
    window_bytes
        Coded pixels that may be on their way.
    """
    overload = config.overload
    if overload == "auto":
        overload = "spool" if live else "wait"
    if overload == "spool":
        path = folder / "spool.bin"
        if not live:  # it is read again, from its start
            path.unlink(missing_ok=True)
        return Spool(path)
    if overload == "newest":
        return Newest(max(1, config.transport.window_frames // 4), window_bytes // 4)
    return Wait()
