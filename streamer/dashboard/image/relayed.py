"""Where the pixels of a frame can be had: from the relay of a run, or from what it read."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.listening import Listener
from streamer.frames.events import Frame, Series
from streamer.transport.messages import MessageError, unpack
from streamer.transport.readers import ReaderKey

__all__ = ["Relayed"]

logger = logging.getLogger(__name__)

_MOST_FRAMES = 200
_MOST_BYTES = 256 << 20
_MOST_SERIES = 16

_T = TypeVar("_T")


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
        self.saturation: dict[str, float] = {}
        """Counts from which a pixel is saturated, by series, of the newest."""
        self.flatfields: dict[str, NDArray[np.float32]] = {}
        """Factors by series, of the newest."""
        self.looked_at: frozenset[tuple[str, int]] = frozenset()
        """Frames that stay however old they are; a few."""
        self._n_bytes = 0
        self._listener = Listener("newest", "series", key=key)

    def listen(self, address: str) -> None:
        """Subscribe to another relay, if it is another one."""
        if address:  # at the end of a run there is none, and may be more to take
            self._listener.listen(address)

    def take(self) -> None:
        """Take in what has come."""
        while (parts := self._listener.receive()) is not None:
            try:
                self._read(parts)
            except MessageError as error:
                logger.warning("message of the relay not understood: %s", error)

    def close(self) -> None:
        """Close the socket."""
        self._listener.close()

    def _read(self, parts: list[bytes]) -> None:
        record, _ = unpack(parts[1:])
        if isinstance(record, Frame):
            self._keep(record)
        elif isinstance(record, Series):
            _note(self.masks, record.name, record.pixel_mask)
            _note(self.saturation, record.name, record.saturation)
            _note(self.flatfields, record.name, record.flatfield)

    def _keep(self, frame: Frame) -> None:
        old = self.frames.pop((frame.series, frame.frame), None)
        self.frames[frame.series, frame.frame] = frame
        self._n_bytes += len(frame.data) - (len(old.data) if old is not None else 0)
        while len(self.frames) > _MOST_FRAMES or (
            self._n_bytes > _MOST_BYTES and len(self.frames) > 1
        ):
            gone = next((key for key in self.frames if key not in self.looked_at), None)
            if gone is None:
                break
            self._n_bytes -= len(self.frames.pop(gone).data)


def _note(known: dict[str, _T], series: str, value: _T | None) -> None:
    """Know what is true of a series, and of the newest ones only."""
    if value is None:
        return
    known.pop(series, None)
    known[series] = value
    if len(known) > _MOST_SERIES:
        del known[next(iter(known))]
