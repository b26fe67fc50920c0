"""What became of the frames of each series, and where each frame stands in the run."""

from __future__ import annotations

from typing import Any

from streamer.frames.ranges import Ranges
from streamer.sink.ledger import Ledger

__all__ = ["Account"]


class Account:
    """Takes each frame of each series once.

    Parameters
    ----------
    step
        Only each `step`-th frame of a series was to be taken.
    """

    def __init__(self, step: int = 1) -> None:
        self._step = step
        self._ledger = Ledger()
        self._open: dict[str, None] = {}
        self._offsets: dict[str, int] = {}
        self._last = 0

    @property
    def open_series(self) -> list[str]:
        """Series that have begun and not ended."""
        return list(self._open)

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {
            "ledger": {name: ranges.bounds for name, ranges in self._ledger.series.items()},
            "open": self.open_series,
            "offsets": self._offsets,
            "last": self._last,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, bounds in state["ledger"].items():
            self._ledger.series[name] = Ranges.of(bounds)
        self._open = dict.fromkeys(state["open"])
        self._offsets, self._last = state["offsets"], state["last"]

    def enter(self, series: str, first: int, count: int = 1) -> list[range]:
        """Account for frames that follow each other; return those that were not, in order."""
        new = self._ledger.enter(series, first, count)
        if new:
            self._open[series] = None
            self.place(series, new[0].start)  # the first one of a series decides where it stands
            self._last = max(self._last, self.place(series, new[-1].stop - 1))
        return new

    def place(self, series: str, frame: int) -> int:
        """Return where a frame stands among those taken, one series following on the other."""
        place = frame // self._step
        offset = self._offsets.get(series)
        if offset is None:
            offset = self._offsets[series] = self._last + 1 - place
        return offset + place

    def end(self, series: str, taken: tuple[int, int] | None = None) -> list[range]:
        """End a series; return its frames that nothing was known of, which are now entered.

        Parameters
        ----------
        taken
            First and last number that there was, if known.
        """
        lost = list(self._ledger.unaccounted(series, self._step, taken))
        for frames in lost:
            self.enter(series, frames.start, frames.stop - frames.start)
        self._open.pop(series, None)
        return lost
