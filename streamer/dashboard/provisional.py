"""Peaks of the newest frames of a run, as they are known before they are on disk."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque

import numpy as np

from streamer.dashboard.listening import Listener
from streamer.results.schema import Columns
from streamer.sink.feed import PROVISIONAL, read_message
from streamer.transport.messages import MessageError
from streamer.transport.readers import ReaderKey

__all__ = ["ProvisionalPeaks"]

logger = logging.getLogger(__name__)

_MOST_FRAMES = 400
_MOST_WAITING = 64
_SPAN_S = 2.0
"""The latency is that of what came in so many seconds."""


class ProvisionalPeaks:
    """Hears what reaches the sink of a run that goes on, and keeps the newest of it.

    What is on disk in the end may differ. It stands above what is here wherever both are known.

    Parameters
    ----------
    key
        What the feed knows us by, if it asks.
    """

    def __init__(self, key: ReaderKey | None = None) -> None:
        self.frames: OrderedDict[tuple[str, int], Columns] = OrderedDict()
        """Columns of the peaks by series and number of the frame, the newest last."""
        self._latencies: deque[tuple[float, float]] = deque()
        self._listener = Listener(PROVISIONAL, key=key, waiting=_MOST_WAITING)

    @property
    def latency_ms(self) -> float | None:
        """From when frames came in to when their positions were known; None where none came."""
        since = time.monotonic() - _SPAN_S
        while self._latencies and self._latencies[0][0] < since:
            self._latencies.popleft()
        return float(np.median([ms for _, ms in self._latencies])) if self._latencies else None

    def listen(self, address: str) -> None:
        """Hear the feed at an address; empty: none."""
        self._listener.listen(address)

    def take(self) -> None:
        """Take in what has come."""
        while (parts := self._listener.receive()) is not None:
            try:
                _, series, columns = read_message(parts)
                self._keep(series, columns)
            except (MessageError, KeyError, IndexError) as error:
                logger.warning("message of the feed not understood: %r", error)

    def close(self) -> None:
        """Close the socket."""
        self._listener.close()

    def _keep(self, series: list[str], columns: Columns) -> None:
        places, numbers = columns["series"], columns["frame"]
        # The peaks of a frame follow each other.
        starts = np.flatnonzero(np.diff(places, prepend=-1) | np.diff(numbers, prepend=-1))
        now = time.monotonic()
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
            key = series[int(places[start])], int(numbers[start])
            self.frames.pop(key, None)
            self.frames[key] = {name: column[start:stop] for name, column in columns.items()}
            self._latencies.append((now, float(columns["latency_ms"][start])))
        while len(self.frames) > _MOST_FRAMES:
            self.frames.popitem(last=False)
