"""Version 2 of the stream of DECTRIS detectors: one CBOR map in each message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import ENCODINGS, DecodeError, decode
from streamer.frames.events import Pixels, Series
from streamer.frames.metadata import plain, plain_items, positive, time_of
from streamer.frames.pixels import is_pixels, uncoded
from streamer.sources.live.dectris.cbor import Array, Compressed, parse
from streamer.sources.live.series import Image, SeriesAssembler

__all__ = ["StreamV2"]

_NOT_METADATA = ("type", "pixel_mask", "flatfield", "countrate_correction_lookup_table")


class StreamV2:
    """Reads the messages of one channel of a detector.

    Parameters
    ----------
    uri
        Of the detector, for messages to the user.
    config
        Channel and frame time.
    """

    def __init__(self, uri: str, config: SourceConfig) -> None:
        self._uri = uri
        self._config = config
        self._channel = config.channel_of(())

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        # A detector sends one part; a simulated one, now and then, a start with its first image.
        for message in [parse(part.bytes) for part in parts]:
            self._take(message, assembler)

    def _take(self, message: Mapping[str, Any], assembler: SeriesAssembler) -> None:
        kind = message.get("type")
        if kind == "image":
            series_id = message.get("series_id")
            number: Any = message.get("image_id")
            pixels = self._pixels(message.get("data"), assembler.awaits_first(series_id))
            image = Image(number=number, pixels=pixels, time_ns=_exposed_ns(message))
            assembler.image(image, series_id, may_begin=True)
        elif kind == "start":
            self._start(message, assembler)
        elif kind == "end":
            assembler.end(_series_id(message))
        else:
            assembler.counters["ignored"] += 1

    def _start(self, message: Mapping[str, Any], assembler: SeriesAssembler) -> None:
        series_id = _series_id(message)
        channels = _channels(message)
        if channels is not None:
            self._choose(channels)
        identity = tuple(
            str(plain(message.get(key))) for key in ("series_id", "series_unique_id", "arm_date")
        )
        series = _series(message, f"series_{series_id}", self._config, self._channel)
        assembler.start(series, series_id, identity)

    def _pixels(self, channels: object, is_first: bool) -> Pixels | str:
        """Return the pixels of the channel, not decoded, or what is wrong with them.

        What is wrong with the first image is so by the settings, and wrong with all.
        """
        if not isinstance(channels, Mapping):
            return "no data"
        if is_first:
            self._choose(channels)
        array = channels.get(self._channel)
        if array is None:
            return f"no channel {self._channel}"
        if not isinstance(array, Array) or array.shape is None or len(array.shape) != 2:
            return "pixels are no typed array of two axes"
        dtype = np.dtype(array.dtype)
        if not is_pixels(dtype):
            return f"pixels of type {array.dtype}"
        if array.column_major:
            if not is_first:
                return "pixels are stored column by column"
            raise UserError(
                f"the detector at {self._uri} sends images column by column (CBOR tag 1040), which"
                " is not supported: have them sent row by row (tag 40)"
            )
        shape = (array.shape[0], array.shape[1])
        data = array.data
        if isinstance(data, bytes):
            return uncoded(data, dtype, shape)
        if data.algorithm not in ENCODINGS:
            if not is_first:
                return f"pixels are compressed with {data.algorithm}"
            raise UserError(
                f"the detector at {self._uri} compresses with {data.algorithm}, which is not"
                " supported: set its compression to bslz4"
            )
        if data.algorithm != "lz4" and data.item_bytes != dtype.itemsize:
            return f"compressed as {data.item_bytes}-byte items, pixels are {array.dtype}"
        return Pixels(data.data, data.algorithm, array.dtype, shape)

    def _choose(self, present: Iterable[object]) -> None:
        """Take the channel that was asked for, or the only one."""
        names = [name for name in present if isinstance(name, str)]
        self._channel = self._config.channel_of(names)
        if self._channel not in names:
            raise UserError(
                f"the detector at {self._uri} sends no channel {self._channel}: set"
                f" source.channel to {' or '.join(names) or 'one that it sends'}"
            )


def _channels(message: Mapping[str, Any]) -> Iterable[object] | None:
    """Return the channels that a start message names, if only as those that have a mask."""
    channels = message.get("channels")
    if isinstance(channels, list | tuple):
        return channels
    told = (message.get(key) for key in ("pixel_mask", "flatfield", "threshold_energy"))
    return next((names for names in told if isinstance(names, Mapping) and names), None)


def _series_id(message: Mapping[str, Any]) -> int:
    series_id = message.get("series_id")
    if type(series_id) is not int:
        raise ValueError("no series_id")
    return series_id


def _series(message: Mapping[str, Any], name: str, config: SourceConfig, channel: str) -> Series:
    """Make a series of a start message, leaving out what is not as it should be."""
    warnings: list[str] = []
    mask = _calibration(message, "pixel_mask", channel, warnings)
    flat = None
    if message.get("flatfield_enabled") is not True:  # else the detector has applied it
        flat = _calibration(message, "flatfield", channel, warnings)
    metadata = {"protocol": "DECTRIS stream v2"} | plain_items(
        {key: item for key, item in message.items() if key not in _NOT_METADATA}
    )
    if _channels(message) is not None:
        metadata["channel"] = channel
    if warnings:
        metadata["warnings"] = warnings
    n_frames = positive(message.get("number_of_images"))
    return Series(
        name=name,
        n_frames=None if n_frames is None else int(n_frames),
        frame_time_s=positive(message.get("frame_time")) or config.frame_time_s,
        pixel_mask=None if mask is None else mask != 0,
        flatfield=None if flat is None else flat.astype(np.float32),
        saturation=positive(message.get("saturation_value")),
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
    size = tuple(plain(message.get(key)) for key in ("image_size_y", "image_size_x"))
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
