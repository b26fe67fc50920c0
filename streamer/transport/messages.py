"""What travels between nodes: a msgpack header checked against its schema, then raw buffers.

A message is multipart: a topic (added by `streamer.transport.publisher`), one header, the header's
buffers. The headers below *are* the schema; `unpack` refuses what does not fit.
"""

from __future__ import annotations

from typing import Any, Literal

import msgpack
import msgspec
import zmq

from streamer.frames.events import Buffer
from streamer.frames.peaks import PEAK, POSITION

__all__ = [
    "EPOCH",
    "Acks",
    "CodedFrame",
    "FramePeaks",
    "Frames",
    "Header",
    "MessageError",
    "Patches",
    "Positions",
    "Record",
    "Records",
    "SeriesHeader",
    "Status",
    "pack",
    "unpack",
]

EPOCH = 1 << 40
"""Sequence numbers of an ingest node that was started again on a live stream begin at the next
multiple: what its predecessor had in hand is not waited for."""


class MessageError(ValueError):
    """A message that does not fit its schema; the text says where."""


class SeriesHeader(msgspec.Struct, tag="series", tag_field="kind", frozen=True):
    """A series begins. Buffers: the pixel mask (bool), the flat field (float32), each if there."""

    name: str
    first_seq: int = 0
    """No frame of the series has a smaller number."""
    n_frames: int | None = None
    frame_time_s: float | None = None
    saturation: float | None = None
    mask_shape: tuple[int, int] | None = None
    flatfield_shape: tuple[int, int] | None = None
    metadata: dict[str, Any] = {}

    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        sizes = []
        if self.mask_shape:
            sizes.append(self.mask_shape[0] * self.mask_shape[1])
        if self.flatfield_shape:
            sizes.append(self.flatfield_shape[0] * self.flatfield_shape[1] * 4)
        return sizes


class CodedFrame(msgspec.Struct, array_like=True, frozen=True):
    """One frame of a `Frames` message."""

    seq: int
    """Number in the stream of this run; what is acknowledged."""
    series: str
    frame: int
    time_ns: int
    received_ns: int
    """When the ingest node took it, Unix time in ns."""
    shape: tuple[int, int]
    dtype: str
    encoding: str


class Frames(msgspec.Struct, tag="frames", tag_field="kind", frozen=True):
    """Ingest to detector workers. Buffers: the coded pixels of each frame."""

    frames: list[CodedFrame]

    def sizes(self) -> list[int | None]:
        """Bytes of each buffer; None where only decoding can tell."""
        return [None] * len(self.frames)


class FramePeaks(msgspec.Struct, array_like=True, frozen=True):
    """What is known of one frame of a `Patches` or `Positions` message."""

    seq: int
    series: str
    frame: int
    time_ns: int
    received_ns: int
    n_peaks: int
    reason: str = ""
    """Why the frame failed; empty when it did not."""


class Patches(msgspec.Struct, tag="patches", tag_field="kind", frozen=True):
    """Detector worker to GPU workers.

    Buffers: PEAK[n], patches float32[n, size, size], valid bool[n, size, size], the peaks of all
    frames one after the other.
    """

    frames: list[FramePeaks]
    size: int

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


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A fact about frames that bring no result: `count` of them, from number `first`."""

    seq: int
    series: str
    state: Literal["missing", "shed", "failed", "end"]
    first: int
    count: int
    time_ns: int
    reason: str


class Records(msgspec.Struct, tag="records", tag_field="kind", frozen=True):
    """Ingest to sink. No buffers."""

    records: list[Record]

    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        return []


class Acks(msgspec.Struct, tag="acks", tag_field="kind", frozen=True):
    """Sink to everyone. No buffers."""

    upto: int
    """Every number below is on disk."""
    received: list[int]
    """Arrived at the sink since the last message; on disk soon."""
    failed: list[tuple[int, str]]
    """Those of `received` whose frame failed, and why."""

    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        return []


class Status(msgspec.Struct, tag="status", tag_field="kind", frozen=True):
    """Any node to the supervisor, a few times a second. No buffers."""

    node: str
    pid: int
    state: Literal["starting", "running", "draining", "done"]
    doing: str
    """A few plain words."""
    metrics_port: int
    stats: dict[str, float]
    info: dict[str, str] = {}

    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        return []


Header = SeriesHeader | Frames | Patches | Positions | Records | Acks | Status


def pack(header: Header, *buffers: Buffer) -> list[Buffer]:
    """Return the parts of a message."""
    return [msgpack.packb(msgspec.to_builtins(header)), *buffers]


def unpack(parts: list[Any]) -> tuple[Header, list[memoryview]]:
    """Check the parts of a message and return its header and buffers, not copied.

    Raises
    ------
    MessageError
        The parts do not fit the schema.
    """
    if not parts:
        raise MessageError("a message without parts")
    views = [memoryview(part.buffer if isinstance(part, zmq.Frame) else part) for part in parts]
    try:
        header: Header = msgspec.convert(msgpack.unpackb(views[0]), Header)
        sizes = header.sizes()
    except (msgspec.ValidationError, ValueError, TypeError, msgpack.UnpackException) as error:
        raise MessageError(f"header does not fit: {error}") from None
    buffers = views[1:]
    if len(buffers) != len(sizes):
        raise MessageError(f"{len(buffers)} buffers where {len(sizes)} are announced")
    for buffer, size in zip(buffers, sizes, strict=True):
        if size is not None and buffer.nbytes != size:
            raise MessageError(f"a buffer of {buffer.nbytes} bytes where {size} are announced")
    return header, buffers
