"""What became of the frames of each series, and where each frame stands in the run."""

from __future__ import annotations

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

    def enter(self, series: str, frame: int) -> bool:
        """Account for a frame; False if that was done before."""
        if not self._ledger.enter(series, frame):
            return False
        self._open[series] = None
        self._last = max(self._last, self.place(series, frame))
        return True

    def place(self, series: str, frame: int) -> int:
        """Return where a frame stands among those taken, one series following on the other."""
        place = frame // self._step
        offset = self._offsets.get(series)
        if offset is None:
            offset = self._offsets[series] = self._last + 1 - place
        return offset + place

    def end(self, series: str) -> list[int]:
        """End a series; return its frames that nothing was known of, which are now entered."""
        lost = self._ledger.unaccounted(series, self._step)
        for frame in lost:
            self.enter(series, frame)
        self._open.pop(series, None)
        return lost
