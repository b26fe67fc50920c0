"""HDF5 files of other programs that are no stacks: kept pixels, and messages of a stream."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import ENCODINGS
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import MAX_FRAME_BYTES, dtype_named
from streamer.sources.files.hdf5.nexus import lookup
from streamer.sources.files.plain import MOST_LOST, check_frames, one_line
from streamer.sources.files.recording import PlainReader, RecordingReader
from streamer.sources.files.sparse import Kept, sparse_reader

__all__ = ["open_other"]

_CACHE = "HEXRD_FRAMECACHE_VERSION"
_CACHE_VERSION = 1


def open_other(file: h5py.File, inner: str | None, config: SourceConfig) -> RecordingReader | None:
    """Open a frame cache or a kept stream of HEXRD, or a sparse file of ImageD11.

    Returns
    -------
    RecordingReader | None
        None if it is none of these.

    Raises
    ------
    UserError
        It is damaged, or the user has to choose one of several scans.
    """
    if inner is None and _CACHE in file.attrs:
        return _of_cache(file, config)
    if inner is None and (names := _frames_of_stream(file)):
        return _of_stream(file, names, config)
    scans = [inner] if inner is not None else ["/", *file]
    found = [scan for scan in scans if _is_sparse(lookup(file, scan))]
    if len(found) > 1:
        raise UserError(
            f"{file.filename} has several scans ({', '.join(found[:8])}): choose one, such as"
            f" {file.filename}::{found[0]}"
        )
    return _of_imaged11(file, found[0], config) if found else None


def _of_cache(file: h5py.File, config: SourceConfig) -> RecordingReader:
    version = int(file.attrs[_CACHE])
    if version != _CACHE_VERSION:
        raise UserError(f"{file.filename} is a frame cache of version {version}: only 1 is known")
    ends = _numbers(file["frame_ids"])
    values, places = file["data"], file["indices"]

    def kept(frame: int) -> Kept:
        start, stop = ends[2 * frame : 2 * frame + 2]
        if not 0 <= stop - start <= MAX_FRAME_BYTES:
            raise ValueError("more pixels are declared than a frame can have")
        at = places[start:stop]
        return Kept(at[:, 0], at[:, 1], values[start:stop].ravel())

    return _sparse(
        file, (file["nframes"][()], file["shape"][()], _text(file["dtype"])), kept, config,
        "a frame cache of HEXRD",
    )  # fmt: skip


def _is_sparse(item: object) -> bool:
    """Tell whether this is a scan as ImageD11 keeps it."""
    if not isinstance(item, h5py.Group):
        return False
    has_sizes = {"nframes", "shape0", "shape1"} <= set(item.attrs)
    return has_sizes and {"nnz", "row", "col", "intensity"} <= set(item)


def _of_imaged11(file: h5py.File, scan: str, config: SourceConfig) -> RecordingReader:
    group = file[scan]
    attributes = group.attrs
    ends = np.concatenate([[0], np.cumsum(_numbers(group["nnz"]))])
    columns = [group[name] for name in ("row", "col", "intensity")]
    sizes = (attributes["nframes"], (attributes["shape0"], attributes["shape1"]))

    def kept(frame: int) -> Kept:
        if not 0 <= ends[frame + 1] - ends[frame] <= MAX_FRAME_BYTES:
            raise ValueError("more pixels are declared than a frame can have")
        return Kept(*(column[ends[frame] : ends[frame + 1]] for column in columns))

    what = f"scan {scan.strip('/') or '/'} of a sparse file of ImageD11"
    return _sparse(file, (*sizes, columns[2].dtype.str), kept, config, what)


def _sparse(
    file: h5py.File,
    sizes: tuple[Any, Any, str],
    kept: Callable[[int], Kept],
    config: SourceConfig,
    what: str,
) -> RecordingReader:
    n_frames, shape, dtype = sizes
    return sparse_reader(
        Path(file.filename),
        int(n_frames),
        tuple(int(size) for size in shape),
        np.dtype(dtype),
        kept,
        config,
        f"{file.filename}, {what}",
        file.close,
    )


def _frames_of_stream(file: h5py.File) -> list[str]:
    """Return the groups of frames as a writer of HEXRD keeps a stream's messages, in order."""
    group = lookup(file, "/data")
    if not isinstance(group, h5py.Group) or "0" not in group:
        return []
    is_kept = any(
        isinstance(lookup(group, f"0{below}/compression_type"), h5py.Dataset)
        for below in ("", *(f"/{name}" for name in (lookup(group, "0") or ())))
    )
    return sorted((n for n in group if re.fullmatch(r"\d+", n)), key=int) if is_kept else []


def _of_stream(file: h5py.File, names: list[str], config: SourceConfig) -> RecordingReader:
    first = file[f"data/{names[0]}"]
    channel, version = "", 1
    if "compression_type" not in first:
        version, channels = 2, list(first)
        channel = config.channel_of(channels)
        if channel not in channels:
            raise UserError(
                f"{file.filename} has no channel {channel}: set source.channel to"
                f" {' or '.join(channels)}"
            )
    numbers = {int(name): name for name in names}

    def coded(frame: int) -> Pixels | str:
        try:
            if frame not in numbers:
                return f"{Path(file.filename).name} has no frame {frame}"
            return _message(file[f"data/{numbers[frame]}/{channel}".rstrip("/")])
        except Exception as error:  # of any type: h5py trusts what a damaged file says
            return f"frame {frame} cannot be read ({one_line(error)})"

    start = coded(int(names[0]))
    if isinstance(start, str):
        raise UserError(f"{file.filename} has no frame that can be read: {start}")
    check_frames(file.filename, start.shape, np.dtype(start.dtype), (2,))
    n_frames = min(int(names[-1]) + 1, 10 * len(names) + 1)
    series = Series(
        name=Path(file.filename).stem,
        n_frames=n_frames,
        frame_time_s=config.frame_time_s,
        taken=Taken(
            source=f"{file.filename}, a stream of version {version} as HEXRD keeps it"
            + (f", channel {channel}" if channel else "")
        ),
    )
    return PlainReader(series, n_frames, coded, close=file.close)


def _message(group: h5py.Group) -> Pixels | str:
    """Return the pixels of a message, coded as they came."""
    dtype, coding = dtype_named(_text(group["dtype"])), _text(group["compression_type"])
    rows, cols = (int(size) for size in group["shape"][()])
    encoding = coding.lower() if coding.lower() not in ("", "none") else "raw"
    if dtype is None or encoding not in ENCODINGS:
        return f"it is coded as {coding} {_text(group['dtype'])}, which is not known"
    data = group["data"][()]
    return Pixels(np.asarray(data).tobytes(), encoding, dtype.str, (rows, cols))


def _numbers(dataset: h5py.Dataset) -> NDArray[np.int64]:
    """Return where the pixels of frames begin and end, or how many they have."""
    if dataset.size > 2 * MOST_LOST:
        raise ValueError(f"{dataset.name} has {dataset.size} numbers")
    return np.asarray(dataset[()], np.int64).ravel()


def _text(dataset: h5py.Dataset) -> str:
    """Return a text; empty where there is none."""
    value = dataset[()]
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
