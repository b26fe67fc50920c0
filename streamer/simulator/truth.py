"""What is known of a simulated series, beside the series: a Parquet file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.errors import UserError

__all__ = ["read_truth", "truth_path_for", "write_truth"]

_KEY = b"braggstream.truth"


def truth_path_for(path: Path) -> Path:
    """Return where the truth of a recording lies: `x_truth.parquet` beside `x_master.h5`."""
    return path.with_name(f"{path.stem.removesuffix('_master')}_truth.parquet")


def write_truth(path: Path, table: pa.Table, metadata: dict[str, Any]) -> None:
    """Write a truth table; the file appears at once and complete.

    Parameters
    ----------
    path
        The file, replaced if it exists; its folder is made.
    table
        What `streamer.simulator.scene.Scene.truth` returned.
    metadata
        How the series was made: plain JSON types.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    stored = {**(table.schema.metadata or {}), _KEY: json.dumps(metadata).encode()}
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(stored), partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write the truth to {path}: {reason}") from None


def read_truth(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table and the metadata of a truth file.

    Raises
    ------
    UserError
        There is no such file or it is not a truth file.
    """
    try:
        table = pq.read_table(path)
        metadata = json.loads((table.schema.metadata or {})[_KEY])
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        raise UserError(f"{path} is not the truth file of a simulated series") from None
    return table, metadata
