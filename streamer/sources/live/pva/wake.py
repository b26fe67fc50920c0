"""A socket that another thread makes readable."""

from __future__ import annotations

import threading

import zmq

__all__ = ["Wake"]


class Wake:
    """A socket to wait for, and a bell for threads of libraries that know no sockets."""

    def __init__(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        address = f"inproc://pva-{id(self)}"
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._bell: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._lock = threading.Lock()  # sockets may change threads, but not be used by two
        self.socket.bind(address)
        self._bell.connect(address)

    def ring(self) -> None:
        """Make the socket readable."""
        with self._lock:
            if self._bell.closed:
                return
            try:
                self._bell.send(b"", zmq.NOBLOCK)
            except zmq.Again:  # it rings
                return

    def silence(self) -> None:
        """Make it not readable any more."""
        while self.socket.poll(0):
            self.socket.recv()

    def close(self) -> None:
        """Close both ends."""
        with self._lock:
            self._bell.close(linger=0)
        self.socket.close(linger=0)
