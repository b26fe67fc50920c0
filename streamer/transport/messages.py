"""What travels between nodes: a msgpack header checked against its schema, then raw buffers.

A message is multipart: a topic (added by `streamer.transport.publisher`), one header, the header's
buffers. The headers below and the records of `streamer.frames.events` *are* the schema; `unpack`
refuses what does not fit.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
import zmq
from msgspec.structs import replace
from numpy.typing import NDArray

from streamer.frames.events import (
    NOTHING,
    WIRE_VERSION,
    Buffer,
    Frame,
    Gap,
    Int64,
    Series,
    SeriesEnd,
)
from streamer.frames.peaks import PEAK, POSITION
from streamer.frames.pixels import MAX_FRAME_BYTES, as_bytes

__all__ = [
    "EPOCH",
    "Acks",
    "FramePeaks",
    "Frames",
    "Header",
    "MessageError",
    "Patches",
    "Positions",
    "Status",
    "ThresholdChange",
    "Thresholds",
    "VersionError",
    "pack",
    "unpack",
]

EPOCH = 1 << 40
"""Sequence numbers of an ingest node that was started again on a live stream begin at the next
multiple: what its predecessor had in hand is not waited for."""


Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class MessageError(ValueError):
    """A message that does not fit its schema; the text says where."""


class VersionError(MessageError):
    """A message of a peer of another version."""


class Frames(msgspec.Struct, tag="frames", tag_field="kind", frozen=True):
    """Ingest to detector workers: several frames at once."""

    frames: list[Frame]


class FramePeaks(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is known of one frame of a `Patches` or `Positions` message."""

    seq: Int64
    series: str
    frame: Int64
    time_ns: Int64
    received_ns: Int64
    n_peaks: Count
    reason: str = ""
    """Why the frame failed; empty when it did not."""


class ThresholdChange(msgspec.Struct, array_like=True, frozen=True):
    """Both thresholds from a frame on."""

    first_seq: Int64
    minval: float | Literal["auto"]
    minscore: float | Literal["auto"]


class Thresholds(msgspec.Struct, tag="thresholds", tag_field="kind", frozen=True):
    """Ingest to detector workers: how thresholds were changed since the run began. No buffers."""

    changes: list[ThresholdChange]
    """In the order of the frames."""


class Patches(msgspec.Struct, tag="patches", tag_field="kind", frozen=True):
    """Detector worker to GPU workers.

    Buffers: PEAK[n], patches float32[n, size, size], valid bool[n, size, size], the peaks of all
    frames one after the other.
    """

    frames: list[FramePeaks]
    size: Annotated[int, msgspec.Meta(ge=1, le=1 << 12)]

    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        n = sum(frame.n_peaks for frame in self.frames)
        pixels = n * self.size * self.size
        return [n * PEAK.itemsize, pixels * 4, pixels]


class Positions(msgspec.Struct, tag="positions", tag_field="kind", frozen=True):
    """GPU worker to sink. Buffers: PEAK[n], POSITION[n]."""

    frames: list[FramePeaks]

    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        n = sum(frame.n_peaks for frame in self.frames)
        return [n * PEAK.itemsize, n * POSITION.itemsize]


class Acks(msgspec.Struct, tag="acks", tag_field="kind", frozen=True):
    """Sink to everyone. No buffers."""

    upto: Int64
    """Every number below is on disk."""
    received: list[Int64]
    """Arrived at the sink since the last message; on disk soon."""
    failed: list[tuple[Int64, str]]
    """Those of `received` whose frame failed, and why."""
    sink: str = ""
    """Which sink says so; its successor has another name."""


State = Literal["starting", "running", "draining", "done"]
"""How far a node has come."""


class Status(msgspec.Struct, tag="status", tag_field="kind", frozen=True):
    """Any node to the supervisor, a few times a second. No buffers."""

    node: str
    pid: int
    state: State
    doing: str
    """A few plain words."""
    metrics_port: int
    stats: dict[str, float]
    info: dict[str, str] = {}
    incarnation: int = 0
    host: str = ""
    """Where it runs, if that is not where the launcher does."""


Header = (
    Series | Frame | Frames | Gap | SeriesEnd | Patches | Positions | Acks | Status | Thresholds
)


class _Version(msgspec.Struct):
    """What is read of a header that may be of another version."""

    kind: str = ""
    wire_version: int = 1


def pack(header: Header, *buffers: Buffer) -> list[Buffer]:
    """Return the parts of a message; a record's own pixels and images become buffers, not copied.

    Raises
    ------
    MessageError
        The header holds what msgpack cannot: integers of more than 64 bits, half a character.
    TypeError
        What a series says of itself is no plain msgpack type.
    """
    own: list[Buffer] = []
    if isinstance(header, Series):
        own = [as_bytes(image) for image in _images(header).values()]
    elif isinstance(header, Frame):
        own = [header.data]
        header = replace(header, data=NOTHING)
    elif isinstance(header, Frames):
        own = [frame.data for frame in header.frames]
        header = Frames([replace(frame, data=NOTHING) for frame in header.frames])
    try:
        return [_ENCODER.encode(header), *own, *buffers]
    except (OverflowError, UnicodeError, RecursionError) as error:
        raise MessageError(f"header cannot be sent: {error}") from None


def unpack(parts: list[Any]) -> tuple[Header, list[memoryview]]:
    """Check the parts of a message and return its header and buffers, not copied.

    A series has its images back and a frame its pixels; their buffers are not returned.

    Raises
    ------
    VersionError
        A series was sent by a peer of another version.
    MessageError
        The parts do not fit the schema.
    """
    if not parts:
        raise MessageError("a message without parts")
    views = [memoryview(part.buffer if isinstance(part, zmq.Frame) else part) for part in parts]
    try:
        header = _DECODER.decode(views[0])
    except Exception as error:  # of any type: what is made of it trusts what it says
        _check_version(views[0])
        raise MessageError(f"header does not fit: {error}") from None
    if isinstance(header, Series):
        _check_version(views[0])
    sizes, buffers = _sizes(header), views[1:]
    if len(buffers) != len(sizes):
        raise MessageError(f"{len(buffers)} buffers where {len(sizes)} are announced")
    for buffer, size in zip(buffers, sizes, strict=True):
        if size is not None and buffer.nbytes != size:
            raise MessageError(f"a buffer of {buffer.nbytes} bytes where {size} are announced")
    if isinstance(header, Series):
        images = zip(_images(header).items(), buffers, strict=True)
        whole = {name: np.frombuffer(b, i.dtype).reshape(i.shape) for (name, i), b in images}
        return replace(header, **whole), []
    if isinstance(header, Frame):
        return replace(header, data=buffers[0]), []
    if isinstance(header, Frames):
        pairs = zip(header.frames, buffers, strict=True)
        return Frames([replace(frame, data=data) for frame, data in pairs]), []
    return header, buffers


def _images(series: Series) -> dict[str, NDArray[Any]]:
    """Return the images of a series by field, in the order of their buffers."""
    images = {"pixel_mask": series.pixel_mask, "flatfield": series.flatfield}
    return {name: image for name, image in images.items() if image is not None}


def _sizes(header: Header) -> list[int] | list[None]:
    """Return the bytes of each buffer; None where only decoding can tell."""
    if isinstance(header, Frame | Frames):
        return [None] * (1 if isinstance(header, Frame) else len(header.frames))
    if isinstance(header, Series):
        return [image.nbytes for image in _images(header).values()]
    return header.sizes() if isinstance(header, Patches | Positions) else []


def _shape(image: Any) -> list[int]:
    """Return what stands for an image in a header."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{type(image).__name__} is no plain msgpack type")
    return list(image.shape)


def _of_shape(kind: Any, shape: Any) -> NDArray[Any]:
    """Return an image, of which only shape and dtype count; `kind` is ``NDArray[...]``."""
    rows, cols = shape
    if min(rows, cols) < 1 or rows * cols > MAX_FRAME_BYTES:
        raise ValueError(f"no shape of an image: {shape}")
    dtype = get_args(get_args(kind)[1])[0]
    return np.broadcast_to(np.zeros((), dtype), (rows, cols))


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_shape)
_DECODER: msgspec.msgpack.Decoder[Header] = msgspec.msgpack.Decoder(Header, dec_hook=_of_shape)
_NOT_READABLE = (msgspec.DecodeError, ValueError, RecursionError)


def _check_version(header: memoryview) -> None:
    """Refuse a series of another version, also where it happens to fit."""
    try:
        said = msgspec.msgpack.decode(header, type=_Version)
    except _NOT_READABLE:
        return
    if said.kind == "series" and said.wire_version != WIRE_VERSION:
        raise VersionError(
            f"a peer speaks version {said.wire_version} of the messages, here it is"
            f" {WIRE_VERSION}: install the same braggstream at both ends"
        )
