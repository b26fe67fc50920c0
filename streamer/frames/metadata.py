"""What senders and headers say of their frames, in plain types and within bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from streamer.errors import well_formed

__all__ = ["ZONELESS", "plain", "plain_items", "positive", "time_of", "unix_ns"]

_DEEPEST = 32
_MOST_VALUES = 65_536


def plain(value: object, longest: int = 4096) -> Any:
    """Turn metadata into what msgpack can carry; None for what is no metadata (arrays, blobs).

    So is what is nested deeper than 32 levels, or has more than 65,536 values in all. Integers of
    more than 64 bits become floats.

    Parameters
    ----------
    longest
        Most characters of a text and most entries of a list.
    """
    return _Plain(longest, _MOST_VALUES).of(value, _DEEPEST)


def plain_items(content: Mapping[Any, object]) -> dict[str, Any]:
    """Return the entries of a map that are metadata, in what msgpack can carry."""
    said = plain(content)
    return {} if said is None else {key: item for key, item in said.items() if item is not None}


def positive(value: object) -> float | None:
    """Return what is a number above 0, and None for what is not.

    An integer of more than 63 bits becomes a float.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = _float(value)
    if number is None or not 0 < number < math.inf:
        return None
    return value if value < 1 << 63 else number


def unix_ns(time_ns: float | None) -> int | None:
    """Return a Unix time in ns, rounded; None for what the 63 bits of a time cannot hold."""
    return round(time_ns) if time_ns is not None and 0 <= time_ns < 1 << 63 else None


@dataclass(slots=True)
class _Plain:
    """Turns one value into plain types; what holds itself, or the same again and again, ends."""

    longest: int
    left: int
    """How many more values there may be."""

    def of(self, value: object, depth: int) -> Any:
        self.left -= 1
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if -(1 << 63) <= value < 1 << 64 else _float(value)
        if isinstance(value, str):
            return well_formed(value) if len(value) <= self.longest else None
        if isinstance(value, bytes):
            return value if len(value) <= self.longest else None
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, Fraction):
            return _float(value)
        if not isinstance(value, Mapping | list | tuple) or not depth or self.left < len(value):
            return None
        if isinstance(value, Mapping):
            return {
                str(name): self.of(item, depth - 1)
                for key, item in value.items()
                if (name := self.of(key, 0)) is not None
            }
        return [self.of(item, depth - 1) for item in value] if len(value) <= self.longest else None


def _float(value: float | Fraction) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


ZONELESS = "the dates in it name no time zone and are taken as UTC"
"""What has to be told where `time_of` took one that has none."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(date: datetime) -> int:
    """Return a date as Unix time in ns; one without a zone is in UTC."""
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return (date - _EPOCH) // timedelta(microseconds=1) * 1000
