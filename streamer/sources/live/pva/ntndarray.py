"""Images as EPICS areaDetector sends them: the normative type NTNDArray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamer.errors import UserError
from streamer.frames.events import Pixels
from streamer.frames.metadata import plain
from streamer.frames.pixels import as_bytes, is_pixels

__all__ = ["coded_pixels", "exposed_ns", "holds_image", "is_doubtful", "metadata", "size_bytes"]

_ENCODINGS = {
    "": "raw",
    "jpeg": "jpeg",
    "zlib": "zlib",
    "blosc": "blosc",
    "lz4": "lz4",
    "lz4hdf5": "lz4",
    "bslz4": "bslz4",
}
# The numbers of pvData's ScalarType; what was compressed has the byte order of its sender, and all
# that are left are little-endian.
_SCALAR_TYPES = {
    0: "|u1",
    1: "|i1",
    2: "<i2",
    3: "<i4",
    4: "<i8",
    5: "|u1",
    6: "<u2",
    7: "<u4",
    8: "<u8",
    9: "<f4",
    10: "<f8",
}
# The numbers that ADCore's NDPluginPvxs wrote in their place: those of areaDetector's NDDataType.
_ND_TYPES = {
    0: "|i1",
    1: "|u1",
    2: "<i2",
    3: "<u2",
    4: "<i4",
    5: "<u4",
    6: "<i8",
    7: "<u8",
    8: "<f4",
    9: "<f8",
}
_BYTES = {"int8": "|i1", "uint8": "|u1"}
_YEAR_2000_NS = 946_684_800_000_000_000
_LONGEST = 64
"""Numbers in an attribute that is kept."""


def holds_image(value: Any) -> bool:
    """Tell whether an update has pixels; a channel that has never had any gives one without."""
    return value.value is not None and len(value.dimension) > 0


def size_bytes(value: Any) -> int:
    """Return the bytes of the pixels as they are sent, 0 when that is not said."""
    return max(0, int(value.compressedSize) or int(value.uncompressedSize))


def exposed_ns(value: Any) -> int | None:
    """Return the time of an image as Unix time in ns; None when it is not said.

    That is `dataTimeStamp`, or `timeStamp` when the former is that of a detector with a clock of
    its own, which counts from another day than EPICS, or is not set.
    """
    for stamp in (value.get("dataTimeStamp"), value.get("timeStamp")):
        if stamp is None:
            continue
        time_ns = int(stamp.secondsPastEpoch) * 1_000_000_000 + int(stamp.nanoseconds)
        if _YEAR_2000_NS <= time_ns < 1 << 63:
            return time_ns
    return None


def coded_pixels(value: Any, bytes_are: str = "int8") -> Pixels:
    """Return the pixels of an update, not decoded and not copied.

    Parameters
    ----------
    bytes_are
        ``int8`` or ``uint8`` where compressed pixels of a byte may be either: number 1 is the
        former in pvData's count of types and the latter in areaDetector's, and both are sent, see
        `is_doubtful`.

    Raises
    ------
    ValueError
        What the update says does not fit together.
    UserError
        It holds what no setting here can read; how to set the sender.
    """
    shape = _shape(value)
    codec = str(value.codec.name)
    if codec not in _ENCODINGS:
        known = ", ".join(name for name in _ENCODINGS if name)
        raise UserError(
            f"images are compressed with {codec!r}, which is not supported:"
            f" set the compressor to one of {known}, or to none"
        )
    array = np.asarray(value.value)
    if not codec:
        dtype = np.dtype(np.uint8) if array.dtype == np.bool_ else array.dtype
    else:
        dtype = _original_dtype(value, shape, bytes_are)
    if not is_pixels(dtype):
        raise ValueError(f"pixels of type {dtype}")
    n_bytes = shape[0] * shape[1] * dtype.itemsize
    data = as_bytes(array)
    if codec:
        data = _without_padding(value, data, n_bytes)
    elif len(data) != n_bytes:
        raise ValueError(f"{len(data)} bytes of pixels instead of {n_bytes}")
    return Pixels(data, _ENCODINGS[codec], dtype.str, shape)


def metadata(value: Any) -> dict[str, Any]:
    """Return what an update says beside its pixels, as plain types."""
    axes = value.dimension[1::-1]  # rows, then cols
    said: dict[str, Any] = {
        "codec": str(value.codec.name) or "none",
        "offset": [int(axis.offset) for axis in axes],
        "binning": [int(axis.binning) for axis in axes],
        "attributes": {},
    }
    for attribute in value.attribute:
        content = _plain(attribute.value)
        if content is not None:
            said["attributes"][str(attribute.name)] = content
    return said


def _shape(value: Any) -> tuple[int, int]:
    """Return (rows, cols); the fastest axis comes first."""
    sizes = [int(axis.size) for axis in value.dimension]
    while len(sizes) > 2 and sizes[-1] == 1:  # an axis of one image
        sizes.pop()
    if len(sizes) != 2:
        several = ""
        if len(sizes) == 3:
            several = ": set its colour mode to mono"
            if 3 not in sizes:
                several = ": name the channel of one image, not of several put together"
        raise UserError(
            f"images have {len(sizes)} axes ({' x '.join(map(str, sizes))}),"
            f" frames of a detector have 2{several}"
        )
    cols, rows = sizes
    if min(rows, cols) < 1:
        raise ValueError(f"an image of {rows} x {cols}")
    return rows, cols


def is_doubtful(value: Any) -> bool:
    """Tell whether the type of an update's pixels is one of two, `coded_pixels` taking one."""
    return bool(str(value.codec.name)) and _plain(value.codec.parameters) == 1


def _original_dtype(value: Any, shape: tuple[int, int], bytes_are: str) -> np.dtype[Any]:
    """Return the type of the pixels before they were compressed.

    The size that is declared tells which count of types the sender has.
    """
    number = _plain(value.codec.parameters)
    if type(number) is not int or number not in _SCALAR_TYPES:
        raise ValueError(f"codec parameters {number!r} are no type of pixels")
    dtype = np.dtype(_SCALAR_TYPES[number])
    if number == 1:
        return np.dtype(_BYTES[bytes_are])
    n_bytes = int(value.uncompressedSize)
    other = np.dtype(_ND_TYPES.get(number, _SCALAR_TYPES[number]))
    fits_other = n_bytes == shape[0] * shape[1] * other.itemsize
    return other if fits_other and other.itemsize != dtype.itemsize else dtype


def _without_padding(value: Any, data: memoryview, n_bytes: int) -> memoryview:
    """Check the sizes that are declared and return the coded bytes alone."""
    coded, decoded = int(value.compressedSize), int(value.uncompressedSize)
    if decoded not in (0, n_bytes):
        raise ValueError(f"{decoded} bytes are declared instead of {n_bytes}")
    if not data or coded > len(data) or coded < 0:
        raise ValueError(f"{len(data)} coded bytes instead of {coded}")
    return data[: coded or None]


def _plain(content: Any) -> Any:
    """Turn the value of an attribute into plain types; None for what cannot be kept."""
    if isinstance(content, np.ndarray):
        content = content.tolist()
    elif not isinstance(content, Mapping) and hasattr(content, "todict"):
        content = content.todict()
    if isinstance(content, Mapping) and "value" in content:  # a scalar with its time and alarm
        return _plain(content["value"])
    return plain(content, _LONGEST) if isinstance(content, list) else plain(content)
