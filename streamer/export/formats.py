"""Exports by name."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from streamer.errors import UserError
from streamer.export.calibration import par_text, poni_text
from streamer.export.imaged11 import write_flt
from streamer.export.nexus import write_nexus
from streamer.export.tables import write_csv, write_parquet
from streamer.frames.geometry import Geometry
from streamer.results.folder import RunFolder, write_atomically

__all__ = ["FORMATS", "export_run"]

FORMATS: dict[str, tuple[Callable[[RunFolder, Path], None], str]] = {
    "nexus": (write_nexus, ".nxs"),
    "csv": (write_csv, ""),
    "flt": (write_flt, ".flt"),
    "parquet": (write_parquet, ""),
}
"""By name: what writes it, and the ending of its file; empty for a folder of several."""

_BESIDE: dict[str, dict[str, Callable[[Geometry], str | None]]] = {
    "flt": {".par": par_text, ".poni": poni_text}
}
"""Where the detector is, in files of the same name: by their endings what returns their text."""


def export_run(path: Path, format_: str, out: Path | None = None) -> Path:
    """Write a run in another format; what is written appears whole.

    Parameters
    ----------
    path
        Run folder; the run may still go on.
    format_
        One of `FORMATS`.
    out
        Where to; default: in ``export/`` of the run folder.

    Raises
    ------
    UserError
        It is no run folder, there is no such format, or something is at `out` already.
    """
    folder = RunFolder.open(path)
    if format_ not in FORMATS:
        raise UserError(f"--format {format_}: write one of {', '.join(FORMATS)}")
    write, ending = FORMATS[format_]
    if out is None:
        name = path.resolve().name + ending if ending else format_
        out = path / "export" / name
    beside = _beside(folder, out, format_)
    for one in (out, *beside):
        if one.exists():
            raise UserError(f"{one} is there already: choose another --out, or remove it first")
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        write(folder, partial)
        for one, text in beside.items():
            write_atomically(one, text)
        partial.rename(out)
    except OSError as error:
        _remove(partial)
        raise UserError(f"cannot write {out}: {error.strerror or error}") from None
    except pa.ArrowException as error:
        _remove(partial)
        raise UserError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from None
    except BaseException:
        _remove(partial)
        raise
    return out


def _beside(folder: RunFolder, out: Path, format_: str) -> dict[Path, str]:
    """Return the texts of the files that belong to an export, as far as they can be written."""
    geometry = folder.read_geometry() if format_ in _BESIDE else None
    if geometry is None or math.isnan(geometry.beam[0]):
        return {}
    texts = {out.with_suffix(end): text(geometry) for end, text in _BESIDE[format_].items()}
    return {path: text for path, text in texts.items() if text is not None}


def _remove(path: Path) -> None:
    """Clear away what an export that was cut short has left."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
