"""The pixels of a run's frames, from wherever they can be had, as they are shown."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.dashboard.image.relayed import Relayed
from streamer.frames.display import Display, Patch, cut_patch, display
from streamer.frames.events import Frame
from streamer.results.pixels import Recorded, decoded
from streamer.transport.readers import ReaderKey

__all__ = ["Counts", "Gallery", "Key"]

Key = tuple[str, int]
"""Series and number of a frame."""
Mask = NDArray[np.bool_]

_DISPLAYS = 200
_DECODED, _DECODED_BYTES = 8, 96 << 20
"""Most frames whose pixels stay at hand, of which one at least does: what is zoomed to is asked for
again and again."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """A frame before any correction."""

    pixels: NDArray[Any]
    """(rows, cols)"""
    mask: Mask | None
    """(rows, cols), True where a pixel is masked."""
    flatfield: NDArray[np.float32] | None
    """(rows, cols), factors that the source has not applied."""


class Gallery:
    """Frames of a run: the newest from its relay, older ones from its recording.

    Parameters
    ----------
    source
        What the run reads.
    config
        How it reads it.
    mask
        (rows, cols), True where a pixel is masked beside those that the source names.
    key
        What the relay knows us by, if it asks.
    """

    def __init__(
        self,
        source: str,
        config: SourceConfig,
        mask: Mask | None,
        key: ReaderKey | None = None,
    ) -> None:
        self.relayed = Relayed(key)
        self.shapes: dict[str, tuple[int, int]] = {}
        """Rows and columns of the frames of a series that was looked at."""
        self._recorded = Recorded(source, config)
        self._own_mask = mask
        self._displays: OrderedDict[Key, Display] = OrderedDict()
        self._kept: dict[Key, NDArray[Any]] = {}
        self._like: dict[str, str] = {}
        self._decoded: OrderedDict[Key, NDArray[Any]] = OrderedDict()

    def display(self, key: Key, time_ns: int | None) -> Display | str:
        """Return what is shown of a frame, or the reason why nothing is.

        Parameters
        ----------
        time_ns
            When it was exposed, as the run has it; None when it does not have the frame yet.
        """
        known = self._displays.get(key)
        if known is not None:
            self._displays.move_to_end(key)
            return known
        pixels = self.pixels(key, time_ns)
        if isinstance(pixels, str):
            return pixels
        shown = self._displays[key] = display(pixels, self._mask(key[0], pixels.shape))
        while len(self._displays) > _DISPLAYS:
            self._displays.popitem(last=False)
        return shown

    def patch(self, key: Key, time_ns: int | None, row: float, col: float) -> Patch | str:
        """Return the surroundings of a place on a frame, or the reason why there are none."""
        pixels = self.pixels(key, time_ns)
        if isinstance(pixels, str):
            return pixels
        return cut_patch(pixels, self._mask(key[0], pixels.shape), row, col)

    def keep(self, key: Key, pixels: NDArray[Any], *, like: str) -> None:
        """Have an image that is no frame of the run; it has the masks of a series of that.

        Of those that differ in their number alone the newest two are kept.
        """
        self._kept[key] = pixels
        self._like[key[0]] = like
        self.shapes[key[0]] = (pixels.shape[0], pixels.shape[1])
        for old in [one for one in self._kept if one[0] == key[0]][:-2]:
            del self._kept[old]
            self._displays.pop(old, None)

    def pixels(self, key: Key, time_ns: int | None, *, keep: bool = True) -> NDArray[Any] | str:
        """Return the pixels of a frame, not to be changed, or the reason why there are none.

        Parameters
        ----------
        key, time_ns
            As of `display`.
        keep
            Have them at hand when they are asked for again.
        """
        if key in self._kept:
            return self._kept[key]
        if key[0] in self._like:
            return "there are more frames in it by now"
        known = self._decoded.get(key)
        if known is not None:
            self._decoded.move_to_end(key)
            return known
        frame = self.relayed.frames.get(key) or self._recorded.frame(*key, time_ns)
        pixels = decoded(frame) if isinstance(frame, Frame) else frame
        if isinstance(pixels, str):
            return pixels
        self.shapes[key[0]] = (pixels.shape[0], pixels.shape[1])
        if not keep:
            return pixels
        self._decoded[key] = pixels
        while len(self._decoded) > 1 and (
            len(self._decoded) > _DECODED
            or sum(one.nbytes for one in self._decoded.values()) > _DECODED_BYTES
        ):
            self._decoded.popitem(last=False)
        return pixels

    def masks(self, series: str, shape: tuple[int, ...]) -> tuple[Mask | None, Mask | None]:
        """Return the mask that the source names and that of the configuration, where they fit."""
        series = self._like.get(series, series)
        source = self.relayed.masks.get(series)
        source = self._recorded.masks.get(series) if source is None else source
        fitting = [
            one if one is not None and one.shape == shape else None
            for one in (source, self._own_mask)
        ]
        return fitting[0], fitting[1]

    def saturation(self, series: str) -> float | None:
        """Return the counts from which a pixel is saturated, as far as anything says so."""
        series = self._like.get(series, series)
        known = self.relayed.saturation.get(series)
        return self._recorded.saturation.get(series) if known is None else known

    def counts(self, key: Key, time_ns: int | None) -> Counts | str:
        """Return the pixels of a frame as the run gets them, or the reason why there are none."""
        pixels = self.pixels(key, time_ns)
        if isinstance(pixels, str):
            return pixels
        flatfield = self.relayed.flatfields.get(key[0])
        if flatfield is None:
            flatfield = self._recorded.flatfields.get(key[0])
        return Counts(pixels, self._mask(key[0], pixels.shape), flatfield)

    def close(self) -> None:
        """Release files and sockets."""
        self.relayed.close()
        self._recorded.close()

    def _mask(self, series: str, shape: tuple[int, ...]) -> Mask | None:
        source, own = self.masks(series, shape)
        if source is None or own is None:
            return own if source is None else source
        return source | own
