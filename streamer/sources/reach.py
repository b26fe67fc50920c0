"""Addresses of live sources, and whether anything answers there."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from streamer.errors import UserError

__all__ = ["endpoint_of"]

_RETRY_S = 0.1


def endpoint_of(uri: str, example: str, advice: str, connect_s: float) -> str:
    """Return the ZeroMQ endpoint of ``scheme://host:port`` once something listens there.

    ZeroMQ itself would wait in silence for a host that does not exist. The probe opens a connection
    and closes it before anything is said, which a listening ZeroMQ socket does not count as a peer.

    Parameters
    ----------
    example
        A well-formed address, for who wrote a malformed one.
    advice
        What to look at when nothing answers.
    connect_s
        How long to try.

    Raises
    ------
    UserError
        The address is malformed or nothing answers.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path.strip("/") or parts.query or parts.username:
        raise UserError(f"{uri} is not an address: write host and port, such as {example}")
    give_up_s = time.monotonic() + connect_s
    while True:
        left_s = give_up_s - time.monotonic()
        try:
            socket.create_connection((host, port), timeout=max(left_s, 0.05)).close()
            break
        except socket.gaierror:
            why = "no such host"
            left_s = 0.0
        except TimeoutError:
            why = "no answer"
        except OSError as error:
            why = (error.strerror or str(error)).lower()
        if left_s <= _RETRY_S:
            raise UserError(f"cannot reach the detector at {host}:{port} ({why}): {advice}")
        time.sleep(_RETRY_S)
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
