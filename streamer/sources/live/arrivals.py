"""Which frames of a live series have come, and which have not."""

from __future__ import annotations

from typing import Literal

from streamer.frames.bounds import LAST_FRAME

__all__ = ["Arrivals"]

_HORIZON = 64
"""Frames that must come after a gap before it is believed: senders may swap frames."""
_FARTHEST_JUMP = 10_000_000


class Arrivals:
    """Accounts for the frames of a series as they come, in any order.

    A gap is reported once: by `take_gaps` when enough later frames have come, or by `finish`.

    Parameters
    ----------
    n_announced
        Frames that should come; None when not known.
    first
        The first frame to book; those before are of no interest.
    """

    def __init__(self, n_announced: int | None, first: int = 0) -> None:
        self.n_announced = n_announced
        self.last = first - 1
        """Highest frame that has come."""
        self._next = first  # all frames below have come or were reported
        self._ahead: set[int] = set()  # those above that have come
        self._lost: list[range] = []

    def can_be(self, frame: object) -> bool:
        """Tell whether a frame number is one: a damaged one would make a gap without end."""
        if type(frame) is not int or not 0 <= frame <= LAST_FRAME:
            return False
        if self.n_announced is not None:
            return frame < self.n_announced
        return frame <= self.last + _FARTHEST_JUMP

    def book(self, frame: int) -> Literal["new", "duplicate", "late"]:
        """Enter a frame; ``late`` is one that was already reported as lost."""
        if frame < self._next:
            return "late" if any(frame in lost for lost in reversed(self._lost)) else "duplicate"
        if frame in self._ahead:
            return "duplicate"
        self._ahead.add(frame)
        self.last = max(self.last, frame)
        self._advance()
        return "new"

    def book_lost(self, frames: range) -> list[range]:
        """Enter frames that will not come; return those that had not been entered before."""
        entered: list[range] = []
        for frame in frames:
            if self.book(frame) != "new":
                continue
            if entered and entered[-1].stop == frame:
                entered[-1] = range(entered[-1].start, frame + 1)
            else:
                entered.append(range(frame, frame + 1))
        return entered

    def take_gaps(self) -> list[range]:
        """Return the frames that are given up from now on."""
        gaps = []
        while self._ahead and self.last - (resumed := min(self._ahead)) >= _HORIZON:
            gaps.append(self._give_up(resumed))
        return gaps

    def finish(self) -> list[range]:
        """Return all frames before the last one that did not come."""
        gaps = []
        while self._ahead:
            gaps.append(self._give_up(min(self._ahead)))
        return gaps

    def _give_up(self, resumed: int) -> range:
        gap = range(self._next, resumed)
        self._lost.append(gap)
        self._next = resumed
        self._advance()
        return gap

    def _advance(self) -> None:
        while self._next in self._ahead:
            self._ahead.remove(self._next)
            self._next += 1
