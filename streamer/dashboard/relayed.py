"""Where the pixels of a frame can be had: from the relay of a run, or from what it read."""

from __future__ import annotations

import contextlib
import logging
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import DecodeError, decode
from streamer.ingest.relay import Announcement, Picture
from streamer.sources.base import Frame

__all__ = ["Recorded", "Relayed", "decoded"]

logger = logging.getLogger(__name__)

_MOST_FRAMES = 200
_MOST_BYTES = 256 << 20
_ROUND = re.compile(r"_(\d+)$")


class Relayed:
    """The newest frames of a run that goes on, as they were sent, as far back as there is room.

    They are decoded when somebody wants to see them, so that nobody looking costs nothing.
    """

    def __init__(self) -> None:
        self.frames: OrderedDict[tuple[str, int], Frame] = OrderedDict()
        """By series and number, the newest last."""
        self.masks: dict[str, NDArray[np.bool_]] = {}
        """Pixel mask by series."""
        self._n_bytes = 0
        self._address = ""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def listen(self, address: str) -> None:
        """Subscribe to another relay, if it is another one."""
        if address == self._address or not address:
            return
        if self._socket is not None:
            self._socket.close(linger=0)
        self._address = address
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 16)
        for topic in (b"newest", b"series"):
            self._socket.subscribe(topic)
        try:
            self._socket.connect(address.replace("//0.0.0.0:", "//127.0.0.1:"))
        except zmq.ZMQError as error:
            logger.warning("no images: %s: %s", address, error)

    def take(self) -> None:
        """Take in what has come."""
        while self._socket is not None:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._read(parts)
            except (msgspec.MsgspecError, ValueError, IndexError) as error:
                logger.warning("message of the relay not understood: %s", error)

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)

    def _read(self, parts: list[bytes]) -> None:
        if parts[0] == b"series":
            about = msgspec.msgpack.decode(parts[1], type=Announcement)
            if about.mask_shape is not None:
                self.masks[about.name] = np.frombuffer(parts[2], bool).reshape(about.mask_shape)
            return
        picture = msgspec.msgpack.decode(parts[1], type=Picture)
        self._keep(
            Frame(
                series=picture.series,
                frame=picture.frame,
                time_ns=picture.time_ns,
                shape=picture.shape,
                dtype=picture.dtype,
                encoding=picture.encoding,
                data=parts[2],
            )
        )

    def _keep(self, frame: Frame) -> None:
        old = self.frames.pop((frame.series, frame.frame), None)
        self.frames[frame.series, frame.frame] = frame
        self._n_bytes += len(frame.data) - (len(old.data) if old is not None else 0)
        while len(self.frames) > _MOST_FRAMES or (
            self._n_bytes > _MOST_BYTES and len(self.frames) > 1
        ):
            _, gone = self.frames.popitem(last=False)
            self._n_bytes -= len(gone.data)


class Recorded:
    """The frames that a run read from files, or kept in files, opened when one is asked for.

    Parameters
    ----------
    source
        What the run read, from its ``run.json``.
    config
        How it read it.
    """

    def __init__(self, source: str, config: SourceConfig) -> None:
        live = "://" in source
        self._place = config.record if live else Path(source)
        self._source = str(self._place)
        self._kept = live
        changes = {"loop": 1, "frames": None, "speed": None, "record": None}
        self._config = config.model_copy(update=changes | ({"follow": False} if live else {}))
        self._open: dict[str, Any] = {}
        self.masks: dict[str, NDArray[np.bool_]] = {}
        """Pixel mask by series, of those that were opened."""

    def frame(self, series: str, number: int, names: list[str]) -> Frame | str:
        """Return a frame, or the reason why it cannot be had.

        Parameters
        ----------
        names
            The series of the run in their order.
        """
        if self._place is None:
            return "the stream was not recorded (attach --record FILE.h5 keeps it)"
        try:
            recording = self._recording(series, names)
            return self._picture(recording, series, number)
        except UserError as error:
            return str(error)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            self.close()  # the next time it may be there again
            return f"{self._source} cannot be read: {str(error).splitlines()[0]}"

    def close(self) -> None:
        """Release the files."""
        for recording in self._open.values():
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                recording.close()
        self._open = {}

    def _picture(self, recording: Any, series: str, number: int) -> Frame | str:
        about = recording.series
        name = about.name if not self._kept else series
        if name != series and _ROUND.sub("", series) != name:
            return f"{self._source} holds series {name}, not {series}"
        if about.pixel_mask is not None:
            self.masks[series] = about.pixel_mask
        picture = recording.picture(number)
        return picture if isinstance(picture, Frame) else str(picture.reason)

    def _recording(self, series: str, names: list[str]) -> Any:
        path = self._source
        if self._kept and self._place is not None:
            # Each series has a file of its own, numbered in their order.
            again = names.index(series) + 1 if series in names else 1
            stem = self._place.stem
            master = "_master" if stem.endswith("_master") else ""
            if again > 1:
                stem = f"{stem.removesuffix('_master')}_{again}{master}"
            path = str(self._place.with_name(stem + self._place.suffix))
        if path not in self._open:
            from streamer.sources.files.open import open_recording

            self._open[path] = open_recording(path, self._config)
        return self._open[path]


def decoded(frame: Frame) -> NDArray[Any] | str:
    """Return the pixels of a frame, (rows, cols), or the reason why they cannot be had."""
    try:
        return decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    except DecodeError as error:
        return str(error)
