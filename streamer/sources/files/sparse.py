"""Frames of which only some pixels are kept, with their places: all others are 0."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import MAX_FRAME_BYTES, as_bytes
from streamer.sources.files.plain import MOST_LOST, check_frames, one_line
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["Kept", "open_cache", "sparse_reader"]

_SAID = ("shape", "nframes", "dtype")
_MOST_SAID_BYTES = 4096


class Kept(NamedTuple):
    """The pixels that are kept of a frame; (n,) each."""

    row: NDArray[Any]
    col: NDArray[Any]
    value: NDArray[Any]


def sparse_reader(
    path: Path,
    n_frames: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    kept: Callable[[int], Kept],
    config: SourceConfig,
    source: str,
    close: Callable[[], None] | None = None,
) -> RecordingReader:
    """Return the reader of frames whose pixels a function gives.

    Raises
    ------
    UserError
        What is declared cannot be.
    """
    check_frames(str(path), shape, dtype, (2,))
    if not 0 < n_frames <= MOST_LOST:
        raise UserError(f"{path} declares {n_frames} frames: is it damaged?")
    rows, cols = shape

    def coded(frame: int) -> Pixels | str:
        try:
            row, col, value = kept(frame)
            if len({row.shape, col.shape, value.shape}) != 1:
                raise ValueError("its pixels and their places differ in number")
            frame_pixels = np.zeros((rows, cols), dtype)
            if len(row) and (min(row.min(), col.min()) < 0):
                raise ValueError("it has pixels outside of the frame")
            frame_pixels[row, col] = value
        except Exception as error:  # of any type: what a damaged file holds
            return f"{path.name}: frame {frame} cannot be read ({one_line(error)})"
        return Pixels(as_bytes(frame_pixels), "raw", dtype.str, (rows, cols))

    series = Series(
        name=path.stem,
        n_frames=n_frames,
        frame_time_s=config.frame_time_s,
        taken=Taken(source=source),
    )
    return PlainReader(series, n_frames, coded, close=close)


def open_cache(path: Path, config: SourceConfig) -> RecordingReader | None:
    """Open a frame cache of HEXRD in numpy's archive; None if it is none.

    Raises
    ------
    UserError
        It is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {one.filename.removesuffix(".npy"): one.file_size for one in archive.infolist()}
    if not {*_SAID, "0_row", "0_col", "0_data"} <= sizes.keys():
        return None
    if max(sizes[name] for name in _SAID) > _MOST_SAID_BYTES:
        raise UserError(f"{path} is damaged: it does not say its shape, type and number of frames")
    file = path.open("rb")
    try:
        arrays = np.load(file, allow_pickle=False)
        shape = tuple(int(size) for size in np.ravel(arrays["shape"])[:2])
        word = np.ravel(arrays["dtype"])[0]
        dtype = np.dtype(word.decode() if isinstance(word, bytes) else str(word))
        n_frames = int(np.ravel(arrays["nframes"])[0])
    except BaseException:
        file.close()
        raise

    def kept(frame: int) -> Kept:
        names = [f"{frame}_{name}" for name in ("row", "col", "data")]
        if any(sizes.get(name, 0) > MAX_FRAME_BYTES for name in names):
            raise ValueError("more pixels are declared than a frame can have")
        return Kept(*(np.ravel(arrays[name]) for name in names))

    source = f"{path}, a frame cache of HEXRD"
    return sparse_reader(path, n_frames, shape, dtype, kept, config, source, file.close)
