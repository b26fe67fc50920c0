"""Rows of a run folder, a bounded number of them in memory at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.results.folder import RunFolder
from streamer.results.parts import Parts
from streamer.results.schema import TABLES, completed

__all__ = ["batches", "count_rows"]

_BATCH = 1 << 18


def batches(
    folder: RunFolder,
    name: Literal["frames", "peaks"],
    columns: Sequence[str] | None = None,
    rows: int = _BATCH,
    *,
    most: int | None = None,
    frames: NDArray[np.int64] | None = None,
) -> Iterator[pa.Table]:
    """Yield the rows of ``frames`` or ``peaks`` in the order in which they were committed.

    Parameters
    ----------
    columns
        Those to read, in this order; all by default.
    rows
        About as many in each table.
    most
        As many in all; by default what is there.
    frames
        Numbers of frames, sorted: where there are only others may be left out.
    """
    schema = TABLES[name].schema
    schema = pa.schema([schema.field(one) for one in columns or schema.names])
    gathered: list[pa.Table] = []
    left = sys.maxsize if most is None else most
    for (rest,) in Parts(folder.path, name).new() if left else ():
        for batch in rest.batches(rows, schema.names, frames):
            table = completed(pa.Table.from_batches([batch.slice(0, left)]), schema.names)
            gathered.append(table.replace_schema_metadata(None).cast(schema))
            left -= len(gathered[-1])
            if sum(map(len, gathered)) >= rows:
                yield pa.concat_tables(gathered).combine_chunks()
                gathered = []
    if gathered:
        yield pa.concat_tables(gathered).combine_chunks()


def count_rows(folder: RunFolder, name: Literal["frames", "peaks"]) -> int:
    """Return how many rows `batches` gives."""
    return sum(len(rest) for (rest,) in Parts(folder.path, name).new())
