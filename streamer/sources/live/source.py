"""A live source that listens on one ZeroMQ socket."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from streamer.config import SourceConfig
from streamer.frames.events import Event, Series
from streamer.sources.base import Opening
from streamer.sources.live.address import Address
from streamer.sources.live.refusals import Refusals
from streamer.sources.live.series import SeriesAssembler
from streamer.transport.readers import ReaderKey

__all__ = ["Dialect", "LiveSource"]

logger = logging.getLogger(__name__)

_WAITING_MESSAGES = 1000
_RECONNECT_MS, _RECONNECT_MAX_MS = 50, 1000
_HANDSHAKE_MS = 1000
_OPENING_MESSAGES = 8
"""Most messages that a series begins with: those of DECTRIS' version 1 may come one part each."""


class Dialect(Protocol):
    """Reads the messages of one protocol; nothing in it waits."""

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says, without decoding pixels.

        Raises
        ------
        ValueError
            The message cannot be read; it is counted and skipped, as it is when anything else is
            raised.
        UserError
            What the sender sends cannot be used; how to set it.
        """
        ...


class LiveSource:
    """Events of a sender that is reached by ZeroMQ, as they come.

    A sender that goes away is waited for: ZeroMQ connects again by itself, after 50 ms and then at
    growing intervals of up to a second. How often it went away is counted in
    ``counters["disconnects"]``. That something else answers in its place is
    said in the log.

    Parameters
    ----------
    address
        Where the sender is, and of which kind the socket is that listens: ``zmq.PULL``, ``zmq.SUB``
        or ``zmq.REQ``.
    dialect
        Reads the messages.
    config
        Time limits and number of series.
    request
        What a REQ socket asks with for each message.
    topics
        What a SUB socket subscribes to.
    waiting_messages
        Most messages that wait on this side to be read.
    key
        What the sender knows us by, if it asks.
    more
        Other endpoints whose messages belong to the same stream.
    clock
        Returns a monotonic time in seconds.
    """

    live = True

    def __init__(
        self,
        address: Address,
        dialect: Dialect,
        config: SourceConfig,
        *,
        request: bytes = b"next",
        topics: Sequence[bytes] = (b"",),
        waiting_messages: int = _WAITING_MESSAGES,
        key: ReaderKey | None = None,
        more: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.uri = address.uri
        self.assembler = SeriesAssembler(config, clock)
        self.counters = self.assembler.counters
        self.counters["disconnects"] = 0
        self._dialect = dialect
        self._refusals = Refusals(address.uri, self.counters)
        kind = address.kind
        self.is_dealt = kind == zmq.PULL
        """True when a second client would take its turn of the messages."""
        self._request = request if kind == zmq.REQ else None
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, waiting_messages)
        self._socket.set(zmq.TCP_KEEPALIVE, 1)
        self._socket.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._socket.set(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        # A connection that a sender took while it died would else be waited for for half a minute.
        self._socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        self._socket.set(zmq.IPV6, ":" in address.host)
        if key is not None:
            key.prepare(self._socket)
        if kind == zmq.SUB:
            for topic in topics:
                self._socket.set(zmq.SUBSCRIBE, topic)
        if kind == zmq.REQ:
            # A server that died owes a reply that will never come: ask its successor.
            self._socket.set(zmq.REQ_RELAXED, 1)
            self._socket.set(zmq.REQ_CORRELATE, 1)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
        )
        self._is_joined = False
        self._left_s: float | None = None
        self._has_said = False
        self._retry_s = math.inf
        self._clock = clock
        self._said: list[list[bytes]] = []
        self._opening: Opening | None = None
        self._endpoint = address.endpoint
        self._socket.connect(self._endpoint)
        for endpoint in more:
            self._socket.connect(endpoint)
        self._ask()

    @property
    def n_frames(self) -> int | None:
        """Announced frames, when one series is wanted and its start has come."""
        return self.assembler.n_frames

    @property
    def exhausted(self) -> bool:
        """True when as many series have ended as were asked for."""
        return self._is_done and not self.assembler.pending

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """Turns readable when messages come; None when no more are taken."""
        return None if self._is_done else self._socket

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events; it must be called now and then for `idle_s` to work."""
        pending = self.assembler.pending
        for _ in range(limit):
            if self._is_done or len(pending) >= limit:
                break
            # That a sender was away is known before what its successor sends is taken.
            self._note_connection()
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._look_after_connection()
                self.assembler.end_if_idle()
                break
            self._ask()
            self.assembler.hear()
            self._take(parts)
            if self.assembler.is_done:
                # A client that no longer reads would swallow its share of the next series.
                self.close()
        if self.assembler.is_done:
            self.close()
        return [pending.popleft() for _ in range(min(limit, len(pending)))]

    @property
    def opening(self) -> Opening | None:
        """See `streamer.sources.base.Resumable`."""
        return self._opening

    def resume(self, names: Sequence[str], opening: Opening | None) -> None:
        """See `streamer.sources.base.Resumable`."""
        self.assembler.adopt(names, opening.series if opening is not None else None)
        for message in opening.messages if opening is not None else ():
            self._take([zmq.Frame(part) for part in message])

    def close(self) -> None:
        """Close the socket."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close()
            self._socket.close()

    @property
    def _is_done(self) -> bool:
        return self._socket.closed

    def _take(self, parts: list[zmq.Frame]) -> None:
        assembler = self.assembler
        n_opened, n_events, n_counted = assembler.n_opened, len(assembler.pending), self._n_counted
        with self._refusals.refusing():
            self._dialect.take(parts, assembler)
        if assembler.n_opened > n_opened:
            if assembler.awaits_images:
                self._keep(parts)
            series = next(e.name for e in reversed(assembler.pending) if isinstance(e, Series))
            self._opening = Opening(series=series, messages=self._said) if self._said else None
            self._said = []
        elif not assembler.is_open and (len(assembler.pending), self._n_counted) == (
            n_events,
            n_counted,
        ):
            # Neither an image nor an end nor nonsense: a series may begin with it.
            self._keep(parts)

    @property
    def gone_s(self) -> float:
        """See `streamer.sources.base.Joined`."""
        return 0.0 if self._left_s is None else self._clock() - self._left_s

    @property
    def _n_counted(self) -> int:
        return sum(self.counters.values())

    def _keep(self, parts: list[zmq.Frame]) -> None:
        self._said = [*self._said[1 - _OPENING_MESSAGES :], [bytes(p.buffer) for p in parts]]

    def _ask(self) -> None:
        if self._request is not None:
            self._socket.send(self._request)

    def _note_connection(self) -> None:
        """Take in that the sender went away, or came."""
        lost = False
        while int(self._monitor.get(zmq.EVENTS)) & zmq.POLLIN:
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_joined, self._left_s = True, None
                continue
            lost = True
            if self._is_joined:
                self.counters["disconnects"] += 1
                self._left_s = self._clock()
            else:
                self._refuse()
            self._is_joined = False
        if lost:
            self.assembler.forget_identity()
            if self._request is not None:
                self._retry_s = -math.inf

    def _look_after_connection(self) -> None:
        """Connect again where ZeroMQ does not, once all that came is taken."""
        if self._clock() >= self._retry_s:
            # A request that never left would be sent to the sender's successor, too. It would
            # answer both at once, and may keep one answer only: drop what was asked before.
            self._retry_s = math.inf
            with suppress(zmq.ZMQError):  # ZeroMQ has given up what it could not shake hands with
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)
            self._ask()

    def _refuse(self) -> None:
        """Note that something else answers, for which ZeroMQ would not connect again."""
        self._retry_s = self._clock() + _RECONNECT_MAX_MS * 1e-3
        if not self._has_said:
            self._has_said = True
            logger.warning("what answers at %s now is no sender of its stream", self.uri)
