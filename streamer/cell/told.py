"""What was taken for the cell, told to a user and kept in ``run.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from streamer.cell.base import Account, Readings
from streamer.cell.cycles import GUESS, kinds_from

__all__ = ["as_record", "describe"]


def describe(record: dict[str, Any]) -> list[str]:
    """Return for a user, line by line, what `as_record` returned."""
    lines = []
    for file in record["files"]:
        zone = f"; time zone: {file['zone']}" if file["zone"] else ""
        why = f" (first: {file['why']})" if file["why"] else ""
        columns = "; ".join(f"{quantity}: {name}" for quantity, name in file["columns"].items())
        lines.append(f"cell {file['file']}")
        if columns:
            lines += [f"  {columns}", f"  times {file['times']}{zone}"]
        lines.append(f"  {file['n_read']:,} rows read, {file['n_unread']:,} not read{why}")
    return lines + [f"  charge, discharge and rest by {one}" for one in [record["kinds"]] if one]


def as_record(accounts: Sequence[Account], readings: Readings) -> dict[str, Any]:
    """Return what was taken for ``run.json``."""
    return {
        "files": [asdict(account) for account in accounts],
        "rows_read": sum(account.n_read for account in accounts),
        "rows_not_read": sum(account.n_unread for account in accounts),
        "kinds": _kinds(readings),
    }


def _kinds(readings: Readings) -> str:
    """Say what charge, discharge and rest are told by."""
    if not len(readings):
        return ""
    sources = set(kinds_from(readings))
    if GUESS in sources:
        guess = "a guess: the slope of the voltage, as there is no current"
        return f"the cycler's own state, elsewhere by {guess}" if len(sources) > 1 else guess
    if sources == {"cycler"}:
        return "the cycler's own state"
    unsigned = not (readings.current_a < 0).any() and (np.nan_to_num(readings.current_a) > 0).any()
    current = "the current" + ", which is never below zero" * bool(unsigned)
    return f"the cycler's own state, elsewhere by {current}" if len(sources) > 1 else current
