"""Recordings of every known format: a file, a folder or a pattern of files."""

from __future__ import annotations

import glob
import logging
from pathlib import Path

import h5py
from msgspec.structs import replace

from streamer.config import SourceConfig
from streamer.documents import open_regular
from streamer.errors import UserError
from streamer.frames.events import Taken
from streamer.plugins import Plugins
from streamer.sources.files.address import Address
from streamer.sources.files.arrays import open_npy, open_npz
from streamer.sources.files.fabio import fabio_reads, open_cbf, open_fabio
from streamer.sources.files.ge import is_ge, open_ge
from streamer.sources.files.growing import Growing
from streamer.sources.files.hdf5.recording import open_hdf5
from streamer.sources.files.many import Files
from streamer.sources.files.naming import (
    FileSeries,
    is_calibration,
    is_hidden,
    matching,
    n_fields,
    natural_order,
    series_of,
)
from streamer.sources.files.packed import is_packed, unpacked
from streamer.sources.files.plain import one_line
from streamer.sources.files.raw import open_raw
from streamer.sources.files.recording import ReaderPlugin, Recording, RecordingReader
from streamer.sources.files.tiff import open_tiff
from streamer.sources.files.zarr import is_zarr, open_zarr

__all__ = ["READERS", "open_recording"]

READERS: Plugins[ReaderPlugin] = Plugins("file format", "source.readers", ReaderPlugin, {})
"""By the ending of a file, for endings that are not ours."""

logger = logging.getLogger(__name__)

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STACKS = {
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".nxs": "HDF5",
    ".fch5": "HDF5",
    ".cxi": "HDF5",
    ".npy": "npy",
    ".npz": "npz",
}
_TIFF = (".tif", ".tiff", ".mccd")


def open_recording(text: str, config: SourceConfig) -> Recording:
    """Open a recording.

    Parameters
    ----------
    text
        A file, a folder, or a pattern or template of files of one kind; with ``::path`` behind it
        to choose one of several arrays. See `Address`.
    config
        Which frames, how often, and whether to follow what is still being written.

    Raises
    ------
    UserError
        There is nothing that can be read; the text says what to do.
    """
    address = Address.of(text)
    if address.frames is not None:
        if config.frames is not None:
            raise UserError(f"{text} chooses frames, and so does source.frames: leave one out")
        config = config.model_copy(update={"frames": address.frames})
    chosen = config.chosen
    if not config.follow:
        reader = _open(address, config)
        if not range(*chosen.indices(len(reader))):
            reader.close()
            raise UserError(
                f"{text} has {len(reader)} frames, and none of them is in {config.frames}"
            )
        return Recording(text, reader, chosen, config.loop, frame_time_s=config.frame_time_s)
    if config.loop != 1 or config.speed is not None:
        raise UserError(
            f"{text} is followed as it grows: leave out "
            + ("source.loop" if config.loop != 1 else "source.speed")
        )
    if min(chosen.start or 0, chosen.stop or 0) < 0:
        raise UserError(
            f"frames {config.frames!r} are counted from an end that is not there yet: count them"
            " from the start, or do not follow"
        )
    path = address.path
    if not path.exists() and not _is_pattern(path):
        raise UserError(f"{path} does not exist")
    growing = Growing(lambda: _open(address, config), config.idle_s)
    return Recording(text, growing, chosen, frame_time_s=config.frame_time_s, merge_gaps=False)


def _is_pattern(path: Path) -> bool:
    return glob.has_magic(str(path)) or matching(path) is not None


def _open(address: Address, config: SourceConfig) -> RecordingReader:
    path, inner = address.path, address.inner
    if path.is_dir() and is_zarr(path):
        return open_zarr(path, inner, config)
    if path.is_dir() or (not path.exists() and _is_pattern(path)):
        return _open_files(path, inner, config)
    return _open_file(path, inner, config)


def _open_file(path: Path, inner: str | None, config: SourceConfig) -> RecordingReader:
    """Open a file; whatever is raised, and by whom, is that it cannot be read."""
    if config.raw is not None:
        return open_raw(path, config.raw, config)
    try:
        return _of_kind(_kind(path), path, inner, config)
    except UserError:
        raise
    except Exception as error:  # of any type: those who read it trust what a damaged file says
        logger.debug("%s cannot be read", path, exc_info=True)
        raise UserError(
            f"{path} is damaged or truncated ({one_line(error)}): copy it again"
        ) from None


def _of_kind(kind: str, path: Path, inner: str | None, config: SourceConfig) -> RecordingReader:
    if inner is not None and kind not in ("HDF5", "npz", "Zarr"):
        raise UserError(f"{path} is not an HDF5, .npz or Zarr file: leave out ::{inner}")
    match kind:
        case "HDF5":
            return open_hdf5(path, inner, config)
        case "npz":
            return open_npz(path, inner, config)
        case "Zarr":
            return open_zarr(path, inner, config)
        case "npy":
            return open_npy(path, config)
        case "TIFF":
            return open_tiff(path, config)
        case "GE":
            return open_ge(path, config)
        case "CBF":
            return open_cbf(path, config)
        case "packed":
            return _open_packed(path, inner, config)
        case "plugin":
            return READERS.configure(_ending(path), config.readers).open(path, config)
    return open_fabio(path, config)


def _open_packed(path: Path, inner: str | None, config: SourceConfig) -> RecordingReader:
    with unpacked(path) as file:
        kind = _kind(file)
        if kind in ("HDF5", "npz", "Zarr"):
            raise UserError(f"{path} is a packed {kind} file: unpack it beforehand")
        reader = _of_kind(kind, file, inner, config)
    source = reader.series.taken.source.replace(str(file), str(path))
    reader.series = replace(reader.series, taken=replace(reader.series.taken, source=source))
    return reader


def _open_files(path: Path, inner: str | None, config: SourceConfig) -> RecordingReader:
    """Open a folder, or a pattern of files, of frames of one kind."""
    found = _found(path)
    if not found:
        raise UserError(f"{path}: " + ("the folder is empty" if path.is_dir() else "no such files"))
    frames = found
    if path.is_dir():
        stacks = _STACKS.values() if inner is None else ()
        frames = [file for file in found if _family(file) not in (None, *stacks)]
        name = path.resolve().name
    else:
        name = found[0].resolve().parent.name
    if not frames:
        others = [str(file) for file in found if _family(file)]
        masters = [file for file in others if "_master" in file] or others
        choice = masters or [str(folder) for folder in found if folder.is_dir()]
        hint = f": give one of {', '.join(choice[:8])}" if choice else ""
        raise UserError(f"{path} has no files of single frames{hint}")
    if len(frames) == 1 and not path.is_dir() and not config.follow:
        return _open_file(frames[0], inner, config)
    series, left_out = _one_series(path, frames, follow=config.follow)
    files = f"{series.paths[0].parent / series.name}" + (f"::{inner}" if inner else "")
    if series.n_there > 1:
        files += f", {series.n_there:,} files" + (f" {series.numbers}" if series.numbers else "")
    return Files(
        name or "frames",
        series.paths,
        lambda file: _open_file(file, inner, config),
        taken=Taken(source=files, left_out=left_out),
        complete=not config.follow,
    )


def _found(path: Path) -> list[Path]:
    """Return the files of a folder, template or pattern, without hidden ones."""
    if path.is_dir():
        found = list(path.iterdir())
    else:
        found = matching(path) or [Path(name) for name in glob.glob(str(path), recursive=True)]
    return sorted((file for file in found if not is_hidden(file)), key=natural_order)


def _one_series(path: Path, frames: list[Path], *, follow: bool) -> tuple[FileSeries, list[str]]:
    """Return the one series among files, and what is left out.

    Raises
    ------
    UserError
        There are several: the user has to choose.
    """
    if not path.is_dir() and n_fields(path) > 1:
        return FileSeries(path.name, frames, len(frames), "in the order of their numbers"), []
    families = sorted({_family(file) or file.suffix for file in frames})
    if len(families) > 1:
        raise UserError(
            f"{path} has files of several kinds ({', '.join(families)}): choose one, such as"
            f" '{frames[0].with_name('*' + frames[0].suffix)}'"
        )
    every = series_of(frames, growing=follow)
    wanted = [one for one in every if not is_calibration(one.name)] or every
    # A single file beside many is of another kind: a mask, a picture of the sample.
    many = [one for one in wanted if one.n_there > 1]
    if len(many) == 1:
        wanted = many
    if len(wanted) > 1:
        names = ", ".join(_counted(one) for one in wanted[:8])
        first = wanted[0]
        raise UserError(
            f"{path} has {len(wanted)} series of files ({names}): choose one, such as"
            f" '{first.paths[0].parent / first.name}'"
        )
    chosen = wanted[0]
    if follow and not chosen.numbers:
        raise UserError(
            f"{path} cannot be followed: its files must differ in one number alone,"
            f" {frames[0].name} and {frames[-1].name} do not"
        )
    return chosen, [_counted(one) for one in every if one is not chosen]


def _counted(series: FileSeries) -> str:
    return series.name + (f" ({series.n_there:,} files)" if series.n_there > 1 else "")


def _ending(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _family(path: Path) -> str | None:
    """Return what a file is by its name, None for what is no recording."""
    return _our_family(path) or (path.suffix.lower() if _ending(path) in READERS else None)


def _our_family(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in (".gz", ".bz2"):
        suffix = Path(path.stem).suffix.lower()
    if suffix in _STACKS:
        return _STACKS[suffix]
    if suffix in _TIFF:
        return "TIFF"
    if suffix.startswith(".ge") and suffix[3:].isdecimal():
        return suffix  # one for each panel of a detector
    return suffix if fabio_reads(suffix) else None


def _is_ge_named(path: Path) -> bool:
    return (_our_family(path) or "").startswith(".ge")


def _kind(path: Path) -> str:
    """Tell the format of a file by its first bytes; what is of none that has any is for fabio.

    Where others read files of such a name, that decides.
    """
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not start:
        raise UserError(f"{path} is empty")
    ours = _our_family(path)
    if ours is None and _ending(path) in READERS:
        return "plugin"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "Zarr" if is_zarr(path) else "npz"
    if start.startswith(_TIFF_MAGIC):
        return "TIFF"
    if is_ge(path, start):
        return "GE"
    if h5py.is_hdf5(path):
        return "HDF5"
    if start.startswith(b"###CBF") or (is_packed(start) and ours == ".cbf"):
        return "CBF"
    if is_packed(start) and (ours == "TIFF" or ours in _STACKS.values() or _is_ge_named(path)):
        return "packed"
    if ours in ("TIFF", ".cbf", *_STACKS.values()):
        claimed = "CBF" if ours == ".cbf" else ours
        raise UserError(f"{path} is not a {claimed} file, whatever its name says: copy it again")
    if ours is None and not start.lstrip(b"\r\n").startswith(b"{"):
        raise UserError(
            f"{path} is of no known format: HDF5, .npy, .npz, TIFF, CBF, EDF, GE"
            f"{''.join(f', .{name}' for name in READERS.names)} and what fabio knows by its name"
            " are read; of pixels alone say the layout, such as"
            " --set 'source.raw={shape: [2048, 2048], dtype: <u2}'"
        )
    return "fabio"
