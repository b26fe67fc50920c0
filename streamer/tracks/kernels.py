"""Compiles what follows tracks, so that no frame has to wait for it."""

from __future__ import annotations

import numpy as np

from streamer.frames.geometry import Geometry
from streamer.frames.peaks import PEAK, POSITION
from streamer.results.records import taken_apart
from streamer.results.schema import Columns
from streamer.tracks.angles import angles
from streamer.tracks.catalogue import TrackCatalogue
from streamer.tracks.linker import Linker
from streamer.tracks.motion import CommonMotion

__all__ = ["compile_tracks"]


def compile_tracks() -> None:
    """Compile what a sink uses; the result is kept beside the code."""
    found = np.zeros(1, PEAK), np.zeros(1, POSITION)
    for records in found:
        records.flags.writeable = False  # as those of messages, for which other code is made
    Linker(1.0, 0, confirm=1).link(0, *found)
    whole, figures = ("series", "frame", "time_ns", "flags", "track"), ("row", "col", "score")
    peaks: Columns = {name: np.zeros(1, np.int64) for name in whole}
    peaks |= {name: np.zeros(1) for name in (*figures, "row_sigma", "col_sigma")}
    CommonMotion().measure(peaks)
    columns = taken_apart(*([records] for records in found))
    angles(Geometry.from_beam((0.0, 0.0), distance_m=1.0, pixel_m=(1e-4, 1e-4)), columns)
    catalogue = TrackCatalogue(confirm_frames=1)
    catalogue.extend([""], peaks)
    catalogue.measure(None)
