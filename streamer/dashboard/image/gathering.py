"""What is gathered from many frames while pages look at it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from streamer.dashboard.archive import Archive
from streamer.dashboard.image.gallery import Gallery, Key
from streamer.dashboard.image.roi import Roi
from streamer.dashboard.image.stack import Kind, Stack
from streamer.dashboard.image.walk import Walk
from streamer.dashboard.requests import RoiOf

__all__ = ["Gathering"]

_LIMIT_S = 0.06
"""Longest time in a row."""
_SHARE = 0.4
"""Most of the time that may go into it."""
_MOST = 6
_SHOW_S = 1.0
"""A stack is shown anew no more often."""


class Gathering:
    """Goes on with what is wanted; what was wanted lately is kept.

    Parameters
    ----------
    archive
        The frames that are on disk.
    gallery
        Their pixels.
    """

    def __init__(self, archive: Archive, gallery: Gallery) -> None:
        self._archive = archive
        self._gallery = gallery
        self._known: dict[RoiOf | Kind, Roi | Stack] = {}
        self._next = 0.0
        self._shown_s: dict[Kind, float] = {}

    def work(self, wanted: Iterable[RoiOf | Kind]) -> None:
        """Visit some more frames, a frame for each that is wanted in turn."""
        begin = time.monotonic()
        if begin < self._next:
            return
        working = [self._of(one) for one in dict.fromkeys(wanted)]
        while working and time.monotonic() - begin < _LIMIT_S:
            for one in list(working):
                visited = one.walk.step()
                if visited is None:
                    working.remove(one)
                else:
                    one.take(visited)
        took = time.monotonic() - begin
        self._next = begin + took / _SHARE

    def roi(self, wanted: RoiOf) -> Roi:
        """Return the sums within a rectangle, as far as they are known."""
        found = self._of(wanted)
        if not isinstance(found, Roi):
            raise TypeError(f"{wanted} is no rectangle")
        return found

    def stack(self, kind: Kind) -> tuple[Key | None, str]:
        """Return under which key a stack is shown, if it is, and else why there is none."""
        found = self._of(kind)
        if not isinstance(found, Stack):
            raise TypeError(f"{kind} is no stack")
        now = time.monotonic()
        if found.key is None or now - self._shown_s.get(kind, 0.0) >= _SHOW_S:
            self._shown_s[kind] = now
            found.show()
        return found.key, found.walk.why

    def _of(self, wanted: RoiOf | Kind) -> Roi | Stack:
        known = self._known.pop(wanted, None)
        if known is None:
            walk = Walk(self._archive, self._gallery)
            if isinstance(wanted, RoiOf):
                known = Roi(wanted, walk, self._gallery)
            else:
                known = Stack(wanted, walk, self._gallery)
        self._known[wanted] = known  # behind the others
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return known
