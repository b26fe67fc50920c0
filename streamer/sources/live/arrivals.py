"""Which frames of a live series have come, and which have not."""

from __future__ import annotations

from typing import Literal

from streamer.frames.bounds import LAST_FRAME
from streamer.frames.ranges import Ranges

__all__ = ["Arrivals"]

_HORIZON = 64
"""Frames that must come after a gap before it is believed: senders may swap frames."""
_FARTHEST_JUMP = 10_000_000
_MOST_GAPS = 4096
"""That are remembered, to tell frames that come late from duplicates: the newest."""


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
        self._ahead = Ranges()  # those above that have come, or will not
        self._lost = Ranges()

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
            return "late" if frame in self._lost else "duplicate"
        if not self._ahead.add(frame):
            return "duplicate"
        self.last = max(self.last, frame)
        self._advance()
        return "new"

    def book_lost(self, frames: range) -> list[range]:
        """Enter frames that will not come; return those that had not been entered before."""
        first = max(frames.start, self._next)
        entered = self._ahead.add(first, frames.stop - first)
        if entered:
            self.last = max(self.last, entered[-1].stop - 1)
            self._advance()
        return entered

    def take_gaps(self) -> list[range]:
        """Return the frames that are given up from now on."""
        gaps = []
        while self._ahead and self.last - self._ahead.first >= _HORIZON:
            gaps.append(self._give_up())
        return gaps

    def finish(self) -> list[range]:
        """Return all frames before the last one that did not come."""
        gaps = []
        while self._ahead:
            gaps.append(self._give_up())
        return gaps

    def _give_up(self) -> range:
        """Give up what is missing before the frames that came next."""
        gap = range(self._next, self._ahead.first)
        self._lost.add(gap.start, gap.stop - gap.start)
        if self._lost.n_ranges > _MOST_GAPS:
            self._lost.pop_first()
        self._next = gap.stop
        self._advance()
        return gap

    def _advance(self) -> None:
        if self._ahead and self._ahead.first == self._next:
            self._next = self._ahead.pop_first().stop
