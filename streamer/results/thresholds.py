"""Thresholds that were changed while a run went on, and the request for such a change.

Who watches a run leaves a request in its folder. The ingest node takes it, decides from which frame
on it holds, writes that down, and only then tells the detector workers. What is here is for all who
read; who writes is in `streamer.results.threshold_files`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from streamer.errors import UserError

__all__ = [
    "CHANGES_FILE",
    "REQUEST_FILE",
    "Change",
    "Threshold",
    "changes_in_words",
    "read_changes",
    "read_request",
]

CHANGES_FILE = "thresholds.json"
REQUEST_FILE = "thresholds.request.json"

Threshold = Annotated[float, msgspec.Meta(ge=0)] | Literal["auto"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of both thresholds."""

    id: str
    time_ns: int
    """When it was asked for, Unix time."""
    minval: Threshold
    """Counts, or ``auto``."""
    minscore: Threshold
    """Counts, or ``auto``."""
    first_seq: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Number, in the run, of the first frame that it holds for."""
    series: str = ""
    """Series of that frame; empty until it has come."""
    frame: int = -1
    """Number of that frame in its series; -1 until it has come."""

    def __str__(self) -> str:
        """Say what it is and from where on it holds."""
        if self.frame < 0:
            since = "from the next frame on"
        else:
            since = f"from frame {self.frame:,} of {self.series} on"
        minval, minscore = (_said(one) for one in (self.minval, self.minscore))
        return f"minval {minval}, minscore {minscore} {since}"


def _said(threshold: Threshold) -> str:
    return threshold if isinstance(threshold, str) else f"{threshold:g}"


_LIST = msgspec.json.Decoder(list[Change])
_ONE = msgspec.json.Decoder(Change)


def read_request(folder: Path) -> Change | None:
    """Return what was asked for last.

    Raises
    ------
    ValueError
        It is no request.
    OSError
        It cannot be read.
    """
    try:
        return _ONE.decode((folder / REQUEST_FILE).read_bytes())
    except FileNotFoundError:
        return None


def read_changes(folder: Path) -> list[Change]:
    """Return the changes of a run in their order.

    Raises
    ------
    UserError
        What is kept of them is damaged.
    """
    path = folder / CHANGES_FILE
    try:
        return _LIST.decode(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def changes_in_words(folder: Path) -> list[str]:
    """Return a line for each change of a run, or one that says why they cannot be read."""
    try:
        changes = read_changes(folder)
    except UserError as error:
        return [str(error)]
    return [
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(one.time_ns / 1e9))} UTC: {one}"
        for one in changes
    ]
