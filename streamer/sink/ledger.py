"""The account of every frame: each number of a series ends in exactly one state."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

__all__ = ["Ledger", "Ranges"]


class Ranges:
    """A set of integers that are mostly consecutive, kept as disjoint ranges."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self._starts, number) - 1
        return i >= 0 and number < self._stops[i]

    def __len__(self) -> int:
        return sum(self._stops) - sum(self._starts)

    @property
    def first(self) -> int:
        """The smallest number."""
        return self._starts[0]

    def add(self, number: int) -> bool:
        """Add a number; False if it was there."""
        starts, stops = self._starts, self._stops
        if stops and stops[-1] == number:  # the usual case: frames come in order
            stops[-1] += 1
            return True
        i = bisect_right(starts, number)
        if i and number < stops[i - 1]:
            return False
        touches_left = i > 0 and stops[i - 1] == number
        touches_right = i < len(starts) and starts[i] == number + 1
        if touches_left and touches_right:
            stops[i - 1] = stops.pop(i)
            del starts[i]
        elif touches_left:
            stops[i - 1] += 1
        elif touches_right:
            starts[i] -= 1
        else:
            starts.insert(i, number)
            stops.insert(i, number + 1)
        return True

    def gaps(self) -> list[range]:
        """Return what is missing between the first and the last number."""
        return [
            range(stop, start)
            for stop, start in zip(self._stops[:-1], self._starts[1:], strict=True)
        ]


@dataclass(slots=True)
class Ledger:
    """Which frames of which series are accounted for."""

    series: dict[str, Ranges] = field(default_factory=dict)

    def enter(self, series: str, frame: int) -> bool:
        """Account for a frame; False if that was done before."""
        ranges = self.series.get(series)
        if ranges is None:
            ranges = self.series[series] = Ranges()
        return ranges.add(frame)

    def unaccounted(self, series: str, step: int = 1) -> list[int]:
        """Return the frames of a series, between its first and last, that nothing is known of.

        Of a series of which only each `step`-th frame was to be taken, only those count.
        """
        ranges = self.series.get(series)
        if ranges is None:
            return []
        return [
            frame for gap in ranges.gaps() for frame in gap if (frame - ranges.first) % step == 0
        ]
