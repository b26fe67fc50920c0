"""Whether the floor has done the work of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["Agreement", "compare"]

_PLACED = ("row", "col", "row_sigma", "col_sigma")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the tables of the floor compare with those of a run on the same frames."""

    same_peaks: float
    """Share of the peaks of either that both found, with the same score."""
    within: float
    """Share of those that both call clean whose positions differ by less than a tenth of sigma."""
    worst_px: float
    """Largest distance between two such positions along an axis."""
    tracks: tuple[int, int]
    """Of the floor and of the run, seen on three frames or more."""
    missing: tuple[str, ...]
    """Columns of the run that the floor does not write."""


def compare(out: Path, frames: pa.Table, peaks: pa.Table) -> Agreement:
    """Compare what one process of the floor wrote with the tables of a run."""
    tables = []
    missing: list[str] = []
    for name, theirs in (("frames", frames), ("peaks", peaks)):
        parts = sorted(
            out.glob(f"{name}-0-0-*.parquet"), key=lambda one: int(one.stem.split("-")[-1])
        )
        ours = pa.concat_tables([pq.read_table(part) for part in parts])
        missing += set(theirs.column_names) - set(ours.column_names)
        tables.append(ours)
    keys, columns, counts = [], [], []
    for table in (tables[1], peaks):
        one = {name: table[name].to_numpy() for name in (*_PLACED, "flags", "track")}
        where = [table[name].to_numpy() for name in ("frame", "peak_row", "peak_col", "score")]
        keys.append(list(zip(*(array.tolist() for array in where), strict=True)))
        columns.append(one)
        counts.append(int((np.unique(one["track"], return_counts=True)[1] >= 3).sum()))
    places = [{key: k for k, key in enumerate(several)} for several in keys]
    both = sorted(places[0].keys() & places[1].keys())
    ours, theirs = (
        {name: column[[place[key] for key in both]] for name, column in one.items()}
        for place, one in zip(places, columns, strict=True)
    )
    clean = (ours["flags"] | theirs["flags"]) == 0
    off = np.maximum(*(np.abs(ours[axis] - theirs[axis])[clean] for axis in ("row", "col")))
    near = off < 0.1 * np.minimum(theirs["row_sigma"], theirs["col_sigma"])[clean]
    return Agreement(
        len(both) / len(places[0].keys() | places[1].keys()),
        float(near.mean()),
        float(off.max()),
        (counts[0], counts[1]),
        tuple(sorted(missing)),
    )
