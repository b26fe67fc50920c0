"""How much may be on its way at once."""

from __future__ import annotations

from typing import Protocol

from streamer.frames.events import Frame

__all__ = ["Unacknowledged", "Window"]

_NUMBERS = 64
"""Numbers on their way, of gaps and ends as well, for each frame that may be."""


class Unacknowledged(Protocol):
    """What is on its way, as `streamer.transport.publisher.Publisher` keeps it."""

    @property
    def outstanding(self) -> int:
        """Numbers not yet acknowledged."""
        ...

    def find(self, key: int) -> object | None:
        """Return what holds a number; None once it is acknowledged or given up."""
        ...


class Window:
    """What is on its way and not yet on disk, within bounds: the one bound on memory.

    It may be left by as much as is sent without asking for `room`.

    Parameters
    ----------
    sent
        What is on its way; numbers of gaps and ends count as frames.
    most_frames, most_bytes
        There is room below both.
    """

    def __init__(self, sent: Unacknowledged, most_frames: int, most_bytes: int) -> None:
        self._sent = sent
        self.most_frames, self._most_bytes = most_frames, most_bytes
        self._sizes: dict[int, int] = {}  # bytes of each frame by its number, in order
        self._n_bytes = 0
        self._newest: int | None = None  # bytes of the frame that was sent last

    @property
    def n_frames(self) -> int:
        """Frames in it."""
        return self._sent.outstanding

    @property
    def n_bytes(self) -> int:
        """Bytes of their coded pixels."""
        return self._n_bytes

    @property
    def has_frames(self) -> bool:
        """Tell whether any frame is in it, not only gaps and ends."""
        return bool(self._sizes)

    @property
    def has_room(self) -> bool:
        """Tell whether one more may be sent."""
        # What was shed takes hardly any room: thousands of numbers in one message.
        return (
            len(self._sizes) < self.most_frames
            and self.n_frames < _NUMBERS * self.most_frames
            and self._n_bytes < self._most_bytes
        )

    def room(self, at_once: int) -> int:
        """Return how many frames may be read so that it is not left: 1 to `at_once`.

        They are taken to be as large as the one that was sent last; before the first, which may be
        of any size, it is one.
        """
        if self._newest is None:
            return 1
        frames = self.most_frames - len(self._sizes)
        frames = min(frames, (self._most_bytes - self._n_bytes) // max(1, self._newest))
        return max(1, min(at_once, frames))

    def add(self, frame: Frame) -> None:
        """Count a frame that is sent; they are sent in the order of their numbers."""
        self._sizes[frame.seq] = len(frame.data)
        self._n_bytes += len(frame.data)
        self._newest = len(frame.data)

    def shrink(self, upto: int) -> None:
        """Give back the room of frames below `upto` and of those that are not on their way."""
        while self._sizes:
            seq = next(iter(self._sizes))
            if seq >= upto and self._sent.find(seq) is not None:
                break
            self._n_bytes -= self._sizes.pop(seq)
