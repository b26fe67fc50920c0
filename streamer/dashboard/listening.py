"""What a run publishes, heard by whoever does not mind to miss some of it."""

from __future__ import annotations

import logging

import zmq

from streamer.transport.readers import ReaderKey

__all__ = ["Listener"]

logger = logging.getLogger(__name__)

_WAITING = 16


class Listener:
    """A subscription that follows its publisher to another address.

    Parameters
    ----------
    topics
        What is heard.
    key
        What the publisher knows us by, if it asks.
    waiting
        Messages that wait to be received before others are missed.
    """

    def __init__(self, *topics: str, key: ReaderKey | None = None, waiting: int = _WAITING) -> None:
        self._topics = topics
        self._key = key
        self._hwm = waiting
        self._address = ""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def listen(self, address: str) -> None:
        """Subscribe at another address, if it is another one; at none to nothing."""
        if address == self._address:
            return
        if self._socket is not None:
            self._socket.close(linger=0)
        self._address, self._socket = address, None
        if not address:
            return
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, self._hwm)
        if self._key is not None:
            self._key.prepare(self._socket)
        for topic in self._topics:
            self._socket.subscribe(topic)
        try:
            self._socket.connect(address.replace("//0.0.0.0:", "//127.0.0.1:"))
        except zmq.ZMQError as error:
            logger.warning("nothing is heard of %s: %s", address, error)

    def receive(self) -> list[bytes] | None:
        """Return the parts of a message, None when there is none."""
        if self._socket is None:
            return None
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)
