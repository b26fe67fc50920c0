"""Hearing what the sink has on disk."""

from __future__ import annotations

import logging

import zmq

from streamer.transport.messages import Acks, MessageError, unpack
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import connect_hop, open_sealed

__all__ = ["AckListener"]

logger = logging.getLogger(__name__)


class AckListener:
    """Hears the sink's acknowledgements and passes them to a publisher."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, publisher: Publisher
    ) -> None:
        self.upto = 0
        self.heard = False
        """Whether there has been any word of the sink."""
        self._sink = ""
        self.socket = context.socket(zmq.SUB)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RCVHWM, 0)
        self.socket.subscribe(b"")
        connect_hop(self.socket, address)
        self._publisher = publisher

    def listen(self) -> list[tuple[int, str]]:
        """Take in what arrived and return which frames failed, and why.

        What is on disk is forgotten only by `commit`, so that the bytes of a frame that failed can
        be looked up in between.
        """
        failed: list[tuple[int, str]] = []
        while True:
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return failed
            try:
                header, _ = unpack(open_sealed(self.socket, parts))
            except MessageError as error:
                logger.warning("acknowledgement refused: %s", error)
                continue
            if isinstance(header, Acks):
                self.heard = True
                if header.sink != self._sink:
                    self._sink = header.sink
                    self._publisher.far_end_changed()
                self._publisher.received(header.received)
                failed += header.failed
                self.upto = max(self.upto, header.upto)

    def commit(self) -> None:
        """Let the publisher forget what is on disk."""
        self._publisher.committed(self.upto)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
