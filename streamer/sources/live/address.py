"""Addresses of live sources, and whether anything answers there."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from streamer.config import SourceConfig
from streamer.errors import UserError

__all__ = ["Address", "Sender"]

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


@dataclass(frozen=True, slots=True)
class Sender:
    """What listens at the addresses of one protocol."""

    name: str
    """What the user knows it as, such as ``the detector``."""
    example: str
    """A well-formed address, for who wrote a malformed one."""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What may stand behind the question mark: names, each with its values, none for any."""
    advice: str = "does it run, and is that its port?"
    """What to look at when nothing answers."""

    def reach(self, uri: str, config: SourceConfig) -> Address:
        """Return an address once something listens there, which takes no message from it.

        Raises
        ------
        UserError
            The address is malformed, or nothing answers there.
        """
        address = self.parse(uri)
        self.wait_for(address, config.connect_s)
        return address

    def parse(self, uri: str) -> Address:
        """Read ``scheme://host:port?option=value``.

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
            raise UserError(f"{uri} is not an address: write host and port, such as {self.example}")
        unknown = sorted(given.keys() - self.options.keys())
        if unknown:
            known = f"known are {', '.join(self.options)}"
            advice = known if self.options else f"write {self.example}"
            raise UserError(f"{uri}: unknown option {unknown[0]}; {advice}")
        for name, values in self.options.items():
            if values and given.get(name, values[0]) not in values:
                raise UserError(f"{uri}: {name} must be {' or '.join(values)}")
        return Address(uri, host, port, given)

    def wait_for(self, address: Address, connect_s: float) -> None:
        """Wait until something listens there.

        ZeroMQ itself would wait in silence for a host that does not exist. The probe opens a
        connection and closes it before anything is said, which a listening ZeroMQ socket does not
        count as a peer.

        Parameters
        ----------
        connect_s
            How long to try.

        Raises
        ------
        UserError
            Nothing answers.
        """
        where = address.host, address.port
        give_up_s = time.monotonic() + connect_s
        while True:
            left_s = give_up_s - time.monotonic()
            try:
                socket.create_connection(where, timeout=max(left_s, 0.05)).close()
                return
            except socket.gaierror:
                why = "no such host"
                left_s = 0.0
            except TimeoutError:
                why = "no answer"
            except OSError as error:
                why = (error.strerror or str(error)).lower()
            if left_s <= _RETRY_S:
                raise UserError(
                    f"cannot reach {self.name} at {address.host}:{address.port} ({why}):"
                    f" {self.advice}"
                )
            time.sleep(_RETRY_S)
