"""Keys: a run's own, by which its nodes know each other, and those of pipeline and readers.

Over tcp every hop of a run speaks CURVE: who has not the run's keys can neither connect nor read.
What alone would do harm if it were forged, memberships, acknowledgements and status reports, bears
a seal besides, which holds whatever the sockets are.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import blake2b

import msgspec
import zmq

from streamer.errors import UserError

__all__ = ["Pair", "RunKeys", "show_key"]

_SEAL_BYTES = 16


class Pair(msgspec.Struct, frozen=True):
    """A key pair of CURVE, as text (Z85)."""

    public: str
    secret: str

    @classmethod
    def make(cls) -> Pair:
        """Return a new pair.

        Raises
        ------
        UserError
            The ZeroMQ that is installed has no CURVE.
        """
        if not zmq.has("curve"):
            raise UserError(
                "the libzmq that is installed has no CURVE: install pyzmq's own wheel, or say "
                "insecure: true where nobody else is on the network"
            )
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())


def show_key(socket: zmq.Socket[bytes], pair: Pair, server: str) -> None:
    """Let a socket that is not yet connected show a pair to the side with that public key."""
    socket.curve_serverkey = server.encode()
    socket.curve_publickey = pair.public.encode()
    socket.curve_secretkey = pair.secret.encode()


class RunKeys(msgspec.Struct, frozen=True):
    """The keys that all nodes of a run, and nobody else, are told."""

    seal: bytes
    server: Pair | None = None
    """Of the side that binds; None where nothing is encrypted."""
    client: Pair | None = None
    """Of the side that connects."""

    @classmethod
    def make(cls, *, curve: bool) -> RunKeys:
        """Return the keys of a new run, for CURVE if wanted.

        Raises
        ------
        UserError
            The ZeroMQ that is installed has no CURVE.
        """
        pairs = (Pair.make(), Pair.make()) if curve else (None, None)
        return cls(secrets.token_bytes(32), *pairs)

    def sealed(self, content: bytes) -> bytes:
        """Return the seal of a message or a name."""
        return blake2b(content, key=self.seal, digest_size=_SEAL_BYTES).digest()

    def sign(self, name: bytes) -> bytes:
        """Return a name that only nodes of the run can make."""
        return name + self.sealed(name).hex().encode()

    def has_signed(self, name: bytes) -> bool:
        """Tell whether `sign` made a name."""
        at = len(name) - 2 * _SEAL_BYTES
        return at > 0 and hmac.compare_digest(self.sign(name[:at]), name)

    def holds(self, content: bytes, seal: bytes) -> bool:
        """Tell whether a seal is that of `content`."""
        return hmac.compare_digest(self.sealed(content), seal)
