"""Compiles what follows tracks, so that no frame has to wait for it."""

from __future__ import annotations

import numpy as np

from streamer.results.schema import Columns
from streamer.tracks.catalogue import TrackCatalogue
from streamer.tracks.motion import CommonMotion
from streamer.tracks.tracker import Tracker

__all__ = ["compile_tracks"]


def compile_tracks() -> None:
    """Compile what a sink uses; the result is kept beside the code."""
    Tracker(1.0, 0).link(0, np.zeros((1, 2)))
    whole, figures = ("series", "frame", "time_ns", "flags", "track"), ("row", "col", "score")
    peaks: Columns = {name: np.zeros(1, np.int64) for name in whole}
    peaks |= {name: np.zeros(1) for name in (*figures, "row_sigma", "col_sigma")}
    CommonMotion().measure(peaks)
    catalogue = TrackCatalogue(confirm_frames=1)
    catalogue.extend([""], peaks)
    catalogue.measure(None)
