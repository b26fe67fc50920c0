"""One peak in a patch, or two: decided for a track, from all its frames so far."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
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
_UNDOUBTED = 10.0
"""Evidence of a frame on which there was no doubt, and none was weighed: less than that with which
doubts begin."""
_LEARNS = 0.2
"""Share of a frame in how far both answers are apart."""
_CLEAR = 100.0
"""Mean evidence from which on a second peak has come, rather than another answer been chosen."""
_MOST = 50.0
"""Most that is gathered either way, so that what changes is noticed."""


@dataclass(slots=True)
class _Known:
    """What is known of a track that was in doubt."""

    gathered: float
    """Twice the logarithm of the odds for two peaks."""
    two: bool
    """Whether two it is."""
    seen: int
    """The newest frame."""
    first: bool
    """Whether two it was at first."""
    mean: float = 0.0
    """Evidence of the newest frames in doubt."""
    stepped: bool = False
    """Whether its drift is told to hold a change of the answer."""
    row2: float = 0.0
    """Mean square of how far both answers are apart on the newest frames that had both."""
    col2: float = 0.0

    def gather(self, told: float, frame: int) -> None:
        """Add what a frame tells."""
        self.seen = frame
        self.gathered = max(-_MOST, min(_KEPT * self.gathered + told, _MOST))
        self.two = self.gathered > (-_SWITCH if self.two else _SWITCH)

    @property
    def steps(self) -> bool:
        """Whether it stands elsewhere for no other reason than that another answer is likely."""
        return (self.gathered > 0.0) != self.first and self.mean < _CLEAR

    def part(self, evidence: float, row: float, col: float) -> None:
        """Learn how far apart the answers of a frame are."""
        learns = 1.0 if self.row2 + self.col2 == 0.0 else _LEARNS
        self.mean += learns * (evidence - self.mean)
        self.row2 += learns * (row * row - self.row2)
        self.col2 += learns * (col * col - self.col2)


class Multiplicity:
    """Decides between the two answers of doubtful peaks.

    The evidence of frame after frame is gathered for each track (a cumulative sum as in Page,
    Biometrika 41, 100, 1954, that forgets), and its answer changes only when much speaks for the
    other: what is weak on each frame is seen in many, and a spot on the verge keeps its answer.
    While both are likely the standard deviation holds the distance to the other one, and so it does
    where two are likely but a frame has no answer but that of one.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, _Known] = {}
        """Of tracks that are missing nothing speaks for two."""
        self.steps: dict[int, tuple[float, float]] = {}
        """Variances along rows and columns that drifts of tracks hold from now on, because another
        answer is likely than at first; to be emptied by who takes them."""

    def state(self) -> list[tuple[int | float, ...]]:
        """Return what `restore` takes."""
        return [(track, *astuple(known)) for track, known in self._tracks.items()]

    def restore(self, state: Iterable[Any]) -> None:
        """Go on from what `state` returned."""
        self._tracks = {track: _Known(*known) for track, *known in state}

    def forget(self, before: int) -> None:
        """Let go of tracks that were seen last before a frame."""
        self._tracks = {track: one for track, one in self._tracks.items() if one.seen >= before}

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
        is_peak = (positions["flags"] & POOR_FIT) == 0
        doubtful = np.isfinite(positions["single"]["evidence"]) & is_peak
        chosen = np.flatnonzero(doubtful)
        decided = positions
        if self._tracks:
            others = ~doubtful & is_peak & ((positions["flags"] & NEIGHBOUR) == 0)
            decided = self._widened(frame, tracks, np.flatnonzero(others), decided)
        if len(chosen):
            gathered, two = self._weigh(frame, tracks[chosen], born, positions[chosen])
            decided = _answered(decided, chosen, found, gathered, two)
        return decided

    def _weigh(
        self, frame: int, tracks: Ints, born: int, positions: NDArray[np.void]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return, for doubtful peaks, twice the logarithm of the odds for two, and whether to."""
        single = positions["single"]
        gathered, two = np.empty(len(tracks)), np.empty(len(tracks), np.bool_)
        told = (single["evidence"] - _COST).tolist()
        apart = [(positions[axis] - single[axis]).tolist() for axis in ("row", "col")]
        for i, (track, one, row, col) in enumerate(zip(tracks.tolist(), told, *apart, strict=True)):
            known = self._tracks.get(track)
            if known is None and 0 <= track < born:
                known = _Known(-_MOST, False, frame, False)
            if known is None:
                known = _Known(min(one, _MOST), one >= _BORN, frame, one >= _BORN)
            else:
                known.gather(one, frame)
            known.part(one + _COST, row, col)
            if track >= 0:
                self._tracks[track] = known
                self._note(track, known)
            gathered[i], two[i] = known.gathered, known.two
            if one > 0.0 and not known.two:
                gathered[i] = max(known.gathered, one)  # what appears at once is not overlooked
        return gathered, two

    def _note(self, track: int, known: _Known) -> None:
        """Say so when a drift begins, or ends, to hold a change of the answer."""
        if known.steps != known.stepped:
            known.stepped = known.steps
            self.steps[track] = (known.row2, known.col2) if known.steps else (0.0, 0.0)

    def _widened(
        self, frame: int, tracks: Ints, alone: NDArray[np.intp], positions: NDArray[np.void]
    ) -> NDArray[np.void]:
        """Return positions, less sure where peaks that are said to be alone may be two."""
        decided = positions
        for i, track in zip(alone.tolist(), tracks[alone].tolist(), strict=True):
            known = self._tracks.get(track)
            if known is None:
                continue
            known.gather(_UNDOUBTED - _COST, frame)
            self._note(track, known)
            if known.gathered < -_SWITCH and not known.two:
                del self._tracks[track]
                continue
            if decided is positions:
                decided = positions.copy()
            likely = 1.0 / (1.0 + math.exp(-0.5 * known.gathered))
            for name, square in (("row_sigma", known.row2), ("col_sigma", known.col2)):
                decided[name][i] = math.sqrt(decided[name][i] ** 2 + likely * square)
        return decided


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
