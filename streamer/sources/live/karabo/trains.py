"""Messages of the Karabo bridge: what was measured with one X-ray train.

Version 1.0 of the protocol is one msgpack map of sources. From 2.0 on a message is pairs of parts,
a msgpack header and what it describes: a map of values, or the raw numbers of one array. The
versions differ in where the number and the time of the train stand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
import zmq

from streamer.frames.metadata import unix_ns
from streamer.frames.pixels import dtype_named

__all__ = ["PickledError", "Train", "TrainArray", "parse_train"]

_FLAT = "metadata."
_MOST_AXES = 32
_NS_AS = 1_000_000_000  # attoseconds in a nanosecond


class PickledError(ValueError):
    """The message is a Python pickle, which is never unpickled: it could run any program."""


@dataclass(frozen=True, slots=True)
class TrainArray:
    """Numbers in C order, not copied where the protocol allows that."""

    data: zmq.Frame | bytes
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """True when there are as many bytes as the shape says."""
        return len(self.data) == math.prod(self.shape) * self.dtype.itemsize

    @property
    def buffer(self) -> memoryview:
        """The bytes of the numbers."""
        data = self.data.buffer if isinstance(self.data, zmq.Frame) else self.data
        return memoryview(data)

    def part(self, index: int) -> TrainArray | None:
        """Return what lies at a place on the first axis; None where there is no such place."""
        if not self.shape or index >= self.shape[0] or not self.is_whole:
            return None
        size = len(self.data) // self.shape[0]
        data = bytes(self.buffer[index * size : (index + 1) * size])
        return TrainArray(data, self.dtype, self.shape[1:])

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} {self.dtype.name}"


@dataclass(slots=True)
class Train:
    """What sources sent for one train."""

    version: str = "2"
    """Of the protocol, as far as it can be told."""
    arrays: dict[tuple[str, str], TrainArray] = field(default_factory=dict)
    """By source and path."""
    values: dict[str, dict[Any, Any]] = field(default_factory=dict)
    """What is no array, by source."""
    metadata: dict[str, dict[Any, Any]] = field(default_factory=dict)
    """Number and time, by source."""

    def number(self, source: str) -> int | None:
        """Return the number of the train, None when the source does not say."""
        return _integer(self.metadata.get(source, {}).get("timestamp.tid"))

    def time_ns(self, source: str) -> int | None:
        """Return the time of the train as Unix time in ns, None when the source does not say.

        It is sent as whole seconds and attoseconds, so that nothing is lost in a float.
        """
        says = self.metadata.get(source, {})
        seconds, attoseconds = (_integer(says.get(f"timestamp.{k}")) for k in ("sec", "frac"))
        if seconds is not None and attoseconds is not None:
            return unix_ns(seconds * 1_000_000_000 + attoseconds // _NS_AS) or None
        stamp = says.get("timestamp")
        return unix_ns(stamp * 1e9) or None if isinstance(stamp, int | float) else None


def parse_train(parts: Sequence[zmq.Frame]) -> Train:
    """Parse a message of any version of the protocol.

    Raises
    ------
    PickledError
        It was pickled.
    ValueError
        It cannot be read.
    """
    if _is_pickled(parts[0]):
        raise PickledError("a pickle")
    if len(parts) == 1:
        return _parse_map(parts[0])
    if len(parts) % 2:
        raise ValueError(f"{len(parts)} parts, which are no pairs")
    train = Train()
    for part, content in zip(parts[::2], parts[1::2], strict=True):
        header = _unpack(part)
        source, kind = _word(header.get("source")), header.get("content")
        if kind == "msgpack":
            _add_values(train, source, header, _unpack(content))
        elif kind in ("array", "ImageData"):
            dtype, shape = _dtype(header.get("dtype")), _shape(header.get("shape"))
            if dtype is not None and shape is not None:
                train.arrays[source, _word(header.get("path"))] = TrainArray(content, dtype, shape)
    return train


def _add_values(train: Train, source: str, header: dict[Any, Any], values: dict[Any, Any]) -> None:
    """Take the values of a source; only from version 2.2 on does their header hold the time."""
    inside = values.pop("metadata", None)
    flat = {key: values.pop(key) for key in list(values) if str(key).startswith(_FLAT)}
    if isinstance(header.get("metadata"), dict):
        train.version, metadata = "2.2", header["metadata"]
    elif isinstance(inside, dict):
        train.version, metadata = "2.0", inside
    elif flat:
        train.version = "2.1"
        metadata = {key.removeprefix(_FLAT): value for key, value in flat.items()}
    else:
        metadata = {}
    train.values[source] = values
    train.metadata[source] = metadata


def _parse_map(part: zmq.Frame) -> Train:
    train = Train(version="1.0")
    for source, says in _unpack(part).items():
        if not isinstance(says, dict):
            continue
        values = {}
        for path, value in says.items():
            array = _numpy_array(value)
            if array is None:
                values[path] = value
            else:
                train.arrays[_word(source), _word(path)] = array
        metadata = values.pop("metadata", None)
        train.values[_word(source)] = values
        train.metadata[_word(source)] = metadata if isinstance(metadata, dict) else {}
    return train


def _numpy_array(value: object) -> TrainArray | None:
    """Read the map that msgpack-numpy makes of an array; one of objects holds a pickle."""
    if not isinstance(value, dict) or value.get(b"nd") is not True:
        return None
    dtype, shape, data = _dtype(value.get(b"type")), _shape(value.get(b"shape")), value.get(b"data")
    if dtype is None or shape is None or not isinstance(data, bytes):
        return None
    return TrainArray(data, dtype, shape)


def _unpack(part: zmq.Frame) -> dict[Any, Any]:
    if _is_pickled(part):
        raise PickledError("a pickle")
    try:
        content = msgpack.unpackb(part.buffer, strict_map_key=False)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError("not msgpack") from None
    if not isinstance(content, dict):
        raise ValueError(f"a msgpack {type(content).__name__}, not a map")
    return content


def _is_pickled(part: zmq.Frame) -> bool:
    """Tell a pickle by its first two bytes: in msgpack the first would be an empty map."""
    start = bytes(part.buffer[:2])
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def _word(name: object) -> str:
    """Return what a source or a path is called; what is no name is not told from others."""
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return name if isinstance(name, str) else f"({type(name).__name__})"


def _integer(value: object) -> int | None:
    """Return an integer that may be sent as text, or as a scalar of numpy's."""
    if isinstance(value, dict) and value.get(b"nd") is False:
        dtype, data = _dtype(value.get(b"type")), value.get(b"data")
        if dtype is None or dtype.kind not in "iu" or not isinstance(data, bytes):
            return None
        return int(np.frombuffer(data, dtype, 1)[0]) if len(data) == dtype.itemsize else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 19:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _dtype(name: object) -> np.dtype[Any] | None:
    """Return the type of an array; None when it is not plain numbers."""
    dtype = dtype_named(name)
    return dtype if dtype is not None and dtype.kind in "biufc" else None


def _shape(sizes: object) -> tuple[int, ...] | None:
    """Return the sizes of an array, without what says nothing: an axis of one module."""
    if not isinstance(sizes, list | tuple) or len(sizes) > _MOST_AXES:
        return None
    if any(type(n) is not int or n < 0 for n in sizes):
        return None
    shape = list(sizes)
    while len(shape) > 3 and 1 in shape:
        shape.remove(1)
    return tuple(shape)
