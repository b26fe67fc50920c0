"""A source whose events others see too, on their way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import zmq

from streamer.errors import as_line
from streamer.frames.events import Event
from streamer.sources.base import Hasty, Joined, Opening, Resumable, Source

__all__ = ["Tap", "TeeSource"]

logger = logging.getLogger(__name__)

_MOST_REASONS = 20


class Tap(Protocol):
    """Sees every event of a source; nothing waits for it and nothing of it can stop the source."""

    counters: dict[str, int]
    """What it could not do, added to the source's."""

    def take(self, events: Sequence[Event]) -> None:
        """See events, in the order in which they came; called now and then with none."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class TeeSource:
    """A `Source` that shows what it yields to taps first.

    Parameters
    ----------
    source
        Where the events come from.
    taps
        Who sees them.
    """

    def __init__(self, source: Source, taps: Sequence[Tap]) -> None:
        self.uri = source.uri
        self.live = source.live
        self._source = source
        self._taps = taps
        self._said: set[str] = set()

    @property
    def counters(self) -> dict[str, int]:
        """Those of the source and of the taps."""
        counters = dict(self._source.counters)
        for tap in self._taps:
            counters |= tap.counters
        return counters

    @property
    def n_frames(self) -> int | None:
        """That of the source."""
        return self._source.n_frames

    @property
    def exhausted(self) -> bool:
        """True when nothing more comes."""
        return self._source.exhausted

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """That of the source."""
        return self._source.socket

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events that are there now."""
        events = self._source.read(limit)
        for tap in self._taps:
            self._attempt(tap, partial(tap.take, events))
        return events

    @property
    def opening(self) -> Opening | None:
        """That of the source."""
        return self._source.opening if isinstance(self._source, Resumable) else None

    def resume(self, names: Sequence[str], opening: Opening | None) -> None:
        """Have the source go on where another left off."""
        if isinstance(self._source, Resumable):
            self._source.resume(names, opening)

    def hurry(self, count: int) -> None:
        """Have the source do so, if it has a pace."""
        if isinstance(self._source, Hasty):
            self._source.hurry(count)

    @property
    def gone_s(self) -> float:
        """That of the source, if it knows."""
        return self._source.gone_s if isinstance(self._source, Joined) else 0.0

    def close(self) -> None:
        """Close the source and the taps."""
        self._source.close()
        for tap in self._taps:
            self._attempt(tap, tap.close)

    def _attempt(self, tap: Tap, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # of any type: the frames are worth more
            reason = f"{type(tap).__name__}: {as_line(str(error)) or type(error).__name__}"
            if reason not in self._said and len(self._said) < _MOST_REASONS:
                self._said.add(reason)
                logger.warning("frames are not shown to all: %s", reason, exc_info=True)
