"""Frames of a run in an order in which the first few tell of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive
from streamer.dashboard.image.gallery import Gallery, Key

__all__ = ["Visited", "Walk"]

_MOST = 500
"""Frames of a recording that are visited: what more of them would tell takes too long to read."""
_WORTH_IT = 16
_TRIES = 5
"""So many frames in a row without pixels, and none with: there are none."""


@dataclass(frozen=True, slots=True)
class Visited:
    """A frame with its pixels."""

    key: Key
    time_ns: int
    pixels: NDArray[Any]


class Walk:
    """Visits each frame once: the newest as they come, others spread evenly over the run.

    Parameters
    ----------
    archive
        The frames that are on disk.
    gallery
        Their pixels.
    """

    def __init__(self, archive: Archive, gallery: Gallery) -> None:
        self.why = ""
        """Why frames could not be visited, if there were such."""
        self._archive = archive
        self._gallery = gallery
        self._seen: set[Key] = set()
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._next = 0
        self._left = _MOST
        self._in_vain = 0

    def step(self) -> Visited | None:
        """Visit a frame; None where there is none for now."""
        relayed = self._gallery.relayed.frames
        new = [key for key in relayed if key not in self._seen]
        for key in reversed(new):
            self._seen.add(key)
            found = self._visit(key, relayed[key].time_ns)
            if found is not None:
                return found
        while self._left > 0 and self._in_vain < _TRIES and (row := self._row()) is not None:
            frames = self._archive.frames
            key = self._archive.series[int(frames["series"][row])], int(frames["frame"][row])
            if key in self._seen:
                continue
            self._left -= 1
            found = self._visit(key, int(frames["time_ns"][row]))
            self._in_vain = 0 if found is not None else self._in_vain + 1
            if found is not None:
                return found
        return None

    def _visit(self, key: Key, time_ns: int) -> Visited | None:
        pixels = self._gallery.pixels(key, time_ns, keep=False)
        if isinstance(pixels, str):
            self.why = pixels
            return None
        self._seen.add(key)
        return Visited(key, time_ns, pixels)

    def _row(self) -> int | None:
        """Return the next row of a frame that has a result: halves first, then quarters."""
        n = len(self._rows)
        if self._next >= _power(n):
            rows = np.flatnonzero(self._archive.frames["state"] == 0)
            # Each time all are gone through, which is not worth it for a few.
            if len(rows) < n + max(1, n // _WORTH_IT):
                return None
            self._rows, self._next, n = rows, 0, len(rows)
        while self._next < _power(n):
            place = _reversed(self._next, _power(n).bit_length() - 1)
            self._next += 1
            if place < n:
                return int(self._rows[place])
        return None


def _power(n: int) -> int:
    """Return the least power of two that is not below a number; 0 of 0."""
    return 1 << (n - 1).bit_length() if n else 0


def _reversed(number: int, bits: int) -> int:
    """Return a number whose bits stand the other way round."""
    return int(f"{number:0{bits}b}"[::-1], 2) if bits else 0
