"""Addresses of live sources, and whether anything answers there."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources.live.handshake import ANSWERS, OTHER, SILENT, UNKNOWN, WEB, socket_kind

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
    kind: int = zmq.PULL
    """Of the ZeroMQ socket that listens."""

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
    sockets: Mapping[str, int] = field(default_factory=lambda: {"sub": zmq.SUB})
    """Kinds of ZeroMQ sockets that can listen, as ``?socket=`` calls them; the first unless the
    user says another."""

    def reach(self, uri: str, config: SourceConfig) -> Address:
        """Return an address once something listens there, which takes no message from it.

        Raises
        ------
        UserError
            The address is malformed, or nothing answers there, or what cannot be listened to.
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
        options = dict(self.options)
        if len(self.sockets) > 1:
            options["socket"] = tuple(self.sockets)
        unknown = sorted(given.keys() - options.keys())
        if unknown:
            known = f"known are {', '.join(options)}"
            advice = known if options else f"write {self.example}"
            raise UserError(f"{uri}: unknown option {unknown[0]}; {advice}")
        for name, values in options.items():
            if values and given.get(name, values[0]) not in values:
                raise UserError(f"{uri}: {name} must be {' or '.join(values)}")
        kind = self.sockets[given.get("socket", next(iter(self.sockets)))]
        return Address(uri, host, port, given, kind)

    def wait_for(self, address: Address, connect_s: float) -> None:
        """Wait until something listens there, and see that it can be listened to.

        ZeroMQ itself would wait in silence for a host that does not exist, and for a socket of a
        kind that sends it nothing.

        Parameters
        ----------
        connect_s
            How long to try.

        Raises
        ------
        UserError
            Nothing answers, or what answers is not what sends such a stream.
        """
        where = address.host, address.port
        give_up_s = time.monotonic() + connect_s
        while True:
            left_s = give_up_s - time.monotonic()
            try:
                kind = socket_kind(where, max(left_s, 0.05))
                if kind != SILENT or left_s <= _RETRY_S:
                    self._check_kind(kind, address)
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

    def _check_kind(self, kind: str, address: Address) -> None:
        wanted = ANSWERS[address.kind]
        if kind in wanted or kind == UNKNOWN:
            return
        at = f"at {address.host}:{address.port}"
        if kind == WEB:
            raise UserError(f"a web server answers {at}, no stream: {self.advice}")
        if kind in (OTHER, SILENT):
            raise UserError(
                f"what listens {at} does not answer as ZeroMQ does, no stream comes from it:"
                f" {self.advice}"
            )
        fitting = [name for name, ours in self.sockets.items() if kind in ANSWERS[ours]]
        scheme = address.uri.partition("://")[0]
        if fitting:
            advice = f"write socket={fitting[0]} behind the address, as in"
            advice += f" {scheme}://{address.host}:{address.port}?socket={fitting[0]}"
        else:
            advice = f"{self.advice} Or is the stream of another protocol than {scheme}?"
        raise UserError(
            f"what listens {at} is a {kind} socket, of which a listener to {wanted[0]} gets"
            f" nothing: {advice}"
        )
