"""The time zone of a cycler's clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from streamer.errors import UserError

__all__ = ["Zone"]

_YEARS = range(1990, 2100)


class Zone:
    """Makes moments of dates, in the zone of the cycler where they name none.

    Parameters
    ----------
    name
        ``Europe/Berlin``, ``UTC``, ``+01:00``; None is the zone of this machine.

    Raises
    ------
    UserError
        There is no such zone.
    """

    def __init__(self, name: str | None) -> None:
        self._zone = None if name is None else _named(name)
        self.was_needed = False
        """True once a date named no zone."""
        self._last_ns: int | None = None
        here = datetime.now(UTC).astimezone().tzname()
        self.words = name or f"{here}, that of this machine (cell.timezone names another)"

    def ns(self, date: datetime) -> int:
        """Return a date as Unix time in ns, to the microsecond.

        Raises
        ------
        ValueError
            It is no date of a reading.
        """
        if date.year not in _YEARS:
            raise ValueError(f"the year {date.year} is none of a reading")
        if date.tzinfo is not None:
            return _ns(date)
        self.was_needed = True
        ns = _ns(self._at_home(date))
        # An hour comes twice when a summer ends: times go on in its second turn.
        if self._last_ns is not None and ns < self._last_ns:
            ns = max(ns, _ns(self._at_home(date.replace(fold=1))))
        self._last_ns = ns
        return ns

    def _at_home(self, date: datetime) -> datetime:
        return date.astimezone() if self._zone is None else date.replace(tzinfo=self._zone)


def _ns(date: datetime) -> int:
    return (date - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _named(name: str) -> tzinfo:
    if found := re.fullmatch(r"(?:UTC|GMT)?\s*([+-])(\d{1,2}):?(\d{2})?", name.strip()):
        sign = -1 if found[1] == "-" else 1
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        if offset < timedelta(days=1):
            return timezone(sign * offset)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise UserError(
            f"cell.timezone: there is no zone {name!r}: set it to one such as Europe/Berlin,"
            " America/Chicago, UTC or +01:00"
        ) from None
