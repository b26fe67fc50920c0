"""What came of each series, as the ingest node saw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from streamer.frames.contradictions import contradictions
from streamer.frames.events import Frame, Gap, Series, SeriesEnd, Taken
from streamer.frames.pixels import dtype_in_words

__all__ = ["SeriesAccount", "SeriesAccounts"]

_TIMES = 8
"""How often what is new is told: a report may be lost."""
_MOST_WARNINGS, _LONGEST = 16, 500


class SeriesAccount(msgspec.Struct, kw_only=True):
    """What came of one series."""

    announced: int | None
    """Frames that the source said it has; None when it did not say."""
    received: int = 0
    """Frames that came."""
    numbers: tuple[int, int] | None = None
    """First and last number of those."""
    next: int = 0
    """One more than the largest number of those that came or are known not to come."""
    end: str | None = None
    """How it ended, as the source said; None when it did not."""
    taken: Taken = Taken()
    """What of a recording it is."""
    warnings: list[str] = []
    """What the source told of it that its user has to know."""
    pixels: str = ""
    """What the frame that came first is, such as ``512 x 512 uint16, little-endian``."""
    counters: dict[str, int] = {}
    """Messages that gave no frame, by the reason; known at its end."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``run.json`` has it."""
        told: dict[str, Any] = {"announced": self.announced, "received": self.received}
        taken = {"pixels": self.pixels, **msgspec.to_builtins(self.taken)}
        taken["warnings"] = self.warnings
        told |= {key: value for key, value in taken.items() if value}
        return told if self.end is None else {**told, "end": self.end, **self.counters}


class SeriesAccounts:
    """The account of each series, and which series are open."""

    def __init__(self) -> None:
        self.by_name: dict[str, SeriesAccount] = {}
        """In the order in which they began."""
        self.open: list[str] = []
        """Names, the newest last."""
        self.n_frames = 0
        """Frames that came while these accounts were kept."""
        self.n_bytes = 0
        """Coded pixels of those frames."""
        self._says: dict[str, Series] = {}  # those that are open
        self._untold: dict[str, int] = {}  # how often they are still to be told

    def adopt(self, accounts: Mapping[str, SeriesAccount]) -> None:
        """Take over what another node left."""
        self.by_name |= accounts
        self._untold |= dict.fromkeys(accounts, _TIMES)

    def begin(self, series: Series) -> None:
        """Open an account; one that another node left is gone on with."""
        self.open.append(series.name)
        account = SeriesAccount(
            announced=series.n_frames, taken=series.taken, warnings=_warnings(series)
        )
        self.by_name.setdefault(series.name, account)
        self._says[series.name] = series
        self._untold[series.name] = _TIMES

    def receive(self, frame: Frame) -> bool:
        """Enter a frame; True if it is the first of its series."""
        account, number = self.by_name[frame.series], frame.frame
        if not account.pixels:
            rows, cols = frame.shape
            account.pixels = f"{rows} x {cols} {dtype_in_words(frame.dtype)}"
            account.warnings = account.warnings + self._contradictions(frame)
        account.received += 1
        account.next = max(account.next, number + 1)
        is_first = account.numbers is None
        first, last = account.numbers or (number, number)
        account.numbers = min(first, number), max(last, number)
        self.n_frames += 1
        self.n_bytes += len(frame.data)
        return is_first

    def _contradictions(self, frame: Frame) -> list[str]:
        series = self._says.get(frame.series)
        if series is None:
            return []
        is_clock = not series.taken.times and frame.time_ns and frame.received_ns
        apart_s = (frame.received_ns - frame.time_ns) * 1e-9 if is_clock else 0.0
        return contradictions(series.metadata, frame.shape, frame.dtype, apart_s)

    def skip(self, gap: Gap) -> None:
        """Enter frames that will not come."""
        account = self.by_name.get(gap.series)
        if account is not None:
            account.next = max(account.next, gap.first + gap.count)

    def awaited(self) -> str:
        """Say which frames of open series were announced and are still to come; empty if none."""
        count, places = 0, []
        for name in self.open:
            account = self.by_name[name]
            first, stop = account.next, account.announced or 0
            if first < stop:
                count += stop - first
                places.append(f"{name}: {first}" + (f" to {stop - 1}" if first < stop - 1 else ""))
        if not places:
            return ""
        return f"{count:,} announced and not come ({'; '.join(places)})"

    def end(self, end: SeriesEnd) -> None:
        """Enter how the source ended a series; it is open until `close`."""
        account = self.by_name[end.series]
        account.end, account.counters = end.reason, end.counters

    def close(self, name: str) -> None:
        """Note that nothing more of a series will come."""
        self.open.remove(name)
        self._says.pop(name, None)
        self._untold[name] = _TIMES

    def news(self) -> dict[str, dict[str, Any]]:
        """Return those that are open or have changed lately, as ``run.json`` has them.

        Each change is told a few times; what there is of other series was told before.
        """
        told = {name: self.by_name[name].as_dict() for name in (*self._untold, *self.open)}
        self._untold = {name: left - 1 for name, left in self._untold.items() if left > 1}
        return told


def _warnings(series: Series) -> list[str]:
    told = series.metadata.get("warnings")
    if not isinstance(told, list | tuple):
        return []
    return [str(text)[:_LONGEST] for text in told[:_MOST_WARNINGS]]
