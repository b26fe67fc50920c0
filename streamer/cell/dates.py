"""Dates as cyclers and spreadsheets write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

__all__ = ["ORDERS", "Ambiguous", "Date", "order_of", "parse_date"]

ORDERS = ("ymd", "dmy", "mdy")
"""Of year, month and day."""

_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "mär": 3, "mrz": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}  # fmt: skip
_DAY = (
    r"(?P<a>\d{1,4}|[^\W\d_]{3,9}\.?)\s*[-./年 ]\s*(?P<b>\d{1,2}|[^\W\d_]{3,9}\.?)"
    r"\s*[-./月, ]\s*(?P<c>\d{1,4})日?"
)
_CLOCK = (
    r"(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:[.,:](?P<f>\d{1,9}))?)?"
    r"\s*(?P<half>[ap]\.?\s?m\.?)?\s*(?P<zone>z|utc|gmt|(?:utc|gmt)?[+-]\d{2}(?::?\d{2})?)?"
)
_FORMS = [
    re.compile(rf"{_DAY}(?:\s*[T,;_ ]\s*|\s+-\s+){_CLOCK}", re.IGNORECASE),
    re.compile(rf"{_CLOCK}\s*[,; ]\s*{_DAY}", re.IGNORECASE),
    re.compile(_DAY, re.IGNORECASE),
    re.compile(
        r"(?P<a>(?:19|20)\d\d)(?P<b>\d\d)(?P<c>\d\d)(?:[T_ ]?(?P<h>\d\d):?(?P<m>\d\d):?(?P<s>\d\d)"
        r"(?:[.,](?P<f>\d{1,9}))?(?P<half>)(?P<zone>z|[+-]\d{2}(?::?\d{2})?)?)?",
        re.IGNORECASE,
    ),
]
_PARTS = {"d": "day", "m": "month", "y": "year"}
_CONTINUOUS = timedelta(days=2)
_APART = timedelta(days=20)


class Ambiguous(ValueError):  # noqa: N818 - it is no error of the file
    """Dates that may be read in two ways or three; the text quotes one and says in which."""


@dataclass(frozen=True, slots=True)
class Date:
    """A date taken apart, before it is known which of its parts is the month."""

    parts: tuple[int, int, int]
    widths: tuple[int, int, int]
    """Digits of each part, 0 of a month's name."""
    clock: tuple[int, int, int, int] | None
    """Hour, minute, second and microsecond; None where there is no time of day."""
    zone: timezone | None
    separator: str

    def orders(self) -> set[str]:
        """Return the orders that it may have."""
        a, b, c = self.parts
        wide, named, last = self.widths
        if wide == 4 or a > 31:
            return {"ymd"} if 1 <= b <= 12 and 1 <= c <= 31 else set()
        if not named:
            return {"dmy"}
        if not wide:
            return {"mdy"}
        found = {order for order, day, month in (("dmy", a, b), ("mdy", b, a))
                 if 1 <= month <= 12 and 1 <= day <= 31}  # fmt: skip
        if self.separator in ("-", "/") and self.widths == (2, 2, 2) and b <= 12 and c <= 31:
            found.add("ymd")
        return found if last in (2, 4) else set()

    def at(self, order: str) -> datetime:
        """Return the date, without a zone where it names none.

        Raises
        ------
        ValueError
            There is no such date.
        """
        fields = dict(zip(order, self.parts, strict=True))
        year = fields["y"] + (2000 if fields["y"] < 100 else 0)
        h, m, s, us = self.clock or (0, 0, 0, 0)
        return datetime(year, fields["m"], fields["d"], h, m, s, us, tzinfo=self.zone)


def parse_date(text: str) -> Date:
    """Take a date apart.

    Raises
    ------
    ValueError
        It is none.
    """
    text = text.strip().strip("\"'")
    if len(text) > 60:
        raise ValueError("no date")
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        raise ValueError(f"no date: {text}")
    said = found.groupdict()
    parts, widths = [], []
    for name in "abc":
        word = said[name]
        month = _MONTHS.get(word[:3].casefold())
        if month is None and not (word.isascii() and word.isdecimal()):
            raise ValueError(f"no date: {text}")
        parts.append(month or int(word))
        widths.append(0 if month else len(word))
    after = text[found.end("a") : found.start("b")].strip() or " "
    return Date(
        (parts[0], parts[1], parts[2]),
        (widths[0], widths[1], widths[2]),
        _clock(said) if said.get("h") else None,
        _zone(said.get("zone")),
        after,
    )


def order_of(dates: Iterable[Date], wanted: str | None, usual: str | None = None) -> str:
    """Find out which part of the dates of a file is the month.

    Parameters
    ----------
    dates
        In the order in which they stand there.
    wanted
        What the user says.
    usual
        What the instrument does, where the dates themselves leave it open.

    Raises
    ------
    Ambiguous
        They do not say.
    """
    dates = list(dates)
    votes = Counter(order for date in dates for order in date.orders())
    if wanted is not None and wanted in votes:
        return wanted
    best = [order for order in ORDERS if order in votes and votes[order] == max(votes.values())]
    if len(best) == 1:
        return best[0]
    if not best:
        raise Ambiguous("no dates")
    if usual is not None and usual in best:
        return usual
    if "dmy" in best and any(date.separator == "." for date in dates):
        return "dmy"  # nobody writes a month before a point
    series = {order: list(_read(dates, order)) for order in best}
    if all(one == series[best[0]] for one in series.values()):
        return best[0]
    jumps = {
        order: max((abs(b - a) for a, b in pairwise(moments)), default=timedelta())
        for order, moments in series.items()
    }
    flowing = [order for order in best if jumps[order] <= _CONTINUOUS]
    if len(flowing) == 1 and max(jumps.values()) >= _APART:
        return flowing[0]
    a, b, c = dates[0].parts
    begins = " or ".join(f"the {_PARTS[order[0]]}" for order in best)
    raise Ambiguous(
        f"as {a:02}{dates[0].separator}{b:02}{dates[0].separator}{c}, may begin with {begins}: set"
        f" cell.date_form to {' or '.join(best)}"
    )


def _read(dates: Iterable[Date], order: str) -> Iterator[datetime]:
    for date in dates:
        with suppress(ValueError):
            yield date.at(order).replace(tzinfo=UTC)


def _clock(said: dict[str, str | None]) -> tuple[int, int, int, int]:
    hour = int(said["h"] or 0)
    if half := said.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError(f"no hour of half a day: {hour}")
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    fraction = (said.get("f") or "").ljust(6, "0")[:6]
    return hour, int(said["m"] or 0), int(said["s"] or 0), int(fraction)


def _zone(text: str | None) -> timezone | None:
    if not text:
        return None
    digits = re.sub(r"\D", "", text).ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if "-" in text else offset)
