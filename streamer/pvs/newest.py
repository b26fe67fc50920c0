"""The newest frame of a run's peaks feed."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import zmq

from streamer.results.schema import Columns
from streamer.sink.feed import read_message
from streamer.transport.messages import MessageError
from streamer.transport.readers import ReaderKey

__all__ = ["Newest", "NewestFrame"]

logger = logging.getLogger(__name__)

_MOST_WAITING = 8
"""Messages; who is slower misses some, as everybody who listens to a feed."""


class Newest(NamedTuple):
    """The peaks of a frame."""

    series: str
    frame: int
    time_ns: int
    peaks: Columns


class NewestFrame:
    """Listens to the peaks feed and keeps of each message the last frame that has peaks.

    Parameters
    ----------
    key
        What the feed knows us by, if it asks.
    """

    def __init__(self, key: ReaderKey | None = None) -> None:
        self._key = key
        self._address = ""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def listen(self, address: str) -> None:
        """Subscribe to another feed, if it is another one."""
        if address == self._address or not address:
            return
        if self._socket is not None:
            self._socket.close(linger=0)
        self._address = address
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, _MOST_WAITING)
        if self._key is not None:
            self._key.prepare(self._socket)
        self._socket.subscribe(b"peaks")
        self._socket.connect(address.replace("//0.0.0.0:", "//127.0.0.1:"))

    def wait(self, seconds: float) -> Newest | None:
        """Return what came newest; None if nothing came for so long, or before there is a feed."""
        if self._socket is None or not self._socket.poll(int(seconds * 1000)):
            return None
        parts: list[bytes] = []
        try:
            while True:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            pass
        try:
            _, series, columns = read_message(parts)
        except MessageError as error:
            logger.warning("message of the feed not understood: %s", error)
            return None
        if not len(columns["frame"]):
            return None
        last = {name: columns[name][-1] for name in ("series", "frame", "time_ns")}
        mine = (columns["frame"] == last["frame"]) & (columns["series"] == last["series"])
        peaks = {name: np.ascontiguousarray(column[mine]) for name, column in columns.items()}
        return Newest(series[int(last["series"])], int(last["frame"]), int(last["time_ns"]), peaks)

    def close(self) -> None:
        """Listen no more."""
        self._context.destroy(linger=0)
