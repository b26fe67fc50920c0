"""Stream of MAX IV's detectors (STINS): JSON messages, with a blob of pixels behind an image's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import zmq

from streamer.config import SourceConfig
from streamer.frames.events import Series
from streamer.frames.metadata import plain_items
from streamer.sources.live.address import Sender
from streamer.sources.live.arrivals import Arrivals
from streamer.sources.live.json_pixels import coded_pixels, json_object
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource

__all__ = ["SENDER", "open_stins"]

SENDER = Sender(
    "the sender", "stins://192.168.0.10:5555", sockets={"pull": zmq.PULL, "sub": zmq.SUB}
)

_SERIES = "stins"  # a stream has one series at a time, and its messages do not name it
_OF_THE_MESSAGE = {"htype", "msg_number"}


def open_stins(uri: str, config: SourceConfig) -> LiveSource:
    """Become a client of a sender.

    Parameters
    ----------
    uri
        ``stins://host:port``, and behind it ``?socket=sub`` for a sender that publishes.
    config
        Time limits and number of series.

    Returns
    -------
    source
        Besides what every live source counts, ``counters["skipped"]`` are messages that did not
        come, told by the numbers that they all have.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: pixels are sent in a coding
        that cannot be used.
    """
    return LiveSource(SENDER.reach(uri, config), _Stins(uri, config), config)


class _Stins:
    """Reads the messages of a series: its header, its images and its end."""

    def __init__(self, uri: str, config: SourceConfig) -> None:
        self._uri = uri
        self._config = config
        self._n_series = 0
        self._messages: _Messages | None = None

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        message = json_object(parts[0])
        kind = message.get("htype")
        if kind == "header":
            self._finish_messages(assembler)
            self._messages = _Messages.after(message.get("msg_number"))
        elif self._messages is not None:
            self._count(self._messages.book(message.get("msg_number")), assembler)
        if kind == "header":
            assembler.start(self._series(message, parts[1:]), _SERIES)
        elif kind == "image":
            self._image(message, parts[1] if len(parts) > 1 else None, assembler)
        elif kind == "series_end":
            self._finish_messages(assembler)
            assembler.end(_SERIES)
        else:
            assembler.counters["ignored"] += 1

    def _series(self, header: dict[str, Any], more: list[zmq.Frame]) -> Series:
        self._n_series += 1
        warnings: list[str] = []
        says = {key: header[key] for key in header.keys() - _OF_THE_MESSAGE}
        try:
            says |= json_object(more[0]) if more else {}
        except ValueError as error:
            warnings.append(f"what stands behind the header is {error}: not used")
        metadata = plain_items(says)
        if warnings:
            metadata["warnings"] = warnings
        filename = header.get("filename")
        stem = PurePosixPath(filename).stem if isinstance(filename, str) else ""
        return Series(
            name=stem or f"series_{self._n_series}",
            frame_time_s=self._config.frame_time_s,
            metadata=metadata | {"protocol": "STINS"},
        )

    def _image(
        self, image: dict[str, Any], blob: zmq.Frame | None, assembler: SeriesAssembler
    ) -> None:
        is_first = assembler.awaits_first(_SERIES)
        pixels = coded_pixels(
            blob,
            image.get("shape"),
            image.get("type"),
            image.get("compression"),
            complaint=f"the sender at {self._uri}" if is_first else None,
        )
        number: Any = image.get("frame")
        assembler.image(Image(number=number, pixels=pixels), _SERIES)

    def _finish_messages(self, assembler: SeriesAssembler) -> None:
        if self._messages is not None:
            self._count(self._messages.arrivals.finish(), assembler)
            self._messages = None

    def _count(self, gaps: list[range], assembler: SeriesAssembler) -> None:
        """Count messages that did not come; whether they were images is told by their numbers."""
        n_skipped = sum(map(len, gaps))
        if n_skipped:
            assembler.counters["skipped"] = assembler.counters.get("skipped", 0) + n_skipped


@dataclass(frozen=True, slots=True)
class _Messages:
    """The messages of a series, which are numbered from its header on."""

    header: int
    arrivals: Arrivals

    @classmethod
    def after(cls, header: object) -> _Messages | None:
        """Return none after a header that has no number."""
        return cls(header, Arrivals(None)) if type(header) is int else None

    def book(self, number: object) -> list[range]:
        """Enter a message and return those that are given up from now on."""
        place = number - self.header - 1 if type(number) is int else -1
        if self.arrivals.can_be(place):
            self.arrivals.book(place)
        return self.arrivals.take_gaps()
