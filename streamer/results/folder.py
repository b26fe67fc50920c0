"""The run folder: Parquet parts that appear whole and are never changed."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.config import Config, load_config
from streamer.errors import RunError, UserError
from streamer.frames.geometry import Geometry
from streamer.results.schema import CELL, TABLES, TRACKS, Columns

__all__ = ["LastPart", "RunFolder", "may_pass", "write_atomically"]

_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS}

_UPTO, _NEXT_TRACK = b"braggstream.upto", b"braggstream.next_track"
_NOTE = b"braggstream.note"
_GEOMETRY = "geometry.json"
_CLAIM = ".claim"


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
        if not (path / "run.json").is_file():
            raise UserError(f"{path} is not a run folder: it has no run.json")
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
            _NOTE: note.encode(),
        }
        # A peaks part without its frames part is what a sink leaves that died in between.
        staged: list[tuple[Path, Path]] = []
        try:
            for name, table in (("peaks", peaks), ("frames", frames)):
                target = self._part(name, index)
                partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
                staged.append((partial, target))
                pq.write_table(table.replace_schema_metadata(metadata), partial)
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            if not self._part("frames", index).exists():
                self._part("peaks", index).unlink(missing_ok=True)
            for partial, target in staged:
                _publish(partial, target)
        except FileExistsError:
            raise RunError(
                f"another sink wrote part {index} of {self.path}: let only one write there"
            ) from None
        finally:
            for partial, _ in staged:
                _discard(partial)

    def last_part(self) -> LastPart | None:
        """Return what the newest committed part says, and clear away what was not committed."""
        frames = sorted((self.path / "frames").glob("part-*.parquet"))
        index = int(frames[-1].stem.partition("-")[2]) if frames else -1
        for peaks in (self.path / "peaks").glob("part-*.parquet"):
            if int(peaks.stem.partition("-")[2]) > index:
                peaks.unlink()
        for claim in self.path.glob(f"*/.part-*{_CLAIM}"):
            claim.unlink()
        if not frames:
            return None
        note = pq.read_schema(frames[-1]).metadata
        return LastPart(index, int(note[_UPTO]), int(note[_NEXT_TRACK]))

    def note(self, part: Path) -> str:
        """Return what the sink noted in a part."""
        return bytes((pq.read_schema(part).metadata or {}).get(_NOTE, b"")).decode()

    def parts(self, name: str) -> list[Path]:
        """Return the committed parts of ``frames`` or ``peaks`` in order.

        Together they hold each row once: whoever reads a table asks here which files make it up.
        """
        # Peaks appear before their frames, and may be replaced until these are there.
        committed = sorted(part.name for part in (self.path / "frames").glob("part-*.parquet"))
        return [self.path / name / part for part in committed]

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows of ``frames`` or ``peaks``, in the order in which they were committed."""
        schema = TABLES[name].schema
        wanted = list(columns) if columns is not None else schema.names
        empty = pa.schema([schema.field(column) for column in wanted]).empty_table()
        tables = [pq.read_table(part, columns=wanted) for part in self.parts(name)]
        return pa.concat_tables([empty, *(one.replace_schema_metadata(None) for one in tables)])

    def read_columns(self, part: Path, columns: Sequence[str]) -> tuple[list[str], Columns]:
        """Return the names of the series of a part and its columns, as they were published."""
        table = pq.read_table(part, columns=list(columns))
        series = table["series"].combine_chunks().dictionary_encode()
        if isinstance(series, pa.ChunkedArray):
            series = series.combine_chunks()
        arrays = {name: table[name].to_numpy() for name in columns if name != "series"}
        return series.dictionary.to_pylist(), {"series": series.indices.to_numpy(), **arrays}

    def read_tracks(self) -> pa.Table:
        """Return one row per track, as of the last time it was written."""
        return self._read_whole("tracks", TRACKS)

    def read_cell(self) -> pa.Table:
        """Return the records of the cell's cycler."""
        return self._read_whole("cell", CELL)

    def read_geometry(self) -> Geometry | None:
        """Return the place of the detector; None when none is known."""
        try:
            text = (self.path / _GEOMETRY).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        says: dict[str, Any] = json.loads(text)
        says |= {key: math.nan for key, item in says.items() if item is None}
        return Geometry(**says)

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
        """Return the content of ``run.json``."""
        summary: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return summary

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``run.json``."""
        write_atomically(self.path / "run.json", json.dumps(summary, indent=2) + "\n")

    def _read_whole(self, name: str, schema: pa.Schema) -> pa.Table:
        path = self.path / f"{name}.parquet"
        return pq.read_table(path).cast(schema) if path.exists() else schema.empty_table()

    def _write_whole(self, name: str, table: pa.Table) -> None:
        partial = self.path / f".{name}.parquet.partial"
        try:
            pq.write_table(table, partial)
            partial.rename(self.path / f"{name}.parquet")
        except OSError:
            _discard(partial)
            raise

    def _part(self, name: str, index: int) -> Path:
        return self.path / name / f"part-{index:08d}.parquet"


def _publish(partial: Path, target: Path) -> None:
    """Give a file its name.

    Raises
    ------
    FileExistsError
        There is such a file, or another process is about to make it.
    """
    try:
        os.link(partial, target)
    except FileExistsError:
        # A share whose answer was lost asks again, and meets what it made itself.
        if not os.path.samefile(partial, target):
            raise
    except OSError:  # no hard links here
        claim = target.with_name(f".{target.name}{_CLAIM}")
        claim.touch(exist_ok=False)
        try:
            if target.exists():
                raise FileExistsError(target) from None
            partial.rename(target)
        finally:
            claim.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.rename(path)
    except OSError:
        _discard(partial)
        raise


def may_pass(error: OSError) -> bool:
    """Tell whether a disk or share that failed may work again: it is full, or away for a while."""
    return error.errno in _PASSING


def _discard(partial: Path) -> None:
    """Remove what was not finished, if it can be: it takes room that there may be none of."""
    with contextlib.suppress(OSError):
        partial.unlink()
