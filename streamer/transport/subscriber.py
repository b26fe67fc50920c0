"""The receiving side of a hop."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import zmq

from streamer.transport.keys import RunKeys
from streamer.transport.sockets import connect_hop, harden, host_of, keys_of

__all__ = ["Subscriber"]


class Subscriber:
    """Receives what publishers send to one member of a pool.

    Parameters
    ----------
    context
        ZeroMQ context.
    addresses
        Publishers to connect to; those that do not exist yet are connected when they do.
    pool, name
        Which pool to be a member of, and the node's name.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        addresses: Sequence[str],
        pool: str,
        name: str,
    ) -> None:
        self.socket = context.socket(zmq.SUB)
        harden(self.socket)
        self.socket.set(zmq.RCVHWM, 0)
        self.topic = _topic(pool, name, host_of(self.socket), keys_of(self.socket))
        self.socket.subscribe(self.topic)
        for address in addresses:
            connect_hop(self.socket, address)

    def receive(self) -> list[Any] | None:
        """Return the parts of the next message without its topic; None when there is none."""
        try:
            parts: list[Any] = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        return parts[1:]

    def leave(self) -> None:
        """End the membership: what was sent and not received is sent to others."""
        self.socket.unsubscribe(self.topic)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)


def _topic(pool: str, name: str, host: str, keys: RunKeys | None) -> bytes:
    """Return the topic of a member, which nobody else can make."""
    topic = f"{pool}/{name}/{host}/{secrets.token_hex(4)}".encode()
    return topic if keys is None else keys.sign(topic)
