"""The run folder: Parquet parts that appear whole and are merged into larger ones."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.config import Config, load_config
from streamer.errors import RunError, UserError
from streamer.frames.geometry import Geometry
from streamer.frames.header_geometry import in_words
from streamer.results.columns import repeating, shrinking
from streamer.results.merging import NOTE, NOTES
from streamer.results.parts import (
    Parts,
    Span,
    committed,
    discard,
    partial_of,
    publish,
    readable,
    tidy,
)
from streamer.results.reflections import reflections
from streamer.results.schema import CELL, TABLES, TRACKS, Columns, completed
from streamer.results.summary import read_summary, summary_path

__all__ = ["LastPart", "RunFolder", "may_pass", "write_atomically"]

_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS}

_ENCODED_AT_ONCE = 1 << 16
"""Values of a column: as many as a page holds."""
_UPTO, _NEXT_TRACK = b"braggstream.upto", b"braggstream.next_track"
_GEOMETRY = "geometry.json"


@dataclass(frozen=True, slots=True)
class LastPart:
    """Where an earlier sink of the same run left off."""

    index: int
    upto: int
    next_track: int


class RunFolder:
    """A folder with ``run.json``, ``config.yaml``, ``frames/`` and ``peaks/``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new run folder.

        Raises
        ------
        UserError
            There is something at `path`, or it cannot be made.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            what = "already holds a run" if (path / "run.json").exists() else "is not empty"
            raise UserError(f"{path} {what}: choose another --out, or remove it first")
        try:
            for part in ("frames", "peaks", "logs"):
                (path / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the run folder {path}: {error.strerror}") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run folder that is there.

        Raises
        ------
        UserError
            It is not a run folder.
        """
        summary_path(path)
        return cls(path)

    def write_part(
        self,
        index: int,
        frames: pa.Table,
        peaks: pa.Table,
        *,
        upto: int,
        next_track: int,
        note: str = "",
    ) -> None:
        """Write one part of both tables; with its frames part on disk it counts as committed.

        `note` is what the sink that goes on after this one must know of the part.

        Raises
        ------
        RunError
            Another sink wrote that part, which is left as it is.
        OSError
            The part could not be written, and nothing of it is left.
        """
        metadata = {
            _UPTO: str(upto).encode(),
            _NEXT_TRACK: str(next_track).encode(),
            NOTE: note.encode(),
        }
        tables = {"peaks": peaks, "frames": frames}

        def write(name: str, path: Path) -> None:
            table = tables[name].replace_schema_metadata(metadata)
            pq.write_table(
                table,
                path,
                use_dictionary=repeating(table.schema),
                compression=shrinking(table),
                write_batch_size=_ENCODED_AT_ONCE,
            )

        try:
            publish(self.path, Span(index, index), write)
        except FileExistsError:
            raise RunError(
                f"another sink wrote part {index} of {self.path}: let only one write there"
            ) from None

    def last_part(self) -> LastPart | None:
        """Return what the newest committed part says."""
        spans = committed(self.path)
        if not spans:
            return None
        path = self.path / "frames" / spans[-1].name
        with readable(path):
            said = pq.read_schema(path).metadata or {}
            return LastPart(spans[-1].last, int(said[_UPTO]), int(said[_NEXT_TRACK]))

    def tidy(self) -> None:
        """Remove what sinks that died have left, and what was merged; none may be at work."""
        tidy(self.path)

    def notes(self, part: Path) -> list[str]:
        """Return what the sink noted in each of the parts in a file."""
        with readable(part):
            said = pq.read_schema(part).metadata or {}
            if NOTES in said:
                return [str(note) for note in json.loads(said[NOTES])]
            return [bytes(said.get(NOTE, b"")).decode()]

    def parts(self, name: str, after: int = -1) -> list[Path]:
        """Return the files that hold the committed parts of ``frames`` or ``peaks``, in order.

        Those that begin after a part, by default all.

        Together they hold each row once. While a run goes on any of them may be gone a moment
        later, and another there that holds what it held: `Parts` reads them all the same.
        """
        spans = [span for span in committed(self.path) if span.first > after]
        return [self.path / name / span.name for span in spans]

    def read(self, name: str, columns: Sequence[str] | None = None, after: int = -1) -> pa.Table:
        """Return the rows of ``frames`` or ``peaks``, in the order in which they were committed.

        Those of the files that end after a part, by default all.
        """
        schema = TABLES[name].schema
        wanted = list(columns) if columns is not None else schema.names
        empty = pa.schema([schema.field(column) for column in wanted]).empty_table()
        tables = [empty]
        for (rest,) in Parts(self.path, name, after=after).new():
            with readable(self.path / name):
                table = completed(rest.read(wanted), wanted)
                tables.append(table.replace_schema_metadata(None).cast(empty.schema))
        return pa.concat_tables(tables)

    def read_columns(self, part: Path, columns: Sequence[str]) -> tuple[list[str], Columns]:
        """Return the names of the series of a part and its columns, as they were published."""
        with readable(part):
            table = pq.read_table(part, columns=list(columns))
        series = table["series"].combine_chunks().dictionary_encode()
        if isinstance(series, pa.ChunkedArray):
            series = series.combine_chunks()
        arrays = {name: table[name].to_numpy() for name in columns if name != "series"}
        return series.dictionary.to_pylist(), {"series": series.indices.to_numpy(), **arrays}

    def read_tracks(self) -> pa.Table:
        """Return one row per track, as of the last time it was written.

        What the table of an older run lacks is told from its other columns, or NaN.

        Raises
        ------
        UserError
            What is there cannot be read, or is another table.
        """
        table = self._read_whole("tracks")
        if table is None:
            return TRACKS.empty_table()
        if not {"track", "parent", "merged_into"} <= set(table.column_names):
            raise UserError(f"{self.path / 'tracks.parquet'} is no table of tracks")
        if "reflection" not in table.column_names:
            table = table.append_column("reflection", pa.array(reflections(table)))
        return completed(table, TRACKS.names).cast(TRACKS)

    def read_cell(self) -> pa.Table:
        """Return the records of the cell's cycler."""
        table = self._read_whole("cell")
        return CELL.empty_table() if table is None else table.cast(CELL)

    def read_geometry(self) -> Geometry | None:
        """Return the place of the detector; None when none is known.

        Raises
        ------
        UserError
            What is kept of it is damaged.
        """
        try:
            text = (self.path / _GEOMETRY).read_bytes()
        except FileNotFoundError:
            return None
        try:
            says: dict[str, Any] = json.loads(text)
            if "none" in says:
                return None
            says |= {key: math.nan for key, item in says.items() if item is None}
            return Geometry(**says)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{self.path / _GEOMETRY} cannot be read: {error}") from None

    def geometry_in_words(self) -> str:
        """Say where the detector stands and how that is known, or why not; empty if nobody said."""
        geometry = self.read_geometry()
        if geometry is not None:
            return in_words(geometry)
        path = self.path / _GEOMETRY
        return f"none: {json.loads(path.read_bytes())['none']}" if path.exists() else ""

    def write_no_geometry(self, reason: str) -> None:
        """Write why the place of the detector is not known."""
        write_atomically(self.path / _GEOMETRY, json.dumps({"none": reason}, indent=2) + "\n")

    def write_tracks(self, table: pa.Table) -> None:
        """Write one row per track in place of those written before."""
        self._write_whole("tracks", table)

    def write_cell(self, table: pa.Table) -> None:
        """Write the records of the cell's cycler in place of those written before."""
        self._write_whole("cell", table)

    def write_geometry(self, geometry: Geometry) -> None:
        """Write the place of the detector."""
        says = {
            key: None if isinstance(item, float) and math.isnan(item) else item
            for key, item in asdict(geometry).items()
        }
        write_atomically(self.path / _GEOMETRY, json.dumps(says, indent=2) + "\n")

    def read_config(self) -> Config:
        """Return the configuration of the run, with defaults filled in.

        Raises
        ------
        UserError
            It has a key that this version does not know, or cannot be read.
        """
        return load_config(self.path / "config.yaml")

    def read_summary(self) -> dict[str, Any]:
        """Return the content of ``run.json``, with nothing in place of figures that it lacks.

        Raises
        ------
        UserError
            It is damaged, or was not written by a run.
        """
        return read_summary(self.path / "run.json")

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``run.json``."""
        write_atomically(self.path / "run.json", json.dumps(summary, indent=2) + "\n")

    def _read_whole(self, name: str) -> pa.Table | None:
        path = self.path / f"{name}.parquet"
        if not path.exists():
            return None
        with readable(path):
            return pq.read_table(path)

    def _write_whole(self, name: str, table: pa.Table) -> None:
        path = self.path / f"{name}.parquet"
        partial = partial_of(path)
        try:
            pq.write_table(table, partial, use_dictionary=repeating(table.schema))
            partial.rename(path)
        except OSError:
            discard(partial)
            raise


def write_atomically(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it.

    Its mode is given, or what the umask makes it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            partial.chmod(mode)
        partial.rename(path)
    except OSError:
        discard(partial)
        raise


def may_pass(error: OSError) -> bool:
    """Tell whether a disk or share that failed may work again: it is full, or away for a while."""
    return error.errno in _PASSING
