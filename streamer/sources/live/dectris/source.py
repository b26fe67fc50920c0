"""Live stream of DECTRIS detectors, of either version."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import zmq

from streamer.config import SourceConfig
from streamer.frames.events import Event, SeriesEnd
from streamer.sources.base import Opening
from streamer.sources.live.address import Address, Sender
from streamer.sources.live.dectris.dectris_api import DectrisApi
from streamer.sources.live.dectris.v1 import StreamV1
from streamer.sources.live.dectris.v2 import StreamV2
from streamer.sources.live.series import SeriesAssembler
from streamer.sources.live.source import LiveSource

__all__ = ["DectrisSource", "reach_dectris"]

_DETECTOR = Sender(
    "the detector",
    "dectris://192.168.0.10:31001",
    {"api": ()},
    "is it on, and is its stream enabled (port 31001 for format cbor, 9999 for legacy)?",
    {"pull": zmq.PULL, "sub": zmq.SUB},
)


def reach_dectris(uri: str, config: SourceConfig) -> tuple[Address, DectrisApi | None]:
    """Return where a detector that answers is, without becoming its client.

    Raises
    ------
    UserError
        The address is malformed, nothing answers there, or the stream is switched off.
    """
    address = _DETECTOR.parse(uri)
    api = DectrisApi(address.options["api"]) if "api" in address.options else None
    _DETECTOR.wait_for(address, config.connect_s)
    if api is not None:
        api.check()
    return address, api


class DectrisSource:
    """Frames of one channel of a detector, as they come.

    Which version of the stream it is, is told by what arrives.

    Parameters
    ----------
    uri
        ``dectris://host:port``, and behind it ``?api=http://host`` to have the detector asked how
        many images it dropped, which is counted in ``counters["dropped"]``, or ``?socket=sub`` for
        a sender that publishes (PUB) what a detector deals out (PUSH).
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
        address, self._api = reach_dectris(uri, config)
        self._stream = LiveSource(address, _EitherVersion(uri, config), config, clock=clock)
        self.counters = self._stream.counters
        if self._api is not None:
            self.counters["dropped"] = 0

    @property
    def is_dealt(self) -> bool:
        """See `streamer.sources.base.Dealt`."""
        return self._stream.is_dealt

    @property
    def n_frames(self) -> int | None:
        """Announced frames, when one series is wanted and its start has come."""
        return self._stream.n_frames

    @property
    def exhausted(self) -> bool:
        """True when as many series have ended as were asked for."""
        return self._stream.exhausted and not (self._api is not None and self._api.is_asking)

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """Turns readable when messages come; None when no more are taken."""
        return self._stream.socket

    @property
    def gone_s(self) -> float:
        """See `streamer.sources.base.Joined`."""
        return self._stream.gone_s

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events; it must be called now and then for `idle_s` to work."""
        events = self._stream.read(limit)
        if self._api is not None and any(isinstance(event, SeriesEnd) for event in events):
            self._api.ask_dropped(self.counters)
        return events

    @property
    def opening(self) -> Opening | None:
        """See `streamer.sources.base.Resumable`."""
        return self._stream.opening

    def resume(self, names: Sequence[str], opening: Opening | None) -> None:
        """See `streamer.sources.base.Resumable`."""
        self._stream.resume(names, opening)

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()
        if self._api is not None:
            self._api.close()


class _EitherVersion:
    """Gives each message to the dialect that it is in."""

    def __init__(self, uri: str, config: SourceConfig) -> None:
        self._v1 = StreamV1(uri, config)
        self._v2 = StreamV2(uri, config)

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        # A single part may be a blob of version 1, whose description came in the message before.
        if bytes(parts[0].buffer[:1]) == b"{" or self._v1.awaits_blob:
            self._v1.take(parts, assembler)
        else:
            self._v2.take(parts, assembler)
