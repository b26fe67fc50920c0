"""Says to all nodes before the sink what has reached it and what is on disk."""

from __future__ import annotations

import secrets
from collections import deque

import zmq

from streamer.transport.messages import Acks, pack
from streamer.transport.sockets import bind_hop, seal

__all__ = ["Acknowledger"]

_INTERVAL_S = 0.2
_KEPT = 1000
"""Frames that failed lately: who connects after one has failed would else not keep its bytes."""


class Acknowledger:
    """Publishes acknowledgements, at least every fifth of a second.

    Parameters
    ----------
    address
        Where to bind.
    upto
        Every number below is on disk.

    Raises
    ------
    UserError
        The address is in use.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, upto: int = 0
    ) -> None:
        self.due = 0.0
        """When the next one is to be published, by the clock of who calls."""
        self._upto = upto
        self._name = secrets.token_hex(8)
        self._received: list[int] = []
        self._failed: list[tuple[int, str]] = []
        self._failed_lately: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._socket = context.socket(zmq.XPUB)
        self._socket.set(zmq.XPUB_VERBOSE, 1)
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.LINGER, 1000)
        self.address = bind_hop(self._socket, address)

    def take_newcomers(self) -> bool:
        """Tell whether somebody listens who did not when this was asked last.

        Which frames failed lately is then said again.
        """
        joined = False
        while self._socket.poll(0):
            joined |= self._socket.recv()[:1] == b"\x01"
        if joined and self._failed_lately:
            self._failed = list(self._failed_lately)
            self.due = 0.0
        return joined

    def received(self, seq: int, reason: str = "") -> None:
        """Note a number that has come, and why its frame failed if it did; it is said at once."""
        self._received.append(seq)
        if reason:
            self._failed.append((seq, reason))
            self._failed_lately.append((seq, reason))
        self.due = 0.0

    def committed(self, upto: int) -> None:
        """Note that every number below `upto` is on disk; it is said at once."""
        self._upto = upto
        self.due = 0.0

    def publish(self, now: float) -> None:
        """Say what was noted, whether or not it was said before."""
        acks = Acks(self._upto, self._received, self._failed, self._name)
        self._socket.send_multipart(seal(self._socket, pack(acks)))
        self._received, self._failed = [], []
        self.due = now + _INTERVAL_S

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
