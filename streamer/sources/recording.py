"""A recording, played from its first frame to its last."""

from __future__ import annotations

import time
from typing import Protocol

import zmq

from streamer.sources.base import Event, Frame, Gap, Series, SeriesEnd

__all__ = ["Coded", "Recording", "Reel"]

Coded = tuple[bytes | memoryview, str, str, tuple[int, int]]
"""Coded pixels, encoding, dtype and (rows, cols), as in `Frame`."""


class Reel(Protocol):
    """The frames of one file or set of files, in any order, not decoded where that can be."""

    series: Series
    end_reason: str
    """Goes into `SeriesEnd`."""

    def __len__(self) -> int: ...

    def coded(self, frame: int) -> Coded | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        ...

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class Recording:
    """A `Source` that reads one series from a `Reel`, as fast as it is asked.

    The same recording gives the same events whenever it is read, in whatever portions: frames that
    cannot be had for one reason and follow each other are one `Gap`.
    """

    live = False
    socket: zmq.Socket[bytes] | None = None

    def __init__(self, uri: str, reel: Reel) -> None:
        self.uri = uri
        self.n_frames: int | None = len(reel)
        self.counters: dict[str, int] = {}
        self.series = reel.series
        self._reel = reel
        self._next = -1  # -1: the series was not announced; n_frames + 1: it has ended

    @property
    def exhausted(self) -> bool:
        """True when the end of the series was read."""
        return self._next > len(self._reel)

    def read(self, limit: int) -> list[Event]:
        """Return the next `limit` events; fewer only at the end."""
        events: list[Event] = []
        while len(events) < limit and not self.exhausted:
            events.append(self._advance())
        return events

    def close(self) -> None:
        """Release the files; nothing more comes."""
        self._reel.close()
        self._next = len(self._reel) + 1

    def _advance(self) -> Event:
        frame, name = self._next, self.series.name
        self._next += 1
        if frame < 0:
            return self.series
        if frame == len(self._reel):
            return SeriesEnd(series=name, reason=self._reel.end_reason)
        coded = self._reel.coded(frame)
        if isinstance(coded, str):
            while self._next < len(self._reel) and self._reel.coded(self._next) == coded:
                self._next += 1
            return Gap(series=name, frames=range(frame, self._next), reason=coded)
        data, encoding, dtype, shape = coded
        time_ns = self._reel.time_ns(frame)
        return Frame(
            series=name,
            frame=frame,
            time_ns=time.time_ns() if time_ns is None else time_ns,
            shape=shape,
            dtype=dtype,
            encoding=encoding,
            data=data,
        )
