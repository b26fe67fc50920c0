"""A tracker that looks at every pair, for comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class Track:
    number: int
    where: Floats
    velocity: Floats
    last: Floats
    flagged: float
    waited: int = 0
    hidden: int = 0
    seen: int = 1
    steady: int = 1


class PlainTracker:
    def __init__(self, gate: float, memory: int, confirm: int, mask: NDArray[np.bool_]) -> None:
        self.gate, self.memory, self.confirm, self.mask = gate, memory, confirm, mask
        self.tracks: list[Track] = []
        self.next, self.frame = 0, -1

    def link(
        self, frame: int, places: Floats, flagged: NDArray[np.bool_]
    ) -> tuple[list[int], dict[int, int], dict[int, int]]:
        step, self.frame = max(1, frame - self.frame), frame
        for track in self.tracks:
            track.where = track.where + step * track.velocity
            behind = min(step, self.may_hide(track))
            track.waited, track.hidden = track.waited + step - behind, track.hidden + behind
        mine: dict[int, Track] = {}
        for name in ("where", "last"):
            self.pair(name, places, flagged, mine)
        for peak, track in mine.items():
            self.see(track, places[peak], bool(flagged[peak]), step)
        over = [track for track in self.tracks if track.waited > self.memory]
        here = [track for track in self.tracks if track.waited == track.hidden == 0]
        merged = self.kin({track.number: track.where for track in over}, here)
        self.tracks = [track for track in self.tracks if track.waited <= self.memory]
        born = [peak for peak in range(len(places)) if peak not in mine]
        numbers = {peak: self.next + i for i, peak in enumerate(born)}
        seen = [track for track in self.tracks if track.seen >= self.confirm]
        parents = self.kin({number: places[peak] for peak, number in numbers.items()}, seen)
        courses = [self.course(places[peak]) for peak in born]
        for peak, velocity in zip(born, courses, strict=True):
            at = places[peak]
            self.tracks.append(Track(numbers[peak], at, velocity, at, float(flagged[peak])))
        self.next += len(born)
        linked = {peak: track.number for peak, track in mine.items()} | numbers
        return [linked[peak] for peak in range(len(places))], parents, merged

    def may_hide(self, track: Track) -> int:
        rows, cols = self.mask.shape
        row, col = (round(x) for x in track.where)
        if not (0 <= row < rows and 0 <= col < cols):
            return 0
        beside = [(row, col), (row - 2, col), (row + 2, col), (row, col - 2), (row, col + 2)]
        masked = any(
            self.mask[min(max(r, 0), rows - 1), min(max(c, 0), cols - 1)] for r, c in beside
        )
        return min(track.seen, 500) - track.hidden if masked else 0

    def pair(
        self, name: str, places: Floats, flagged: NDArray[np.bool_], mine: dict[int, Track]
    ) -> None:
        pairs = []
        for peak, place in enumerate(places):
            for track in self.tracks:
                far = float(np.hypot(*(place - getattr(track, name))))
                far *= 1.5 if flagged[peak] != (track.flagged >= 0.5) else 1.0
                is_due = track.waited <= self.memory + 1
                if is_due and far <= self.gate * max(track.waited, 1) ** 0.5:
                    pairs.append((far, track.number, peak, track))
        for _, number, peak, track in sorted(pairs, key=lambda one: one[0]):
            if peak not in mine and number not in [other.number for other in mine.values()]:
                mine[peak] = track

    def see(self, track: Track, place: Floats, flagged: bool, step: int) -> None:
        surprise = place - track.where
        n = track.steady + 1
        n = track.steady = min(n, 3) if np.hypot(*surprise) > self.gate / 2 else n
        track.velocity = track.velocity + max(0.1, 6 / ((n + 1) * (n + 2))) * surprise / step
        track.where = track.where + max(0.5, 2 * (2 * n - 1) / (n * (n + 1))) * surprise
        track.last, track.waited, track.hidden = place, 0, 0
        track.flagged += 0.1 * (flagged - track.flagged)
        track.seen += 1

    def kin(self, places: dict[int, Floats], others: list[Track]) -> dict[int, int]:
        found = {}
        for number, place in places.items():
            near = [
                (float(np.hypot(*(place - other.where))), other.number)
                for other in others
                if other.flagged < 0.5
            ]
            if near and min(near)[0] <= 4 * self.gate:
                found[number] = min(near)[1]
        return found

    def course(self, place: Floats) -> Floats:
        known = [track for track in self.tracks if track.steady >= 4]
        velocities = np.array([track.velocity for track in known]).reshape(-1, 2)
        if len(known) < 6:
            return np.median(velocities, axis=0) if known else np.zeros(2)
        terms = np.array([(1.0, *track.last) for track in known])
        weights = np.ones((len(known), 1))
        for _ in range(3):
            field = np.linalg.lstsq(terms * weights, velocities * weights)[0]
            off = np.hypot(*(velocities - terms @ field).T)
            weights = (1 / (1 + (off / (2 * np.median(off) + 1e-3)) ** 2))[:, None]
        there = np.array([1.0, *place]) @ field
        return there * min(1, 2 * np.hypot(*velocities.T).max() / max(np.hypot(*there), 1e-12))
