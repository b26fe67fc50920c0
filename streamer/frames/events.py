"""What happens to a series of frames: its start, its frames, its gaps, its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

__all__ = [
    "Announcement",
    "Buffer",
    "Coded",
    "Ending",
    "Event",
    "Frame",
    "Gap",
    "Loss",
    "Picture",
    "Series",
    "SeriesEnd",
]


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


Coded = tuple[bytes | memoryview | zmq.Frame, str, str, tuple[int, int]]
"""Coded pixels, encoding, dtype and (rows, cols), as in `Frame`."""


class Announcement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The start of a series; fields as in `streamer.frames.events.Series`."""

    name: str
    next_frame: int = 0
    """Who joins now will get no frame before this one."""
    n_frames: int | None = None
    frame_time_s: float | None = None
    saturation: float | None = None
    mask_shape: tuple[int, int] | None = None
    """(rows, cols) of the pixel mask, one byte each, if it is there."""
    flatfield_shape: tuple[int, int] | None = None
    """(rows, cols) of the flat field, float32, if it is there."""
    metadata: dict[str, Any] = {}


class Picture(msgspec.Struct, frozen=True):
    """A frame; fields as in `streamer.frames.events.Frame`."""

    series: str
    frame: int
    time_ns: int
    shape: tuple[int, int]
    dtype: str
    encoding: str


class Loss(msgspec.Struct, frozen=True):
    """Frames that cannot be had."""

    series: str
    first: int
    count: int
    reason: str


class Ending(msgspec.Struct, frozen=True):
    """The end of a series."""

    series: str
    reason: str


Buffer = bytes | bytearray | memoryview | zmq.Frame
