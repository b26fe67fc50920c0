"""What senders and headers say of their frames, in plain types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

__all__ = ["plain", "plain_items", "positive", "time_of"]


def plain(value: object, longest: int = 4096) -> Any:
    """Turn metadata into what msgpack can carry; None for what is no metadata (arrays, blobs)."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else float(value)
    if isinstance(value, str | bytes):
        return value if len(value) <= longest else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, longest) for key, item in value.items()}
    if isinstance(value, list | tuple) and len(value) <= longest:
        return [plain(item, longest) for item in value]
    return None


def plain_items(content: Mapping[Any, object]) -> dict[str, Any]:
    """Return the entries of a map that are metadata, in what msgpack can carry."""
    return {str(key): value for key, item in content.items() if (value := plain(item)) is not None}


def positive(value: object) -> float | None:
    """Return what is a number above 0, and None for what is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 < value < math.inf else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(date: datetime) -> int:
    """Return a date as Unix time in ns; one without a zone is in UTC."""
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return (date - _EPOCH) // timedelta(microseconds=1) * 1000
