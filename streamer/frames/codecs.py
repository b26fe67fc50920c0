"""Decoding of the pixels of one frame, as detectors and files code them.

Coded pixels come from a network or a file, so every size they declare is compared with the frame
they belong to before a byte is decoded.
"""

from __future__ import annotations

import io
import math
import zlib
from functools import cache
from typing import Any

import numpy as np
import zmq
from dectris.compression import decompress
from numpy.typing import NDArray

from streamer.errors import as_line
from streamer.frames.pixels import MAX_FRAME_BYTES, dtype_named, is_pixels

__all__ = ["ENCODINGS", "MAX_FRAME_BYTES", "DecodeError", "decode", "with_header"]

ENCODINGS = ("raw", "bslz4", "bszstd", "lz4", "zlib", "blosc", "jpeg")
"""Codings that `decode` knows.

``raw`` is C-ordered pixels. ``bslz4``, ``bszstd`` and ``lz4`` are framed as HDF5's filters frame a
chunk: bitshuffle with LZ4 or Zstandard (filter 32008) and LZ4 (filter 32004). ``bslz4`` and ``lz4``
may lack the 12-byte header, as some senders strip it. ``zlib`` is one zlib stream, ``blosc`` one
buffer of Blosc 1 with any of its compressors, ``jpeg`` a grey image of 8 bits.
"""

_HEADER_BYTES = 12
_BLOSC_HEADER_BYTES = 16
_SHUFFLE_BLOCK_BYTES = 8192


class DecodeError(ValueError):
    """Coded pixels do not fit their frame; the text is one line that says what did not fit."""

    def __init__(self, text: str) -> None:
        super().__init__(as_line(text))


def decode(
    data: bytes | bytearray | memoryview | zmq.Frame,
    encoding: str,
    dtype: str,
    shape: tuple[int, int],
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Decode the pixels of one frame.

    Parameters
    ----------
    data
        The coded pixels.
    encoding
        One of `ENCODINGS`.
    dtype
        numpy dtype string of a pixel as coded, with byte order: integers or floats of up to 8
        bytes.
    shape
        (rows, cols).
    out
        (rows, cols) array to copy the pixels into, of any dtype that holds them all; None makes a
        new one without that copy.

    Returns
    -------
    pixels
        (rows, cols) in native byte order. Without `out` it is read-only and may share the memory of
        `data`: compressed pixels are written once, native raw ones are not copied at all.

    Raises
    ------
    DecodeError
        A size, type or coding does not fit, or the compressed bytes are damaged.
    """
    stored, n_bytes = _expect(dtype, shape)
    try:
        view = memoryview(data.buffer if isinstance(data, zmq.Frame) else data).cast("B")
    except TypeError:
        raise DecodeError(f"pixels must be contiguous bytes, not {type(data).__name__}") from None
    plain = view if encoding == "raw" else _decompress(view, encoding, stored, shape)
    if len(plain) != n_bytes:
        raise DecodeError(
            f"{encoding} pixels hold {len(plain)} bytes,"
            f" a {_describe(shape, dtype)} frame has {n_bytes}"
        )
    pixels: NDArray[Any] = np.frombuffer(plain, stored).reshape(shape)
    if out is not None:
        if out.shape != tuple(shape):
            raise DecodeError(f"out has shape {out.shape}, the frame {tuple(shape)}")
        try:
            np.copyto(out, pixels, casting="safe")
        except TypeError:
            raise DecodeError(f"out of dtype {out.dtype} cannot hold {dtype} pixels") from None
        return out
    if not stored.isnative:
        pixels = pixels.astype(stored.newbyteorder("="))
    pixels.flags.writeable = False
    return pixels


def with_header(
    data: memoryview, encoding: str, dtype: str, shape: tuple[int, int]
) -> bytes | memoryview:
    """Return coded pixels framed as HDF5 frames a chunk, with the header that a sender stripped.

    Parameters
    ----------
    data, encoding, dtype, shape
        As for `decode`.

    Raises
    ------
    DecodeError
        The pixels have no header, and none can be made that fits.
    """
    if encoding == "raw":
        return data
    _, n_bytes = _expect(dtype, shape)
    if int.from_bytes(data[:8], "big") == n_bytes and len(data) >= _HEADER_BYTES:
        return data
    return _add_header(data, encoding, n_bytes)


def _expect(dtype: str, shape: tuple[int, int]) -> tuple[np.dtype[Any], int]:
    """Return the dtype of a stored pixel and the bytes of a decoded frame."""
    stored = dtype_named(dtype)
    if stored is None:
        raise DecodeError(f"{dtype!r:.40} is not a dtype of pixels")
    if not is_pixels(stored):
        raise DecodeError(f"{dtype!r:.40} is not a dtype of pixels: integers or floats are")
    if len(shape) != 2 or min(shape) < 1:
        raise DecodeError(f"{tuple(shape)} is not a shape of (rows, cols)")
    n_bytes = int(shape[0]) * int(shape[1]) * stored.itemsize
    if n_bytes > MAX_FRAME_BYTES:
        raise DecodeError(
            f"a {_describe(shape, dtype)} frame has {n_bytes} bytes,"
            f" more than the limit of {MAX_FRAME_BYTES}"
        )
    return stored, n_bytes


def _decompress(
    view: memoryview, encoding: str, stored: np.dtype[Any], shape: tuple[int, int]
) -> bytes:
    if encoding not in ENCODINGS:
        raise DecodeError(f"unknown coding {encoding!r}; known are {', '.join(ENCODINGS)}")
    n_bytes = math.prod(shape) * stored.itemsize
    if encoding == "zlib":
        return _inflate(view, n_bytes)
    if encoding == "blosc":
        return _decode_blosc(view, n_bytes)
    if encoding == "jpeg":
        return _decode_jpeg(view, stored, shape)
    coded: bytes | memoryview = view
    if int.from_bytes(view[:8], "big") != n_bytes or len(view) < _HEADER_BYTES:
        coded = _add_header(view, encoding, n_bytes)
    try:
        plain: bytes = decompress(coded, encoding, elem_size=stored.itemsize)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise DecodeError(f"{encoding} pixels are damaged: {error}") from None
    return plain


def _add_header(view: memoryview, encoding: str, n_bytes: int) -> bytes:
    """Put before a stripped blob the header that the decoder wants.

    A stripped blob starts with a compressed size or an LZ4 token, neither of which can be four
    zero bytes; a size below 4 GiB in a header always is. So the two cannot be confused.
    """
    if len(view) < _HEADER_BYTES or bytes(view[:4]) == bytes(4):
        declared = f"declare {int.from_bytes(view[:8], 'big')}" if len(view) >= 8 else "are cut off"
        raise DecodeError(f"{encoding} pixels {declared}, the frame has {n_bytes} bytes")
    if encoding == "lz4":  # one block that spans the whole frame
        sizes = n_bytes.to_bytes(4, "big") + len(view).to_bytes(4, "big")
    elif encoding == "bslz4":
        sizes = _SHUFFLE_BLOCK_BYTES.to_bytes(4, "big")
    else:
        raise DecodeError(f"{encoding} pixels have no header that declares {n_bytes} bytes")
    return b"".join((n_bytes.to_bytes(8, "big"), sizes, view))


def _inflate(view: memoryview, n_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(view, n_bytes)
        longer = not stream.eof and bool(stream.decompress(stream.unconsumed_tail, 1))
    except zlib.error as error:
        raise DecodeError(f"zlib pixels are damaged: {error}") from None
    if longer:
        raise DecodeError(f"zlib pixels are more than the {n_bytes} bytes of the frame")
    if not stream.eof:
        raise DecodeError(f"zlib pixels are cut off after {len(plain)} of {n_bytes} bytes")
    return plain


def _decode_blosc(view: memoryview, n_bytes: int) -> bytes:
    if len(view) < _BLOSC_HEADER_BYTES:
        raise DecodeError(f"blosc pixels are cut off, the frame has {n_bytes} bytes")
    declared, coded = (int.from_bytes(view[at : at + 4], "little") for at in (4, 12))
    if declared != n_bytes:
        raise DecodeError(f"blosc pixels declare {declared}, the frame has {n_bytes} bytes")
    if not _BLOSC_HEADER_BYTES <= coded <= len(view):
        raise DecodeError(f"blosc pixels declare {coded} coded bytes, {len(view)} came")
    blosc = _blosc()
    try:
        plain: bytes = blosc.decompress(view[:coded])
    except Exception as error:  # its own error is of no common type
        raise DecodeError(f"blosc pixels are damaged: {error}") from None
    return plain


@cache
def _blosc() -> Any:
    try:
        import blosc
    except ImportError:
        raise DecodeError(
            "blosc pixels need one more package: pip install 'braggstream[pva]'"
        ) from None
    blosc.set_nthreads(1)  # there is a worker for each core
    return blosc


def _decode_jpeg(view: memoryview, stored: np.dtype[Any], shape: tuple[int, int]) -> bytes:
    try:
        from PIL import Image
    except ImportError:
        raise DecodeError(
            "jpeg pixels need one more package: pip install 'braggstream[pva]'"
        ) from None
    try:
        with Image.open(io.BytesIO(view), formats=("JPEG",)) as image:
            cols, rows = image.size
            fits = (rows, cols, image.mode, stored.itemsize) == (*shape, "L", 1)
            plain = image.tobytes() if fits else b""
    except Exception as error:  # Pillow lets through what its parsers raise, of any type
        raise DecodeError(f"jpeg pixels are damaged: {' '.join(str(error).split())}") from None
    if not fits:
        raise DecodeError(
            f"jpeg pixels are {rows} x {cols} of mode {image.mode},"
            f" the frame is {_describe(shape, stored.str)}"
        )
    return plain


def _describe(shape: tuple[int, int], dtype: str) -> str:
    return f"{shape[0]} x {shape[1]} {dtype}"
