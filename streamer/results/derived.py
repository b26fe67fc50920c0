"""The tables that follow from all peaks and tracks of a run, written when it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.config import Config
from streamer.frames.lattice import Lattice
from streamer.results.folder import RunFolder
from streamer.results.lattices import LatticeFits
from streamer.results.members import members
from streamer.results.motion import to_remove
from streamer.results.parts import discard, readable
from streamer.results.schema import TABLES

__all__ = ["DERIVED", "derived", "write_derived", "written"]

DERIVED = ("reflections", "lattice")
"""Names of these tables."""
_UPTO = b"braggstream.last_part"


def write_derived(folder: RunFolder, config: Config) -> None:
    """Write ``reflections.parquet`` and, where there is a lattice, ``lattice.parquet`` anew.

    Raises
    ------
    OSError
        They could not be written, and nothing of them is left.
    """
    last = folder.last_part()
    if last is None:
        return
    upto = {_UPTO: str(last.index).encode()}
    names = DERIVED if Lattice.from_config(config.lattice) else DERIVED[:1]
    partial = {name: folder.path / f".{name}.parquet.partial" for name in names}
    try:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    pq.ParquetWriter(
                        path, TABLES[name].schema.with_metadata(upto), use_dictionary=["series"]
                    )
                )
                for name, path in partial.items()
            }
            for tables in _computed(folder, config):
                for name, writer in writers.items():
                    writer.write_table(tables[name])
        for name, path in partial.items():
            path.rename(folder.path / f"{name}.parquet")
    except OSError:
        for path in partial.values():
            discard(path)
        raise


def written(folder: RunFolder, name: str) -> Path | None:
    """Return the file of one of these tables; None where none tells of all that there is."""
    path, last = folder.path / f"{name}.parquet", folder.last_part()
    if last is None or not path.exists():
        return None
    with readable(path):
        said = pq.read_schema(path).metadata or {}
    return path if said.get(_UPTO) == str(last.index).encode() else None


def derived(
    folder: RunFolder,
    config: Config,
    name: str,
    columns: Sequence[str] | None = None,
    *,
    most: int | None = None,
) -> Iterator[pa.Table]:
    """Yield one of these tables, a bounded number of rows at a time.

    Of a run that goes on, or has gone on since they were written, it is computed.

    Parameters
    ----------
    columns
        Those that are wanted; all by default.
    most
        How many peaks of the run to look at where it is computed; all by default.
    """
    if name == "lattice" and Lattice.from_config(config.lattice) is None:
        return
    wanted = list(columns or TABLES[name].schema.names)
    if path := written(folder, name):
        with readable(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=wanted):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(None)
        return
    for tables in _computed(folder, config, most):
        yield tables[name].select(wanted)


def _computed(
    folder: RunFolder, config: Config, most: int | None = None
) -> Iterator[dict[str, pa.Table]]:
    tracks, geometry = folder.read_tracks(), folder.read_geometry()
    lattice = Lattice.from_config(config.lattice)
    fits = None if lattice is None else LatticeFits(lattice, tracks)
    motion = to_remove(folder, config, geometry)
    for table in members(folder, tracks, geometry, motion, most=most):
        found = TABLES["lattice"].schema.empty_table() if fits is None else fits.of(table)
        yield {"reflections": table, "lattice": found}
