"""CBOR messages of detectors: typed arrays and compressed pixels, which stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

__all__ = ["Array", "Compressed", "parse"]

_SELF_DESCRIBED = 55799
_COMPRESSED = 56500
_ROW_MAJOR, _COLUMN_MAJOR = 40, 1040
# RFC 8746, without the 16-byte floats.
_DTYPES = {
    64: "|u1",
    65: ">u2",
    66: ">u4",
    67: ">u8",
    68: "|u1",
    69: "<u2",
    70: "<u4",
    71: "<u8",
    72: "|i1",
    73: ">i2",
    74: ">i4",
    75: ">i8",
    77: "<i2",
    78: "<i4",
    79: "<i8",
    80: ">f2",
    81: ">f4",
    82: ">f8",
    84: "<f2",
    85: "<f4",
    86: "<f8",
}


@dataclass(frozen=True, slots=True)
class Compressed:
    """A byte string that is not decompressed (tag 56500)."""

    algorithm: str
    item_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Array:
    """A typed array, of one axis or of several, that is not decoded."""

    dtype: str
    """numpy dtype string with byte order."""
    data: bytes | Compressed
    shape: tuple[int, ...] | None = None
    """None for a list of numbers of unknown length."""
    column_major: bool = False


def parse(message: bytes) -> Mapping[str, Any]:
    """Parse a message that is a map.

    Tags that do not hold what they should are left as `cbor2.CBORTag`, so that one damaged entry
    does not take the others with it.

    Raises
    ------
    ValueError
        The message is not CBOR or not a map.
    """
    try:
        content = cbor2.loads(message, tag_hook=_convert)
    # cbor2 lets errors of its own tag decoders through, and they are of many types.
    except Exception as error:
        raise ValueError(f"not CBOR: {error}") from None
    if isinstance(content, cbor2.CBORTag) and content.tag == _SELF_DESCRIBED:
        content = content.value
    if not isinstance(content, Mapping):
        raise ValueError(f"a CBOR {type(content).__name__}, not a map")
    return content


def _convert(first: Any, second: Any) -> Any:
    """Convert a tag; cbor2 gives it as the second argument before version 6, then as the first."""
    tag: cbor2.CBORTag = first if isinstance(first, cbor2.CBORTag) else second
    number, value = tag.tag, tag.value
    if number == _SELF_DESCRIBED:
        return value
    if number == _COMPRESSED and _is_sequence(value, 3):
        algorithm, item_bytes, data = value
        if isinstance(algorithm, str) and isinstance(item_bytes, int) and isinstance(data, bytes):
            return Compressed(algorithm, item_bytes, data)
    elif number in _DTYPES and isinstance(value, bytes | Compressed):
        return Array(_DTYPES[number], value)
    elif number in (_ROW_MAJOR, _COLUMN_MAJOR) and _is_sequence(value, 2):
        shape, array = value
        if (
            isinstance(array, Array)
            and array.shape is None
            and isinstance(shape, list | tuple)
            and all(type(size) is int and size > 0 for size in shape)
        ):
            return Array(array.dtype, array.data, tuple(shape), number == _COLUMN_MAJOR)
    return tag


def _is_sequence(value: object, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length
