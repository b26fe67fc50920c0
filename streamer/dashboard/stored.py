"""Peaks of a run that are not held in memory, read from its files when they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.results.parts import Span, committed
from streamer.results.schema import completed

__all__ = ["Piece", "StoredPeaks"]

_TRIES = 10
_MOST_LOOKED = 64
"""Files that are looked at in one go for what is known."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that follow each other."""

    first: int
    """Among all peaks of the run."""
    table: pa.Table

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.first + len(self.table)


class StoredPeaks:
    """Reads peaks by their rows, which stay the same while files are merged.

    Parameters
    ----------
    run
        Run folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._lengths: dict[Span, int] = {}
        self._known: set[str] = set()
        self._looked = -1

    def known(self, columns: Sequence[str]) -> set[str]:
        """Return those of the columns in which something is known of a peak.

        Files that are new are looked at, of many the newest.
        """
        new = [span for span in committed(self._run) if span.last > self._looked]
        for span in reversed(new[-_MOST_LOOKED:]):
            left = [name for name in columns if name not in self._known]
            if not left:
                break
            with contextlib.suppress(FileNotFoundError):  # merged: what took its place comes next
                self._known.update(_filled(self._run / "peaks" / span.name, left))
        if new:
            self._looked = new[-1].last
        return self._known.intersection(columns)

    def piece(self, row: int, columns: Sequence[str]) -> Piece:
        """Return the rows that lie together with one; what older runs lack is NaN.

        Raises
        ------
        FileNotFoundError
            There is no such row, or its file cannot be found.
        """
        for _ in range(_TRIES):
            try:
                return self._piece(row, columns)
            except FileNotFoundError:
                continue  # it was merged: another has taken its place
        raise FileNotFoundError(f"{self._run} holds no peak {row}")

    def rows(self, rows: slice, columns: Sequence[str]) -> pa.Table:
        """Return rows that follow each other."""
        tables: list[pa.Table] = []
        at = rows.start
        while at < rows.stop or not tables:
            piece = self.piece(at, columns)
            tables.append(piece.table.slice(at - piece.first, rows.stop - at))
            at = piece.stop
        return pa.concat_tables(tables)

    def _piece(self, row: int, columns: Sequence[str]) -> Piece:
        first = 0
        for span in committed(self._run):
            path = self._run / "peaks" / span.name
            if span not in self._lengths:
                self._lengths[span] = pq.read_metadata(path).num_rows
            if row >= first + self._lengths[span]:
                first += self._lengths[span]
                continue
            with pq.ParquetFile(path) as file:
                for group in range(file.metadata.num_row_groups):
                    n = file.metadata.row_group(group).num_rows
                    if row < first + n:
                        table = file.read_row_group(group, list(columns))
                        return Piece(first, completed(table, columns))
                    first += n
        raise FileNotFoundError


def _filled(path: Path, columns: Sequence[str]) -> set[str]:
    """Return those of the columns of a file that hold anything but NaN."""
    metadata = pq.read_metadata(path)
    found = set()
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        for i in range(about.num_columns):
            column = about.column(i)
            # NaN is neither least nor greatest.
            known = column.statistics
            if column.path_in_schema in columns and known is not None and known.has_min_max:
                found.add(column.path_in_schema)
    return found
