"""Changes of thresholds as they are asked for, kept, and handed on as a table."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pyarrow as pa

from streamer.results.folder import write_atomically
from streamer.results.schema import THRESHOLDS
from streamer.results.thresholds import CHANGES_FILE, REQUEST_FILE, Change, Threshold

__all__ = ["request_change", "thresholds_table", "write_changes"]

_ONLY_OWNER = 0o600


def request_change(folder: Path, minval: Threshold, minscore: Threshold) -> Change:
    """Ask a run that goes on for other thresholds, which are to be checked before.

    Raises
    ------
    OSError
        Nothing can be written there.
    """
    asked = Change(
        id=secrets.token_hex(8), time_ns=time.time_ns(), minval=minval, minscore=minscore
    )
    write_atomically(folder / REQUEST_FILE, msgspec.json.encode(asked), _ONLY_OWNER)
    return asked


def write_changes(folder: Path, changes: Iterable[Change]) -> None:
    """Write the changes of a run in place of those written before."""
    content = msgspec.json.format(msgspec.json.encode(list(changes)), indent=2)
    write_atomically(folder / CHANGES_FILE, content + b"\n")


def thresholds_table(changes: Iterable[Change]) -> pa.Table:
    """Return changes as a table; what is ``auto`` is NaN."""
    rows = [
        {
            "series": one.series,
            "frame": one.frame,
            "time_ns": one.time_ns,
            **{
                name: float("nan") if isinstance(value, str) else value
                for name, value in (("minval", one.minval), ("minscore", one.minscore))
            },
        }
        for one in changes
    ]
    return pa.Table.from_pylist(rows, schema=THRESHOLDS)
