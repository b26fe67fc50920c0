"""Publishes what a source yields, not decoded, for other pipelines and for viewers.

Each message is a topic and what `streamer.transport.messages.pack` makes of a record:

========== ===========================================================
topic      record
========== ===========================================================
``series`` `Series`
``frame``  `Frame`
``newest`` the same, but ten times a second at most, for viewers
``gap``    `Gap`
``end``    `SeriesEnd`
========== ===========================================================

Who subscribes is told of the open series first. Nobody waits for a subscriber: one that is too slow
misses messages.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import zmq
from msgspec.structs import replace

from streamer.frames.events import Buffer, Event, Frame, Gap, Series
from streamer.frames.memory import COPIED_BYTES, as_part
from streamer.transport.messages import pack
from streamer.transport.sockets import bind_public

__all__ = ["Relay"]

_WAITING_MESSAGES = 256
_NEWEST_S = 0.1


class Relay:
    """A tap that publishes what it sees; see `streamer.ingest.taps.Tap`.

    Parameters
    ----------
    address
        Where to bind; ``tcp://127.0.0.1:*`` lets the system choose a port.
    clock
        Returns a monotonic time in seconds.

    Raises
    ------
    UserError
        The address is in use, or others reach it and there are no keys.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters: dict[str, int] = {}
        self._socket = context.socket(zmq.XPUB)
        self._socket.set(zmq.LINGER, 500)
        self._socket.set(zmq.SNDHWM, _WAITING_MESSAGES)
        # Each subscription counts, for each newcomer must hear of the open series.
        self._socket.set(zmq.XPUB_VERBOSE, 1)
        self._socket.copy_threshold = COPIED_BYTES
        self.address = bind_public(self._socket, address)
        self._clock = clock
        self._asked: set[bytes] = set()
        """What subscribers want topics to begin with."""
        self._series: Series | None = None
        self._next_frame = 0
        self._newest_s = -math.inf

    def take(self, events: Sequence[Event]) -> None:
        """Publish events."""
        self.welcome()
        for event in events:
            if isinstance(event, Frame):
                self._publish_frame(event)
            elif isinstance(event, Series):
                self._series, self._next_frame = event, 0
                self._announce()
            elif isinstance(event, Gap):
                self._publish(b"gap", pack(event))
            else:
                self._series = None
                self._publish(b"end", pack(event))

    def welcome(self) -> None:
        """Tell newcomers of the open series."""
        is_new = False
        while True:
            try:
                is_new |= self._hear(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
        if is_new and self._series is not None:
            self._announce()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _hear(self, message: bytes) -> bool:
        """Note what a subscriber asks for, or that nobody does any more; True for the former."""
        is_new, topic = message[:1] == b"\1", message[1:]
        (self._asked.add if is_new else self._asked.discard)(topic)
        return is_new

    def _is_asked(self, topic: bytes) -> bool:
        return any(topic.startswith(one) for one in self._asked)

    def _announce(self) -> None:
        if self._series is not None:
            series = replace(self._series, next_frame=self._next_frame)
            self._publish(b"series", pack(series))

    def _publish_frame(self, frame: Frame) -> None:
        self._next_frame = max(self._next_frame, frame.frame + 1)
        topics = [b"frame"] if self._is_asked(b"frame") else []
        now = self._clock()
        if now - self._newest_s >= _NEWEST_S and self._is_asked(b"newest"):
            self._newest_s = now
            topics.append(b"newest")
        if topics:  # to send to nobody costs as much
            parts = pack(frame)
            for topic in topics:
                self._publish(topic, parts)

    def _publish(self, topic: bytes, parts: list[Buffer]) -> None:
        message = [topic, *map(as_part, parts)]
        self._socket.send_multipart(message, flags=zmq.NOBLOCK, copy=False)
