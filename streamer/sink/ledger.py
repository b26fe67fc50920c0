"""The account of every frame: each number of a series ends in exactly one state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streamer.frames.ranges import Ranges

__all__ = ["Ledger"]


@dataclass(slots=True)
class Ledger:
    """Which frames of which series are accounted for."""

    series: dict[str, Ranges] = field(default_factory=dict)

    def enter(self, series: str, first: int, count: int = 1) -> list[range]:
        """Account for frames that follow each other; return those that were not, in order."""
        ranges = self.series.get(series)
        if ranges is None:
            ranges = self.series[series] = Ranges()
        return ranges.add(first, count)

    def unaccounted(
        self, series: str, step: int = 1, taken: tuple[int, int] | None = None
    ) -> Iterator[range]:
        """Yield the frames of a series, between its first and last, that nothing is known of.

        First and last are those known of, or those that are said to have been taken.
        Of a series of which only each `step`-th frame was to be taken, only those count, and none
        of them follows another.
        """
        known = self.series.get(series, Ranges())
        if not known and taken is None:
            return
        gaps = known.gaps(*(() if taken is None else (taken[0], taken[1] + 1)))
        first = known.first if known else gaps[0].start
        for gap in gaps:
            if step == 1:
                yield gap
                continue
            for frame in gap[(first - gap.start) % step :: step]:
                yield range(frame, frame + 1)
