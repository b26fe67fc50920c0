"""Replay of a recording at the pace of the beamline."""

from __future__ import annotations

import time
from collections.abc import Callable

import zmq

from streamer.errors import UserError
from streamer.frames.events import Event, Frame, Gap, Series
from streamer.sources.base import Source

__all__ = ["Paced"]


class Paced:
    """A source whose frames come when they are due, however fast they could be read.

    Frame ``n`` is due ``n * frame_time_s / speed`` seconds after frame 0 of its series was first
    asked for. Who reads late gets what is overdue at once.

    Parameters
    ----------
    source
        A recording.
    speed
        Multiple of real time.
    frame_time_s
        Seconds from one frame to the next when it was recorded; None means not known.
    clock
        Returns a monotonic time in seconds.

    Raises
    ------
    UserError
        `frame_time_s` is not known.
    """

    def __init__(
        self,
        source: Source,
        speed: float,
        frame_time_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not frame_time_s or frame_time_s <= 0:
            raise UserError(
                f"{source.uri} does not say how fast it was taken: set source.frame_time_s, or"
                " leave out source.speed to replay it as fast as it goes"
            )
        self.uri = source.uri
        self.live = source.live
        self.n_frames = source.n_frames
        self.counters = source.counters
        self._source = source
        self._interval_s = frame_time_s / speed
        self._clock = clock
        self._start: float | None = None
        self._next = 0
        self._hurried = 0

    @property
    def exhausted(self) -> bool:
        """True when nothing more comes."""
        return self._source.exhausted

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """That of the source."""
        return self._source.socket

    @property
    def wait_s(self) -> float:
        """Seconds until the next event is due, 0 when one is."""
        if self._start is None or self._hurried or self.exhausted:
            return 0.0
        return max(0.0, self._start + self._next * self._interval_s - self._clock())

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events that are due."""
        events: list[Event] = []
        while len(events) < limit and self.wait_s <= 0:
            got = self._source.read(1)
            if not got:
                break
            self._schedule(got[0])
            events += got
        return events

    def hurry(self, count: int) -> None:
        """See `streamer.sources.base.Hasty`."""
        self._hurried = max(0, count)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _schedule(self, event: Event) -> None:
        """Find out when the event after this one is due."""
        if isinstance(event, Series):
            self._start, self._next = None, 0
        elif self._hurried:
            self._hurried -= 1
            self._start = None
        elif isinstance(event, Frame | Gap):
            frames = event.frames if isinstance(event, Gap) else range(event.frame, event.frame + 1)
            if self._start is None:
                self._start = self._clock() - frames.start * self._interval_s
            self._next = frames.stop
