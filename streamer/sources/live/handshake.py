"""What listens at an address: ZeroMQ's handshake tells the kind of its socket."""

from __future__ import annotations

import socket
import struct
import time

import zmq

__all__ = ["ANSWERS", "OTHER", "SILENT", "UNKNOWN", "WEB", "socket_kind"]

ANSWERS: dict[int, tuple[str, ...]] = {
    zmq.PULL: ("PUSH",),
    zmq.SUB: ("PUB", "XPUB"),
    zmq.REQ: ("REP", "ROUTER"),
}
"""Kinds of sockets that a socket of ours can listen to, the usual one first."""
WEB, OTHER, SILENT, UNKNOWN = "HTTP", "other", "silent", "ZeroMQ"
"""What is no kind: a web server, something else, nothing said, ZeroMQ that does not say more."""

# ZMTP 3.0 (rfc.zeromq.org/spec/23): signature, version, mechanism, and the rest that is zeros.
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_VERSION = b"\x03"
_REST = b"\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_COMMANDS = {0x04: ">B", 0x06: ">Q"}
_LONGEST_COMMAND = 1 << 16
_TURN_S = 1.0


def socket_kind(where: tuple[str, int], timeout_s: float) -> str:
    """Return the kind of socket that listens, such as ``PUSH``, or what else it is.

    Our half of the handshake is begun and not ended: the other side says what it is, and does not
    yet count this side as a peer, which would get messages.

    Parameters
    ----------
    where
        Host and port.
    timeout_s
        How long to wait for what it says; at most a second of it for each of two questions.

    Raises
    ------
    OSError
        Nothing listens there.
    """
    with _Talk(where, min(timeout_s, _TURN_S)) as talk:
        kind = _zeromq_kind(talk)
    if kind != SILENT:
        return kind
    try:
        with _Talk(where, min(timeout_s, _TURN_S)) as talk:
            talk.say(b"HEAD / HTTP/1.0\r\n\r\n")
            return WEB if talk.hear(5) == b"HTTP/" else SILENT
    except OSError:
        return SILENT


def _zeromq_kind(talk: _Talk) -> str:
    talk.say(_SIGNATURE + _VERSION)  # all that is needed for the other side to say the same
    signature = talk.hear(10)
    if not signature:
        return SILENT
    if len(signature) < 10 or signature[:1] != b"\xff" or not signature[9] & 1:
        return WEB if signature.startswith(b"HTTP/") else OTHER
    rest = talk.hear(54)
    # Before version 3 a socket says less, and a secured one says nothing to a stranger.
    if len(rest) < 54 or rest[0] < 3 or rest[2:22].rstrip(b"\0") != b"NULL":
        return UNKNOWN
    talk.say(_REST)
    return _ready(talk).get(b"socket-type", b"").decode("ascii", "replace") or UNKNOWN


def _ready(talk: _Talk) -> dict[bytes, bytes]:
    """Return the properties in the command with which a socket is ready, by their small letters."""
    form = _COMMANDS.get(next(iter(talk.hear(1)), 0))
    head = b"" if form is None else talk.hear(struct.calcsize(form))
    if form is None or len(head) < struct.calcsize(form):
        return {}
    (size,) = struct.unpack(form, head)
    body = talk.hear(min(size, _LONGEST_COMMAND))
    if not body.startswith(b"\x05READY"):
        return {}
    properties, at = {}, 6
    while at < len(body):
        name_end = at + 1 + body[at]
        value_at = name_end + 4
        value_end = value_at + int.from_bytes(body[name_end:value_at], "big")
        properties[body[at + 1 : name_end].lower()] = body[value_at:value_end]
        at = value_end
    return properties


class _Talk:
    """A connection on which little is said, for a time."""

    def __init__(self, where: tuple[str, int], timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s
        self._socket = socket.create_connection(where, timeout=max(timeout_s, 0.05))

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:  # it has closed: what it said before can still be read
            return

    def hear(self, size: int) -> bytes:
        """Return as many bytes, or fewer when there are no more or the time is over."""
        heard = b""
        while len(heard) < size:
            self._socket.settimeout(max(self._end_s - time.monotonic(), 0.01))
            try:
                data = self._socket.recv(size - len(heard))
            except OSError:
                break
            if not data:
                break
            heard += data
        return heard
