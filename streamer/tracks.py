"""Following peaks from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Tracker"]


class Tracker:
    """Links each peak to the track that stood nearest, frames being given in order.

    A peak takes over the track that stood nearest to it, at most `gate` away; of several peaks
    with the same track the closest does, and a peak without one begins one. A track that was not
    seen for more than `memory` frames ends.

    Parameters
    ----------
    gate
        Greatest distance in pixels.
    memory
        Frames a track may miss.
    first
        Number of the first track.
    """

    def __init__(self, gate: float, memory: int, first: int = 0) -> None:
        self.next_track = first
        self._gate = gate
        self._memory = memory
        self._where = np.empty((0, 2))
        self._track = np.empty(0, np.int64)
        self._seen = np.empty(0, np.int64)

    def link(self, frame: int, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the track of each peak of a frame.

        Parameters
        ----------
        frame
            Number of the frame; a jump ages tracks by as much.
        positions
            (n, 2), row and column in pixels.
        """
        tracks = np.full(len(positions), -1, np.int64)
        alive = self._seen >= frame - self._memory - 1
        if not alive.all():
            self._where, self._track = self._where[alive], self._track[alive]
            self._seen = self._seen[alive]
        if len(positions) == 0:
            return tracks
        if len(self._track):
            peak, old = self._pairs(positions)
            tracks[peak] = self._track[old]
            self._where[old] = positions[peak]
            self._seen[old] = frame
        born = np.flatnonzero(tracks < 0)
        if len(born):
            tracks[born] = np.arange(self.next_track, self.next_track + len(born))
            self.next_track += len(born)
            self._where = np.concatenate([self._where, positions[born]])
            self._track = np.concatenate([self._track, tracks[born]])
            self._seen = np.concatenate([self._seen, np.full(len(born), frame, np.int64)])
        return tracks

    def resume(self, frame: int, positions: NDArray[np.float64], tracks: NDArray[np.int64]) -> None:
        """Take over tracks that were linked before, one frame after the other."""
        old = np.isin(self._track, tracks, invert=True)
        self._where = np.concatenate([self._where[old], positions])
        self._track = np.concatenate([self._track[old], tracks])
        self._seen = np.concatenate([self._seen[old], np.full(len(tracks), frame, np.int64)])

    def _pairs(self, positions: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return peaks and the rows of the track table that they take over."""
        distance, old = cKDTree(self._where).query(positions, distance_upper_bound=self._gate)
        near = np.flatnonzero(np.isfinite(distance))
        # Of several peaks nearest to one track, the closest wins.
        near = near[np.argsort(distance[near], kind="stable")]
        _, first = np.unique(old[near], return_index=True)
        peak = near[first]
        return peak, old[peak]
