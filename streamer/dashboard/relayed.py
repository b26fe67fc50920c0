"""Where the pixels of a frame can be had: from the relay of a run, or from what it read."""

from __future__ import annotations

import logging
from collections import OrderedDict

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.frames.events import Frame, Series
from streamer.transport.messages import MessageError, unpack
from streamer.transport.readers import ReaderKey

__all__ = ["Relayed"]

logger = logging.getLogger(__name__)

_MOST_FRAMES = 200
_MOST_BYTES = 256 << 20
_MOST_MASKS = 16


class Relayed:
    """The newest frames of a run that goes on, as they were sent, as far back as there is room.

    They are decoded when somebody wants to see them, so that nobody looking costs nothing.

    Parameters
    ----------
    key
        What the relay knows us by, if it asks.
    """

    def __init__(self, key: ReaderKey | None = None) -> None:
        self.frames: OrderedDict[tuple[str, int], Frame] = OrderedDict()
        """By series and number, the newest last."""
        self.masks: dict[str, NDArray[np.bool_]] = {}
        """Pixel mask by series, of the newest."""
        self._n_bytes = 0
        self._address = ""
        self._key = key
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def listen(self, address: str) -> None:
        """Subscribe to another relay, if it is another one."""
        if address == self._address or not address:
            return
        if self._socket is not None:
            self._socket.close(linger=0)
        self._address = address
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 16)
        if self._key is not None:
            self._key.prepare(self._socket)
        for topic in (b"newest", b"series"):
            self._socket.subscribe(topic)
        try:
            self._socket.connect(address.replace("//0.0.0.0:", "//127.0.0.1:"))
        except zmq.ZMQError as error:
            logger.warning("no images: %s: %s", address, error)

    def take(self) -> None:
        """Take in what has come."""
        while self._socket is not None:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._read(parts)
            except MessageError as error:
                logger.warning("message of the relay not understood: %s", error)

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)

    def _read(self, parts: list[bytes]) -> None:
        record, _ = unpack(parts[1:])
        if isinstance(record, Frame):
            self._keep(record)
        elif isinstance(record, Series) and record.pixel_mask is not None:
            self.masks.pop(record.name, None)
            self.masks[record.name] = record.pixel_mask
            if len(self.masks) > _MOST_MASKS:
                del self.masks[next(iter(self.masks))]

    def _keep(self, frame: Frame) -> None:
        old = self.frames.pop((frame.series, frame.frame), None)
        self.frames[frame.series, frame.frame] = frame
        self._n_bytes += len(frame.data) - (len(old.data) if old is not None else 0)
        while len(self.frames) > _MOST_FRAMES or (
            self._n_bytes > _MOST_BYTES and len(self.frames) > 1
        ):
            _, gone = self.frames.popitem(last=False)
            self._n_bytes -= len(gone.data)
