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
from streamer.sources.files.address import is_live
from streamer.sources.files.hdf5.kept import files_of, title_of
from streamer.sources.files.open import open_recording

__all__ = ["Recorded", "decoded"]

_MOST_OPEN = 8
_SAME_NS = 1000
"""A recording keeps times as seconds since its first frame, which rounds them."""
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
        live = is_live(source)
        self._place = config.record
        self._source = str(config.record) if live else source
        self._kept = live
        changes = {"loop": 1, "frames": None, "speed": None, "record": None}
        self._config = config.model_copy(update=changes | ({"follow": False} if live else {}))
        self._open: dict[str, Any] = {}
        self._titles: dict[Path, str] = {}
        self.masks: dict[str, NDArray[np.bool_]] = {}
        """Pixel mask by series, of those that were looked at last."""
        self.saturation: dict[str, float] = {}
        """Counts from which a pixel is saturated, by series, where the source says so."""
        self.flatfields: dict[str, NDArray[np.float32] | None] = {}
        """Factors of the same series, None where there are none."""

    def frame(self, series: str, number: int, time_ns: int | None) -> Frame | str:
        """Return a frame, or the reason why it cannot be had.

        Parameters
        ----------
        time_ns
            When it was exposed, as the run has it, Unix time in ns; None when the run does not have
            the frame.
        """
        if self._kept and self._place is None:
            return "the stream was not recorded (attach --record FILE.h5 keeps it)"
        try:
            if self._kept and self._place is not None:
                return self._find(self._place, series, number, time_ns)
            recording = self._recording(self._source)
            name = recording.series.name
            if name != series and _ROUND.sub("", series) != name:
                return f"{self._source} holds series {name}, not {series}"
            self._keep_mask(recording, series)
            return _picture(recording, number)
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

    def _find(self, place: Path, series: str, number: int, time_ns: int | None) -> Frame | str:
        """Return a frame of a stream that was kept, from the file that has it.

        A series has several files when the node that recorded it was started again, and files of an
        earlier run can lie between. What tells a frame is its series, its number and its time.
        """
        why = f"no file of {self._source} holds frame {number} of series {series}"
        if time_ns is None:
            return why
        for path in files_of(place):
            if self._title(path) != series:
                continue
            try:
                recording = self._recording(str(path))
            except UserError as error:
                why = str(error)
                continue
            picture = _picture(recording, number)
            if isinstance(picture, str):
                why = picture
            elif abs(picture.time_ns - time_ns) <= _SAME_NS:
                self._keep_mask(recording, series)
                return picture
        return why

    def _title(self, path: Path) -> str | None:
        """Return the series in a file; None as long as it cannot be read."""
        if path not in self._titles and (title := title_of(path)) is not None:
            self._titles[path] = title
        return self._titles.get(path)

    def _keep_mask(self, recording: Any, series: str) -> None:
        if recording.series.saturation is not None:
            self.saturation[series] = recording.series.saturation
        self.flatfields = {series: recording.series.flatfield}
        if recording.series.pixel_mask is not None:
            self.masks.pop(series, None)
            self.masks[series] = recording.series.pixel_mask
            if len(self.masks) > _MOST_OPEN:
                del self.masks[next(iter(self.masks))]

    def _recording(self, path: str) -> Any:
        recording = self._open.pop(path, None)
        if recording is None:
            recording = open_recording(path, self._config)
        self._open[path] = recording  # behind the others
        if len(self._open) > _MOST_OPEN:
            self._open.pop(next(iter(self._open))).close()
        return recording


def _picture(recording: Any, number: int) -> Frame | str:
    picture = recording.picture(number)
    return picture if isinstance(picture, Frame) else str(picture.reason)


def decoded(frame: Frame) -> NDArray[Any] | str:
    """Return the pixels of a frame, (rows, cols), or the reason why they cannot be had."""
    try:
        return decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    except DecodeError as error:
        return str(error)
