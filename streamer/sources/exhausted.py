"""A live source that has given all it had, to a node that died."""

from __future__ import annotations

import zmq

from streamer.frames.events import Event

__all__ = ["Exhausted"]


class Exhausted:
    """A `Source` of which nothing more comes: there need be no sender any more.

    Parameters
    ----------
    uri
        Of the source that has come to its end.
    """

    live = True
    exhausted = True
    n_frames: int | None = None
    socket: zmq.Socket[bytes] | None = None

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.counters: dict[str, int] = {}

    def read(self, limit: int) -> list[Event]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""
