"""Stacks of frames: numpy arrays and TIFF files."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources.base import Series
from streamer.sources.chunks import as_bytes, is_pixels
from streamer.sources.recording import Coded, Recording

__all__ = ["open_npy", "open_npz", "open_tiff", "open_tiff_files"]

# What tifffile complains about is reported here in one line.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_ARRAY_ERRORS = (
    ValueError,
    EOFError,
    OSError,
    KeyError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def open_npy(path: Path, config: SourceConfig) -> Recording:
    """Open an array of (frames, rows, cols) or (rows, cols), mapped into memory.

    Raises
    ------
    UserError
        The file is damaged or holds no frames.
    """
    try:
        with path.open("rb") as file:
            shape, dtype = _array_header(file)
        _check(str(path), shape, dtype)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _ARRAY_ERRORS as error:
        raise UserError(f"{path} is damaged or truncated ({_line(error)}): copy it again") from None
    return _of_array(str(path), path, array, config)


def open_npz(path: Path, key: str | None, config: SourceConfig) -> Recording:
    """Open an array of an archive: the one named, or the only one that can be frames.

    Raises
    ------
    UserError
        The file is damaged, or it does not say plainly which array holds the frames.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                name.removesuffix(".npy") for name in archive.namelist() if name[-4:] == ".npy"
            ]
            headers = {}
            for name in names:
                with archive.open(f"{name}.npy") as file:
                    headers[name] = _array_header(file)
        chosen = key or _choose(path, headers)
        if chosen not in headers:
            raise UserError(f"{path} has no array {chosen}: it has {', '.join(names) or 'none'}")
        _check(f"{path}::{chosen}", *headers[chosen])
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[chosen]
    except _ARRAY_ERRORS as error:
        raise UserError(f"{path} is damaged or truncated ({_line(error)}): copy it again") from None
    return _of_array(str(path) if key is None else f"{path}::{key}", path, array, config)


def open_tiff(path: Path, config: SourceConfig) -> Recording:
    """Open a TIFF file whose pages are frames.

    Raises
    ------
    UserError
        The file is damaged or its pages are not frames of one size.
    """
    try:
        tiff = tifffile.TiffFile(path)
        try:
            return _of_pages(path, tiff, config)
        except BaseException:
            tiff.close()
            raise
    except UserError:
        raise
    except Exception as error:  # of any type: tifffile trusts what a damaged file says
        raise UserError(f"{path} is damaged or truncated ({_line(error)}): copy it again") from None


def open_tiff_files(uri: str, paths: Sequence[Path], config: SourceConfig) -> Recording:
    """Open TIFF files of one frame each, in the order given.

    All must be like the first; one that is not, or that is damaged, becomes a gap.

    Raises
    ------
    UserError
        The first file is damaged or holds more than one frame.
    """
    first = _read_file(paths[0])
    if isinstance(first, str):
        raise UserError(f"{paths[0].parent}: {first}")

    def coded(frame: int) -> Coded | str:
        found = _read_file(paths[frame])
        if isinstance(found, str) or found[3] == first[3]:
            return found
        return f"{paths[frame].name} has shape {found[3]}, the first file {first[3]}"

    folder = Path(uri) if Path(uri).is_dir() else paths[0].parent
    series = _series(folder.resolve().name or "frames", len(paths), config)
    return Recording(uri, _Reel(series, len(paths), coded, _nothing))


class _Reel:
    """Frames that come without any word on when they were taken."""

    end_reason = "end"

    def __init__(
        self,
        series: Series,
        n_frames: int,
        coded: Callable[[int], Coded | str],
        close: Callable[[], None],
    ) -> None:
        self.series = series
        self.coded = coded
        self.close = close
        self._n_frames = n_frames

    def __len__(self) -> int:
        return self._n_frames

    def time_ns(self, frame: int) -> int | None:
        return None


def _nothing() -> None:
    """Close nothing: a memory map goes with the last frame that needs it."""


def _series(name: str, n_frames: int, config: SourceConfig) -> Series:
    return Series(name=name, n_frames=n_frames, frame_time_s=config.frame_time_s)


def _of_array(uri: str, path: Path, array: NDArray[Any], config: SourceConfig) -> Recording:
    # A memmap makes a slow object of each frame.
    frames = np.asarray(array if array.ndim == 3 else array[None])
    dtype, shape = frames.dtype.str, (int(frames.shape[1]), int(frames.shape[2]))

    def coded(frame: int) -> Coded:
        return as_bytes(frames[frame]), "raw", dtype, shape

    series = _series(path.stem, len(frames), config)
    return Recording(uri, _Reel(series, len(frames), coded, _nothing))


def _of_pages(path: Path, tiff: tifffile.TiffFile, config: SourceConfig) -> Recording:
    n_frames = len(tiff.pages)
    if n_frames == 0:
        raise UserError(f"{path} has no pages")
    if _chain_is_broken(tiff):
        raise UserError(f"{path} is truncated after page {n_frames}: copy it again")
    first = tiff.pages[0]
    _check(str(path), first.shape, first.dtype, (2,))
    if n_frames == 1 and (array := tiff.series[0]).ndim == 3 and array.dataoffset is not None:
        # One page stands for a stack, as some programs write more than 4 GiB.
        dtype = np.dtype(array.dtype).newbyteorder(tiff.byteorder)
        tiff.close()
        stack = np.memmap(path, dtype, "r", int(array.dataoffset), tuple(array.shape))
        return _of_array(str(path), path, stack, config)
    pages = [(page.shape, _plain_offset(page)) for page in tiff.pages]
    other = next((shape for shape, _ in pages if shape != first.shape), None)
    if other is not None:
        raise UserError(
            f"{path} has pages of different shapes ({first.shape} and {other}): save the frames"
            " alone"
        )
    if isinstance(last := _read_page(tiff, n_frames - 1), str):
        raise UserError(f"{path} is truncated: its last page {last}")
    series = _series(path.stem, n_frames, config)
    offsets = [offset for _, offset in pages if offset is not None]
    if len(offsets) == n_frames:
        tiff.close()
        return Recording(str(path), _Reel(series, n_frames, _mapped(path, offsets, last), _nothing))

    def coded(frame: int) -> Coded | str:
        found = _read_page(tiff, frame)
        return f"page {frame + 1} {found}" if isinstance(found, str) else found

    return Recording(str(path), _Reel(series, n_frames, coded, tiff.close))


def _mapped(path: Path, offsets: list[int], like: Coded) -> Callable[[int], Coded | str]:
    """Read frames that lie plainly in a file without copying them."""
    _, encoding, dtype, shape = like
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    view = np.memmap(path, np.uint8, "r").data

    def coded(frame: int) -> Coded | str:
        data = view[offsets[frame] : offsets[frame] + size]
        return (
            (data, encoding, dtype, shape) if len(data) == size else f"page {frame + 1} is cut off"
        )

    return coded


def _plain_offset(page: tifffile.TiffPage | tifffile.TiffFrame) -> int | None:
    return int(page.dataoffsets[0]) if page.is_contiguous else None


def _chain_is_broken(tiff: tifffile.TiffFile) -> bool:
    """Tell whether the last page that is there points to one that is not."""
    position = tiff.pages.next_page_offset
    if position is None:
        return False
    tiff.filehandle.seek(position)
    return any(tiff.filehandle.read(8 if tiff.is_bigtiff else 4))


def _read_page(tiff: tifffile.TiffFile, number: int) -> Coded | str:
    """Return a page undecoded if it is stored plainly, else decoded; or what is wrong with it."""
    try:
        page = tiff.pages[number]
        shape = (int(page.shape[0]), int(page.shape[1]))
        if not page.is_contiguous:
            array = page.asarray()
            return as_bytes(array), "raw", array.dtype.str, shape
        dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
        tiff.filehandle.seek(page.dataoffsets[0])
        data = tiff.filehandle.read(shape[0] * shape[1] * dtype.itemsize)
    except Exception as error:
        return f"cannot be read ({_line(error)})"
    if len(data) < shape[0] * shape[1] * dtype.itemsize:
        return "is cut off"
    return data, "raw", dtype.str, shape


def _read_file(path: Path) -> Coded | str:
    """Return the only page of a file, or what is wrong with it."""
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) != 1:
                return f"{path.name} has {len(tiff.pages)} pages: of several files each has one"
            _check(path.name, tiff.pages[0].shape, tiff.pages[0].dtype, (2,))
            page = _read_page(tiff, 0)
            return f"{path.name} {page}" if isinstance(page, str) else page
    except UserError as error:
        return str(error)
    except FileNotFoundError:
        return f"{path.name} is missing"
    except Exception as error:
        return f"{path.name} cannot be read ({_line(error)})"


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and dtype of an array without its numbers."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _choose(path: Path, headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    for n_axes in (3, 2):
        names = [
            name
            for name, (shape, dtype) in headers.items()
            if len(shape) == n_axes and is_pixels(dtype)
        ]
        if len(names) == 1:
            return names[0]
        if names:
            raise UserError(
                f"{path} has several arrays that can be frames ({', '.join(names)}): choose one,"
                f" such as {path}::{names[0]}"
            )
    arrays = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in headers.items())
    raise UserError(
        f"{path} has no array of frames (frames, rows, cols): it has {arrays or 'none'}"
    )


def _check(
    where: str, shape: tuple[int, ...], dtype: np.dtype[Any] | None, axes: tuple[int, ...] = (2, 3)
) -> None:
    if dtype is None or not is_pixels(np.dtype(dtype)):
        raise UserError(f"{where} holds {dtype}: frames are integers or floats")
    if len(shape) not in axes:
        raise UserError(f"{where} has shape {shape}: a stack of frames is (frames, rows, cols)")
    if 0 in shape:
        raise UserError(f"{where} has no frames (shape {shape})")


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
