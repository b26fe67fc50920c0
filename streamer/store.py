"""The run folder: Parquet parts that appear whole and are never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.errors import UserError

__all__ = ["FRAMES", "PEAKS", "LastPart", "RunFolder", "write_atomically"]

FRAMES = pa.schema(
    [
        ("series", pa.string()),
        ("frame", pa.int64()),
        ("time_ns", pa.int64()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("n_peaks", pa.int32()),
        ("latency_ms", pa.float64()),
    ]
)
"""One row per frame; `state` is done, failed, missing or shed."""

PEAKS = pa.schema(
    [
        ("series", pa.string()),
        ("frame", pa.int64()),
        ("time_ns", pa.int64()),
        ("peak_row", pa.int32()),
        ("peak_col", pa.int32()),
        ("score", pa.float64()),
        ("intensity", pa.float64()),
        ("row", pa.float64()),
        ("col", pa.float64()),
        ("row_sigma", pa.float64()),
        ("col_sigma", pa.float64()),
        ("flags", pa.int32()),
        ("track", pa.int64()),
    ]
)
"""One row per peak; positions in detector pixels, an integer being the centre of a pixel."""

_UPTO, _NEXT_TRACK = b"braggstream.upto", b"braggstream.next_track"


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
        self, index: int, frames: pa.Table, peaks: pa.Table, *, upto: int, next_track: int
    ) -> None:
        """Write one part of both tables; with its frames part on disk it counts as committed."""
        note = {_UPTO: str(upto).encode(), _NEXT_TRACK: str(next_track).encode()}
        # A peaks part without its frames part is what a sink leaves that died in between.
        for name, table in (("peaks", peaks), ("frames", frames)):
            target = self._part(name, index)
            partial = target.with_name(f".{target.name}.partial")
            pq.write_table(table.replace_schema_metadata(note), partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.rename(target)

    def last_part(self) -> LastPart | None:
        """Return what the newest committed part says, and clear away what was not committed."""
        frames = sorted((self.path / "frames").glob("part-*.parquet"))
        index = int(frames[-1].stem.partition("-")[2]) if frames else -1
        for peaks in (self.path / "peaks").glob("part-*.parquet"):
            if int(peaks.stem.partition("-")[2]) > index:
                peaks.unlink()
        if not frames:
            return None
        note = pq.read_schema(frames[-1]).metadata
        return LastPart(index, int(note[_UPTO]), int(note[_NEXT_TRACK]))

    def parts(self, name: str) -> list[Path]:
        """Return the parts of ``frames`` or ``peaks`` in order."""
        return sorted((self.path / name).glob("part-*.parquet"))

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows of ``frames`` or ``peaks``, in the order in which they were committed."""
        schema = FRAMES if name == "frames" else PEAKS
        wanted = list(columns) if columns is not None else schema.names
        tables = [pq.read_table(part, columns=wanted) for part in self.parts(name)]
        empty = pa.schema([schema.field(column) for column in wanted]).empty_table()
        return pa.concat_tables([empty, *(t.replace_schema_metadata(None) for t in tables)])

    def read_summary(self) -> dict[str, Any]:
        """Return the content of ``run.json``."""
        summary: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return summary

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``run.json``."""
        write_atomically(self.path / "run.json", json.dumps(summary, indent=2) + "\n")

    def _part(self, name: str, index: int) -> Path:
        return self.path / name / f"part-{index:08d}.parquet"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never half of it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)
