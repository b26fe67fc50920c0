"""What another pipeline takes in, from its relay."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np
import zmq

from streamer.config import SourceConfig
from streamer.frames.events import Announcement, Ending, Loss, Picture, Series
from streamer.sources.live.address import Sender
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource

__all__ = ["PIPELINE", "open_braggstream"]

PIPELINE = Sender(
    "the pipeline",
    "braggstream://192.168.0.20:7000",
    advice="is it running, and is its relay.address set to that port?",
)

_Message = TypeVar("_Message", bound=msgspec.Struct)
_TOPICS = (b"series", b"frame", b"gap", b"end")


def open_braggstream(uri: str, config: SourceConfig) -> LiveSource:
    """Subscribe to the frames of another pipeline.

    Frames that were taken before are not missing, those that came too fast for this subscriber are.

    Parameters
    ----------
    uri
        ``braggstream://host:port``, the ``relay.address`` of the other pipeline.

    Raises
    ------
    UserError
        The address is malformed or nothing answers there.
    """
    address = PIPELINE.reach(uri, config)
    return LiveSource(address, zmq.SUB, _RelayDialect(), config, topics=_TOPICS)


class _RelayDialect:
    """Reads the messages of `streamer.ingest.relay`."""

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        if len(parts) < 2:
            raise ValueError("a message has a topic and a header")
        topic, header = parts[0].bytes, parts[1].bytes
        if topic == b"series":
            about = _read(header, Announcement)
            series = _series(about, parts[2:])
            # The relay repeats it for each newcomer: the name tells.
            assembler.start(series, about.name, about.name, first_frame=about.next_frame)
        elif topic == b"frame":
            picture = _read(header, Picture)
            if len(parts) != 3:
                raise ValueError("a frame has one buffer")
            pixels = (parts[2], picture.encoding, picture.dtype, picture.shape)
            assembler.image(
                Image(number=picture.frame, pixels=pixels, time_ns=picture.time_ns), picture.series
            )
        elif topic == b"gap":
            loss = _read(header, Loss)
            assembler.lose(range(loss.first, loss.first + loss.count), loss.reason, loss.series)
        elif topic == b"end":
            ending = _read(header, Ending)
            assembler.end(ending.series, ending.reason)
        else:
            assembler.counters["ignored"] += 1


def _read(header: bytes, kind: type[_Message]) -> _Message:
    try:
        return msgspec.msgpack.decode(header, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def _series(about: Announcement, buffers: list[zmq.Frame]) -> Series:
    rest = iter(buffers)
    mask = flat = None
    try:
        if about.mask_shape is not None:
            mask = np.frombuffer(next(rest).buffer, bool).reshape(about.mask_shape)
        if about.flatfield_shape is not None:
            flat = np.frombuffer(next(rest).buffer, np.float32).reshape(about.flatfield_shape)
    except StopIteration:
        raise ValueError("a mask or flat field that was announced is not there") from None
    return Series(
        name=about.name,
        n_frames=about.n_frames,
        frame_time_s=about.frame_time_s,
        pixel_mask=mask,
        flatfield=flat,
        saturation=about.saturation,
        metadata=about.metadata,
    )
