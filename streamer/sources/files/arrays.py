"""Stacks of frames in numpy's files."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import as_bytes
from streamer.sources.files.choice import choose_array, others
from streamer.sources.files.plain import AXES, PlainFrames, check_frames, one_line, unlike_frames
from streamer.sources.files.recording import PlainReader, RecordingReader
from streamer.sources.files.sparse import open_cache

__all__ = ["open_npy", "open_npz"]

_LONGEST_HEADER = 10_000
_MOST_DEFLATED = 1032
"""Bytes that one byte can stand for in an archive."""


def open_npy(path: Path, config: SourceConfig) -> RecordingReader:
    """Open an array of (frames, rows, cols) or (rows, cols), or with more axes before these.

    Leading axes are frames, the last of them changing fastest.

    Raises
    ------
    UserError
        The file is damaged or holds no frames.
    """
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _array_header(file)
            offset = file.tell()
        check_frames(str(path), shape, dtype, AXES)
        if why := unlike_frames(shape):
            raise UserError(f"{path} {why}")
        if fortran:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return _of_array(path, array, config, Taken(source=str(path)))
    except UserError:
        raise
    except Exception as error:  # of any type: numpy parses a header as if it were Python
        raise _damaged(path, error) from None
    n_frames = math.prod(shape[:-2])
    coded = PlainFrames(path, offset, n_frames, (shape[-2], shape[-1]), dtype)
    series = _series(path, n_frames, config, Taken(source=str(path)))
    return PlainReader(series, n_frames, coded)


def open_npz(path: Path, key: str | None, config: SourceConfig) -> RecordingReader:
    """Open an array of an archive: the one named, or the only one that can be frames.

    Raises
    ------
    UserError
        The file is damaged, or it does not say plainly which array holds the frames.
    """
    try:
        if key is None and (cache := open_cache(path, config)) is not None:
            return cache
        with zipfile.ZipFile(path) as archive:
            names = [
                name.removesuffix(".npy") for name in archive.namelist() if name[-4:] == ".npy"
            ]
            headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
            sizes: dict[str, int] = {}
            for name in names:
                with archive.open(f"{name}.npy") as file:
                    shape, _, dtype = _array_header(file)
                    headers[name] = (shape, dtype)
                    sizes[name] = archive.getinfo(f"{name}.npy").file_size - file.tell()
        chosen = key or choose_array(str(path), headers)
        if chosen not in headers:
            raise UserError(f"{path} has no array {chosen}: it has {', '.join(names) or 'none'}")
        check_frames(f"{path}::{chosen}", *headers[chosen], AXES)
        shape, dtype = headers[chosen]
        n_bytes = math.prod(shape) * dtype.itemsize
        if not n_bytes <= sizes[chosen] <= path.stat().st_size * _MOST_DEFLATED:
            raise ValueError(f"{n_bytes} bytes are declared and not there")
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[chosen]
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: save its frames as .npy") from None
    except Exception as error:  # of any type, as zipfile and numpy let through
        raise _damaged(path, error) from None
    taken = Taken(source=f"{path}::{chosen}", left_out=others(headers, chosen))
    return _of_array(path, array, config, taken)


def _of_array(
    path: Path, array: NDArray[Any], config: SourceConfig, taken: Taken
) -> RecordingReader:
    # A memmap makes a slow object of each frame.
    frames = np.asarray(array).reshape(-1, *array.shape[-2:])
    dtype, shape = frames.dtype.str, (int(frames.shape[1]), int(frames.shape[2]))

    def coded(frame: int) -> Pixels:
        return Pixels(as_bytes(frames[frame]), "raw", dtype, shape)

    series = _series(path, len(frames), config, taken)
    return PlainReader(series, len(frames), coded)


def _series(path: Path, n_frames: int, config: SourceConfig, taken: Taken) -> Series:
    return Series(name=path.stem, n_frames=n_frames, frame_time_s=config.frame_time_s, taken=taken)


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or truncated ({one_line(error)}): copy it again")


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and dtype of an array without its numbers."""
    version = np.lib.format.read_magic(file)
    start, n_bytes = file.tell(), 2 if version == (1, 0) else 4
    if int.from_bytes(file.read(n_bytes), "little") > _LONGEST_HEADER:
        raise ValueError("its header is too long")
    file.seek(start)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, bool(fortran), dtype
