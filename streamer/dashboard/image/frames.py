"""The frames of a run as they are shown: pixels with their peaks, and patches around one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive
from streamer.dashboard.image.gallery import Counts, Gallery, Key
from streamer.dashboard.image.stack import STACKED
from streamer.dashboard.messages import encode
from streamer.dashboard.packing import Packed
from streamer.dashboard.provisional import ProvisionalPeaks
from streamer.dashboard.requests import PatchOf
from streamer.dashboard.state import RunState
from streamer.frames.display import Display, Patch, coarser

__all__ = ["PeakPatch", "ShownFrames"]

_RAW_PICTURES = 30
"""So far peaks may be behind the newest images; else these are shown without."""
_QUEUE = 8
_LOOKED_AT = 16
_COARSE = 128
"""Pixels along the longer side of a first picture."""
_SAME_PEAK_PX = 3.0
_LOOKED_THROUGH = 4096
_PEAK_ARRAYS = ("row", "col", "row_sigma", "col_sigma", "score", "flags", "track")


@dataclass(frozen=True, slots=True)
class PeakPatch:
    """The surroundings of a peak, before it is fitted."""

    header: dict[str, Any]
    patch: Patch | None


class ShownFrames:
    """Finds and shows frames: the newest as they come, any other on demand.

    Parameters
    ----------
    archive
        Frames and peaks on disk.
    state
        Whether the run goes on, and where its newest frames are published.
    gallery
        The frames' pixels.
    provisional
        Peaks that are not on disk yet.
    """

    def __init__(
        self, archive: Archive, state: RunState, gallery: Gallery, provisional: ProvisionalPeaks
    ) -> None:
        self._archive = archive
        self._provisional = provisional
        self._state = state
        self._gallery = gallery
        self._relayed = gallery.relayed
        self._shown: Key | None = None
        self._is_blank: dict[Key, bool] = {}  # of the last frame, whether there are no pixels

    def refresh(self, *, watched: bool) -> None:
        """Take in frames that are new; where nobody watches, the sink need not say its peaks."""
        self._relayed.listen(self._state.relay)
        self._relayed.take()
        self._provisional.listen(self._state.feed if watched else "")
        self._provisional.take()

    def newest(self) -> Key | None:
        """Return the frame to show to who wants the newest; None when there is none.

        Images come before their peaks, which come several frames at a time: each is shown when its
        peaks are there, one after the other.
        """
        if not (self._state.live and self._relayed.frames):
            return self._last()
        keys = list(self._relayed.frames)
        near = enumerate(keys[: -_RAW_PICTURES - 1 : -1])
        behind = next((n for n, key in near if self._has_peaks(key)), None)
        if behind is None:
            if len(keys) >= _RAW_PICTURES:
                self._shown = keys[-1]
            return self._shown
        newest = len(keys) - 1 - behind
        shown = keys.index(self._shown) if self._shown and self._shown in keys else -1
        if shown < newest:
            # What comes as it is found needs no queue, which would only make it late.
            queue = _QUEUE if self._is_settled(keys[newest]) else 1
            self._shown = keys[max(shown + 1, newest - queue)]
        return self._shown

    def look_at(self, keys: Iterable[Key]) -> None:
        """Let the pixels of some frames not go; of many the first."""
        self._relayed.looked_at = frozenset(islice(keys, _LOOKED_AT))

    def key_of(self, series: str | None, frame: int) -> Key:
        """Return what a page means that may not say the series."""
        names = self._archive.series
        return series or (self._shown[0] if self._shown else names[-1] if names else ""), frame

    def is_known(self, key: Key) -> bool:
        """Tell whether there is anything to show of a frame."""
        return self._has_peaks(key) or key in self._relayed.frames

    def image_version(self, key: Key) -> Hashable:
        """Return what changes when a frame has to be sent anew."""
        return key, 2 if self._is_settled(key) else int(self._has_peaks(key))

    def image(self, key: Key, *, newest: bool) -> bytes:
        """Show a frame with its peaks."""
        time_ns = self._time_ns(self._archive.find(*key))
        return self._image(key, self._gallery.display(key, time_ns), newest=newest)

    def coarse_image(self, key: Key, *, newest: bool) -> bytes | None:
        """Show a frame in few bytes; None where it has few as it is."""
        shown = self._gallery.display(key, self._time_ns(self._archive.find(*key)))
        if isinstance(shown, str) or max(shown.pixels.shape) <= _COARSE:
            return None
        return self._image(key, coarser(shown, _COARSE), newest=newest, coarse=True)

    def _image(
        self, key: Key, shown: Display | str, *, newest: bool, coarse: bool = False
    ) -> bytes:
        row = self._archive.find(*key)
        time_ns = self._time_ns(row)
        peaks = self._peaks_of(key, row)
        arrays: dict[str, NDArray[Any]] = {
            name: peaks[name].astype({"flags": np.int32, "track": np.float64}.get(name, np.float32))
            for name in _PEAK_ARRAYS
        }
        picture = self._relayed.frames.get(key)
        header: dict[str, Any] = {
            "series": key[0],
            "frame": key[1],
            "time_ns": picture.time_ns if time_ns is None and picture is not None else time_ns,
            "settled": row is not None,
            "provisional": row is None and key in self._provisional.frames,
            "stack": STACKED.get(key[0]),
            "newest": newest and self._state.live,
            "shape": list(self._shape(key[0])),
            "coarse": coarse,
            "has_pixels": isinstance(shown, Display),
        }
        if isinstance(shown, Display):
            more = {"binning": shown.binning, "low": shown.low, "high": shown.high,
                    "knee": shown.knee, "why": ""}  # fmt: skip
            pixels = Packed.of(shown.pixels)
        else:
            more = {"binning": 1, "low": 0.0, "high": 1.0, "knee": 1.0, "why": shown}
            pixels = Packed.of(np.zeros((0, 0), np.uint8))
        return encode("image", header | more, {"pixels": pixels, **arrays})

    def patch(self, wanted: PatchOf) -> PeakPatch:
        """Return the surroundings of a peak."""
        key = self.key_of(wanted.series, wanted.frame)
        place = (wanted.row, wanted.col)
        header: dict[str, Any] = {
            **{"series": key[0], "frame": key[1], "row": wanted.row, "col": wanted.col},
            **{"track": -1, "origin": None, "placed": None, "sigma": None, "fit": None, "why": ""},
        }
        row = self._archive.find(*key)
        if self._has_peaks(key):
            near = self._peaks_of(key, row)
            distance = np.hypot(near["row"] - wanted.row, near["col"] - wanted.col)
            if len(distance) and distance.min() <= _SAME_PEAK_PX:
                at = int(distance.argmin())
                place = (float(near["row"][at]), float(near["col"][at]))
                sigma = [float(near["row_sigma"][at]), float(near["col_sigma"][at])]
                header |= {"track": int(near["track"][at]), "placed": list(place), "sigma": sigma}
        patch = self._gallery.patch(key, self._time_ns(row), *place)
        if isinstance(patch, str):
            return PeakPatch(header | {"why": patch}, None)
        return PeakPatch(header | {"origin": [patch.row, patch.col]}, patch)

    def counts(self, key: Key) -> Counts | str:
        """Return a frame before any correction, or the reason why there is none."""
        return self._gallery.counts(key, self._time_ns(self._archive.find(*key)))

    def peaks(self, key: Key) -> Mapping[str, NDArray[Any]] | None:
        """Return the columns of the peaks of a frame; None where none are known yet."""
        return self._peaks_of(key, self._archive.find(*key)) if self._has_peaks(key) else None

    def shape(self) -> tuple[int, int] | None:
        """Return rows and columns of the frames of the newest series, once one was looked at."""
        series = self._archive.series
        return self._gallery.shapes.get(series[-1]) if series else None

    def places(self) -> tuple[dict[str, int], int]:
        """Return at which of the run's frames each series starts, and how many there are.

        A series of which there are images alone, by now, comes behind the others.
        """
        archive = self._archive
        starts = dict(zip(archive.series, archive.starts.tolist(), strict=True))
        n_frames = archive.n_frames
        for name, number in self._relayed.frames:
            start = starts.setdefault(name, n_frames)
            n_frames = max(n_frames, start + number + 1)
        return starts, n_frames

    def close(self) -> None:
        """Release files and sockets."""
        self._gallery.close()
        self._provisional.close()

    def _last(self) -> Key | None:
        """Return the last frame with a result."""
        frames = self._archive.frames
        stop = len(frames)
        while stop > 0:
            start = max(0, stop - _LOOKED_THROUGH)
            done = np.flatnonzero(frames["state"][start:stop] == 0)
            if len(done):
                row = start + int(done[-1])
                series = self._archive.series[int(frames["series"][row])]
                last = series, int(frames["frame"][row])
                self._shown = self._last_seen(last, row)
                return self._shown
            stop = start
        return None

    def _last_seen(self, last: Key, row: int) -> Key:
        """Return the last frame, or, of a stream that was not recorded, the last that was seen."""
        seen = self._relayed.frames
        if last in seen or not seen:
            return last
        if last not in self._is_blank:
            self._is_blank = {
                last: isinstance(self._gallery.display(last, self._time_ns(row)), str)
            }
        if not self._is_blank[last]:
            return last
        return next((key for key in reversed(seen) if self._is_settled(key)), last)

    def _peaks_of(self, key: Key, row: int | None) -> Mapping[str, NDArray[Any]]:
        """Return the columns of the peaks of a frame and its row, if it has one."""
        if row is None and key in self._provisional.frames:
            return self._provisional.frames[key]
        end = len(self._archive.peaks)
        return self._archive.peaks_in(
            slice(end, end) if row is None else self._archive.peaks_of(row)
        )

    def _time_ns(self, row: int | None) -> int | None:
        return None if row is None else int(self._archive.frames["time_ns"][row])

    def _has_peaks(self, key: Key) -> bool:
        return key in self._provisional.frames or self._is_settled(key)

    def _is_settled(self, key: Key) -> bool:
        return self._archive.find(*key) is not None

    def _shape(self, series: str) -> tuple[int, int]:
        """Return that of the frames of a series; of one never seen, what holds its peaks."""
        shapes = self._gallery.shapes
        if series in shapes or not self._archive.peaks.n_held:
            return shapes.get(series, (1, 1))
        rows, cols = (float(np.nanmax(self._archive.peaks[axis])) for axis in ("row", "col"))
        return math.ceil(rows) + 6, math.ceil(cols) + 6
