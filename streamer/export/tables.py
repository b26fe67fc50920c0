"""The tables of a run as one Parquet or CSV file each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from streamer.results.derived import DERIVED, derived
from streamer.results.folder import RunFolder
from streamer.results.rows import batches
from streamer.results.schema import PIXELS, TABLES, Table

__all__ = ["write_csv", "write_parquet"]


def write_parquet(folder: RunFolder, out: Path) -> None:
    """Write a Parquet file for each table.

    Units and meanings are in the metadata of each column. A table without rows is written too.
    """
    out.mkdir()
    for name, described in TABLES.items():
        schema = _described(described)
        # Series and states repeat; numbers hardly do, and a dictionary of them costs time.
        strings = [field.name for field in schema if pa.types.is_string(field.type)]
        with pq.ParquetWriter(
            out / f"{name}.parquet", schema, compression="zstd", use_dictionary=strings
        ) as writer:
            for table in _rows(folder, name):
                writer.write_table(table.cast(schema))


def write_csv(folder: RunFolder, out: Path) -> None:
    """Write a CSV file for each table, and ``README.txt``.

    What is not known is empty. A number is written with as many digits as it takes to read the
    same one back.
    """
    out.mkdir()
    options = pcsv.WriteOptions(quoting_style="needed")
    for name, described in TABLES.items():
        with pcsv.CSVWriter(out / f"{name}.csv", described.schema, write_options=options) as writer:
            for table in _rows(folder, name):
                writer.write_table(without_nan(table))
    (out / "README.txt").write_text(_legend(folder), encoding="utf-8")


def without_nan(table: pa.Table) -> pa.Table:
    """Return a table with nulls in place of NaN."""
    columns = [
        pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pa.types.is_floating(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def _rows(folder: RunFolder, name: str) -> Iterator[pa.Table]:
    whole: dict[str, Callable[[], pa.Table]] = {
        "tracks": folder.read_tracks,
        "cell": folder.read_cell,
    }
    if name in whole:
        return iter([whole[name]()])
    if name in DERIVED:
        return derived(folder, folder.read_config(), name)
    return batches(folder, "frames" if name == "frames" else "peaks")


def _described(table: Table) -> pa.Schema:
    return pa.schema(
        [
            pa.field(one.name, one.type, metadata={"unit": one.unit, "meaning": one.meaning})
            for one in table.columns
        ]
    )


def _legend(folder: RunFolder) -> str:
    summary = folder.read_summary()
    software = summary["software"]
    lines = [
        f"Run {folder.path.resolve().name} of {summary['source']}, begun {summary['started']}",
        f"Written by {software['name']} {software['version']}",
        "",
        f"Rows and columns are {PIXELS}. An empty field is not known.",
    ]
    columns = [column for table in TABLES.values() for column in table.columns]
    width = max(len(column.name) for column in columns) + 2
    units = max(len(column.unit) for column in columns) + 2
    for name, table in TABLES.items():
        lines += ["", f"{name}.csv", "-" * len(f"{name}.csv")]
        for column in table.columns:
            lines.append(f"{column.name:<{width}}{column.unit or '-':<{units}}{column.meaning}")
    return "\n".join(lines) + "\n"
