"""What the cell did when something else was measured."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

__all__ = ["with_cell"]

_QUANTITIES = ("voltage_v", "current_a", "capacity_ah")


def with_cell(table: pa.Table, cell: pa.Table) -> pa.Table:
    """Return a table with the cell's voltage, current and capacity beside each of its rows.

    Between two readings of the cell they are on a straight line. Before the first and after the
    last one, and where a row has no time, they are NaN.

    Parameters
    ----------
    table
        Has a column ``time_ns``.
    cell
        Readings of the cell, as in a run's table ``cell``.
    """
    known = cell.sort_by("time_ns")
    times, at = known["time_ns"].to_numpy(), table["time_ns"].to_numpy()
    begin = times[0] if len(times) else 0
    for name in _QUANTITIES:
        values = np.full(len(at), np.nan)
        if len(times):
            values = np.interp(
                at - begin, times - begin, known[name].to_numpy(), left=np.nan, right=np.nan
            )
        table = table.append_column(cell.schema.field(name), pa.array(values))
    return table
