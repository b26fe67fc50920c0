"""Version 1 of the stream of DECTRIS detectors: JSON and blobs in several parts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series
from streamer.frames.metadata import plain, plain_items, positive
from streamer.frames.pixels import uncoded
from streamer.sources.live.json_pixels import json_object, pixel_dtype, pixel_sizes
from streamer.sources.live.series import Image, SeriesAssembler

__all__ = ["StreamV1"]

_CALIBRATIONS = {
    "dflatfield-1.0": "flatfield",
    "flatfield-1.0": "flatfield",
    "dpixelmask-1.0": "pixel_mask",
    "dcountrate_table-1.0": "countrate_table",
}
_COMPLETE = {
    "none": frozenset[str](),
    "basic": frozenset({"config"}),
    "all": frozenset({"config", "flatfield", "pixel_mask", "countrate_table"}),
}
_BYTE_ORDERS = "<>"
_SHUFFLED = {"bs8-lz4": 1, "bs16-lz4": 2, "bs32-lz4": 4}


class StreamV1:
    """Reads the messages of a detector, whatever parts its sender puts together.

    Senders differ in whether the parts of a start are one message or several. So what a part is, is
    told by its own words and by the part before, and a series starts when all is there that its
    level of detail promises, or when an image or the end comes.

    Parameters
    ----------
    uri
        Of the detector, for messages to the user.
    config
        Frame time.
    """

    def __init__(self, uri: str, config: SourceConfig) -> None:
        self._uri = uri
        self._config = config
        self._header: _Header | None = None
        self._awaited: str | None = None
        self._origin_ns: int | None = None

    @property
    def awaits_blob(self) -> bool:
        """True when the next part is a blob that was described."""
        return self._awaited is not None

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        rest = iter(parts)
        for part in rest:
            if self._awaited is not None and self._header is not None:
                self._header.add_blob(self._awaited, bytes(part.buffer))
                self._awaited = None
                continue
            content = json_object(part)
            kind = content.get("htype", "")
            if not isinstance(kind, str):
                raise ValueError("an htype that is no word")
            if kind == "dheader-1.0":
                self._flush(assembler)
                self._header = _Header(content)
            elif kind == "dimage-1.0":
                self._flush(assembler)
                self._image(content, rest, assembler)
            elif kind == "dseries_end-1.0":
                self._flush(assembler)
                assembler.end(_series_id(content))
            elif kind in _CALIBRATIONS and self._header is not None:
                self._awaited = _CALIBRATIONS[kind]
                self._header.describe(self._awaited, content)
            elif not kind and self._header is not None:
                self._header.configure(content)
            elif not kind:
                raise ValueError("no htype")
            else:
                assembler.counters["ignored"] += 1
                return
        if self._header is not None and self._header.is_complete:
            self._flush(assembler)

    def _flush(self, assembler: SeriesAssembler) -> None:
        """Start the series whose header has come."""
        header, self._header, self._awaited = self._header, None, None
        if header is not None:
            self._origin_ns = None
            assembler.start(header.series(self._config), header.series_id, header.identity)

    def _image(
        self, image: dict[str, Any], rest: Iterator[zmq.Frame], assembler: SeriesAssembler
    ) -> None:
        series_id = _series_id(image)
        number: Any = image.get("frame")
        about, blob, times = next(rest, None), next(rest, None), next(rest, None)
        pixels: Pixels | str = "the message has no pixels"
        if about is not None and blob is not None:
            pixels = self._pixels(json_object(about), blob, assembler.awaits_first(series_id))
        time_ns = None if times is None else self._exposed_ns(times)
        for _ in rest:  # an appendix of the user's
            pass
        booked = Image(number=number, pixels=pixels, time_ns=time_ns)
        assembler.image(booked, series_id, may_begin=True)

    def _pixels(self, about: dict[str, Any], blob: zmq.Frame, is_first: bool) -> Pixels | str:
        shape, dtype = _shape(about), pixel_dtype(about.get("type"))
        if shape is None:
            return "its shape is no pair of sizes"
        if dtype is None:
            return f"pixels of type {plain(about.get('type'))}"
        encoding = about.get("encoding", "")
        if not isinstance(encoding, str):
            return "their coding is no word"
        codec, order = encoding[:-1], encoding[-1:]
        if order not in _BYTE_ORDERS or codec not in ("", "lz4", *_SHUFFLED):
            if not is_first:
                return f"pixels are coded as {encoding}"
            raise UserError(
                f"the detector at {self._uri} codes its pixels as {encoding!r}, which is not"
                " supported: set its compression to bslz4, lz4 or none"
            )
        dtype = dtype.newbyteorder(order)  # type: ignore[arg-type]
        if not codec:
            return uncoded(blob, dtype, shape)
        if codec in _SHUFFLED and _SHUFFLED[codec] != dtype.itemsize:
            return f"coded as {codec}, pixels are {dtype.str}"
        return Pixels(blob, "lz4" if codec == "lz4" else "bslz4", dtype.str, shape)

    def _exposed_ns(self, part: zmq.Frame) -> int | None:
        """Return the start of the exposure as Unix time in ns.

        The detector counts from a moment of its own, so the first image of a series fixes what that
        is on this clock.
        """
        try:
            start = json_object(part).get("start_time")
        except ValueError:
            return None
        if type(start) is not int or not 0 <= start < 1 << 62:
            return None
        if self._origin_ns is None:
            self._origin_ns = time.time_ns() - start
        return self._origin_ns + start


class _Header:
    """The parts of a start message as they come."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.series_id = _series_id(content)
        self._detail = _COMPLETE.get(str(content.get("header_detail")))
        self._config: dict[str, Any] = {}
        self._appendix: dict[str, Any] = {}
        self._about: dict[str, dict[str, Any]] = {}
        self._blobs: dict[str, bytes] = {}

    @property
    def is_complete(self) -> bool:
        """True when all has come that the level of detail promises."""
        come = self._blobs.keys() | ({"config"} if self._config else set())
        return self._detail is not None and come >= self._detail

    @property
    def identity(self) -> tuple[str, ...]:
        """Tells a start that came twice from a new one."""
        return (str(self.series_id), str(self._config.get("data_collection_date")), "v1")

    def configure(self, content: dict[str, Any]) -> None:
        """Take the detector's configuration, or what the user has added behind it."""
        if self._config or (self._detail is not None and not self._detail):
            self._appendix = content
        else:
            self._config = content

    def describe(self, name: str, content: dict[str, Any]) -> None:
        """Take what a blob will be."""
        self._about[name] = content

    def add_blob(self, name: str, blob: bytes) -> None:
        """Take a blob that was described."""
        self._blobs[name] = blob

    def series(self, config: SourceConfig) -> Series:
        """Return what the parts say, leaving out what is not as it should be."""
        says, warnings = self._config, list[str]()
        mask = self._calibration("pixel_mask", warnings)
        flat = None
        if says.get("flatfield_correction_applied") is not True:  # else the detector did it
            flat = self._calibration("flatfield", warnings)
        metadata = {"protocol": "DECTRIS stream v1"} | plain_items(says)
        if self._appendix:
            metadata["header_appendix"] = plain(self._appendix)
        if warnings:
            metadata["warnings"] = warnings
        return Series(
            name=f"series_{self.series_id}",
            n_frames=_n_frames(says),
            frame_time_s=positive(says.get("frame_time")) or config.frame_time_s,
            pixel_mask=None if mask is None else mask != 0,
            flatfield=None if flat is None else flat.astype(np.float32),
            saturation=positive(says.get("countrate_correction_count_cutoff")),
            metadata=metadata,
        )

    def _calibration(self, name: str, warnings: list[str]) -> NDArray[Any] | None:
        """Return an array in (rows, cols)."""
        if name not in self._blobs:
            return None
        about, blob = self._about[name], self._blobs[name]
        shape, dtype = _shape(about), pixel_dtype(about.get("type"))
        if shape is None or dtype is None or len(blob) != math.prod(shape) * dtype.itemsize:
            warnings.append(f"{name} is not what its description says: not used")
            return None
        size = (
            plain(self._config.get("y_pixels_in_detector", shape[0])),
            plain(self._config.get("x_pixels_in_detector", shape[1])),
        )
        if shape != size:
            warnings.append(f"{name} has shape {shape}, images {size}: not used")
            return None
        return np.frombuffer(blob, dtype.newbyteorder("<")).reshape(shape)


def _series_id(content: dict[str, Any]) -> int:
    series_id = content.get("series")
    if type(series_id) is not int:
        raise ValueError("no series")
    return series_id


def _shape(about: dict[str, Any]) -> tuple[int, int] | None:
    """Return (rows, cols); on the wire the fast axis comes first."""
    sizes = pixel_sizes(about.get("shape"))
    return None if sizes is None else (sizes[1], sizes[0])


def _n_frames(says: dict[str, Any]) -> int | None:
    """Return the number of images; external enabling makes one with each trigger."""
    n_images, n_triggers = says.get("nimages"), says.get("ntrigger", 1)
    if type(n_images) is not int or type(n_triggers) is not int:
        return None
    if says.get("trigger_mode") in ("inte", "exte"):
        n_images = 1
    n_frames = n_images * n_triggers
    return n_frames if n_frames > 0 else None
