"""Pixels of a run's frames, read again from its source."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Frame

__all__ = ["Recorded", "decoded"]


_MOST_FRAMES = 200


_MOST_BYTES = 256 << 20


_ROUND = re.compile(r"_(\d+)$")


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
