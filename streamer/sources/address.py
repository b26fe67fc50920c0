"""Addresses of live sources, and whether anything answers there."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from streamer.errors import UserError

__all__ = ["Address", "parse_address"]

_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Address:
    """A host, a port and what was written behind them."""

    uri: str
    host: str
    port: int
    options: dict[str, str] = field(default_factory=dict)
    """``?name=value&name=value`` behind the port."""

    @property
    def endpoint(self) -> str:
        """Where ZeroMQ connects to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"

    def reach(self, what: str, advice: str, connect_s: float) -> None:
        """Wait until something listens there.

        ZeroMQ itself would wait in silence for a host that does not exist. The probe opens a
        connection and closes it before anything is said, which a listening ZeroMQ socket does not
        count as a peer.

        Parameters
        ----------
        what
            What should be there, such as ``the detector``.
        advice
            What to look at when nothing answers.
        connect_s
            How long to try.

        Raises
        ------
        UserError
            Nothing answers.
        """
        give_up_s = time.monotonic() + connect_s
        while True:
            left_s = give_up_s - time.monotonic()
            try:
                timeout = max(left_s, 0.05)
                socket.create_connection((self.host, self.port), timeout=timeout).close()
                return
            except socket.gaierror:
                why = "no such host"
                left_s = 0.0
            except TimeoutError:
                why = "no answer"
            except OSError as error:
                why = (error.strerror or str(error)).lower()
            if left_s <= _RETRY_S:
                raise UserError(f"cannot reach {what} at {self.host}:{self.port} ({why}): {advice}")
            time.sleep(_RETRY_S)


def parse_address(uri: str, example: str, options: Sequence[str] = ()) -> Address:
    """Read ``scheme://host:port?option=value``.

    Parameters
    ----------
    example
        A well-formed address, for who wrote a malformed one.
    options
        Names that may stand behind the question mark.

    Raises
    ------
    UserError
        The address is malformed, or has other options.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        host, port, given = None, None, {}
    if not host or not port or parts.path.strip("/") or parts.username or parts.fragment:
        raise UserError(f"{uri} is not an address: write host and port, such as {example}")
    unknown = sorted(given.keys() - set(options))
    if unknown:
        known = f"known are {', '.join(options)}" if options else f"write {example}"
        raise UserError(f"{uri}: unknown option {unknown[0]}; {known}")
    return Address(uri, host, port, given)
