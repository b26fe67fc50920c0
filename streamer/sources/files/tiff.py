"""TIFF files whose pages are frames."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import as_bytes
from streamer.sources.files.headers import HeaderMetadata, of_marccd, of_pilatus
from streamer.sources.files.plain import FileBytes, PlainFrames, check_frames, one_line
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["open_tiff"]

# What tifffile complains about is reported here in one line.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_NEEDED = "requires the 'imagecodecs' package"
_MARCCD_START, _MARCCD_BYTES = 1024, 3072


def open_tiff(path: Path, config: SourceConfig) -> RecordingReader:
    """Open a TIFF file whose pages are frames, those of Pilatus and MarCCD with their headers.

    Raises
    ------
    UserError
        The file is damaged before its first frame, or its pages are not frames of one size.
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
        raise UserError(
            f"{path} is damaged or truncated ({one_line(error)}): copy it again"
        ) from None


def _of_pages(path: Path, tiff: tifffile.TiffFile, config: SourceConfig) -> RecordingReader:
    n_pages = len(tiff.pages)
    if n_pages == 0:
        raise UserError(f"{path} has no pages")
    first = tiff.pages[0]
    if isinstance(first, tifffile.TiffPage) and first.samplesperpixel > 1 == first.planarconfig:
        raise UserError(f"{path} is a colour image: give one of its channels, as one page a frame")
    check_frames(str(path), first.shape, first.dtype)
    known = _facts(path, tiff)
    # Three or four frames are one page of as many planes to some who write them.
    n_planes = math.prod(first.shape[:-2])
    shape = (int(first.shape[-2]), int(first.shape[-1]))
    broken = _chain_is_broken(tiff)
    n_frames = n_stacked = _n_stacked(tiff, shape)
    stacked = n_stacked > n_pages and (broken or n_pages == 1) and first.is_contiguous
    if not stacked:
        n_frames = (n_pages + broken) * n_planes

    def reader(
        coded: Callable[[int], Pixels | str], close: Callable[[], None] | None = None
    ) -> RecordingReader:
        series = Series(
            name=path.stem,
            taken=Taken(source=str(path)),
            n_frames=n_frames,
            frame_time_s=config.frame_time_s or known.frame_time_s,
            saturation=known.saturation,
            metadata=known.metadata,
        )
        return PlainReader(series, n_frames, coded, time_ns=known.time_of_frame, close=close)

    if stacked:
        # One page stands for a stack, as some programs write more than 4 GiB; or the other pages
        # were to come behind all pixels and are cut off.
        dtype = np.dtype(first.dtype).newbyteorder(tiff.byteorder)
        offset = int(first.dataoffsets[0])
        tiff.close()
        return reader(PlainFrames(path, offset, n_frames, shape, dtype))
    pages = [(page.shape, page.dtype, _plain_offset(page)) for page in tiff.pages]
    for shape_of, dtype_of, _ in pages:
        if shape_of != first.shape:
            raise UserError(
                f"{path} has pages of different shapes ({first.shape} and {shape_of}): save the"
                " frames alone"
            )
        if dtype_of != first.dtype:
            raise UserError(
                f"{path} has pages of different types ({first.dtype} and {dtype_of}): save the"
                " frames alone"
            )
    if isinstance(like := _read_page(tiff, 0), str):
        if _NEEDED in like:
            raise UserError(
                f"{path} is compressed by {_coding(first)}, which is decoded by a package that is"
                " not installed: pip install 'braggstream[formats]'"
            )
        raise UserError(f"{path} is damaged or truncated: its first page {like}")
    cut_off = f"{path.name} is truncated after page {n_pages}"
    starts = [offset for *_, offset in pages if offset is not None]
    if len(starts) == n_pages:
        size = math.prod(shape) * np.dtype(like.dtype).itemsize
        offsets = [start + plane * size for start in starts for plane in range(n_planes)]
        tiff.close()
        return reader(_plain_pages(path, offsets, like, cut_off))

    def coded(frame: int) -> Pixels | str:
        page, plane = divmod(frame, n_planes)
        found = cut_off if page >= n_pages else _read_page(tiff, page, plane)
        if isinstance(found, str) and found != cut_off:
            return f"{path.name}: page {page + 1} {found}"
        return found

    return reader(coded, tiff.close)


def _n_stacked(tiff: tifffile.TiffFile, shape: tuple[int, int]) -> int:
    """Return how many frames lie one after another, as the program that wrote the file says."""
    with contextlib.suppress(Exception):
        if tiff.is_shaped and tiff.shaped_metadata:
            return int(math.prod(tiff.shaped_metadata[0]["shape"]) // math.prod(shape))
        if tiff.is_imagej and tiff.imagej_metadata:
            return int(tiff.imagej_metadata.get("images", 1))
        if len(tiff.series[0].shape) == 3:
            return int(tiff.series[0].shape[0])
    return 1


def _plain_pages(
    path: Path, offsets: list[int], like: Pixels, cut_off: str
) -> Callable[[int], Pixels | str]:
    """Read frames that lie plainly in a file, anywhere."""
    size = like.shape[0] * like.shape[1] * np.dtype(like.dtype).itemsize
    file = FileBytes(path)

    def coded(frame: int) -> Pixels | str:
        if frame >= len(offsets):
            return cut_off
        try:
            data = file.read(offsets[frame], size)
        except OSError as error:
            return f"{path.name}: page {frame + 1} cannot be read ({error.strerror})"
        if len(data) < size:
            return f"{path.name}: page {frame + 1} is cut off"
        return like._replace(data=data)

    return coded


def _facts(path: Path, tiff: tifffile.TiffFile) -> HeaderMetadata:
    """Read what the detector wrote beside the frame."""
    with contextlib.suppress(Exception):
        description = tiff.pages.first.tags.valueof(270)
        if isinstance(description, str) and "# " in description and "xposure" in description:
            return of_pilatus(description)
        if path.suffix.lower() == ".mccd" or tiff.pages[0].dataoffsets[0] >= 4096:
            tiff.filehandle.seek(_MARCCD_START)
            return of_marccd(tiff.filehandle.read(_MARCCD_BYTES))
    return HeaderMetadata()


def _coding(page: tifffile.TiffPage | tifffile.TiffFrame) -> str:
    """Name what the pixels of a page are coded by."""
    names = [getattr(page, name) for name in ("compression", "predictor")]
    return " with ".join(getattr(one, "name", str(one)) for one in names if int(one) != 1)


def _plain_offset(page: tifffile.TiffPage | tifffile.TiffFrame) -> int | None:
    return int(page.dataoffsets[0]) if page.is_contiguous else None


def _chain_is_broken(tiff: tifffile.TiffFile) -> bool:
    """Tell whether the last page that is there points to one that is not."""
    position = tiff.pages.next_page_offset
    if position is None:
        return False
    tiff.filehandle.seek(position)
    return any(tiff.filehandle.read(8 if tiff.is_bigtiff else 4))


def _read_page(tiff: tifffile.TiffFile, number: int, plane: int = 0) -> Pixels | str:
    """Return one of the planes of a page, which mostly has one, or what is wrong with it.

    It is not decoded if it is stored plainly.
    """
    try:
        page = tiff.pages[number]
        shape = (int(page.shape[-2]), int(page.shape[-1]))
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > tiff.filehandle.size:
            return "is cut off"
        if not page.is_contiguous:
            array = page.asarray().reshape(-1, *shape)[plane]
            return Pixels(as_bytes(array), "raw", array.dtype.str, shape)
        dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
        size = shape[0] * shape[1] * dtype.itemsize
        tiff.filehandle.seek(page.dataoffsets[0] + plane * size)
        data = tiff.filehandle.read(size)
    except Exception as error:
        return f"cannot be read ({one_line(error)})"
    if len(data) < size:
        return "is cut off"
    return Pixels(data, "raw", dtype.str, shape)
