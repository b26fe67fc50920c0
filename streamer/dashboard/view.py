"""All that can be shown of a run. Everything here is for one thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config
from streamer.dashboard.archive import Archive
from streamer.dashboard.common import COMMON, CommonMotion
from streamer.dashboard.drifts import Drifts, Plot, XAxis
from streamer.dashboard.image.frames import ShownFrames
from streamer.dashboard.image.gallery import Gallery, Key
from streamer.dashboard.image.gathering import Gathering
from streamer.dashboard.image.regions import Region, Regions
from streamer.dashboard.lattice import PARAMETERS, LatticeCurves
from streamer.dashboard.messages import Lines, encode
from streamer.dashboard.provisional import ProvisionalPeaks
from streamer.dashboard.requests import Preview, Watch
from streamer.dashboard.shared import SharedWatch
from streamer.dashboard.state import RunState
from streamer.dashboard.tables import RunTables
from streamer.dashboard.thresholds import MakeFinding, RunThresholds
from streamer.errors import UserError
from streamer.results.curves import QUANTITIES, available
from streamer.results.folder import RunFolder
from streamer.results.originals import originals
from streamer.results.shapes import MEASURED, Shape, measured
from streamer.sources.images import load_mask
from streamer.transport.readers import PAGE_KEY, ReaderKey, publish_keys

__all__ = ["RunView"]

logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

_LABELS: Mapping[str, tuple[str, str]] = dict([*QUANTITIES.items(), *MEASURED.items()])
_NO_PEAKS = {name: np.empty(0, np.float32) for name in ("row", "col", "score")}
_READ_S = 0.2
"""Longest time in a row that is spent on reading, while viewers wait."""


class RunView:
    """Reads a run folder as it grows and makes messages of what is in it.

    Parameters
    ----------
    folder
        Run folder.
    make_finding
        Makes what finds the peaks of a frame with other thresholds.

    Raises
    ------
    UserError
        `folder` is not a run folder, or its configuration cannot be read.
    """

    def __init__(self, folder: Path, make_finding: MakeFinding | None = None) -> None:
        opened = RunFolder.open(folder)
        self.name = opened.path.resolve().name
        self.config = opened.read_config()
        self.state = RunState(opened.path)
        self._removes = self.config.tracks.common_motion == "remove"
        self.archive = Archive(folder, exact_motion=self._removes)
        self.tables = RunTables(opened)
        self.thresholds = RunThresholds(self.config, opened.path, make_finding)
        key = _key_of(publish_keys(self.config, opened.path))
        gallery = Gallery(*originals(opened), _mask_of(self.config), key)
        self._provisional = ProvisionalPeaks(key)
        self.frames = ShownFrames(self.archive, self.state, gallery, self._provisional)
        self.gathering = Gathering(self.archive, gallery)
        self.regions = Regions(self.archive, gallery, self.config.detect.saturation)
        self._drifts, self._common = Drifts(self.archive), CommonMotion(self.archive)
        self._lattice = LatticeCurves(opened, self.config, self.archive)
        self._shared = SharedWatch(self.config.tracks)
        self._measured: list[Shape] = []
        self._is_behind = True

    @property
    def drift_version(self) -> Hashable:
        """Changes when drifts have to be sent anew."""
        tables = self.tables.tracks_version, self._lattice.version
        return len(self.archive.peaks), tables, self.archive.starts.tobytes()

    def refresh(self, *, watched: bool = True) -> None:
        """Take in frames and parts that are new; the newest only while they are `watched`."""
        self.frames.refresh(watched=watched)
        self._is_behind = self.archive.refresh(_READ_S)

    def catch_up(self, limit_s: float) -> None:
        """Read all parts that there are, for so long at most."""
        until = time.monotonic() + limit_s
        while self.archive.refresh(_READ_S) and time.monotonic() < until:
            pass

    def refresh_tables(self) -> None:
        """Read what is rewritten every few seconds, if it was."""
        growing = self.state.live or self._is_behind
        self.tables.refresh(len(self.archive.frames), growing=growing)
        if not self.state.live:
            self._lattice.refresh()
        known = self.archive.stored.known(tuple(MEASURED))
        self._measured = measured(known, self.tables.geometry)
        self._shared.refresh(self.archive, self.tables, live=self.state.live)

    def health(self) -> dict[str, Any]:
        """Say how the run stands: the content of ``health``."""
        health = self.state.health(self.archive, *self._shared.words)
        return health | {"seen_ms": self._provisional.latency_ms if self.state.live else None}

    def hello(self) -> dict[str, Any]:
        """Say what there is: the content of ``hello``."""
        summary = self.state.summary
        starts, n_frames = self.frames.places()
        shape = self.frames.shape()
        return {
            "run": self.name,
            "started": summary.get("started", ""),
            "source": summary.get("source", ""),
            "live": self.state.live,
            "state": summary.get("state", ""),
            "software": f"braggstream {version('braggstream')}",
            "series": list(starts),
            "starts": list(starts.values()),
            "quantities": [
                *available(self.tables.geometry),
                *self._measured,
                *self._lattice.offered,
                *(COMMON if self.archive.has_motion else ()),
            ],
            "n_frames": n_frames,
            "shape": None if shape is None else list(shape),
        }

    def drift(self, watch: Watch) -> Lines | bytes:
        """Return what a plot shows, or a message that says why not."""
        quantity = watch.quantity
        if quantity == "radial" and self.tables.geometry is None:
            quantity = "distance"
        x: XAxis = watch.x if self.archive.has_times else "frame"
        plot = Plot(
            quantity,
            x,
            begin=watch.begin,
            end=watch.end,
            points=watch.points,
            geometry=self.tables.geometry,
            reference_frames=self.config.tracks.reference_frames,
            still=self._removes,
        )
        header: dict[str, Any] = {"quantity": quantity, "x": x, "request": watch.request}
        if quantity in COMMON:
            about = COMMON[quantity]
            header |= {"label": about.label, "unit": about.unit, "names": about.names}
            return Lines(header, self._common.curves(quantity, plot))
        if quantity in PARAMETERS:
            found = self._lattice.curves(quantity, plot)
            names = {number: name for number, (name, _) in found.items()}
            header |= {"label": f"Lattice parameter {PARAMETERS[quantity]}", "names": names}
            header["unit"] = self._lattice.unit(quantity)
            return Lines(header, {number: curve for number, (_, curve) in found.items()})
        label, unit = _LABELS[quantity]
        if quantity not in (*available(self.tables.geometry), "distance", *MEASURED):
            need = "wavelength" if self.tables.geometry is not None else "place of the detector"
            text = (
                f"no {label.lower()}: the {need} is not known; set geometry.poni for the next run"
            )
            return encode("problem", {"text": text})
        is_still = self._removes and quantity not in MEASURED
        header |= {"label": label, "unit": unit, "still": is_still}
        curves = self._drifts.curves(plot, watch.tracks, self.tables.references, limit_s=_READ_S)
        return Lines(header, curves, self._drifts.is_whole)

    def whole(self, key: Key) -> Region:
        """Return all pixels of a frame, and with which thresholds its peaks were found."""
        region = self.regions.whole(key)
        region.header["thresholds"] = self.thresholds.held(*key, self.archive.series)
        return region

    def preview(self, key: Key, wanted: Preview) -> bytes:
        """Show which peaks thresholds would give on a frame."""
        header: dict[str, Any] = {
            **{"series": key[0], "frame": key[1], "why": ""},
            **{"minval": wanted.minval, "minscore": wanted.minscore},
            "binning": self.config.detect.binning,
        }
        counts, found = self.frames.counts(key), dict(_NO_PEAKS)
        try:
            if isinstance(counts, str):
                header["why"] = counts
            elif wanted.minval is not None and wanted.minscore is not None:
                found = self.thresholds.try_out(counts, wanted.minval, wanted.minscore)
        except UserError as error:
            header["why"] = str(error)
        return encode("preview", header, found)

    def close(self) -> None:
        """Release files and sockets."""
        self.frames.close()


def _mask_of(config: Config) -> Mask | None:
    if config.detect.mask is None:
        return None
    try:
        return load_mask(config.detect.mask)
    except UserError as error:
        logger.warning("shown without detect.mask: %s", error)
        return None


def _key_of(folder: Path | None) -> ReaderKey | None:
    if folder is None:
        return None
    try:
        return ReaderKey.read(folder / PAGE_KEY)
    except UserError as error:
        logger.warning("no newest frames: %s", error)
        return None
