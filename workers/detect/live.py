"""Which finder is for which frame, where thresholds were changed while the run went on."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence

from streamer.config import DetectConfig
from streamer.errors import UserError
from streamer.transport.messages import ThresholdChange
from workers.detect.base import Finder
from workers.detect.choice import finder_of

__all__ = ["LiveFinders"]

logger = logging.getLogger(__name__)

_KEPT = 2
"""Finders beside the first: each has working memory of the size of a few frames, and frames that
are sent again are found by older ones."""


class LiveFinders:
    """Finders by the numbers of frames.

    Parameters
    ----------
    detect
        Finder and its thresholds, until they are changed.
    first
        The finder for these.
    """

    def __init__(self, detect: DetectConfig, first: Finder) -> None:
        self._detect, self._first = detect, first
        self._changes: tuple[ThresholdChange, ...] = ()
        self._made: dict[ThresholdChange, Finder | str] = {}

    def change(self, changes: Sequence[ThresholdChange]) -> None:
        """Take all changes of the run, in the order of the frames."""
        self._changes = tuple(changes)

    def of(self, seq: int) -> Finder:
        """Return the finder for a frame, given its number in the run.

        Raises
        ------
        ValueError
            There is none with those thresholds.
        """
        place = bisect_right(self._changes, seq, key=lambda one: one.first_seq)
        if not place:
            return self._first
        change = self._changes[place - 1]
        found = self._made.get(change)
        if found is None:
            found = self._made[change] = self._make(change)
            while len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def _make(self, change: ThresholdChange) -> Finder | str:
        try:
            return finder_of(self._detect.with_thresholds(change.minval, change.minscore))
        except UserError as error:
            why = f"no finder with minval {change.minval}, minscore {change.minscore}: {error}"
            logger.warning("%s", why)
            return why
