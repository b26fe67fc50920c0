"""What every source of frames yields, whatever protocol or file format it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import zmq
from numpy.typing import NDArray

__all__ = ["Event", "Frame", "Gap", "Opening", "Resumable", "Series", "SeriesEnd", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The start of a series of frames, with what a worker needs to read its pixels."""

    name: str
    """Names the series in the run folder, unique within a run."""
    n_frames: int | None = None
    """Number of frames announced; None when the source does not say."""
    frame_time_s: float | None = None
    """Time from one frame to the next in seconds; None when unknown."""
    pixel_mask: NDArray[np.bool_] | None = None
    """(rows, cols), True where a pixel must not be used."""
    flatfield: NDArray[np.float32] | None = None
    """(rows, cols), factor to multiply each pixel by; None when there is none."""
    saturation: float | None = None
    """Counts from which a pixel is saturated."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else the source said (beam centre, wavelength, ...): plain msgpack types only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame as the detector or file stores it: not decoded, not copied."""

    series: str
    frame: int
    """Number in the series, counted from 0."""
    time_ns: int
    """Start of the exposure, Unix time in ns; the time of arrival where the source has none."""
    shape: tuple[int, int]
    """(rows, cols)."""
    dtype: str
    """numpy dtype string of a decoded pixel, with byte order, such as ``<u2``."""
    encoding: str
    """Name of the pixel coding that `streamer.frames.codecs.decode` knows: ``raw``, ``bslz4``,
    ..."""
    data: bytes | bytearray | memoryview | zmq.Frame
    """The coded pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Frames that the source knows to exist and cannot give."""

    series: str
    frames: range
    """Frame numbers."""
    reason: str
    """Why, such as ``file series_1_data_000002.h5 is missing``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEnd:
    """The end of a series."""

    series: str
    reason: str = "end"
    """``end`` as announced, ``abort`` when the detector stopped before, ``new series``, ``idle``;
    details may follow after a colon. After an abort, frames that were announced and never taken are
    not missing: no `Gap` tells of them."""
    counters: dict[str, int] = field(default_factory=dict)
    """Messages of this series that gave no frame, by the reason."""


Event = Series | Frame | Gap | SeriesEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a series of a live source began."""

    series: str
    messages: list[list[bytes]]
    """The parts of each message that said so."""


@runtime_checkable
class Resumable(Protocol):
    """A live source whose successor, in another process, can go on with a series in its middle."""

    @property
    def opening(self) -> Opening | None:
        """Of the series that was opened last; None where no message says how one begins."""
        ...

    def resume(self, names: Sequence[str], opening: Opening | None) -> None:
        """Go on where another source left off, before anything is read.

        Parameters
        ----------
        names
            Series that it had.
        opening
            Of the one that was open; its frames are taken from the first that comes, and the
            series is told again.
        """
        ...


class Source(Protocol):
    """Yields events; never blocks, never decodes, never looks at pixels.

    For each series a `Series` comes first, then its `Frame` and `Gap` events, then one
    `SeriesEnd`. A source is made by its constructor, which checks what can be checked at once and
    raises `streamer.errors.UserError` with one line that says what to do.
    """

    uri: str
    """What the user asked for."""
    live: bool
    """True when frames that are not taken in time are lost (a detector), False for a recording."""

    @property
    def counters(self) -> dict[str, int]:
        """What went by without giving a frame, such as messages that could not be read."""
        ...

    @property
    def n_frames(self) -> int | None:
        """Total number of frames if known, for progress."""
        ...

    @property
    def exhausted(self) -> bool:
        """True when nothing will ever come any more."""
        ...

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """A socket that turns readable when events come; None if `read` can always be called.

        It may turn to None when the last event was received. A source may have more events than one
        `read` asked for while its socket has nothing: `read` again until it gives fewer.
        """
        ...

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events that are there now; empty when there are none."""
        ...

    def close(self) -> None:
        """Release files and sockets."""
        ...
