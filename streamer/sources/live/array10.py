"""Live stream of PSI's data acquisition: a JSON header and raw pixels (array-1.0)."""

from __future__ import annotations

from typing import Any

import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series
from streamer.frames.metadata import plain, plain_items
from streamer.sources.live.address import Address, Sender
from streamer.sources.live.json_pixels import coded_pixels, json_object
from streamer.sources.live.series import Image, SeriesAssembler
from streamer.sources.live.source import LiveSource

__all__ = ["open_array10", "reach_array10"]

_PUBLISHER = Sender(
    "the publisher",
    "array10://192.168.0.10:9610",
    {"step": ()},
    sockets={"sub": zmq.SUB, "pull": zmq.PULL},
)

_LARGEST_STEP = 1_000_000
_ORDERS = {"little": "<", "big": ">"}
_OF_THE_IMAGE = ("htype", "frame", "pulse_id", "shape", "type")


def open_array10(uri: str, config: SourceConfig) -> LiveSource:
    """Subscribe to a publisher.

    Parameters
    ----------
    uri
        ``array10://host:port``, and behind it ``?socket=pull`` for a sender that pushes, or
        ``?step=4`` for one that counts pulses and sends an image of each fourth.
    config
        Time limits and number of series.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: pixels are sent in a coding
        that cannot be used.
    """
    address, step = reach_array10(uri, config)
    return LiveSource(address, _Array10(uri, config, step), config)


def reach_array10(uri: str, config: SourceConfig) -> tuple[Address, int]:
    """Return where a publisher is and how many numbers lie between two of its images.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there.
    """
    step = _PUBLISHER.parse(uri).options.get("step", "1")
    if not (step.isascii() and step.isdecimal() and 0 < int(step[:10]) <= _LARGEST_STEP):
        raise UserError(f"{uri}: step must be a number of pulses, such as step=4")
    return _PUBLISHER.reach(uri, config), int(step)


class _Array10:
    """Reads messages of a header and a blob of pixels.

    The protocol knows no series: one begins with the first image that comes, and when the numbers
    go back far or the images change their shape or type. An image is numbered by its ``frame``, or
    by its ``pulse_id`` where it has no such number.
    """

    def __init__(self, uri: str, config: SourceConfig, step: int = 1) -> None:
        self._uri = uri
        self._config = config
        self._step = step
        self._n_series = 0
        self._rest = 0

    def take(self, parts: list[zmq.Frame], assembler: SeriesAssembler) -> None:
        """Book what a message says; see `streamer.sources.live.source.Dialect`."""
        header = json_object(parts[0])
        if header.get("htype") != "array-1.0":
            assembler.counters["ignored"] += 1
            return
        number = header.get("frame", header.get("pulse_id"))
        if type(number) is not int or number < 0:
            raise ValueError("no image number that can be")
        if not self._n_series:
            self._rest = number % self._step
        if number % self._step != self._rest:
            raise ValueError(f"a number that lies between two steps of {self._step}")
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
            Image(number=number // self._step, pixels=pixels), lambda: self._series(header)
        )

    def _series(self, header: dict[str, Any]) -> Series:
        self._n_series += 1
        says = {key: item for key, item in header.items() if key not in _OF_THE_IMAGE}
        return Series(
            name=f"series_{self._n_series}",
            frame_time_s=self._config.frame_time_s,
            metadata=plain_items(says) | {"protocol": "PSI array-1.0", "step": self._step},
        )
