"""Rows become parts of the run folder."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.results.folder import RunFolder, may_pass
from streamer.results.schema import FRAMES, PEAKS, Columns
from streamer.sink.tables import Row, as_table, frame_columns, motion_columns, peak_columns
from streamer.tracks.linking import Tracking

__all__ = ["COMMIT_S", "Committer", "Part"]

logger = logging.getLogger(__name__)

COMMIT_S = 0.5
"""Longest time in seconds that a row waits before it is on disk."""
_MOST_PEAKS = 1 << 16
"""Peaks that make a part, however few frames they are of: what is written at once is in memory
several times."""
_PAUSE_S = 1.0
"""From one attempt to write to a disk that failed to the next."""


@dataclass(frozen=True, slots=True)
class Part:
    """What was put on disk at once."""

    rows: list[Row]
    series: list[str]
    """Names that the column ``series`` of both tables indexes."""
    frames: Columns
    peaks: Columns


class Committer:
    """Collects rows and writes them when there are enough or the first has waited long enough.

    Parameters
    ----------
    folder
        Where parts are written.
    tracking
        Adds what is known of each peak's place, and learns what is on disk.
    first
        Number of the first part.
    upto
        Every number below is in the parts before it.
    most_rows
        Rows that make a part.
    commit_s
        Longest time in seconds that a row waits for others.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        folder: RunFolder,
        tracking: Tracking,
        *,
        first: int,
        upto: int,
        most_rows: int,
        commit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latency_ms = 0.0
        """Median time from a frame's arrival to the disk, of the newest part that had any."""
        self.upto = upto
        """Every number below is on disk, for all that a successor can see."""
        self.disk_errors = 0
        """How often a part could not be written."""
        self.trouble = ""
        """Why the last part could not be written; empty if it could."""
        self._folder = folder
        self._tracking = tracking
        self._next = first
        self._commit_s = commit_s
        self._most_rows = most_rows
        self._clock = clock
        self._rows: list[Row] = []
        self._n_peaks = 0
        self._due, self._again = math.inf, -math.inf
        self._first_ns = self._last_ns = 0

    def __len__(self) -> int:
        """Rows that are not on disk."""
        return len(self._rows)

    @property
    def newest(self) -> int:
        """Number of the newest part."""
        return self._next - 1

    @property
    def full(self) -> bool:
        """True when there are enough rows for a part."""
        return len(self._rows) >= self._most_rows or self._n_peaks >= _MOST_PEAKS

    @property
    def due(self) -> float:
        """When the rows are to be written at the latest, by the clock; infinity without rows."""
        return max(self._again, -math.inf if self.full else self._due)

    @property
    def held(self) -> bool:
        """True while a disk that failed is left alone."""
        return self._clock() < self._again

    @property
    def span_s(self) -> float:
        """Seconds from the arrival of the first frame until the last part was on disk."""
        return (self._last_ns - self._first_ns) / 1e9 if self._first_ns else 0.0

    def add(self, row: Row) -> None:
        """Take a row."""
        if not self._rows:
            self._due = self._clock() + self._commit_s
        self._rows.append(row)
        self._n_peaks += row.result.head.n_peaks if row.result else 0

    def hurry(self) -> None:
        """Let the rows wait for no others."""
        if self._rows:
            self._due = -math.inf

    def write(self, upto: int, meanwhile: Callable[[], None] | None = None) -> Part | None:
        """Write the rows as the next part, with the number that a successor goes on from.

        There may be none: what brings no row, such as the end of a series, is waited for for ever
        by a successor that cannot see that it came.

        Parameters
        ----------
        meanwhile
            Called again and again while the disk is waited for; it must add no row and link none.

        Returns
        -------
        part
            None while the disk is full or away: the rows are kept for the next time, and not before
            a pause.

        Raises
        ------
        RunError
            Another sink wrote that part.
        OSError
            It cannot be written for a reason that will not pass.
        """
        rows = self._rows
        series = list(dict.fromkeys(row.series for row in rows))
        frames, peaks = frame_columns(rows, series), peak_columns(rows, series)
        peaks |= self._tracking.locate(peaks)
        frames |= motion_columns(frames["n_peaks"], self._tracking.follow(peaks))
        try:
            self._put_on_disk(
                meanwhile,
                self._next,
                as_table(frames, series, FRAMES, reason=[row.reason for row in rows]),
                as_table(peaks, series, PEAKS),
                upto=upto,
                next_track=self._tracking.next_track,
                note=self._tracking.note(),
            )
        except OSError as error:
            if not may_pass(error):
                raise
            self._wait(os.strerror(error.errno or 0))
            return None
        self._rows, self._n_peaks, self._due, self.trouble = [], 0, math.inf, ""
        self._tracking.commit(series, peaks)
        self._next += 1
        self.upto = upto
        arrivals = [row.received_ns for row in rows if row.received_ns]
        if arrivals:
            first = min(arrivals)
            self._first_ns = min(self._first_ns or first, first)
            self._last_ns = time.time_ns()
            self.latency_ms = float(np.nanmedian(frames["latency_ms"]))
        return Part(rows, series, frames, peaks)

    def _put_on_disk(self, meanwhile: Callable[[], None] | None, *part: Any, **says: Any) -> None:
        """Write a part; see `RunFolder.write_part`."""
        if meanwhile is None:
            self._folder.write_part(*part, **says)
            return
        with ThreadPoolExecutor(1, "part") as thread:
            job = thread.submit(self._folder.write_part, *part, **says)
            while not job.done():
                meanwhile()
        job.result()

    def _wait(self, reason: str) -> None:
        """Leave a disk that failed alone for a while."""
        if reason != self.trouble:
            logger.warning("results cannot be written, trying again until they can: %s", reason)
        self.trouble = reason
        self.disk_errors += 1
        self._again = self._clock() + _PAUSE_S
