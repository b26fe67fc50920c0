"""Live stream of PSI's data acquisition: a JSON header and raw pixels (array-1.0)."""

from __future__ import annotations

from typing import Any

import zmq

from streamer.config import SourceConfig
from streamer.frames.events import Pixels, Series
from streamer.frames.metadata import plain, plain_items
from streamer.sources.live.address import Sender
from streamer.sources.live.json_pixels import coded_pixels, json_object
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource

__all__ = ["PUBLISHER", "open_array10"]

PUBLISHER = Sender("the publisher", "array10://192.168.0.10:9610")

_ORDERS = {"little": "<", "big": ">"}
_OF_THE_IMAGE = ("htype", "frame", "pulse_id", "shape", "type")


def open_array10(uri: str, config: SourceConfig) -> LiveSource:
    """Subscribe to a publisher.

    Parameters
    ----------
    uri
        ``array10://host:port``.
    config
        Time limits and number of series.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: pixels are sent in a coding
        that cannot be used.
    """
    return LiveSource(PUBLISHER.reach(uri, config), zmq.SUB, _Array10(uri, config), config)


class _Array10:
    """Reads messages of a header and a blob of pixels.

    The protocol knows no series: one begins with the first image that comes, and when the numbers
    go back far or the images change their shape or type. An image is numbered by its ``frame``, or
    by its ``pulse_id`` where it has no such number.
    """

    def __init__(self, uri: str, config: SourceConfig) -> None:
        self._uri = uri
        self._config = config
        self._n_series = 0

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        header = json_object(parts[0])
        if header.get("htype") != "array-1.0":
            assembler.counters["ignored"] += 1
            return
        number = header.get("frame", header.get("pulse_id"))
        if type(number) is not int or number < 0:
            raise ValueError("no image number that can be")
        # The specification spells it in both ways.
        endianness = header.get("endianness", header.get("endianess", "little"))
        pixels: Pixels | str = f"byte order {plain(endianness)}"
        if isinstance(endianness, str) and endianness in _ORDERS:
            pixels = coded_pixels(
                parts[1] if len(parts) > 1 else None,
                header.get("shape"),
                header.get("type"),
                header.get("compression"),
                _ORDERS[endianness],
                complaint=None if self._n_series else f"the sender at {self._uri}",
            )
        assembler.unannounced_image(
            Image(number=number, pixels=pixels), lambda: self._series(header)
        )

    def _series(self, header: dict[str, Any]) -> Series:
        self._n_series += 1
        says = {key: item for key, item in header.items() if key not in _OF_THE_IMAGE}
        return Series(
            name=f"series_{self._n_series}",
            frame_time_s=self._config.frame_time_s,
            metadata=plain_items(says) | {"protocol": "PSI array-1.0"},
        )
