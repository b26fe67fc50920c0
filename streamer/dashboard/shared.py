"""Whether drifts and strains are mostly what all spots did together, told while a run goes on."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from streamer.config import TracksConfig
from streamer.dashboard.archive import Archive
from streamer.dashboard.tables import RunTables
from streamer.results.schema import MOTION
from streamer.run.motion import motion_words, shared_motion

__all__ = ["SharedWatch"]

_SHARE = 0.02
"""Most of the time that may go into it."""
_PAUSE_S = 5.0


class SharedWatch:
    """Looks from time to time; once a run has ended, its own advice says it.

    Parameters
    ----------
    config
        Where the common motion is taken out, there is nothing to say.
    """

    def __init__(self, config: TracksConfig) -> None:
        self.words: list[str] = []
        """A line, or none."""
        self._config = config
        self._version = 0
        self._next = 0.0

    def refresh(self, archive: Archive, tables: RunTables, *, live: bool) -> None:
        """Look at the newest tracks, if it is time."""
        if not live or self._config.common_motion == "remove":
            self.words = []
            return
        begin = time.monotonic()
        if begin < self._next or self._version == tables.tracks_version or not archive.has_motion:
            return
        self._version = tables.tracks_version
        told = np.flatnonzero(np.isfinite(archive.frames["motion_row"]))
        frames = pa.table(
            {
                **{name: archive.frames[name][told] for name in ("series", "frame", "time_ns")},
                **{name: archive.frames[name][told].astype(np.float64) for name in MOTION},
            }
        )
        window = self._config.reference_frames
        self.words = motion_words(shared_motion(frames, tables.tracks, tables.geometry, window))
        end = time.monotonic()
        self._next = end + max(_PAUSE_S, (end - begin) / _SHARE)
