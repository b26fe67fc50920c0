"""Sockets of the pipeline, who may connect to them, and the names of its pools."""

from __future__ import annotations

import zmq

from streamer.errors import UserError
from streamer.frames.events import Buffer
from streamer.transport.context import READERS, RUN, RunContext
from streamer.transport.directory import SCHEME, Directory
from streamer.transport.exposure import refuse_exposed
from streamer.transport.keys import Pair, RunKeys, show_key
from streamer.transport.messages import MessageError

__all__ = [
    "DETECTORS",
    "FAR_END",
    "GPUS",
    "bind",
    "bind_hop",
    "bind_public",
    "connect_hop",
    "harden",
    "host_of",
    "keys_of",
    "open_sealed",
    "seal",
]

DETECTORS, GPUS = "detectors", "gpus"
"""Pools of workers."""


FAR_END = "sink"
"""The pool of the node that acknowledges. Its member keeps what it was sent until that is on disk,
so there is no bound on how much it may have before it, and only its death sends anything again."""


_HEARTBEAT_MS = 1000
"""Between two heartbeats; a peer that is silent for five of them is gone."""


_MOST_SUBSCRIBED, _MOST_HEARD = 1 << 12, 16 << 20
"""Most bytes of a subscription, for each of which libzmq calls itself when it forgets it, and of
other messages to a socket that binds, which are reports."""
_RECONNECT_MS = 25
"""From one attempt to connect to the next, always: all nodes start at once, and the last of them to
be there is not to be found half a second later."""
_HANDSHAKE_MS = 10_000
"""For who has connected to say who it is."""


def bind(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind a socket and return the address it got.

    Raises
    ------
    UserError
        The address is in use or not one of this machine.
    """
    socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    is_publisher = socket.type in (zmq.XPUB, zmq.PUB)
    socket.set(zmq.MAXMSGSIZE, _MOST_SUBSCRIBED if is_publisher else _MOST_HEARD)
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


def bind_hop(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind one end of a hop, over tcp for the run's own nodes only; see `bind`.

    One that has a name is bound to any port, and the directory is told which.
    """
    if address.startswith(SCHEME):
        directory = _directory_of(socket)
        bound = bind_hop(socket, f"tcp://{directory.host}:*")
        directory.tell(address.removeprefix(SCHEME), bound)
        return bound
    keys = keys_of(socket)
    if keys is not None and keys.server is not None and address.startswith("tcp:"):
        _serve_curve(socket, keys.server, RUN)
    return bind(socket, address)


def bind_public(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind a socket for those who may read what a run publishes; see `bind`.

    Raises
    ------
    UserError
        Others could read it without a key; or as for `bind`.
    """
    context = socket.context
    with_keys = context if isinstance(context, RunContext) else None
    if with_keys is not None and with_keys.published is not None:
        _serve_curve(socket, with_keys.published, READERS)
    elif with_keys is None or not with_keys.insecure:
        try:
            refuse_exposed(address)
        except UserError:
            socket.close(linger=0)
            raise
    return bind(socket, address)


def connect_hop(socket: zmq.Socket[bytes], address: str) -> None:
    """Connect the other end of a hop, as soon as it is there; see `Directory` of one by name."""
    socket.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
    keys = keys_of(socket)
    if keys is not None and keys.server and keys.client and not address.startswith("ipc:"):
        show_key(socket, keys.client, keys.server.public)
    if address.startswith(SCHEME):
        _directory_of(socket).follow(socket, address.removeprefix(SCHEME))
    else:
        socket.connect(address)


def _serve_curve(socket: zmq.Socket[bytes], pair: Pair, known: str) -> None:
    """Let only those connect to a socket whom the context knows under a name."""
    socket.curve_secretkey = pair.secret.encode()
    socket.curve_publickey = pair.public.encode()
    socket.curve_server = True
    socket.zap_domain = known.encode()
    # Without it all would be let in while nobody is there to say who is known.
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _directory_of(socket: zmq.Socket[bytes]) -> Directory:
    context = socket.context
    if not isinstance(context, RunContext) or context.directory is None:
        raise ValueError("a socket without a directory has no names")
    return context.directory


def keys_of(socket: zmq.Socket[bytes]) -> RunKeys | None:
    """Return the keys of the run that a socket is of, if it has any."""
    context = socket.context
    return context.keys if isinstance(context, RunContext) else None


def host_of(socket: zmq.Socket[bytes]) -> str:
    """Return the address of the host that a socket is on; empty where all nodes are on one."""
    context = socket.context
    directory = context.directory if isinstance(context, RunContext) else None
    return directory.host if directory is not None else ""


def seal(socket: zmq.Socket[bytes], parts: list[Buffer]) -> list[Buffer]:
    """Return a message that a stranger cannot make, of one that has a header only."""
    keys = keys_of(socket)
    return parts if keys is None else [*parts, keys.sealed(bytes(parts[0]))]


def open_sealed(socket: zmq.Socket[bytes], parts: list[bytes]) -> list[bytes]:
    """Return a message without its seal.

    Raises
    ------
    MessageError
        It is of a stranger.
    """
    keys = keys_of(socket)
    if keys is None:
        return parts
    if len(parts) != 2 or not keys.holds(*parts):
        raise MessageError("it does not bear the seal of this run")
    return parts[:1]


def harden(socket: zmq.Socket[bytes]) -> None:
    """Notice a peer that vanished without a word; wait for nobody when closing."""
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 5 * _HEARTBEAT_MS)
    socket.set(zmq.HEARTBEAT_TTL, 5 * _HEARTBEAT_MS)
