"""Parts of a run are merged into larger files, so that a long one does not leave too many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.results.columns import repeating
from streamer.results.parts import Span, committed, publish
from streamer.results.schema import completed

__all__ = ["AT_ONCE", "NOTE", "NOTES", "merge_next"]

AT_ONCE = 64
"""Files that are merged into one."""
NOTE, NOTES = b"braggstream.note", b"braggstream.notes"
"""Keys of what the sink noted: in a part, and of all the parts in a file that was merged."""
_LARGE = 4 << 20
"""Bytes from which on a file that was merged is merged no further."""
_ROWS = 1 << 18
"""Rows that are gathered for a row group, and with which it is written at the latest."""


def merge_next(run: Path) -> Span | None:
    """Merge the first files that are to be, and remove them; None when none are.

    Raises
    ------
    OSError
        It cannot be done now, or another sink did it; all is as it was.
    pa.ArrowException
        A part cannot be read, or was written by another version.
    """
    chosen = _due(run)
    if not chosen:
        return None
    whole = Span(chosen[0].first, chosen[-1].last)
    publish(run, whole, lambda name, path: _join(run / name, chosen, path))
    for span in chosen:
        for name in ("frames", "peaks"):
            (run / name / span.name).unlink(missing_ok=True)
    return whole


def _due(run: Path) -> list[Span]:
    """Return files beside each other, of one level, that are to be one; none if there are not."""
    for level, group in groupby(committed(run), lambda span: _level(run, span)):
        chosen = list(group)[:AT_ONCE]
        if level is not None and len(chosen) == AT_ONCE:
            return chosen
    return []


def _level(run: Path, span: Span) -> int | None:
    """Return how often parts were merged for a file; None if that is enough."""
    if len(span) == 1:
        return 0
    size = sum((run / name / span.name).stat().st_size for name in ("frames", "peaks"))
    return None if size >= _LARGE else (len(span).bit_length() - 1) // (AT_ONCE.bit_length() - 1)


def _join(folder: Path, spans: Sequence[Span], target: Path) -> None:
    """Write the rows of files one after the other, and what the sink noted in them."""
    schemas = [pq.read_schema(folder / span.name) for span in spans]
    notes: list[str] = []
    for schema in schemas:
        said = dict(schema.metadata or {})
        notes += json.loads(said[NOTES]) if NOTES in said else [said.get(NOTE, b"").decode()]
    last = {key: item for key, item in said.items() if key != NOTE}
    metadata = last | {NOTES: json.dumps(notes).encode()}
    gathered: list[pa.Table] = []
    schema = schemas[-1].with_metadata(metadata)
    with pq.ParquetWriter(target, schema, use_dictionary=repeating(schema)) as writer:
        for span in spans:
            with pq.ParquetFile(folder / span.name) as file:
                table = completed(file.read(use_threads=False), schemas[-1].names)
                gathered.append(table.replace_schema_metadata(metadata))
            if span is spans[-1] or sum(map(len, gathered)) >= _ROWS:
                writer.write_table(pa.concat_tables(gathered).combine_chunks())
                gathered = []
