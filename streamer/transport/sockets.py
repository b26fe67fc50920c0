"""Sockets of the pipeline and the names of its pools."""

from __future__ import annotations

import zmq

from streamer.errors import UserError

__all__ = ["DETECTORS", "FAR_END", "GPUS", "bind"]

DETECTORS, GPUS = "detectors", "gpus"
"""Pools of workers."""


FAR_END = "sink"
"""The pool of the node that acknowledges. Its member keeps what it was sent until that is on disk,
so there is no bound on how much it may have before it, and only its death sends anything again."""


_HEARTBEAT_MS = 1000
"""Between two heartbeats; a peer that is silent for five of them is gone."""


def bind(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind a socket and return the address it got.

    Raises
    ------
    UserError
        The address is in use or not one of this machine.
    """
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        if error.errno == zmq.EADDRINUSE:
            raise UserError(
                f"{address} is in use: stop what listens there or choose another"
            ) from None
        raise UserError(f"cannot bind {address}: {error.strerror or error}") from None
    endpoint = socket.get(zmq.LAST_ENDPOINT)
    return (endpoint.decode() if isinstance(endpoint, bytes) else str(endpoint)).rstrip("\0")


def harden(socket: zmq.Socket[bytes]) -> None:
    """Notice a peer that vanished without a word; wait for nobody when closing."""
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 5 * _HEARTBEAT_MS)
    socket.set(zmq.HEARTBEAT_TTL, 5 * _HEARTBEAT_MS)
