"""Following peaks from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tracker", "close_pairs"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FOLLOW, _TURN = 0.5, 0.1
"""Shares of a surprise that go into the place and the velocity of a track (alpha-beta filter)."""
_LONGEST_HIDDEN = 500
"""Frames a track may stay behind masked pixels."""
_KIN = 4.0
"""Gates that a track may be born, or end, away from the one it splits from or merges into. Where a
crystal splits into two phases, spots part by more than a gate before they are two peaks."""
_BESIDE = np.array([[0, 0], [-2, 0], [2, 0], [0, -2], [0, 2]])
"""A spot whose centre is that near to masked pixels is not seen, or not where it is."""
_UNLIKE = 1.5
"""Factor to the distance of a peak and a track of which one does not look like a peak."""
_LEARN = 0.1
"""How fast a track takes on the kind of its peaks."""


@dataclass(slots=True)
class _Live:
    """Tracks that may go on, as columns."""

    track: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    where: Floats = field(default_factory=lambda: np.empty((0, 2)))
    """Row and column where the track is expected now."""
    velocity: Floats = field(default_factory=lambda: np.empty((0, 2)))
    """In pixels a frame."""
    waited: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Frames since it was seen, those behind masked pixels not counted."""
    hidden: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Those frames."""
    seen: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Frames it was seen on."""
    flagged: Floats = field(default_factory=lambda: np.empty(0))
    """Share of its newest peaks that do not look like one."""

    def keep(self, which: Bools) -> None:
        """Let go of the others."""
        for column in fields(self):
            setattr(self, column.name, getattr(self, column.name)[which])

    def add(self, track: Ints, where: Floats, flagged: Bools) -> None:
        """Take in tracks that begin."""
        n = len(track)
        self.track = np.concatenate([self.track, track])
        self.where = np.concatenate([self.where, where])
        self.velocity = np.concatenate([self.velocity, np.zeros((n, 2))])
        self.waited = np.concatenate([self.waited, np.zeros(n, np.int64)])
        self.hidden = np.concatenate([self.hidden, np.zeros(n, np.int64)])
        self.seen = np.concatenate([self.seen, np.ones(n, np.int64)])
        self.flagged = np.concatenate([self.flagged, flagged.astype(np.float64)])


class Tracker:
    """Links each peak to the track that was expected there, frames being given in order.

    A track is expected where it stood, moved on at the velocity it has had. A peak and a track
    belong together when each is the nearest to the other, at most `gate` away; then the same among
    those that are left. A peak and a track of different kinds, one looking like a peak and one not,
    count as farther apart than they are. What is left of the peaks begins tracks; tracks not seen
    for more than `memory` frames end, and two tracks never become one number.

    Parameters
    ----------
    gate
        Greatest distance in pixels.
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
        self._gate = gate
        self._memory = memory
        self._confirm = confirm
        self._frame: int | None = None
        self._mask: Bools | None = None
        self._live = _Live()

    @property
    def memory_frames(self) -> int:
        """Frames that decide how the next one is linked."""
        return 2 * _LONGEST_HIDDEN + self._memory

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        columns = {column.name: getattr(self._live, column.name) for column in fields(self._live)}
        return {"frame": self._frame, "next_track": self.next_track, "live": columns}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._frame, self.next_track = state["frame"], state["next_track"]
        self._live = _Live(**state["live"])

    def hide(self, mask: Bools | None) -> None:
        """Say which pixels see nothing: (rows, cols), True for those."""
        self._mask = mask

    def link(self, frame: int, positions: Floats, flagged: Bools | None = None) -> Ints:
        """Return the track of each peak of a frame.

        Parameters
        ----------
        frame
            Number of the frame; a jump ages tracks by as much.
        positions
            (n, 2), row and column in pixels.
        flagged
            (n,), True for what does not look like one peak.
        """
        if flagged is None:
            flagged = np.zeros(len(positions), np.bool_)
        step = self._move_on(frame)
        live = self._live
        tracks = np.full(len(positions), -1, np.int64)
        peak, old = self._pairs(positions, flagged)
        tracks[peak] = live.track[old]
        self._see(old, positions[peak], flagged[peak], step)
        self._end()
        born = np.flatnonzero(tracks < 0)
        if len(born):
            tracks[born] = np.arange(self.next_track, self.next_track + len(born))
            self.next_track += len(born)
            origin = self._nearest(positions[born], self._live.seen >= self._confirm)
            self.parents = {
                int(track): int(parent)
                for track, parent in zip(tracks[born], origin, strict=True)
                if parent >= 0
            }
            self._live.add(tracks[born], positions[born], flagged[born])
        return tracks

    def resume(
        self, frame: int, positions: Floats, tracks: Ints, flagged: Bools | None = None
    ) -> None:
        """Take over peaks that were linked before, one frame after the other."""
        if flagged is None:
            flagged = np.zeros(len(positions), np.bool_)
        step = self._move_on(frame)
        old, peak = np.nonzero(self._live.track[:, None] == tracks[None, :])
        self._see(old, positions[peak], flagged[peak], step)
        self._end()
        new = np.ones(len(tracks), np.bool_)
        new[peak] = False
        self._live.add(tracks[new], positions[new], flagged[new])
        self.merged = {}

    def _move_on(self, frame: int) -> int:
        """Expect all tracks where they should stand on a frame, and age them."""
        step = 1 if self._frame is None else max(1, frame - self._frame)
        self._frame = frame
        self.parents, self.merged = {}, {}
        live = self._live
        live.where += live.velocity * step
        behind = np.minimum(step, self._may_hide())
        live.waited += step - behind
        live.hidden += behind
        return step

    def _may_hide(self) -> Ints:
        """Return for how long each track may still be expected behind masked pixels."""
        live = self._live
        if self._mask is None:
            return np.zeros(len(live.track), np.int64)
        pixels = np.rint(live.where).astype(np.int64)
        inside = ((pixels >= 0) & (pixels < self._mask.shape)).all(axis=1)
        around = np.clip(pixels[:, None] + _BESIDE, 0, np.array(self._mask.shape) - 1)
        masked = inside & self._mask[around[..., 0], around[..., 1]].any(axis=1)
        return np.where(masked, np.minimum(live.seen, _LONGEST_HIDDEN) - live.hidden, 0)

    def _see(self, old: NDArray[np.intp], where: Floats, flagged: Bools, step: int) -> None:
        """Correct what is expected of tracks by where they are."""
        live = self._live
        surprise = where - live.where[old]
        # Noise, or a peak that is taken for another for once, must not set a track in motion.
        most = self._gate / 4.0
        live.velocity[old] += _TURN * np.clip(surprise / step, -most, most)
        live.where[old] += _FOLLOW * surprise
        live.flagged[old] += _LEARN * (flagged - live.flagged[old])
        live.waited[old] = live.hidden[old] = 0
        live.seen[old] += 1

    def _end(self) -> None:
        """Let go of tracks that were not seen for too long."""
        live = self._live
        over = live.waited > self._memory
        if not over.any():
            return
        into = self._nearest(live.where[over], (live.waited == 0) & (live.hidden == 0))
        self.merged = {
            int(track): int(other)
            for track, other in zip(live.track[over], into, strict=True)
            if other >= 0
        }
        live.keep(~over)

    def _nearest(self, where: Floats, among: Bools) -> Ints:
        """Return the nearest track to each place that can be its kin, -1 for none."""
        live = self._live
        among = among & (live.flagged < 0.5)
        point, other, distance = close_pairs(where, live.where[among], _KIN * self._gate)
        nearest = np.full(len(where), -1, np.int64)
        order = np.argsort(-distance, kind="stable")
        nearest[point[order]] = live.track[among][other[order]]  # the nearest comes last and stays
        return nearest

    def _pairs(
        self, positions: Floats, flagged: Bools
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return peaks and the tracks, as rows of the live ones, that they belong to."""
        live = self._live
        due = live.waited <= self._memory + 1  # others missed too many frames before this one
        peak, old, distance = close_pairs(positions, live.where, self._gate)
        differ = flagged[peak] != (live.flagged[old] >= 0.5)
        distance = np.where(differ, _UNLIKE * distance, distance)
        good = (distance <= self._gate) & due[old]
        order = np.argsort(distance[good], kind="stable")
        peak, old = peak[good][order], old[good][order]
        peaks, olds = [peak[:0]], [old[:0]]
        while len(peak):
            # Pairs come from near to far: the first of both its peak and its track is mutual.
            turn = np.arange(len(peak))
            of_peak = np.empty(len(positions), np.intp)
            of_old = np.empty(len(live.track), np.intp)
            of_peak[peak[::-1]], of_old[old[::-1]] = turn[::-1], turn[::-1]
            mutual = (of_peak[peak] == turn) & (of_old[old] == turn)
            peaks.append(peak[mutual])
            olds.append(old[mutual])
            taken_peak = np.zeros(len(positions), np.bool_)
            taken_old = np.zeros(len(live.track), np.bool_)
            taken_peak[peak[mutual]] = taken_old[old[mutual]] = True
            left = ~(taken_peak[peak] | taken_old[old])
            peak, old = peak[left], old[left]
        return np.concatenate(peaks), np.concatenate(olds)


def close_pairs(
    points: Floats, others: Floats, gate: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return all pairs of points and others, (n, 2) each, at most `gate` apart, and how far.

    Others are sorted by stripes of rows as high as the gate, and by column within a stripe: what
    can be near a point follows on each other in three stripes. For the few hundred peaks of a frame
    that is faster than a tree.
    """
    none = np.empty(0, np.intp)
    if not len(points) or not len(others):
        return none, none, np.empty(0)
    left = min(points[:, 1].min(), others[:, 1].min()) - gate
    width = max(points[:, 1].max(), others[:, 1].max()) + 2.0 * gate - left
    places = np.floor(others[:, 0] / gate) * width + (others[:, 1] - left)
    order = np.argsort(places, kind="stable")
    places = places[order]
    middle = np.floor(points[:, 0] / gate) * width + (points[:, 1] - left)
    mine = np.argsort(middle)  # what is searched for in order is found faster
    middle = (middle[mine] + width * np.array([[-1.0], [0.0], [1.0]])).ravel()
    # A little wider, so that rounding loses nothing.
    reach = gate * (1.0 + 1e-9) + 1e-6
    low = np.searchsorted(places, middle - reach, "left")
    count = np.searchsorted(places, middle + reach, "right") - low
    point = np.repeat(np.tile(mine, 3), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    other = order[np.repeat(low, count) + within]
    distance = np.hypot(*(points[point] - others[other]).T)
    near = distance <= gate
    return point[near], other[near], distance[near]
