"""Image files of many detectors, read by the package fabio: CBF, EDF, MAR, Bruker and others."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import logging
import re
import warnings
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError, as_line
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import MAX_FRAME_BYTES, as_bytes
from streamer.sources.files.headers import HeaderMetadata, of_keys, of_pilatus
from streamer.sources.files.plain import check_frames, one_line
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["fabio_reads", "open_cbf", "open_fabio"]

# What fabio complains about is reported here in one line.
logging.getLogger("fabio").addHandler(logging.NullHandler())

# What fabio reads as well, and what lies beside frames more often than it is one.
_NO_FRAMES = (".xml", ".xsd", ".bin", ".msk", ".jpg", ".jpeg")

_MOST_AXES = 32

_BYTE_OFFSET = "x-cbf_byte_offset"
_CBF_CODINGS = (_BYTE_OFFSET, "x-cbf_none", "")


def fabio_reads(suffix: str) -> bool:
    """Tell whether files with such a name are read by fabio, as far as it is installed."""
    if suffix in (".cbf", ".edf"):
        return True
    if suffix in _NO_FRAMES:
        return False
    try:
        from fabio import fabioformats
    except ImportError:
        return False
    return bool(suffix) and bool(fabioformats.is_extension_supported(suffix))


def open_cbf(path: Path, config: SourceConfig) -> RecordingReader:
    """Open a CBF file, its checksum compared.

    Raises
    ------
    UserError
        It is damaged or truncated.
    """
    try:
        from fabio.cbfimage import CbfImage
    except ImportError:
        raise _no_fabio(path) from None
    image = CbfImage()
    try:
        data = _bytes(path)
        _check_cbf(data)
        # fabio goes on with what is damaged, so that only the header is read by it.
        coded = image.read(io.BytesIO(data), only_raw=True)
        header = image.header
        n_bytes, checksum = int(header["X-Binary-Size"]), header.get("Content-MD5")
        if len(coded) < n_bytes:
            raise ValueError("truncated")
        digest = base64.b64encode(hashlib.md5(coded, usedforsecurity=False).digest())
        if checksum and digest.decode() != checksum:
            raise ValueError("its checksum is wrong")
        if (coding := header.get("conversions", "").lower()) not in _CBF_CODINGS:
            raise UserError(
                f"{path} is compressed by {as_line(coding)}, which is not read: write it anew with"
                f" {_BYTE_OFFSET}"
            )
        pixels = _cbf_pixels(header, coded)
    except UserError:
        raise
    except Exception as error:  # of any type: fabio trusts what a damaged file says
        raise _damaged(path, error) from None
    known = of_pilatus(str(header.get("_array_data.header_contents", "")))

    def frame(number: int) -> Pixels:
        return Pixels(as_bytes(pixels), "raw", pixels.dtype.str, pixels.shape)

    return PlainReader(_series(path, 1, known, config), 1, frame, time_ns=known.time_of_frame)


def open_fabio(path: Path, config: SourceConfig) -> RecordingReader:
    """Open a file of any other format that fabio reads.

    Raises
    ------
    UserError
        It is damaged, of no known format, or holds no frames.
    """
    try:
        import fabio
        from fabio.edfimage import EdfFrame, EdfImage
    except ImportError:
        raise _no_fabio(path) from None
    EdfFrame.get_data_rank = staticmethod(_edf_rank)
    reason = ""
    with warnings.catch_warnings():
        # fabio leaves the file open where it fails; it is closed before this block is left.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            image = fabio.open(str(path))
            n_frames = int(image.nframes)
            first = image.get_frame(0)
            header, shape, dtype = dict(first.header), first.shape, first.dtype
        except Exception as error:
            reason = one_line(error)
    if reason:
        raise UserError(f"{path} cannot be read by fabio: {reason}")
    try:
        check_frames(str(path), shape, dtype, (2,))
        known = of_keys(header, "m" if isinstance(image, EdfImage) else "angstrom")
    except UserError:
        image.close()
        raise

    def read(frame: int) -> Pixels | str:
        try:
            # A copy, or the image keeps the pixels of all frames that were ever read.
            found = copy(image.get_frame(frame))
            pixels = np.asarray(found.data)
            check_frames(path.name, pixels.shape, pixels.dtype, (2,))
        except Exception as error:
            return f"{path.name}: frame {frame} cannot be read ({one_line(error)})"
        if getattr(found, "incomplete_data", False):
            return f"{path.name}: frame {frame} is cut off"
        rows, cols = (int(size) for size in pixels.shape)
        return Pixels(as_bytes(pixels), "raw", pixels.dtype.str, (rows, cols))

    def time_ns(frame: int) -> int | None:
        own = of_keys(image.get_frame(frame).header).start_ns if frame else None
        return known.time_of_frame(frame) if own is None else own

    start = read(0)
    if isinstance(start, str):
        image.close()
        raise UserError(f"{path} is truncated ({start}): copy it again")

    def coded(frame: int) -> Pixels | str:
        return start if frame == 0 else read(frame)

    series = _series(path, n_frames, known, config)
    return PlainReader(series, n_frames, coded, time_ns=time_ns, close=image.close)


def _bytes(path: Path) -> bytes:
    """Return the content of a file that may be compressed as a whole."""
    with path.open("rb") as file:
        start = file.read(3)
    if start != b"BZh" and not start.startswith(b"\x1f\x8b"):
        return path.read_bytes()
    with bz2.open(path) if start == b"BZh" else gzip.open(path) as packed:
        data: bytes = packed.read(MAX_FRAME_BYTES + 1)
    if len(data) > MAX_FRAME_BYTES:
        raise ValueError(f"more than {MAX_FRAME_BYTES} bytes when it is unpacked")
    return data


def _check_cbf(data: bytes) -> None:
    """Check what fabio would look for without end: the header of the pixels, and their start.

    Raises
    ------
    ValueError
        They are not there.
    """
    section = data.find(b"--CIF-BINARY-FORMAT-SECTION--")
    if section < 0 or data.find(b"\x0c\x1a\x04\xd5", section) < 0:
        raise ValueError("truncated in its header")


def _edf_rank(header: Any = None, capsHeader: Any = None) -> int:  # noqa: N803
    """Return how many axes a frame of an EDF file has.

    In fabio's own answer, which this stands for, a damaged ``Dim_2`` makes a thousand million axes.

    Raises
    ------
    ValueError
        They are more than an array can have.
    """
    names = {key.upper() for key in header or {}} | set(capsHeader or {})
    axes = [name[4:] for name in names if re.fullmatch(r"DIM_[0-9]+", name)]
    if any(len(axis) > 4 or int(axis) > _MOST_AXES for axis in axes):
        raise ValueError(f"more than {_MOST_AXES} axes")
    return max(map(int, axes), default=0)


def _cbf_dtype(header: Any) -> np.dtype[Any]:
    words = str(header.get("X-Binary-Element-Type", "")).split()
    if len(words) > 2 and words[2] == "real":
        return np.dtype(np.float64 if words[1].startswith("64") else np.float32)
    if len(words) == 3 and words[1].removesuffix("-bit") in ("8", "16", "32", "64"):
        sign = "u" if words[0] == "unsigned" else ""
        return np.dtype(f"{sign}int{words[1].removesuffix('-bit')}")
    return np.dtype(np.int32)


def _cbf_pixels(header: Any, coded: bytes) -> NDArray[Any]:
    """Return the pixels of a CBF file.

    Raises
    ------
    ValueError
        The header contradicts itself, or what is there.
    """
    from fabio.compression import decByteOffset

    rows = int(header["X-Binary-Size-Second-Dimension"])
    cols = int(header["X-Binary-Size-Fastest-Dimension"])
    said = int(header.get("X-Binary-Number-of-Elements", rows * cols))
    if min(rows, cols) < 1 or said != rows * cols:
        raise ValueError(f"{rows} x {cols} pixels, which are said to be {said}")
    if rows * cols > len(coded):  # a pixel takes a byte at least
        raise ValueError(f"{rows} x {cols} pixels in {len(coded)} bytes")
    dtype = _cbf_dtype(header)
    if header.get("conversions", "").lower() == _BYTE_OFFSET:
        pixels = decByteOffset(coded, size=rows * cols, dtype=dtype)
    else:
        is_big = header.get("X-Binary-Element-Byte-Order", "").upper() == "BIG_ENDIAN"
        pixels = np.frombuffer(coded, dtype.newbyteorder(">" if is_big else "<"), rows * cols)
    return np.ascontiguousarray(pixels, dtype).reshape(rows, cols)


def _series(path: Path, n_frames: int, known: HeaderMetadata, config: SourceConfig) -> Series:
    return Series(
        name=path.stem,
        taken=Taken(source=str(path)),
        n_frames=n_frames,
        frame_time_s=config.frame_time_s or known.frame_time_s,
        saturation=known.saturation,
        metadata=known.metadata,
    )


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or truncated ({one_line(error)}): copy it again")


def _no_fabio(path: Path) -> UserError:
    return UserError(
        f"{path} is read by a package that is not installed: pip install 'braggstream[formats]'"
    )
