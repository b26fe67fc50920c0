"""Results of frames that come again."""

from __future__ import annotations

from collections import defaultdict

from streamer.frames.events import Gap, SeriesEnd
from streamer.sink.tables import Result

__all__ = ["Aside"]


class Aside:
    """Keeps what a dead ingest node had sent and its successor sends again.

    Again it comes in its turn, as tracks need it. Only what does not come before its series ends is
    wanted from here.
    """

    def __init__(self) -> None:
        self.expected = False
        """Whether an ingest node said that it sends all again that is not on disk."""
        self.late: list[Result | Gap] = []
        """What is past its turn, to be entered out of it."""
        self._results: defaultdict[str, list[Result]] = defaultdict(list)

    def put(self, item: Result | Gap | SeriesEnd) -> bool:
        """Keep an item if it is a result that comes again; False if it is to be entered now."""
        if not self.expected or not isinstance(item, Result):
            return False
        self._results[item.head.series].append(item)
        return True

    def take(self, series: str) -> list[Result]:
        """Return what is kept of a series that ends, and keep it no more."""
        return self._results.pop(series, [])
