"""Following peaks from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.tracks.course import course
from streamer.tracks.following import LIVE, LONGEST_HIDDEN, end, expect, nearest, pair, see

__all__ = ["Tracker"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_KIN = 4.0
"""Gates that a track may be born, or end, away from the one it splits from or merges into. Where a
crystal splits into two phases, spots part by more than a gate before they are two peaks."""


class Tracker:
    """Links each peak to the track that was expected there, frames being given in order.

    A track is expected where it stood, moved on at the velocity it has had; one that has just begun
    moves as those around it do. A peak and a track belong together when each is the nearest to the
    other, at most `gate` from where the track is expected; then the same among those that are left;
    then the same with where tracks were seen last, for those that set off, stop or turn. A peak and
    a track of different kinds, one looking like a peak and one not, count as farther apart than
    they are. What is left of the peaks begins tracks; tracks not seen for more than `memory` frames
    end, and two tracks never become one number.

    Parameters
    ----------
    gate
        Greatest distance in pixels; with the square root of the frames since a track was seen.
    memory
        Frames a track may miss. Those during which it is expected behind masked pixels do not
        count, up to as many as it was seen on.
    first
        Number of the first track.
    confirm
        Frames on which a track must have been seen to be the origin of another.

    Attributes
    ----------
    next_track
        Number of the next track that begins.
    parents
        For each track that began on the last frame near one that goes on, or was just lost: that
        track.
    merged
        For each track that ended with the last frame near one that goes on: that track.
    """

    def __init__(self, gate: float, memory: int, first: int = 0, *, confirm: int = 1) -> None:
        self.next_track = first
        self.parents: dict[int, int] = {}
        self.merged: dict[int, int] = {}
        self._gate = float(gate)
        self._memory = memory
        self._confirm = confirm
        self._frame: int | None = None
        self._mask = np.zeros((0, 0), np.bool_)
        self._rows = np.zeros(64, LIVE)
        self._n = 0

    @property
    def memory_frames(self) -> int:
        """Frames that decide how the next one is linked."""
        return 2 * LONGEST_HIDDEN + self._memory

    @property
    def _live(self) -> NDArray[np.void]:
        """Tracks that may go on, in the order of their numbers."""
        return self._rows[: self._n]

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {"frame": self._frame, "next_track": self.next_track, "live": self._live}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._frame, self.next_track = state["frame"], state["next_track"]
        self._rows = state["live"].astype(LIVE)
        self._n = len(self._rows)

    def hide(self, mask: Bools | None) -> None:
        """Say which pixels see nothing: (rows, cols), True for those."""
        self._mask = np.zeros((0, 0), np.bool_) if mask is None else np.array(mask, np.bool_)

    def link(
        self,
        frame: int,
        positions: Floats,
        flagged: Bools | None = None,
        settle: Callable[[Ints], Floats] | None = None,
    ) -> Ints:
        """Return the track of each peak of a frame.

        Parameters
        ----------
        frame
            Number of the frame; a jump ages tracks by as much.
        positions
            (n, 2), row and column in pixels.
        flagged
            (n,), True for what does not look like one peak.
        settle
            Returns the positions that tracks go on from, (n, 2), once it is told these.
        """
        if flagged is None:
            flagged = np.zeros(len(positions), np.bool_)
        step = self._move_on(frame)
        live = self._live
        mine = pair(live, positions, flagged, self._gate, self._memory)
        born = np.flatnonzero(mine < 0)
        tracks = live["track"][mine] if len(live) else mine.copy()
        if len(born):
            tracks[born] = np.arange(self.next_track, self.next_track + len(born))
            self.next_track += len(born)
        if settle is not None:
            positions = settle(tracks)
        see(live, mine, positions, flagged, self._gate, step)
        self._end()
        if len(born):
            places = positions[born]
            origin = nearest(self._live, places, _KIN * self._gate, self._confirm, False)
            self.parents = _kin(tracks[born], origin)
            self._begin(tracks[born], places, flagged[born])
        return tracks

    def resume(
        self, frame: int, positions: Floats, tracks: Ints, flagged: Bools | None = None
    ) -> None:
        """Take over peaks that were linked before, one frame after the other."""
        if flagged is None:
            flagged = np.zeros(len(positions), np.bool_)
        step = self._move_on(frame)
        live = self._live
        mine = np.searchsorted(live["track"], tracks)
        known = mine < len(live)
        known[known] = live["track"][mine[known]] == tracks[known]
        mine[~known] = -1
        see(live, mine, positions, flagged, self._gate, step)
        self._end()
        new = np.flatnonzero(~known & (tracks >= 0))
        if len(new):
            self._begin(tracks[new], positions[new], flagged[new])
            self._rows = self._live[np.argsort(self._live["track"])]
        self.merged = {}

    def _move_on(self, frame: int) -> int:
        """Expect all tracks where they should stand on a frame, and age them."""
        step = 1 if self._frame is None else max(1, frame - self._frame)
        self._frame = frame
        self.parents, self.merged = {}, {}
        expect(self._live, step, self._mask)
        return step

    def _end(self) -> None:
        """Let go of tracks that were not seen for too long."""
        self._n, over = end(self._live, self._memory)
        if len(over):
            places = np.stack([over["row"], over["col"]], axis=1)
            into = nearest(self._live, places, _KIN * self._gate, 0, True)
            self.merged = _kin(over["track"], into)

    def _begin(self, tracks: Ints, places: Floats, flagged: Bools) -> None:
        """Take in tracks whose numbers are higher than all before."""
        first, self._n = self._n, self._n + len(tracks)
        if self._n > len(self._rows):
            self._rows = np.concatenate([self._rows[:first], np.zeros(2 * self._n, LIVE)])
        velocity = course(self._rows[:first], places)
        born = self._rows[first : self._n]
        born["track"], born["flagged"] = tracks, flagged
        for axis, name in enumerate(("row", "col")):
            born[name] = born[f"last_{name}"] = places[:, axis]
            born[f"{name}_velocity"] = velocity[:, axis]
        born["waited"], born["hidden"], born["seen"], born["steady"] = 0, 0, 1, 1


def _kin(tracks: Ints, others: Ints) -> dict[int, int]:
    """Return which track has which other one, where there is one."""
    has = others >= 0
    return dict(zip(tracks[has].tolist(), others[has].tolist(), strict=True))
