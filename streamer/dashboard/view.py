"""All that can be shown of a run. Everything here is for one thread."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config
from streamer.dashboard.archive import Archive
from streamer.dashboard.drifts import Drifts, Plot, XAxis
from streamer.dashboard.frames import ShownFrames
from streamer.dashboard.gallery import Gallery
from streamer.dashboard.messages import Lines, encode
from streamer.dashboard.requests import Watch
from streamer.dashboard.state import RunState
from streamer.dashboard.tables import RunTables
from streamer.errors import UserError
from streamer.results.curves import QUANTITIES, available
from streamer.results.folder import RunFolder
from streamer.sources.images import load_mask
from streamer.transport.readers import PAGE_KEY, ReaderKey

__all__ = ["RunView"]

logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

_READ_S = 0.2
"""Longest time in a row that is spent on reading, while viewers wait."""


class RunView:
    """Reads a run folder as it grows and makes messages of what is in it.

    Parameters
    ----------
    folder
        Run folder.

    Raises
    ------
    UserError
        `folder` is not a run folder, or its configuration cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        opened = RunFolder.open(folder)
        self.name = opened.path.resolve().name
        self.config = opened.read_config()
        self.state = RunState(opened.path)
        removes = self.config.tracks.common_motion == "remove"
        self.archive = Archive(folder, with_motion=removes)
        self.tables = RunTables(opened)
        gallery = Gallery(
            str(self.state.summary.get("source", "")),
            self.config.source,
            _mask_of(self.config),
            _key_of(self.config),
        )
        self.frames = ShownFrames(self.archive, self.state, gallery)
        self._drifts = Drifts(self.archive)
        self._is_behind = True

    @property
    def drift_version(self) -> Hashable:
        """Changes when drifts have to be sent anew."""
        return len(self.archive.peaks), self.tables.tracks_version, self.archive.starts.tobytes()

    def refresh(self) -> None:
        """Take in frames and parts that are new."""
        self.frames.refresh()
        self._is_behind = self.archive.refresh(_READ_S)

    def refresh_tables(self) -> None:
        """Read what is rewritten every few seconds, if it was."""
        growing = self.state.live or self._is_behind
        self.tables.refresh(len(self.archive.frames), growing=growing)

    def hello(self) -> dict[str, Any]:
        """Say what there is: the content of ``hello``."""
        summary = self.state.summary
        starts, n_frames = self.frames.places()
        shape = self.frames.shape()
        return {
            "run": self.name,
            "source": summary.get("source", ""),
            "live": self.state.live,
            "state": summary.get("state", ""),
            "software": f"braggstream {version('braggstream')}",
            "series": list(starts),
            "starts": list(starts.values()),
            "quantities": available(self.tables.geometry),
            "n_frames": n_frames,
            "shape": None if shape is None else list(shape),
        }

    def drift(self, watch: Watch) -> Lines | bytes:
        """Return how tracks drift, or a message that says why not."""
        quantity = watch.quantity
        if quantity == "radial" and self.tables.geometry is None:
            quantity = "distance"
        if quantity not in (*available(self.tables.geometry), "distance"):
            what = QUANTITIES[quantity][0].lower()
            need = "wavelength" if self.tables.geometry is not None else "place of the detector"
            text = f"no {what}: the {need} is not known; set geometry.poni for the next run"
            return encode("problem", {"text": text})
        x: XAxis = watch.x if self.archive.has_times else "frame"
        plot = Plot(
            quantity,
            x,
            begin=watch.begin,
            end=watch.end,
            points=watch.points,
            geometry=self.tables.geometry,
            reference_frames=self.config.tracks.reference_frames,
        )
        label, unit = QUANTITIES[quantity]
        header = {"quantity": quantity, "label": label, "unit": unit, "x": x,
                  "still": bool(self.archive.motion), "request": watch.request}  # fmt: skip
        references = self.tables.references
        curves = self._drifts.curves(plot, watch.tracks, references, limit_s=_READ_S)
        return Lines(header, curves, self._drifts.is_whole)

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


def _key_of(config: Config) -> ReaderKey | None:
    if config.publish.keys is None:
        return None
    try:
        return ReaderKey.read(config.publish.keys / PAGE_KEY)
    except UserError as error:
        logger.warning("no newest frames: %s", error)
        return None
