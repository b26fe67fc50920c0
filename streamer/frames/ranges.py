"""Sets of frame numbers that mostly follow each other, at a cost that does not grow with them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

__all__ = ["Ranges"]


class Ranges:
    """A set of integers that are mostly consecutive, kept as disjoint ranges.

    What is done with a range takes as long for a billion numbers as for one.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self._starts, number) - 1
        return i >= 0 and number < self._stops[i]

    def __bool__(self) -> bool:
        return bool(self._starts)

    @classmethod
    def of(cls, bounds: Iterable[tuple[int, int]]) -> Ranges:
        """Return what `bounds` gave."""
        made = cls()
        for start, stop in bounds:
            made.add(start, stop - start)
        return made

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """The first number of each range and the one after its last, in order."""
        return list(zip(self._starts, self._stops, strict=True))

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return sum(self._stops) - sum(self._starts)

    @property
    def n_ranges(self) -> int:
        """How many ranges they make."""
        return len(self._starts)

    @property
    def first(self) -> int:
        """The smallest number."""
        return self._starts[0]

    def add(self, first: int, count: int = 1) -> list[range]:
        """Add numbers that follow each other; return those that were not there, in order."""
        if count <= 0:
            return []
        stop = first + count
        starts, stops = self._starts, self._stops
        # Those that the new range overlaps or touches become one with it.
        i, j = bisect_left(stops, first), bisect_right(starts, stop)
        new, at = [], first
        for start, end in zip(starts[i:j], stops[i:j], strict=True):
            if at < start:
                new.append(range(at, start))
            at = max(at, end)
        if at < stop:
            new.append(range(at, stop))
        if i < j:
            first, stop = min(first, starts[i]), max(stop, stops[j - 1])
        starts[i:j], stops[i:j] = [first], [stop]
        return new

    def pop_first(self) -> range:
        """Take out the range with the smallest numbers."""
        return range(self._starts.pop(0), self._stops.pop(0))

    def gaps(self, start: int | None = None, stop: int | None = None) -> list[range]:
        """Return what is missing between the first and the last number.

        Parameters
        ----------
        start, stop
            Numbers from `start` on and below `stop` are missing as well.
        """
        stops = self._stops if start is None else [start, *self._stops]
        starts = self._starts if stop is None else [*self._starts, stop]
        if start is None:
            starts = starts[1:]
        if stop is None:
            stops = stops[:-1]
        return [range(a, b) for a, b in zip(stops, starts, strict=True) if a < b]
