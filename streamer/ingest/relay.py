"""Publishes what a source yields, not decoded, for other pipelines and for viewers.

Each message is a topic, a msgpack map and, where there are any, raw buffers:

========== ====================================================== =========================
topic      map                                                    buffers
========== ====================================================== =========================
``series`` `Announcement`                                         pixel mask, flat field
``frame``  `Picture`                                              coded pixels
``newest`` the same, but ten times a second at most, for viewers  coded pixels
``gap``    ``{"series", "first", "count", "reason"}``             none
``end``    ``{"series", "reason"}``                               none
========== ====================================================== =========================

Who subscribes is told of the open series first. Nobody waits for a subscriber: one that is too slow
misses messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import zmq

from streamer.frames.events import Announcement, Ending, Event, Frame, Gap, Loss, Picture, Series
from streamer.transport.sockets import bind

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
        The address is in use.
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
        self.address = bind(self._socket, address)
        self._clock = clock
        self._series: Series | None = None
        self._next_frame = 0
        self._newest_s = -np.inf

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
                loss = Loss(event.series, event.frames.start, len(event.frames), event.reason)
                self._publish(b"gap", loss)
            else:
                self._series = None
                self._publish(b"end", Ending(event.series, event.reason))

    def welcome(self) -> None:
        """Tell newcomers of the open series."""
        is_new = False
        while True:
            try:
                subscription = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            is_new |= subscription[:1] == b"\1"
        if is_new and self._series is not None:
            self._announce()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _announce(self) -> None:
        series = self._series
        if series is None:
            return
        mask, flat = series.pixel_mask, series.flatfield
        buffers = [] if mask is None else [np.ascontiguousarray(mask, bool).data]
        buffers += [] if flat is None else [np.ascontiguousarray(flat, np.float32).data]
        header = Announcement(
            name=series.name,
            next_frame=self._next_frame,
            n_frames=series.n_frames,
            frame_time_s=series.frame_time_s,
            saturation=series.saturation,
            mask_shape=None if mask is None else (mask.shape[0], mask.shape[1]),
            flatfield_shape=None if flat is None else (flat.shape[0], flat.shape[1]),
            metadata=series.metadata,
        )
        self._publish(b"series", header, *buffers)

    def _publish_frame(self, frame: Frame) -> None:
        self._next_frame = max(self._next_frame, frame.frame + 1)
        header = Picture(
            frame.series, frame.frame, frame.time_ns, frame.shape, frame.dtype, frame.encoding
        )
        self._publish(b"frame", header, frame.data)
        now = self._clock()
        if now - self._newest_s >= _NEWEST_S:
            self._newest_s = now
            self._publish(b"newest", header, frame.data)

    def _publish(self, topic: bytes, header: msgspec.Struct, *buffers: Any) -> None:
        self._socket.send_multipart(
            [topic, msgspec.msgpack.encode(header), *buffers], flags=zmq.NOBLOCK, copy=False
        )
