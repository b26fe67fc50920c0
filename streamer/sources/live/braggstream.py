"""What another pipeline takes in, from its relay."""

from __future__ import annotations

import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Frame, Gap, Pixels, Series, SeriesEnd
from streamer.sources.live.address import Sender
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource
from streamer.transport.messages import VersionError, unpack

__all__ = ["PIPELINE", "open_braggstream"]

PIPELINE = Sender(
    "the pipeline",
    "braggstream://192.168.0.20:7000",
    advice="is it running, and is its publish.frames set to that port?",
)

_TOPICS = (b"series", b"frame", b"gap", b"end")


def open_braggstream(uri: str, config: SourceConfig) -> LiveSource:
    """Subscribe to the frames of another pipeline.

    Frames that were taken before are not missing, those that came too fast for this subscriber are.

    Parameters
    ----------
    uri
        ``braggstream://host:port``, the ``publish.frames`` of the other pipeline.

    Raises
    ------
    UserError
        The address is malformed or nothing answers there.
    """
    address = PIPELINE.reach(uri, config)
    return LiveSource(address, zmq.SUB, _RelayDialect(uri), config, topics=_TOPICS)


class _RelayDialect:
    """Reads the messages of `streamer.ingest.relay`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        try:
            record, _ = unpack(parts[1:])
        except VersionError as error:
            raise UserError(f"the pipeline at {self._uri} cannot be listened to: {error}") from None
        if isinstance(record, Series):
            # The relay repeats it for each newcomer: the name tells.
            assembler.start(record, record.name, record.name, first_frame=record.next_frame)
        elif isinstance(record, Frame):
            pixels = Pixels(record.data, record.encoding, record.dtype, record.shape)
            image = Image(number=record.frame, pixels=pixels, time_ns=record.time_ns)
            assembler.image(image, record.series)
        elif isinstance(record, Gap):
            assembler.lose(record.frames, record.reason, record.series)
        elif isinstance(record, SeriesEnd):
            assembler.end(record.series, record.reason)
        else:
            assembler.counters["ignored"] += 1
