"""Following peaks from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tracker", "close_pairs"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FOLLOW, _TURN = 0.5, 0.1
"""Shares of a surprise that go into the place and the velocity of a track (alpha-beta filter) once
it has been seen often; before, those of a straight line through all its peaks."""
_FIELD_TRACKS = 6
"""Tracks that tell how velocity depends on place."""
_FASTER = 2.0
"""Times the speed of the fastest of these, at most, where the field is continued."""
_NEW_COURSE = 3
"""A track that is farther than half a gate from where it was expected is as one seen so often."""
_COURSE_SEEN = 4
"""Frames on which tracks were seen that tell a new one how to move."""
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
    steady: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Those since it last changed its course."""
    last: Floats = field(default_factory=lambda: np.empty((0, 2)))
    """Row and column where it was seen last."""
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
        self.velocity = np.concatenate([self.velocity, self.course(where)])
        self.waited = np.concatenate([self.waited, np.zeros(n, np.int64)])
        self.hidden = np.concatenate([self.hidden, np.zeros(n, np.int64)])
        self.seen = np.concatenate([self.seen, np.ones(n, np.int64)])
        self.steady = np.concatenate([self.steady, np.ones(n, np.int64)])
        self.last = np.concatenate([self.last, where])
        self.flagged = np.concatenate([self.flagged, flagged.astype(np.float64)])

    def course(self, where: Floats) -> Floats:
        """Return how tracks move that begin at (n, 2) places: as those that are known move there.

        That is the affine field of velocities nearest to theirs, which a beam that drifts, a sample
        that turns and a lattice that breathes have; their mean where they are too few to tell.
        """
        known = self.steady >= _COURSE_SEEN
        places, velocities = self.last[known], self.velocity[known]
        if len(places) < _FIELD_TRACKS:
            middle = np.median(velocities, axis=0) if len(places) else np.zeros(2)
            return np.broadcast_to(middle, where.shape)
        ones = np.ones((len(places), 1))
        terms, weights = np.hstack([ones, places]), ones
        for _ in range(3):  # what moves by itself counts less and less
            field_of, *_ = np.linalg.lstsq(terms * weights, velocities * weights)
            off = np.hypot(*(velocities - terms @ field_of).T)
            weights = (1.0 / (1.0 + (off / (2.0 * np.median(off) + 1e-3)) ** 2))[:, None]
        there: Floats = np.hstack([np.ones((len(where), 1)), where]) @ field_of
        speed, most = np.hypot(*there.T), _FASTER * np.hypot(*velocities.T).max()
        return np.asarray(there * np.minimum(1.0, most / np.maximum(speed, 1e-12))[:, None])


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
        tracks = np.full(len(positions), -1, np.int64)
        peak, old = self._pairs(positions, flagged)
        tracks[peak] = live.track[old]
        born = np.flatnonzero(tracks < 0)
        tracks[born] = np.arange(self.next_track, self.next_track + len(born))
        self.next_track += len(born)
        if settle is not None:
            positions = settle(tracks)
        self._see(old, positions[peak], flagged[peak], step)
        self._end()
        if len(born):
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
        turns = np.hypot(*surprise.T) > 0.5 * self._gate
        n = live.steady[old] + 1
        n = np.where(turns, np.minimum(n, _NEW_COURSE), n)
        live.steady[old] = n
        # A straight line through n points, evenly spaced, and how its end and slope change.
        follow = np.maximum(_FOLLOW, 2.0 * (2 * n - 1) / (n * (n + 1.0)))[:, None]
        turn = np.maximum(_TURN, 6.0 / ((n + 1) * (n + 2.0)))[:, None]
        live.velocity[old] += turn * surprise / step
        live.where[old] += follow * surprise
        live.last[old] = where
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
        peaks, olds = [], []
        free, lost = np.arange(len(positions)), np.flatnonzero(due)
        for places in (live.where, live.last):
            if not len(free) or not len(lost):
                break
            gates = self._gate * np.sqrt(np.maximum(live.waited[lost], 1))
            peak, old, distance = close_pairs(positions[free], places[lost], float(gates.max()))
            differ = flagged[free][peak] != (live.flagged[lost][old] >= 0.5)
            distance = np.where(differ, _UNLIKE * distance, distance)
            good = distance <= gates[old]
            peak, old = _mutual(peak[good], old[good], distance[good], len(free), len(lost))
            peaks.append(free[peak])
            olds.append(lost[old])
            free, lost = np.delete(free, peak), np.delete(lost, old)
        none = np.empty(0, np.intp)
        return np.concatenate([none, *peaks]), np.concatenate([none, *olds])


def _mutual(
    peak: NDArray[np.intp], old: NDArray[np.intp], distance: Floats, n_peaks: int, n_olds: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return those pairs that are each other's nearest, then those among what is left, and so on.

    Parameters
    ----------
    peak, old, distance
        Pairs that may be, and how far apart they are.
    n_peaks, n_olds
        How many there are to choose from.
    """
    order = np.argsort(distance, kind="stable")
    peak, old = peak[order], old[order]
    peaks, olds = [peak[:0]], [old[:0]]
    while len(peak):
        # Pairs come from near to far: the first of both its peak and its track is mutual.
        turn = np.arange(len(peak))
        of_peak, of_old = np.empty(n_peaks, np.intp), np.empty(n_olds, np.intp)
        of_peak[peak[::-1]], of_old[old[::-1]] = turn[::-1], turn[::-1]
        mutual = (of_peak[peak] == turn) & (of_old[old] == turn)
        peaks.append(peak[mutual])
        olds.append(old[mutual])
        taken_peak, taken_old = np.zeros(n_peaks, np.bool_), np.zeros(n_olds, np.bool_)
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
