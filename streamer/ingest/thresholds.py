"""Thresholds that somebody changes while the run goes on: from which frame on, and who is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from streamer.frames.events import Frame
from streamer.results.threshold_files import write_changes
from streamer.results.thresholds import REQUEST_FILE, Change, read_changes, read_request
from streamer.stamps import Stamp, stamp_of
from streamer.transport.messages import ThresholdChange, Thresholds

__all__ = ["LiveThresholds"]

logger = logging.getLogger(__name__)

_LOOK_S = 0.2


class LiveThresholds:
    """Takes changes that are asked for, keeps them in the run folder, and announces them.

    A frame's thresholds follow from its number alone, so that it does not matter which worker finds
    its peaks, and how often. A change is on disk before anybody is told of it.

    Parameters
    ----------
    out
        Run folder; changes that were made before, also by another launcher, hold.
    announce
        Tells the detector workers.
    listens
        Whether changes may be asked for.

    Raises
    ------
    UserError
        What is kept of earlier changes is damaged.
    """

    def __init__(self, out: Path, announce: Callable[[Thresholds], None], *, listens: bool) -> None:
        self._out, self._announce, self._listens = out, announce, listens
        self._changes = read_changes(out)
        self._stamp: Stamp | None = None
        self._next_look = 0.0
        if self._changes:
            self._tell()

    def look(self, upcoming: Callable[[], int]) -> None:
        """Take a change that was asked for, to hold from a number on that no frame has yet."""
        now = time.monotonic()
        if not self._listens or now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        try:
            stamp = stamp_of(self._out / REQUEST_FILE)
            if stamp == self._stamp:
                return
            asked = read_request(self._out)
            if asked is not None and all(asked.id != one.id for one in self._changes):
                self._take(replace(asked, first_seq=upcoming(), series="", frame=-1))
            self._stamp = stamp
        except OSError as error:  # the disk may be there again: the request still is
            logger.warning("no change of thresholds for now: %s", error)
        except ValueError as error:
            self._stamp = stamp
            logger.warning("a change of thresholds cannot be read: %s", error)

    def note(self, frame: Frame) -> None:
        """Take down which frame is the first that the newest change holds for."""
        last = self._changes[-1] if self._changes else None
        if last is None or last.frame >= 0 or frame.seq < last.first_seq:
            return
        found = replace(last, series=frame.series, frame=frame.frame)
        self._changes[-1] = found
        logger.info("thresholds: %s", found)
        try:
            write_changes(self._out, self._changes)
        except OSError as error:
            self._changes[-1] = last  # the next frame is not the first, but better than none
            logger.warning("thresholds.json cannot be written: %s", error)

    def _take(self, change: Change) -> None:
        # What nobody has got yet never held.
        kept = [one for one in self._changes if one.first_seq < change.first_seq]
        write_changes(self._out, [*kept, change])
        self._changes = [*kept, change]
        logger.info("thresholds: %s", change)
        self._tell()

    def _tell(self) -> None:
        changes = [
            ThresholdChange(one.first_seq, one.minval, one.minscore) for one in self._changes
        ]
        self._announce(Thresholds(changes))
