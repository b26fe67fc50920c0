"""Live stream of DECTRIS detectors, version 2: CBOR messages on a ZeroMQ PUSH socket."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.codecs import ENCODINGS, DecodeError, decode
from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources.arrivals import Arrivals
from streamer.sources.base import Event, Frame, Gap, Series, SeriesEnd
from streamer.sources.cbor import Array, Compressed, parse, plain
from streamer.sources.chunks import is_pixels
from streamer.sources.exposures import Exposures
from streamer.sources.nexus import time_of
from streamer.sources.reach import endpoint_of
from streamer.sources.recording import Coded

__all__ = ["DectrisSource", "reach_dectris"]

_WAITING_MESSAGES = 1000
_NOT_METADATA = ("type", "pixel_mask", "flatfield", "countrate_correction_lookup_table")


def reach_dectris(uri: str, config: SourceConfig) -> str:
    """Return the ZeroMQ endpoint of a detector that answers, without becoming its client.

    Raises
    ------
    UserError
        The address is malformed or nothing answers there.
    """
    return endpoint_of(
        uri,
        "dectris://192.168.0.10:31001",
        "is it on, and is its stream enabled with the format cbor (stream v2)?",
        config.connect_s,
    )


class DectrisSource:
    """Frames of one channel of a detector, as they come.

    Images that the detector numbered and that did not come are `Gap` events. An end before the
    announced number of images is taken for an abort, and what follows the last image was then never
    taken and is not missing, unless the images came at the announced frame time and the end so late
    that all must have been taken: then they are missing.

    Parameters
    ----------
    uri
        ``dectris://host:port``.
    config
        Channel, time limits and number of series.
    clock
        Returns a monotonic time in seconds.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: the detector sends what
        cannot be used, and how to set it.
    """

    live = True

    def __init__(
        self, uri: str, config: SourceConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.uri = uri
        self.n_frames: int | None = None
        self.counters = dict.fromkeys(("malformed", "stray", "duplicates", "late", "ignored"), 0)
        """Messages that gave no frame. `malformed` could not be read, `stray` are of no open
        series, `late` came after they were given up, `ignored` are of unknown types."""
        endpoint = reach_dectris(uri, config)
        self._config = config
        self._clock = clock
        self._pending: deque[Event] = deque()
        self._run: _Run | None = None
        self._heard_s = clock()
        self._names: set[str] = set()
        self._n_ended = 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, _WAITING_MESSAGES)
        self._socket.set(zmq.TCP_KEEPALIVE, 1)
        self._socket.set(zmq.IPV6, "[" in endpoint)
        self._socket.connect(endpoint)

    @property
    def exhausted(self) -> bool:
        """True when as many series have ended as were asked for."""
        return self._is_done and not self._pending

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """Turns readable when messages come; None when no more are taken."""
        return None if self._is_done else self._socket

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events; it must be called now and then for `idle_s` to work."""
        for _ in range(limit):
            if self._is_done or len(self._pending) >= limit:
                break
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self._end_if_idle()
                break
            self._heard_s = self._clock()
            self._take(parts)
        return [self._pending.popleft() for _ in range(min(limit, len(self._pending)))]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def _is_done(self) -> bool:
        return self._socket.closed or 0 < self._config.series <= self._n_ended

    def _take(self, parts: list[bytes]) -> None:
        if parts[0][:1] == b"{" and b'"htype"' in parts[0]:
            raise UserError(
                f"the detector at {self.uri} sends stream v1 (JSON): set its stream format to cbor"
            )
        try:
            if len(parts) > 1:
                raise ValueError(f"{len(parts)} parts instead of one")
            message = parse(parts[0])
            kind = message.get("type")
            if kind == "image":
                self._take_image(message)
            elif kind == "start":
                self._take_start(message)
            elif kind == "end":
                self._take_end(message)
            else:
                self.counters["ignored"] += 1
        except ValueError:
            self.counters["malformed"] += 1

    def _take_start(self, message: Mapping[str, Any]) -> None:
        series_id = message.get("series_id")
        if type(series_id) is not int:
            raise ValueError("no series_id")
        identity = tuple(str(message.get(k)) for k in ("series_id", "series_unique_id", "arm_date"))
        if self._run is not None and self._run.identity == identity:
            self.counters["duplicates"] += 1
            return
        channels = message.get("channels")
        if isinstance(channels, list | tuple) and self._config.channel not in channels:
            raise self._no_channel(channels)
        self._end("new series")
        series = _series(message, self._name(series_id), self._config)
        self._run = _Run(
            series, series_id, identity, Arrivals(series.n_frames), Exposures(series.frame_time_s)
        )
        self._pending.append(series)
        if self._config.series == 1:
            self.n_frames = series.n_frames

    def _take_image(self, message: Mapping[str, Any]) -> None:
        run = self._run
        if run is None or message.get("series_id") != run.series_id:
            self.counters["stray"] += 1
            return
        frame: Any = message.get("image_id")
        if not run.arrivals.can_be(frame):
            raise ValueError("no image_id that can be")
        state = run.arrivals.book(frame)
        if state != "new":
            self.counters["duplicates" if state == "duplicate" else "late"] += 1
            return
        coded = self._pixels(message.get("data"), run)
        if isinstance(coded, str):
            self.counters["malformed"] += 1
            self._lose(range(frame, frame + 1), f"malformed: {coded}")
        else:
            data, encoding, dtype, shape = coded
            self._pending.append(
                Frame(
                    series=run.series.name,
                    frame=frame,
                    time_ns=run.exposures.book(frame, _exposed_ns(message), self._heard_s),
                    shape=shape,
                    dtype=dtype,
                    encoding=encoding,
                    data=data,
                )
            )
        for gap in run.arrivals.take_gaps():
            self._lose(gap, "not received")

    def _take_end(self, message: Mapping[str, Any]) -> None:
        series_id = message.get("series_id")
        if type(series_id) is not int:
            raise ValueError("no series_id")
        if self._run is not None and self._run.series_id == series_id:
            self._end("end")

    def _end_if_idle(self) -> None:
        idle_s = self._config.idle_s
        if self._run is not None and 0 < idle_s <= self._clock() - self._heard_s:
            self._end(f"idle: nothing came for {idle_s:g} s")

    def _end(self, reason: str) -> None:
        """End the open series, if there is one."""
        run = self._run
        if run is None:
            return
        for gap in run.arrivals.finish():
            self._lose(gap, "not received")
        n_taken, n_announced = run.arrivals.last + 1, run.series.n_frames
        if n_announced is not None and n_taken < n_announced:
            if run.exposures.are_over(n_announced, self._clock()):
                self._lose(range(n_taken, n_announced), "not received")
            elif reason == "end":
                reason = f"abort: {n_taken} of {n_announced} frames were taken"
        self._pending.append(SeriesEnd(series=run.series.name, reason=reason))
        self._run = None
        self._n_ended += 1
        if self._is_done:
            # A client that no longer reads would swallow its share of the next series.
            self._socket.close()

    def _lose(self, frames: range, reason: str) -> None:
        if self._run is not None:
            self._pending.append(Gap(series=self._run.series.name, frames=frames, reason=reason))

    def _pixels(self, channels: object, run: _Run) -> Coded | str:
        """Return the pixels of the channel, not decoded, or what is wrong with them."""
        if not isinstance(channels, Mapping):
            return "no data"
        array = channels.get(self._config.channel)
        # What is wrong with the first image is so by the settings, and wrong with all.
        is_first = run.exposures.n_booked == 0
        if array is None:
            if is_first:
                raise self._no_channel(channels)
            return f"no channel {self._config.channel}"
        if not isinstance(array, Array) or array.shape is None or len(array.shape) != 2:
            return "pixels are no typed array of two axes"
        dtype = np.dtype(array.dtype)
        if not is_pixels(dtype):
            return f"pixels of type {array.dtype}"
        if array.column_major:
            if not is_first:
                return "pixels are stored column by column"
            raise UserError(
                f"the detector at {self.uri} sends images column by column (CBOR tag 1040), which"
                " is not supported: have them sent row by row (tag 40)"
            )
        shape = (array.shape[0], array.shape[1])
        data = array.data
        if isinstance(data, bytes):
            n_bytes = math.prod(shape) * dtype.itemsize
            if len(data) != n_bytes:
                return f"{len(data)} bytes of pixels instead of {n_bytes}"
            return data, "raw", array.dtype, shape
        if data.algorithm not in ENCODINGS:
            if not is_first:
                return f"pixels are compressed with {data.algorithm}"
            raise UserError(
                f"the detector at {self.uri} compresses with {data.algorithm}, which is not"
                " supported: set its compression to bslz4"
            )
        if data.algorithm != "lz4" and data.item_bytes != dtype.itemsize:
            return f"compressed as {data.item_bytes}-byte items, pixels are {array.dtype}"
        return data.data, data.algorithm, array.dtype, shape

    def _no_channel(self, present: Any) -> UserError:
        return UserError(
            f"the detector at {self.uri} sends no channel {self._config.channel}: set"
            f" source.channel to {' or '.join(map(str, present)) or 'one that it sends'}"
        )

    def _name(self, series_id: int) -> str:
        """Name a series; a detector that was restarted counts from the start again."""
        name = stem = f"series_{series_id}"
        again = 1
        while name in self._names:
            again += 1
            name = f"{stem}_{again}"
        self._names.add(name)
        return name


@dataclass(frozen=True, slots=True)
class _Run:
    """An open series."""

    series: Series
    series_id: int
    identity: tuple[str, ...]
    """Tells a start that came twice from a new one."""
    arrivals: Arrivals
    exposures: Exposures


def _series(message: Mapping[str, Any], name: str, config: SourceConfig) -> Series:
    """Make a series of a start message, leaving out what is not as it should be."""
    warnings: list[str] = []
    mask = _calibration(message, "pixel_mask", config.channel, warnings)
    flat = None
    if message.get("flatfield_enabled") is not True:  # else the detector has applied it
        flat = _calibration(message, "flatfield", config.channel, warnings)
    metadata = {
        str(key): value
        for key, item in message.items()
        if key not in _NOT_METADATA and (value := plain(item)) is not None
    }
    if warnings:
        metadata["warnings"] = warnings
    n_frames = _positive(message.get("number_of_images"))
    return Series(
        name=name,
        n_frames=None if n_frames is None else int(n_frames),
        frame_time_s=_positive(message.get("frame_time")) or config.frame_time_s,
        pixel_mask=None if mask is None else mask != 0,
        flatfield=None if flat is None else flat.astype(np.float32),
        saturation=_positive(message.get("saturation_value")),
        metadata=metadata,
    )


def _calibration(
    message: Mapping[str, Any], key: str, channel: str, warnings: list[str]
) -> NDArray[Any] | None:
    """Return an array that a start message has for each channel."""
    channels = message.get(key)
    if channels is None:
        return None
    array = channels.get(channel) if isinstance(channels, Mapping) else None
    if not isinstance(array, Array) or array.shape is None or len(array.shape) != 2:
        warnings.append(f"{key} of {channel} is no array of two axes: not used")
        return None
    size = (message.get("image_size_y"), message.get("image_size_x"))
    if None not in size and array.shape != size:
        warnings.append(f"{key} of {channel} has shape {array.shape}, images {size}: not used")
        return None
    shape = array.shape[::-1] if array.column_major else array.shape
    coded = array.data if isinstance(array.data, Compressed) else Compressed("raw", 0, array.data)
    try:
        decoded = decode(coded.data, coded.algorithm, array.dtype, (shape[0], shape[1]))
    except DecodeError as error:
        warnings.append(f"{key} of {channel}: {error}: not used")
        return None
    return decoded.T if array.column_major else decoded


def _exposed_ns(message: Mapping[str, Any]) -> int | None:
    """Return the start of an image's exposure as Unix time in ns, None when it does not say."""
    date, start = message.get("series_date"), message.get("start_time")
    if not isinstance(date, datetime) or not isinstance(start, list | tuple) or len(start) != 2:
        return None
    ticks, ticks_per_s = start
    if type(ticks) is not int or type(ticks_per_s) is not int or ticks_per_s <= 0:
        return None
    time_ns = time_of(date) + ticks * 1_000_000_000 // ticks_per_s
    return time_ns if 0 <= time_ns < 1 << 63 else None


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 < value < math.inf else None
