"""The times of a cycler's table: how they are written, and how they become moments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from streamer.cell.dates import order_of, parse_date
from streamer.cell.zone import Zone

__all__ = ["Counted", "Dated", "Elapsed", "TimeForm", "absolute", "duration", "goes_back"]

_T = TypeVar("_T")
Number = Callable[[str], float]

_FIRST_S, _LAST_S = 3e8, 3.3e9
"""Unix seconds of readings: of the years 1979 to 2074."""
_LONGEST_S = 3e8
_BACK_S = 1.0
"""Times since a start go on; a clock that is set may go back by as much."""
_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SINCE_1904_S = 2_082_844_800
_EXCEL = datetime(1899, 12, 30)  # noqa: DTZ001 - of a clock on a wall
_EXCEL_DAYS = range(32_874, 54_789)
"""Of the years 1990 to 2049; modified Julian days of today are more."""
_ROUNDED_S = 60.0
_DIGITS = re.compile(r"\d+(?:[.,](\d*))?(?:e([-+]?\d{1,3}))?", re.IGNORECASE | re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?", re.ASCII)
_DURATION = re.compile(
    r"(?:(?P<d>\d{1,5})\s*(?:d(?:ays?)?|tage?|天)?[\s.,:-]*)??"
    r"(?:(?P<h>\d{1,6}):)?(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d{1,9})?)",
    re.IGNORECASE | re.ASCII,
)


class TimeForm(Protocol):
    """How the times of a column are written."""

    @property
    def words(self) -> str:
        """For a user."""
        ...

    def ns(self, text: str) -> int:
        """Return Unix time in ns.

        Raises
        ------
        ValueError
            It is no time of this form.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dated:
    """Dates with a time of day."""

    order: str
    zone: Zone

    @property
    def words(self) -> str:
        """For a user."""
        names = {"d": "day", "m": "month", "y": "year"}
        return f"dates as {'-'.join(names[letter] for letter in self.order)}"

    def ns(self, text: str) -> int:
        """Return Unix time in ns."""
        if self.order == "ymd" and _ISO.fullmatch(text):
            return self.zone.ns(datetime.fromisoformat(text))  # what most files have, and quicker
        date = parse_date(text)
        if date.clock is None:
            raise ValueError(f"no time of day: {text}")
        if self.order not in date.orders():
            raise ValueError(f"not among {self.words}: {text}")
        return self.zone.ns(date.at(self.order))


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers that count from a known moment, the same for all files."""

    words: str
    number: Number
    unit_s: float
    zero: datetime
    """Without a zone where the count is of a clock on a wall."""
    zone: Zone

    def ns(self, text: str) -> int:
        """Return Unix time in ns."""
        seconds = self.number(text) * self.unit_s
        if self.zero.tzinfo is None:
            since = timedelta(seconds=round(seconds, 3))  # as exact as days with 8 decimals are
            return self.zone.ns(self.zero + since)
        seconds += self.zero.timestamp()
        if not _FIRST_S <= seconds < _LAST_S:
            raise ValueError(f"no time of a reading in {self.words}: {text}")
        return round(seconds * 1e9)


@dataclass(slots=True)
class Elapsed:
    """Times since the start of the measurement, as numbers or as h:mm:ss with days."""

    number: Number
    unit_s: float
    start_ns: int
    where: str
    """Where the start is from, in words."""
    sample: str
    """One of the times as they are written."""
    _last_s: float = field(default=-1.0, init=False)
    _is_over: bool = field(default=False, init=False)

    @property
    def words(self) -> str:
        """For a user."""
        start = datetime.fromtimestamp(self.start_ns / 1e9, UTC).isoformat(timespec="seconds")
        return f"counted from {start}, {self.where}"

    def ns(self, text: str) -> int:
        """Return Unix time in ns."""
        seconds = duration(text, self.number, self.unit_s)
        if self._is_over or seconds < self._last_s - _BACK_S:
            self._is_over = True  # what is later is not known of anything that follows either
            raise ValueError(f"the time starts anew: {text}")
        self._last_s = max(seconds, self._last_s)
        return self.start_ns + round(seconds * 1e9)


def duration(text: str, number: Number, unit_s: float) -> float:
    """Return a time since a start in seconds: a number of a unit, or d h:mm:ss.

    Raises
    ------
    ValueError
        It is none.
    """
    if ":" in text:
        found = _DURATION.fullmatch(text.strip())
        if found is None or (found["h"] is None and not re.search("[.,]", found["s"])):
            raise ValueError(f"no time: {text}")
        days, hours, minutes = (int(found[name] or 0) for name in "dhm")
        seconds = 60 * (60 * (24 * days + hours) + minutes) + float(found["s"].replace(",", "."))
    else:
        seconds = number(text) * unit_s
    if not -1e-3 <= seconds < _LONGEST_S:
        raise ValueError(f"no time since the start of a measurement: {text}")
    return seconds


def goes_back(texts: Sequence[str], number: Number, unit_s: float) -> bool:
    """Tell whether times start anew, as those of each step do."""
    last = -1.0
    for text in texts:
        try:
            now = duration(text, number, unit_s)
        except ValueError:
            continue
        if now < last - _BACK_S:
            return True
        last = max(now, last)
    return False


def absolute(
    texts: Sequence[str],
    number: Number,
    zone: Zone,
    *,
    unit_s: float | None,
    is_moment: bool,
    wanted: str | None,
    usual: str | None,
) -> TimeForm | None:
    """Return how moments are written; None where they are none.

    Parameters
    ----------
    texts
        All that a column holds.
    unit_s
        Of the column, in seconds; None where it names none.
    is_moment
        The name of the column is that of moments.
    wanted, usual
        As for `order_of`.

    Raises
    ------
    Ambiguous
        These are dates that can be read in two ways.
    ValueError
        They were rounded when they were written, so that most are one.
    """
    sample = [text for text in texts if text][:: 1 + len(texts) // 2000]
    numbers = [value for text in sample if (value := _or_none(number, text)) is not None]
    if 2 * len(numbers) > len(sample):
        form = _counted(sorted(numbers), number, zone, unit_s, is_moment)
        if form is not None:
            _check_digits(sample, form.unit_s)
            return form
        if not _is_compact(sample):
            return None
    good = [date for text in sample if (date := _or_none(parse_date, text)) is not None]
    if 2 * len(good) <= len(sample) or not any(date.clock for date in good):
        return None
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(text[:10], text)
    days = [date for text in first.values() if (date := _or_none(parse_date, text)) is not None]
    return Dated(order_of(days, wanted, usual), zone)


def _counted(
    numbers: list[float], number: Number, zone: Zone, unit_s: float | None, is_moment: bool
) -> Counted | None:
    """Return from when numbers count, by their size."""
    middle = numbers[len(numbers) // 2]
    unix = datetime(1970, 1, 1, tzinfo=UTC)
    scales = _SCALES if unit_s in (None, 1.0) else ((unit_s, ""),)
    for scale, name in scales:
        if _FIRST_S <= middle * scale < _LAST_S:
            unit = name or dict(_SCALES).get(scale, f"{scale:g} s")
            return Counted(f"{unit} since 1970", number, scale, unix, zone)
    if unit_s in (None, 1.0) and _FIRST_S < middle - _SINCE_1904_S < _LAST_S:
        return Counted(
            "s since 1904, as LabVIEW counts", number, 1.0, datetime(1904, 1, 1, tzinfo=UTC), zone
        )
    is_day = _EXCEL_DAYS.start <= numbers[0] and numbers[-1] < _EXCEL_DAYS.stop
    has_fractions = any(value % 1 for value in numbers)
    if is_day and has_fractions and (is_moment or unit_s is None):
        return Counted("days as Excel counts", number, 86400.0, _EXCEL, zone)
    return None


def _check_digits(texts: Sequence[str], unit_s: float) -> None:
    """Refuse times that were written with too few digits, as 1.795E+09 is.

    Raises
    ------
    ValueError
        They were.
    """
    found = [match for text in texts if (match := _DIGITS.search(text))]
    steps = [10.0 ** (int(match[2] or 0) - len(match[1] or "")) * unit_s for match in found]
    if steps and min(steps) > _ROUNDED_S:
        raise ValueError(
            f"times such as {texts[0][:40]} are rounded to {min(steps):,.0f} s: export them with"
            " all their digits"
        )


def _is_compact(sample: Sequence[str]) -> bool:
    return any(len(text) >= 14 and text[:2] in ("19", "20") for text in sample)


def _or_none(parse: Callable[[str], _T], text: str) -> _T | None:
    try:
        return parse(text)
    except ValueError:
        return None
