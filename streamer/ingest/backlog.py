"""Where frames wait that came faster than they could be worked on."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Protocol

from streamer.config import Config
from streamer.frames.events import Frame
from streamer.transport.messages import pack, unpack

__all__ = ["Backlog", "Newest", "Spool", "Wait", "make_backlog"]


class Backlog(Protocol):
    """Takes frames that cannot be sent on yet and gives them back in order."""

    holds_back: bool
    """True where the source is not read while there is no room for what it has."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        ...

    def __len__(self) -> int: ...

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

    Parameters
    ----------
    path
        The file; it is removed on `close`.
    """

    holds_back = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write = path.open("wb", buffering=1 << 20)
        self._read = path.open("rb", buffering=1 << 20)
        self._sizes: deque[tuple[int, ...]] = deque()

    def __len__(self) -> int:
        return len(self._sizes)

    def push(self, frame: Frame) -> list[Frame]:
        """Write a frame to the file; none is ever shed."""
        self._sizes.append(tuple(self._write.write(part) for part in pack(frame)))
        return []

    def pop(self) -> Frame:
        """Return the oldest frame."""
        self._write.flush()
        header, _ = unpack([self._read.read(size) for size in self._sizes.popleft()])
        if not self._sizes:
            self._write.truncate(0)
            self._write.seek(0)
            self._read.seek(0)
        if not isinstance(header, Frame):
            raise OSError(f"{self._path} was changed by somebody else")
        return header

    @property
    def size(self) -> int:
        """Bytes on disk; they are given back when all frames are."""
        return self._write.tell()

    def close(self) -> None:
        """Remove the file."""
        self._write.close()
        self._read.close()
        self._path.unlink(missing_ok=True)


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
