"""What happens to a series of frames: its start, its frames, its gaps, its end.

Sources make these records, the ingest node numbers them, and they travel as they are: each record
is a header of `streamer.transport.messages`, with pixels and images in buffers behind it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

__all__ = [
    "NOTHING",
    "WIRE_VERSION",
    "Buffer",
    "Event",
    "Frame",
    "Gap",
    "Int64",
    "Pixels",
    "Series",
    "SeriesEnd",
    "Taken",
]

WIRE_VERSION = 3
"""Of the messages; who speaks another one is refused when a series begins."""
NOTHING = memoryview(b"")
"""Instead of pixels that travel beside their `Frame`."""

Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""What a column of integers holds; msgpack has larger ones."""

Buffer = bytes | bytearray | memoryview
"""One part of a message."""


class Taken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was taken for the frames of a recording, in words for its user."""

    source: str = ""
    """File and dataset, or the names of the files."""
    times: str = ""
    """Where the times of the frames are from; ``none`` where they have none."""
    left_out: list[str] = []
    """What else is there and could have been meant."""


class Series(msgspec.Struct, tag="series", tag_field="kind", frozen=True, kw_only=True):
    """The start of a series of frames, with what a worker needs to read its pixels."""

    name: str
    """Names the series in the run folder, unique within a run."""
    n_frames: Int64 | None = None
    """Number of frames announced; None when the source does not say."""
    frame_time_s: float | None = None
    """Time from one frame to the next in seconds; None when unknown."""
    pixel_mask: NDArray[np.bool_] | None = None
    """(rows, cols), True where a pixel must not be used."""
    flatfield: NDArray[np.float32] | None = None
    """(rows, cols), factor to multiply each pixel by; None when there is none."""
    saturation: float | None = None
    """Counts from which a pixel is saturated."""
    metadata: dict[str, Any] = {}
    """What else the source said (beam centre, wavelength, ...): plain msgpack types only."""
    taken: Taken = Taken()
    """What of a recording it is."""
    first_seq: Int64 = 0
    """No frame of the series has a smaller `seq`; from the ingest node."""
    next_frame: Int64 = 0
    """Who joins now will get no frame before this one; from the relay."""
    wire_version: int = WIRE_VERSION


class Frame(
    msgspec.Struct,
    tag="frame",
    tag_field="kind",
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,  # thousands of them are kept, and refer to nothing that refers to them
):
    """One frame as the detector or file stores it: not decoded, not copied."""

    series: str
    frame: Int64
    """Number in the series, counted from 0."""
    time_ns: Int64
    """Start of the exposure, Unix time in ns. Where the source has none it is the time of arrival
    in a live stream, and 0 in a recording: how fast that is read says nothing of the exposure."""
    shape: tuple[Int64, Int64]
    """(rows, cols)."""
    dtype: str
    """numpy dtype string of a decoded pixel, with byte order, such as ``<u2``."""
    encoding: str
    """Name of the pixel coding that `streamer.frames.codecs.decode` knows: ``raw``, ``bslz4``,
    ..."""
    data: memoryview = NOTHING
    """The coded pixels, as bytes."""
    seq: Int64 = -1
    """Number in the stream of this run, what is acknowledged; from the ingest node."""
    received_ns: Int64 = 0
    """When the ingest node took it, Unix time in ns."""

    def as_gap(self, state: Literal["shed", "failed"], reason: str) -> Gap:
        """Return that it brings no result."""
        return Gap(
            series=self.series,
            first=self.frame,
            count=1,
            reason=reason,
            state=state,
            time_ns=self.time_ns,
            seq=self.seq,
        )


class Gap(
    msgspec.Struct, tag="gap", tag_field="kind", frozen=True, kw_only=True, omit_defaults=True
):
    """Frames that follow each other and bring no result."""

    series: str
    first: Int64
    """Number of the first of them."""
    count: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
    reason: str
    """Why, such as ``file series_1_data_000002.h5 is missing``."""
    state: Literal["missing", "shed", "failed"] = "missing"
    """``missing`` where the source knows them to exist and cannot give them, ``shed`` where there
    was no room for them, ``failed`` where no worker could cope with them."""
    time_ns: Int64 = 0
    """Start of the exposure of the first of them, Unix time in ns; 0 where it is not known."""
    seq: Int64 = -1
    """As in `Frame`; all of them have the same, but for what `numbers` says."""
    numbers: Annotated[int, msgspec.Meta(ge=1, le=(1 << 40))] = 1
    """How many numbers it stands for, from `seq` on: those of frames that came."""

    @property
    def last_seq(self) -> int:
        """The last of them, which is what is acknowledged."""
        return self.seq + self.numbers - 1

    @property
    def frames(self) -> range:
        """Frame numbers."""
        return range(self.first, self.first + self.count)


class SeriesEnd(
    msgspec.Struct, tag="end", tag_field="kind", frozen=True, kw_only=True, omit_defaults=True
):
    """The end of a series."""

    series: str
    reason: str = "end"
    """``end`` as announced, ``abort`` when the detector stopped before, ``new series``, ``idle``;
    details may follow after a colon. After an abort, frames that were announced and never taken are
    not missing: no `Gap` tells of them."""
    counters: dict[str, int] = {}
    """Messages of this series that gave no frame, by the reason."""
    taken: tuple[Int64, Int64] | None = None
    """First and last number of the frames that the ingest node took; None when it does not know."""
    again: bool = False
    """The first word of an ingest node that was started again and has all that is not on disk: it
    comes once more, under other numbers."""
    seq: Int64 = -1
    """As in `Frame`."""


Event = Series | Frame | Gap | SeriesEnd


class Pixels(NamedTuple):
    """The coded pixels of a frame, as a file or message has them; see `Frame`.

    In the order in which `streamer.frames.codecs.decode` takes them.
    """

    data: Buffer | zmq.Frame
    encoding: str
    dtype: str
    shape: tuple[int, int]

    def as_frame(self, series: str, frame: int, time_ns: int) -> Frame:
        """Return the frame that they are of."""
        data = self.data.buffer if isinstance(self.data, zmq.Frame) else memoryview(self.data)
        return Frame(
            series=series,
            frame=frame,
            time_ns=time_ns,
            shape=self.shape,
            dtype=self.dtype,
            encoding=self.encoding,
            data=data,
        )
