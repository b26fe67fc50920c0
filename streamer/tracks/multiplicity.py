"""One peak in a patch, or two: decided for a track, from all its frames so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import NEIGHBOUR, POOR_FIT

__all__ = ["Multiplicity"]

Ints = NDArray[np.int64]

_PLACE = ("row", "col", "row_sigma", "col_sigma")
_COST = 14.4
"""What evidence of a frame counts from: 3 parameters more for 121 pixels, 3 ln 121 (Bayesian
information criterion; Schwarz, Ann. Stat. 6, 461, 1978)."""
_BORN = 16.6
"""Evidence, less its cost, from which on the first frame of a track tells of two: by chance once in
20,000 single peaks."""
_SWITCH = 35.0
"""Gathered evidence for the other answer with which a track changes to it: where each frame's is
about its cost, and scatters by 7, less than once in 200 frames. What frames tell with 20 on average
is seen in 14 of them, with 31 in 5."""
_KEPT = 0.9
"""Share of it that is left a frame later."""
_MOST = 50.0
"""Most that is gathered either way, so that what changes is noticed."""


class Multiplicity:
    """Decides between the two answers of doubtful peaks.

    The evidence of frame after frame is gathered for each track (a cumulative sum as in Page,
    Biometrika 41, 100, 1954, that forgets), and its answer changes only when much speaks for the
    other: what is weak on each frame is seen in many, and a spot on the verge keeps its answer.
    While both are likely the standard deviation holds the distance to the other one.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, tuple[float, bool, int]] = {}
        """Twice the logarithm of the odds for two, whether two it is, and the newest frame; of
        tracks that are missing nothing speaks for two."""

    def state(self) -> list[tuple[int, float, bool, int]]:
        """Return what `restore` takes."""
        return [(track, *known) for track, known in self._tracks.items()]

    def restore(self, state: Iterable[Any]) -> None:
        """Go on from what `state` returned."""
        self._tracks = {track: (gathered, two, seen) for track, gathered, two, seen in state}

    def forget(self, before: int) -> None:
        """Let go of tracks that were seen last before a frame."""
        self._tracks = {track: one for track, one in self._tracks.items() if one[2] >= before}

    def decide(
        self, frame: int, tracks: Ints, born: int, found: NDArray[Any], positions: NDArray[np.void]
    ) -> NDArray[np.void]:
        """Return the positions of a frame as they are decided, frames being given in order.

        Parameters
        ----------
        frame
            Where it stands among those of the run.
        tracks
            (n,), track of each peak; -1 for one whose frame alone decides.
        born
            Number of the first track that begins with this frame.
        found
            (n,), flags by which finding the peak says what else is in its patch.
        positions
            POSITION[n], where there is doubt with the answer of two peaks.
        """
        evidence = positions["single"]["evidence"]
        doubtful = np.isfinite(evidence) & ((positions["flags"] & POOR_FIT) == 0)
        chosen = np.flatnonzero(doubtful)
        if not len(chosen):
            if self._tracks:
                self._see_singles(frame, tracks, positions["flags"])
            return positions
        gathered = np.empty(len(chosen))
        two = np.empty(len(chosen), np.bool_)
        pairs = zip(tracks[chosen].tolist(), evidence[chosen].tolist(), strict=True)
        for i, (track, told) in enumerate(pairs):
            told -= _COST
            gathered[i], two[i] = self._gather(frame, track, told, 0 <= track < born)
            if told > 0.0 and not two[i]:
                gathered[i] = max(gathered[i], told)  # what appears at once is not overlooked
        if len(chosen) < len(tracks):
            self._see_singles(frame, tracks[~doubtful], positions["flags"][~doubtful])
        return _answered(positions, chosen, found, gathered, two)

    def _gather(self, frame: int, track: int, told: float, is_old: bool) -> tuple[float, bool]:
        """Add what a frame tells of a track, and return what is known of it then."""
        before = self._tracks.get(track, (-_MOST, False, frame) if is_old else None)
        if before is None:
            gathered, two = min(told, _MOST), told >= _BORN
        else:
            gathered = max(-_MOST, min(_KEPT * before[0] + told, _MOST))
            two = gathered > (-_SWITCH if before[1] else _SWITCH)
        if track >= 0:
            self._tracks[track] = gathered, two, frame
        return gathered, two

    def _see_singles(self, frame: int, tracks: Ints, flags: NDArray[Any]) -> None:
        """Learn from peaks that are the only ones in their patch, without a doubt."""
        alone = (flags & (NEIGHBOUR | POOR_FIT)) == 0
        for track in sorted(self._tracks.keys() & set(tracks[alone].tolist())):
            gathered, two = self._gather(frame, track, -_COST, is_old=True)
            if gathered <= -_MOST and not two:
                del self._tracks[track]


def _answered(
    positions: NDArray[np.void],
    chosen: NDArray[np.intp],
    found: NDArray[Any],
    gathered: NDArray[np.float64],
    two: NDArray[np.bool_],
) -> NDArray[np.void]:
    """Return positions of which some are by the answer of their track, as sure as that is.

    The variance about one of two answers is that of their mixture (Buckland, Burnham and Augustin,
    Biometrics 53, 603, 1997).
    """
    decided = positions.copy()
    joint, alone = (
        np.array([of[name][chosen] for name in _PLACE]) for of in (positions, positions["single"])
    )
    here, there = np.where(two, (joint, alone), (alone, joint))
    likely = 1.0 / (1.0 + np.exp(np.where(two, -0.5, 0.5) * gathered))
    apart = there[2:] ** 2 + (here[:2] - there[:2]) ** 2
    here[2:] = np.sqrt(likely * here[2:] ** 2 + (1.0 - likely) * apart)
    for name, column in zip(_PLACE, here, strict=True):
        decided[name][chosen] = column
    rest = positions["flags"][chosen] & ~NEIGHBOUR
    decided["flags"][chosen] = rest | np.where(two, NEIGHBOUR, found[chosen] & NEIGHBOUR)
    return decided
