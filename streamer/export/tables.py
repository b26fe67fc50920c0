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
from streamer.results.schema import PIXELS, TABLES, UNIX_TIME, Column
from streamer.results.threshold_files import thresholds_table
from streamer.results.thresholds import read_changes

__all__ = ["write_csv", "write_parquet"]

_NS = "time_ns"


def write_parquet(folder: RunFolder, out: Path) -> None:
    """Write a Parquet file for each table.

    Units and meanings are in the metadata of each column. A table without rows is written too.
    """
    out.mkdir()
    for name, described in TABLES.items():
        schema = described.told(described.schema.empty_table()).schema
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
    same one back; nanoseconds since 1970, of which spreadsheets keep 15 digits, are written as a
    time that they read and as seconds since the first frame.
    """
    out.mkdir()
    options = pcsv.WriteOptions(quoting_style="needed")
    begin_ns = _begin_ns(folder)
    for name, described in TABLES.items():
        columns = [one for column in described.columns for one in _written(column)]
        schema = pa.schema([(one.name, one.type) for one in columns])
        with pcsv.CSVWriter(out / f"{name}.csv", schema, write_options=options) as writer:
            for table in _rows(folder, name):
                writer.write_table(_readable(without_nan(table), begin_ns))
    (out / "README.txt").write_text(_legend(folder, begin_ns), encoding="utf-8")


def without_nan(table: pa.Table) -> pa.Table:
    """Return a table with nulls in place of NaN."""
    columns = [
        pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pa.types.is_floating(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def _begin_ns(folder: RunFolder) -> int:
    """Return the time of the first frame that has one; 0 where none has."""
    for table in batches(folder, "frames", ["time_ns"]):
        known = table.filter(pc.field("time_ns") > 0)
        if known.num_rows:
            return int(known["time_ns"][0].as_py())
    return 0


def _written(column: Column) -> list[Column]:
    """Return what stands for a column in a CSV file."""
    if not column.name.endswith(_NS):
        return [column]
    name = column.name.removesuffix(_NS)
    meaning = column.meaning.partition(";")[0].replace(UNIX_TIME, "UTC")
    return [
        Column(f"{name}time", pa.string(), "", meaning),
        Column(f"{name}elapsed_s", pa.float64(), "s", f"{name}time, exact, since the first frame"),
    ]


def _readable(table: pa.Table, begin_ns: int) -> pa.Table:
    """Return a table with times as a spreadsheet reads them."""
    columns: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not name.endswith(_NS):
            columns[name] = column
            continue
        known = pc.if_else(pc.greater(column, 0), column, None)
        moment = known.cast(pa.timestamp("ns")).cast(pa.timestamp("ms"), safe=False)
        columns[f"{name.removesuffix(_NS)}time"] = pc.strftime(moment, format="%Y-%m-%d %H:%M:%S")
        since = pc.subtract(known, begin_ns).cast(pa.float64(), safe=False)
        # A division rounds once, so that few digits are what is written.
        columns[f"{name.removesuffix(_NS)}elapsed_s"] = pc.divide(since, 1e9)
    return pa.table(columns)


def _rows(folder: RunFolder, name: str) -> Iterator[pa.Table]:
    whole: dict[str, Callable[[], pa.Table]] = {
        "tracks": folder.read_tracks,
        "cell": folder.read_cell,
        "thresholds": lambda: thresholds_table(read_changes(folder.path)),
    }
    if name in whole:
        return iter([whole[name]()])
    if name in DERIVED:
        return derived(folder, folder.read_config(), name)
    return batches(folder, "frames" if name == "frames" else "peaks")


def _legend(folder: RunFolder, begin_ns: int) -> str:
    summary = folder.read_summary()
    software = summary["software"]
    lines = [
        f"Run {folder.path.resolve().name} of {summary['source']}, begun {summary['started']}",
        f"Written by {software['name']} {software['version']}",
        *(f"{key}: {value}" for key, value in folder.read_config().meta.said.items()),
        "",
        f"Rows and columns are {PIXELS}. An empty field is not known.",
        f"elapsed_s is since {begin_ns} ns after 1970-01-01, UTC." if begin_ns else "",
    ]
    tables = {
        name: [one for column in table.columns for one in _written(column)]
        for name, table in TABLES.items()
    }
    columns = [column for table in tables.values() for column in table]
    width = max(len(column.name) for column in columns) + 2
    units = max(len(column.unit) for column in columns) + 2
    for name, written in tables.items():
        lines += ["", f"{name}.csv", "-" * len(f"{name}.csv")]
        for column in written:
            lines.append(f"{column.name:<{width}}{column.unit or '-':<{units}}{column.meaning}")
    return "\n".join(lines) + "\n"
