"""The sink's part that follows peaks through time: links them and keeps what is known of tracks."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import Config, GeometryConfig
from streamer.errors import UserError
from streamer.frames.events import Series
from streamer.frames.geometry import Geometry
from streamer.frames.header_geometry import NoGeometryError, read_geometry
from streamer.frames.lattice import Lattice
from streamer.results.folder import RunFolder, may_pass
from streamer.results.motion import still
from streamer.results.schema import Columns
from streamer.tracks.angles import ANGLES, angles
from streamer.tracks.catalogue import TrackCatalogue
from streamer.tracks.linker import Linked, Linker, News, anchors
from streamer.tracks.motion import CommonMotion
from streamer.tracks.shapes import SHAPES

__all__ = ["Tracking"]

logger = logging.getLogger(__name__)

_WRITE_S = 3.0
"""Shortest time from one writing of the tracks to the next."""
_WRITE_SHARE = 0.05
"""Largest share of the sink's time that it takes."""
_BOOKED = (
    "series", "frame", "time_ns", "peak_row", "peak_col", "score",
    "row", "col", "row_sigma", "col_sigma", "flags", "track",
)  # fmt: skip
_SHAPED = tuple(f"{name}{more}" for name in SHAPES for more in ("", "_sigma"))


class Tracking:
    """Gives peaks their tracks and, where the geometry is known, their angles and spacings.

    Raises
    ------
    UserError
        The geometry that a user gave is no geometry, or the lattice no lattice.
    """

    def __init__(self, config: Config, folder: RunFolder) -> None:
        tracks = config.tracks
        self.catalogue = TrackCatalogue(
            tracks.confirm_frames,
            tracks.reference_frames,
            tracks.reference_frame,
            instrument_fwhm_deg=config.geometry.instrument_fwhm_deg,
        )
        self.disk_errors = 0
        """How often the tracks or the geometry could not be written."""
        self.trouble = ""
        """Why they could not be written the last time; empty if they could."""
        self._folder = folder
        self._linker = Linker(tracks.gate_px, tracks.memory_frames, confirm=tracks.confirm_frames)
        self._geometry = _given(config.geometry, folder)
        self._given = self._geometry is not None
        self._lattice = Lattice.from_config(config.lattice)
        self._new_geometry = False
        self._motion = CommonMotion(tracks.confirm_frames, tracks.reference_frames)
        self._removes = tracks.common_motion == "remove"
        self._followed: Columns = {}
        self._changed = False
        self._table: Iterator[pa.Table | None] | None = None
        """What is being made, as of `TrackCatalogue.measuring`."""
        self._spent = 0.0
        self._next_write = 0.0
        if self._geometry is not None:
            self._place(self._geometry)

    @property
    def next_track(self) -> int:
        """Number of the next track that begins."""
        return self._linker.tracker.next_track

    @property
    def memory_frames(self) -> int:
        """Frames that decide how the next one is linked."""
        return self._linker.tracker.memory_frames

    def begin_series(self, series: Series) -> None:
        """Take from a series where the detector stands and which of its pixels see nothing."""
        self._linker.tracker.hide(series.pixel_mask)
        if self._given:
            return
        try:
            geometry = read_geometry(series.metadata)
        except NoGeometryError as error:
            reason = str(error)
            if self._geometry is None:
                self._attempt(lambda: self._folder.write_no_geometry(reason))
            return
        if geometry != self._geometry:
            self._place(geometry)

    def link(self, place: int, peaks: NDArray[np.void], positions: NDArray[np.void]) -> Linked:
        """Return the track of each peak of a frame and where it stands; see `Linker`."""
        return self._linker.link(place, peaks, positions)

    def leave_alone(self, peaks: NDArray[np.void], positions: NDArray[np.void]) -> Linked:
        """Return the same of a frame that comes too late to be in any track."""
        return self._linker.leave_alone(peaks, positions)

    def locate(self, peaks: Columns) -> Columns:
        """Return what angles, spacings and widths peaks have, NaN without a geometry."""
        if self._geometry is None:
            return {name: np.full(len(peaks["row"]), np.nan) for name in ANGLES}
        return angles(self._geometry, peaks)

    def follow(self, peaks: Columns) -> Columns:
        """Return what all spots did together, columns `MOTION` of each frame that has peaks."""
        beam = None if self._geometry is None else self._geometry.beam
        self._followed = self._motion.measure(peaks, beam)
        return self._followed

    def note(self) -> str:
        """Return what a part must say of its tracks beside their peaks."""
        return self._linker.note()

    def commit(self, series: Sequence[str], peaks: Columns) -> None:
        """Enter what was linked and followed since the last time, now that it is on disk."""
        self._enter(series, peaks, self._linker.take_news())
        self._changed = True

    def _enter(self, series: Sequence[str], peaks: Columns, news: News) -> None:
        """Enter peaks that were followed."""
        self._motion.commit()
        if self._removes:
            each = {name: column[self._motion.frame] for name, column in self._followed.items()}
            peaks = peaks | still(peaks, each)
        self.catalogue.extend(series, peaks, news.parents, news.merged, news.steps)

    @property
    def writing(self) -> bool:
        """True while the table of tracks is being made, a piece at each call of `write`."""
        return self._table is not None

    @property
    def unwritten(self) -> bool:
        """True while there is news that could not be written yet."""
        return self._changed or self._new_geometry or self.writing

    def write(self, *, now: bool = False) -> None:
        """Write the tracks and the geometry if there is news and it is time, or `now`.

        Else what there is to do for all tracks is done in pieces, so that nothing waits for it.
        What cannot be written is tried again when it is time, if there is hope.
        """
        started = time.monotonic()
        if now or (self.unwritten and not self.writing and started >= self._next_write):
            if self._new_geometry and self._geometry is not None:
                self._place(self._geometry)
            if self._changed or self.writing or now:
                self._table = self.catalogue.measuring(self._geometry, self._lattice)
            self._changed, self._spent = False, 0.0
        if self._table is None:
            return
        table = next(self._table)
        while now and table is None:
            table = next(self._table)
        if table is not None:
            self._table = None
            self._changed |= self._attempt(lambda: self._folder.write_tracks(table))
        self._spent += time.monotonic() - started
        self._next_write = started + max(_WRITE_S, self._spent / _WRITE_SHARE)

    def _place(self, geometry: Geometry) -> None:
        """Take a geometry, and write it at once: peaks that are on disk were located with it."""
        self._geometry = geometry
        self._new_geometry = self._attempt(lambda: self._folder.write_geometry(geometry))

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Write something; True if it is to be tried again."""
        try:
            write()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            if reason != self.trouble:
                logger.warning("tracks and geometry cannot be written: %s", reason)
            self.trouble = reason
            self.disk_errors += 1
            return may_pass(error)
        self.trouble = ""
        return False

    def state(self) -> dict[str, Any]:
        """Return what `resume` takes, nothing being linked that is not committed.

        Its arrays stay as they are until the next `commit`.
        """
        return {
            "linker": self._linker.state(),
            "catalogue": self.catalogue.state(),
            "motion": self._motion.state(),
        }

    def resume(
        self,
        linked: Sequence[int],
        place_of: Callable[[str, int], int],
        next_track: int,
        *,
        after: int = -1,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Go on where another left off: enter peaks anew, link those of the newest frames.

        Parameters
        ----------
        linked
            Places of the frames after a part that were linked, in order.
        place_of
            Returns the place of a frame given by series and number.
        next_track
            Number of the next track that begins.
        after
            That part; by default they are all.
        state
            What `state` returned after it.
        """
        if state is not None:
            self.catalogue.restore(state["catalogue"])
            self._motion.restore(state["motion"])
            self._linker.restore(state["linker"], tracker=len(linked) <= self.memory_frames)
        tracker = self._linker.tracker
        tracker.next_track = next_track
        self._geometry = self._geometry or self._folder.read_geometry()
        newest = linked[-self.memory_frames :]
        recent: dict[int, Columns] = {}
        for part in self._folder.parts("peaks", after):
            series, peaks = self._folder.read_columns(part, (*_BOOKED, *_SHAPED))
            news = self._linker.recall(self._folder.notes(part))
            self.follow(peaks)
            self._enter(series, peaks, news)
            changes = (np.diff(peaks["frame"]) != 0) | (np.diff(peaks["series"]) != 0)
            bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(peaks["frame"])]
            for start, stop in itertools.pairwise(bounds):
                if start < stop:
                    name, frame = series[peaks["series"][start]], int(peaks["frame"][start])
                    place = place_of(name, frame)
                    if newest and place >= newest[0]:
                        recent[place] = {name: peaks[name][start:stop] for name in _BOOKED[3:]}
        nothing = {name: np.empty(0, np.int64) for name in _BOOKED}
        for place in newest:
            peaks = recent.get(place, nothing)
            where, flagged = anchors(peaks, peaks["peak_row"], peaks["peak_col"])
            tracker.resume(place, where, peaks["track"], flagged)
        self._changed = True


def _given(config: GeometryConfig, folder: RunFolder) -> Geometry | None:
    """Return the geometry that a user gave when the run began.

    The file may have been replaced, or be gone, when a sink takes over.
    """
    if not config.given:
        return None
    kept = None
    with suppress(UserError):
        kept = folder.read_geometry()
    return kept or Geometry.from_config(config)
