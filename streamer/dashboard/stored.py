"""Peaks of a run that are not held in memory, read from its files when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.results.parts import Span, committed

__all__ = ["Piece", "StoredPeaks"]

_TRIES = 10


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

    def piece(self, row: int, columns: Sequence[str]) -> Piece:
        """Return the rows that lie together with one.

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
                        return Piece(first, file.read_row_group(group, list(columns)))
                    first += n
        raise FileNotFoundError
