"""All that can be shown of a run. Everything here is for one thread."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamer.config import Config, load_config
from streamer.dashboard.archive import Archive
from streamer.dashboard.drifts import Drifts, Plot
from streamer.dashboard.fallback import tracks_of
from streamer.dashboard.gallery import Gallery, Key
from streamer.dashboard.messages import Lines, encode
from streamer.dashboard.requests import PatchOf, Watch
from streamer.dashboard.state import RunState
from streamer.errors import UserError
from streamer.frames.display import Display, Patch
from streamer.frames.geometry import Geometry
from streamer.results.curves import QUANTITIES, available, references
from streamer.results.folder import RunFolder

__all__ = ["Key", "PeakPatch", "RunView"]

logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

_READ_S = 0.2
"""Longest time in a row that is spent on reading parts, while viewers wait."""
_RAW_PICTURES = 30
"""So far peaks may be behind the newest images; else these are shown without."""
_QUEUE = 8
_TRACKS_S = 3.0
_SAME_PEAK_PX = 3.0
_PEAK_ARRAYS = ("row", "col", "row_sigma", "col_sigma", "score", "flags", "track")


@dataclass(frozen=True, slots=True)
class PeakPatch:
    """The surroundings of a peak, before it is fitted."""

    header: dict[str, Any]
    patch: Patch | None


class RunView:
    """Reads a run folder as it grows and makes messages of what is in it.

    Parameters
    ----------
    folder
        Run folder.
    load_mask
        Reads the file of ``detect.mask``.

    Raises
    ------
    UserError
        `folder` is not a run folder.
    """

    def __init__(self, folder: Path, load_mask: Callable[[Path], Mask] | None = None) -> None:
        self.state = RunState(RunFolder.open(folder).path)
        self.archive = Archive(folder)
        self._drifts = Drifts(self.archive)
        self.folder = RunFolder(folder)
        self.config = _config_of(folder)
        self._gallery = Gallery(
            str(self.state.summary.get("source", "")),
            self.config.source,
            _mask_of(self.config, load_mask),
        )
        self._relayed = self._gallery.relayed
        self._shown: Key | None = None
        self.geometry: Geometry | None = None
        self.track_table: pa.Table = pa.table({})
        self._references: dict[int, tuple[float, float, float]] = {}
        self._stamps: dict[str, Hashable] = {}
        self._is_behind = True
        self._next_tracks_s = 0.0
        self._n_whole = 0
        self.tracks_version = 0
        self.cell_version = 0

    @property
    def drift_version(self) -> Hashable:
        """Changes when drifts have to be sent anew."""
        return len(self.archive.peaks), self.tracks_version, self.archive.starts.tobytes()

    def refresh(self) -> None:
        """Take in frames and parts that are new."""
        self._relayed.listen(self.state.relay)
        self._relayed.take()
        self._is_behind = self.archive.refresh(_READ_S)

    def refresh_tables(self) -> None:
        """Read what is rewritten every few seconds, if it was."""
        n_frames = len(self.archive.frames)
        # Tables of a run that is over may be read before all the frames that they tell of.
        is_whole = not (self.state.live or self._is_behind or self._n_whole == n_frames)
        if is_whole:
            self._n_whole = n_frames
        if self._is_new("geometry.json"):
            self.geometry = self.folder.read_geometry()
        if self._is_new("cell.parquet") or (is_whole and self.cell_version):
            self.cell_version += 1
        if self._is_new("tracks.parquet"):
            self.track_table = pq.read_table(self.folder.path / "tracks.parquet")
        elif not self._stamps.get("tracks.parquet") and self._is_time_for_tracks():
            tracks = self.config.tracks
            self.track_table = tracks_of(
                self.archive, tracks.confirm_frames, tracks.reference_frames
            )
        elif not is_whole:
            return
        self._references = references(self.track_table)
        self.tracks_version += 1

    def hello(self) -> dict[str, Any]:
        """Say what there is: the content of ``hello``."""
        summary = self.state.summary
        kinds = available(self.geometry)
        starts, n_frames = self._places()
        shape = self._gallery.shapes.get(self.archive.series[-1]) if self.archive.series else None
        return {
            "run": self.folder.path.resolve().name,
            "source": summary.get("source", ""),
            "live": self.state.live,
            "state": summary.get("state", ""),
            "started": summary.get("started"),
            "software": f"braggstream {version('braggstream')}",
            "series": list(starts),
            "starts": list(starts.values()),
            "quantities": kinds,
            "labels": {kind: QUANTITIES[kind][0] for kind in kinds},
            "units": {kind: QUANTITIES[kind][1] for kind in kinds},
            "beam": None if self.geometry is None else list(self.geometry.beam),
            "n_frames": n_frames,
            "has_cell": self.cell_version > 0,
            "shape": None if shape is None else list(shape),
        }

    def newest(self) -> Key | None:
        """Return the frame to show to who wants the newest; None when there is none.

        Images come before their peaks, which come several frames at a time: each is shown when its
        peaks are there, one after the other.
        """
        if not (self.state.live and self._relayed.frames):
            return self._last()
        keys: list[Key | None] = list(self._relayed.frames)
        behind = next(
            (
                n
                for n, key in enumerate(keys[: -_RAW_PICTURES - 1 : -1])
                if key and self._is_settled(key)
            ),
            None,
        )
        if behind is None:
            if len(keys) >= _RAW_PICTURES:
                self._shown = keys[-1]
            return self._shown
        newest = len(keys) - 1 - behind
        shown = keys.index(self._shown) if self._shown in keys else -1
        if shown < newest:
            self._shown = keys[max(shown + 1, newest - _QUEUE)]
        return self._shown

    def key_of(self, series: str | None, frame: int) -> Key:
        """Return what a page means that may not say the series."""
        names = self.archive.series
        return series or (self._shown[0] if self._shown else names[-1] if names else ""), frame

    def is_known(self, key: Key) -> bool:
        """Tell whether there is anything to show of a frame."""
        return self._is_settled(key) or key in self._relayed.frames

    def image_version(self, key: Key) -> Hashable:
        """Return what changes when a frame has to be sent anew."""
        return key, self._is_settled(key)

    def image(self, key: Key, *, newest: bool) -> bytes:
        """Show a frame with its peaks."""
        row = self.archive.find(*key)
        time_ns = self._time_ns(row)
        shown = self._gallery.display(key, time_ns)
        peaks = self.archive.peaks_of(row) if row is not None else slice(0, 0)
        arrays: dict[str, NDArray[Any]] = {
            name: self.archive.peaks[name][peaks].astype(
                {"flags": np.int32, "track": np.float64}.get(name, np.float32)
            )
            for name in _PEAK_ARRAYS
        }
        picture = self._relayed.frames.get(key)
        header: dict[str, Any] = {
            "series": key[0],
            "frame": key[1],
            "time_ns": picture.time_ns if time_ns is None and picture is not None else time_ns,
            "settled": row is not None,
            "newest": newest and self.state.live,
            "shape": list(self._shape(key[0])),
            "has_pixels": isinstance(shown, Display),
        }
        if isinstance(shown, Display):
            more = {"binning": shown.binning, "low": shown.low, "high": shown.high,
                    "knee": shown.knee, "why": ""}  # fmt: skip
            pixels = shown.pixels
        else:
            more = {"binning": 1, "low": 0.0, "high": 1.0, "knee": 1.0, "why": shown}
            pixels = np.zeros((0, 0), np.uint8)
        return encode("image", header | more, {"pixels": pixels, **arrays})

    def drift(self, watch: Watch) -> Lines | bytes:
        """Return how tracks drift, or a message that says why not."""
        quantity = watch.quantity
        if quantity == "radial" and self.geometry is None:
            quantity = "distance"
        if quantity not in (*available(self.geometry), "distance"):
            what = QUANTITIES[quantity][0].lower()
            need = "wavelength" if self.geometry is not None else "place of the detector"
            text = f"no {what}: the {need} is not known; set geometry.poni for the next run"
            return encode("problem", {"text": text})
        plot = Plot(
            quantity,
            watch.x,
            begin=watch.begin,
            end=watch.end,
            points=watch.points,
            geometry=self.geometry,
            reference_frames=self.config.tracks.reference_frames,
        )
        label, unit = QUANTITIES[quantity]
        header = {"quantity": quantity, "label": label, "unit": unit, "x": watch.x,
                  "request": watch.request}  # fmt: skip
        return Lines(header, self._drifts.curves(plot, watch.tracks, self._references))

    def patch(self, wanted: PatchOf) -> PeakPatch:
        """Return the surroundings of a peak."""
        key = self.key_of(wanted.series, wanted.frame)
        place = (wanted.row, wanted.col)
        header: dict[str, Any] = {
            **{"series": key[0], "frame": key[1], "row": wanted.row, "col": wanted.col},
            **{"track": -1, "origin": None, "placed": None, "sigma": None, "fit": None, "why": ""},
        }
        row = self.archive.find(*key)
        if row is not None:
            rows = self.archive.peaks_of(row)
            near = {name: self.archive.peaks[name][rows] for name in _PEAK_ARRAYS}
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

    def close(self) -> None:
        """Release files and sockets."""
        self._gallery.close()

    def _places(self) -> tuple[dict[str, int], int]:
        """Return at which run frames the series start, and how many there are.

        A series of which there are images alone, by now, comes behind the others.
        """
        archive = self.archive
        starts = dict(zip(archive.series, archive.starts.tolist(), strict=True))
        n_frames = archive.n_frames
        for name, number in self._relayed.frames:
            start = starts.setdefault(name, n_frames)
            n_frames = max(n_frames, start + number + 1)
        return starts, n_frames

    def _last(self) -> Key | None:
        """Return the last frame with a result."""
        done = np.flatnonzero(self.archive.frames["state"] == 0)
        if not len(done):
            return None
        frames = self.archive.frames
        self._shown = (
            self.archive.series[int(frames["series"][done[-1]])],
            int(frames["frame"][done[-1]]),
        )
        return self._shown

    def _time_ns(self, row: int | None) -> int | None:
        return None if row is None else int(self.archive.frames["time_ns"][row])

    def _is_settled(self, key: Key) -> bool:
        return self.archive.find(*key) is not None

    def _shape(self, series: str) -> tuple[int, int]:
        """Return that of the frames of a series; of one never seen, what holds its peaks."""
        shapes = self._gallery.shapes
        if series in shapes or not len(self.archive.peaks):
            return shapes.get(series, (1, 1))
        rows, cols = (float(np.nanmax(self.archive.peaks[axis])) for axis in ("row", "col"))
        return math.ceil(rows) + 6, math.ceil(cols) + 6

    def _is_new(self, name: str) -> bool:
        try:
            status = (self.folder.path / name).stat()
        except OSError:
            return False
        stamp = (status.st_mtime_ns, status.st_size)
        was, self._stamps[name] = self._stamps.get(name), stamp
        return was != stamp

    def _is_time_for_tracks(self) -> bool:
        """Tell whether tracks are to be told anew from peaks, which takes a while."""
        count, now = len(self.archive.peaks), time.monotonic()
        if self._stamps.get("peaks", 0) == count or (self._is_behind and now < self._next_tracks_s):
            return False
        self._stamps["peaks"], self._next_tracks_s = count, now + _TRACKS_S
        return True


def _config_of(folder: Path) -> Config:
    try:
        return load_config(folder / "config.yaml")
    except UserError as error:  # of another version: what matters most works without
        logger.warning("defaults in place of the run's configuration: %s", error)
        return Config()


def _mask_of(config: Config, load: Callable[[Path], Mask] | None) -> Mask | None:
    if config.detect.mask is None or load is None:
        return None
    try:
        return load(config.detect.mask)
    except UserError as error:
        logger.warning("shown without detect.mask: %s", error)
        return None
