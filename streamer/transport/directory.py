"""Where the publishers of a run are, by name.

An address ``at://frames`` is wherever the publisher of that name listens now. Its node says where
in a file of a folder; on one host all nodes share that folder, on several an engine sees to it that
each host has one that says the same. Who connects by name goes on when a publisher has moved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import zmq

__all__ = ["SCHEME", "Directory"]

SCHEME = "at://"
_LOOK_S = 0.05
_TICK_NS = 1_000_000_000


class Directory:
    """A folder that says where publishers are; used by the thread whose sockets they are.

    Parameters
    ----------
    folder
        Made if it is not there.
    host
        Address of this host, as the other nodes reach it.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.host = host
        self.folder = folder
        self._clock = clock
        self._followed: list[tuple[zmq.Socket[bytes], str, str]] = []
        """Sockets, the name that each follows and the address to which it is connected."""
        self._next_look = 0.0
        self._seen = -1

    def tell(self, name: str, address: str) -> None:
        """Say where a publisher is."""
        # What begins with a dot has no name yet.
        partial = self.folder / f".{name}.{os.getpid()}"
        partial.write_text(address, encoding="ascii")
        partial.replace(self.folder / name)

    def find(self, name: str) -> str:
        """Return where a publisher is; empty while that is not known."""
        try:
            return (self.folder / name).read_text(encoding="ascii")
        except OSError:
            return ""

    def told(self) -> dict[str, str]:
        """Return where each publisher is that is known."""
        names = sorted(name for name in os.listdir(self.folder) if not name.startswith("."))
        return {name: self.find(name) for name in names}

    def follow(self, socket: zmq.Socket[bytes], name: str) -> None:
        """Connect a socket to a publisher, now or when it is there, and wherever it moves."""
        address = self.find(name)
        if address:
            socket.connect(address)
        self._followed.append((socket, name, address))
        self._seen = -1

    def catch_up(self) -> None:
        """Connect sockets to the publishers that have come or moved since."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        try:
            changed = os.stat(self.folder).st_mtime_ns
        except FileNotFoundError:  # who looked after this node is gone, and it ends soon
            return
        # Of two changes in a tick of the clock the second shows no other time.
        if changed != self._seen or time.time_ns() - changed < _TICK_NS:
            self._seen = changed
            self._followed = [self._moved(*one) for one in self._followed if not one[0].closed]

    def _moved(
        self, socket: zmq.Socket[bytes], name: str, before: str
    ) -> tuple[zmq.Socket[bytes], str, str]:
        address = self.find(name) or before
        if address != before:
            if before:
                socket.disconnect(before)
            socket.connect(address)
        return socket, name, address
