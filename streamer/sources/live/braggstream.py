"""What another pipeline takes in, from its relay."""

from __future__ import annotations

import zmq
from zmq.utils.monitor import parse_monitor_message

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Frame, Gap, Pixels, Series, SeriesEnd
from streamer.sources.live.address import Address, Sender
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource
from streamer.transport.messages import VersionError, unpack
from streamer.transport.readers import ReaderKey

__all__ = ["open_braggstream", "reach_braggstream"]

_PIPELINE = Sender(
    "the pipeline",
    "braggstream://192.168.0.20:7000",
    advice="is it running, and is its publish.frames set to that port?",
)

_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
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
        The address is malformed, nothing answers there, or it asks for another key.
    """
    address = reach_braggstream(uri, config)
    key = None if config.key is None else ReaderKey.read(config.key)
    return LiveSource(address, _RelayDialect(uri), config, topics=_TOPICS, key=key)


def reach_braggstream(uri: str, config: SourceConfig) -> Address:
    """Return the address of another pipeline once it lets us in.

    ZeroMQ itself would try in silence for ever.

    Raises
    ------
    UserError
        See `open_braggstream`.
    """
    address = _PIPELINE.reach(uri, config)
    key = None if config.key is None else ReaderKey.read(config.key)
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.IPV6, ":" in address.host)
    if key is not None:
        key.prepare(socket)
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | _REFUSED)
    try:
        socket.connect(address.endpoint)
        answered = monitor.poll(round(config.connect_s * 1000))
        event = parse_monitor_message(monitor.recv_multipart())["event"] if answered else None
    finally:
        socket.disable_monitor()
        monitor.close()
        socket.close()
    if event is not None and event & _REFUSED:
        advice = (
            "it may ask for a key: have one made there with 'launch.py keys DIR' and set source.key"
            if key is None
            else f"{config.key} is no key of its readers, or it asks for none (no source.key)"
        )
        raise UserError(f"the pipeline at {uri} does not let us in: {advice}")
    return address


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
