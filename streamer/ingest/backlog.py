"""Where frames wait that came faster than they could be worked on."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Protocol

import msgpack
import msgspec

from streamer.transport.messages import CodedFrame

__all__ = ["Backlog", "Item", "Newest", "Spool"]

Item = tuple[CodedFrame, bytes | memoryview]
"""A frame and its coded pixels."""


class Backlog(Protocol):
    """Takes frames that cannot be sent on yet and gives them back in order."""

    def __len__(self) -> int: ...

    def push(self, item: Item) -> list[CodedFrame]:
        """Keep a frame; return those that had to be shed for it."""
        ...

    def pop(self) -> Item:
        """Return the oldest frame."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


class Newest:
    """Keeps the newest frames in memory, so many and so many bytes at most; sheds older ones."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Item) -> list[CodedFrame]:
        """Keep a frame; return those that had to be shed for it."""
        self._items.append(item)
        self._bytes += len(item[1])
        shed = []
        while len(self._items) > self._most or (
            self._bytes > self._most_bytes and len(self._items) > 1
        ):
            shed.append(self.pop()[0])
        return shed

    def pop(self) -> Item:
        """Return the oldest frame."""
        item = self._items.popleft()
        self._bytes -= len(item[1])
        return item

    def close(self) -> None:
        """Forget what is left."""
        self._items.clear()


class Spool:
    """Keeps frames in a file until they can be sent on; the file is emptied when all are.

    Parameters
    ----------
    path
        The file; it is removed on `close`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write = path.open("wb", buffering=1 << 20)
        self._read = path.open("rb", buffering=1 << 20)
        self._sizes: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._sizes)

    def push(self, item: Item) -> list[CodedFrame]:
        """Write a frame to the file; none is ever shed."""
        head = msgpack.packb(msgspec.to_builtins(item[0]))
        self._write.write(head)
        self._write.write(item[1])
        self._sizes.append((len(head), len(item[1])))
        return []

    def pop(self) -> Item:
        """Return the oldest frame."""
        head_size, size = self._sizes.popleft()
        self._write.flush()
        head = msgspec.convert(msgpack.unpackb(self._read.read(head_size)), CodedFrame)
        data = self._read.read(size)
        if not self._sizes:
            self._write.truncate(0)
            self._write.seek(0)
            self._read.seek(0)
        return head, data

    @property
    def size(self) -> int:
        """Bytes on disk; they are given back when all frames are."""
        return self._write.tell()

    def close(self) -> None:
        """Remove the file."""
        self._write.close()
        self._read.close()
        self._path.unlink(missing_ok=True)
