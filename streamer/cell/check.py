"""What can be said of a cell's channel before a run takes it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from rich.console import Console

from streamer.cell.base import Readings
from streamer.cell.log import open_cell
from streamer.cell.told import as_record, describe
from streamer.config import CellConfig

__all__ = ["check_cell"]


def check_cell(config: CellConfig, console: Console) -> bool:
    """Read what there is of a cell's channel and say what was taken for it.

    Returns
    -------
    bool
        True when every row could be read.

    Raises
    ------
    UserError
        It cannot be read; the text says what to do.
    """
    with closing(open_cell(config)) as source:
        readings = Readings.empty()
        while len(new := source.poll()):
            readings = readings.then(new)
        record = as_record(source.accounts(), readings)
    lines = describe(record)
    if len(readings):
        first, last = (
            datetime.fromtimestamp(time_ns / 1e9 + config.offset_s, UTC).isoformat(
                sep=" ", timespec="seconds"
            )
            for time_ns in (readings.time_ns.min(), readings.time_ns.max())
        )
        lines.append(f"  from {first} to {last}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return not record["rows_not_read"]
