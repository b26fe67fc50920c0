"""One peak in a patch, or two: decided for a track, from all its frames so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import NEIGHBOUR, POOR_FIT

__all__ = ["PLACE", "POOR", "Decided", "Multiplicity", "look"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Kinds = NDArray[np.uint8]

PLACE = ("row", "col", "row_sigma", "col_sigma")
"""What is decided of a position beside its flags."""
POOR, _DOUBTFUL = 1, 2
"""Kinds of peaks: what does not look like one, and what may be two."""
_KNOWN = np.dtype(
    [
        ("track", "i8"),
        ("gathered", "f8"),
        ("two", "?"),
        ("seen", "i8"),
        ("first", "?"),
        ("mean", "f8"),
        ("stepped", "?"),
        ("row2", "f8"),
        ("col2", "f8"),
    ]
)
"""What is known of a track that was in doubt: twice the logarithm of the odds for two peaks,
whether two it is, the newest frame, whether two it was at first, mean evidence of the newest frames
in doubt, whether its drift is told to hold a change of the answer, and mean square of how far both
answers are apart on the newest frames that had both."""
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
_GONE = -2
"""In place of the number of a track that nothing speaks for two of any more."""


class Decided(NamedTuple):
    """Peaks of a frame that stand elsewhere, or less surely, than they came."""

    which: Ints
    """(k,), which of its peaks."""
    places: Floats
    """(k, 4), row, column and their standard deviations."""
    flags: NDArray[np.int32]
    """(k,)"""

    def applied(self, positions: NDArray[np.void]) -> NDArray[np.void]:
        """Return the positions of the frame as they are decided."""
        decided = positions.copy()
        for name, column in zip(PLACE, self.places.T, strict=True):
            decided[name][self.which] = column
        decided["flags"][self.which] = self.flags
        return decided


class Multiplicity:
    """Decides between the two answers of doubtful peaks.

    The evidence of frame after frame is gathered for each track (a cumulative sum as in Page,
    Biometrika 41, 100, 1954, that forgets), and its answer changes only when much speaks for the
    other: what is weak on each frame is seen in many, and a spot on the verge keeps its answer.
    While both are likely the standard deviation holds the distance to the other one, and so it does
    where two are likely but a frame has no answer but that of one.
    """

    def __init__(self) -> None:
        self._rows = np.zeros(64, _KNOWN)
        """Of tracks that are missing nothing speaks for two."""
        self._n = 0
        self.steps: dict[int, tuple[float, float]] = {}
        """Variances along rows and columns that drifts of tracks hold from now on, because another
        answer is likely than at first; to be emptied by who takes them."""

    def state(self) -> NDArray[np.void]:
        """Return what `restore` takes; it takes a list of it, too."""
        return self._rows[: self._n]

    def restore(self, state: Iterable[Any]) -> None:
        """Go on from what `state` returned."""
        self._rows = np.array([tuple(known) for known in state], _KNOWN)
        self._n = len(self._rows)

    def forget(self, before: int) -> None:
        """Let go of tracks that were seen last before a frame."""
        known = self._rows[: self._n]
        self._rows = known[known["seen"] >= before]
        self._n = len(self._rows)

    def decide(
        self,
        frame: int,
        tracks: Ints,
        born: int,
        kinds: Kinds,
        peaks: NDArray[np.void],
        positions: NDArray[np.void],
    ) -> Decided:
        """Return what of a frame is decided otherwise than it came, frames being given in order.

        Parameters
        ----------
        frame
            Where it stands among those of the run.
        tracks
            (n,), track of each peak; -1 for one whose frame alone decides.
        born
            Number of the first track that begins with this frame.
        kinds
            (n,), as of `look`.
        peaks
            PEAK[n], whose flags say by finding what else is in their patches.
        positions
            POSITION[n], where there is doubt with the answer of two peaks.
        """
        n_doubtful = int(np.count_nonzero(kinds == _DOUBTFUL))
        room = self._n + n_doubtful + 1
        if len(self._rows) < room:
            self._rows = np.concatenate([self._rows[: self._n], np.zeros(2 * room, _KNOWN)])
        self._n, which, places, flags, changed, steps = _decide(
            self._rows, self._n, n_doubtful, frame, tracks, born, kinds, peaks, positions
        )
        for track, step in zip(changed.tolist(), steps.tolist(), strict=True):
            self.steps[track] = (step[0], step[1])
        return Decided(which, places, flags)


@njit(cache=True, nogil=True, error_model="numpy")
def look(peaks: NDArray[np.void], positions: NDArray[np.void]) -> tuple[Floats, Kinds]:
    """Return where the peaks of a frame are linked, (n, 2) in pixels, and their kinds, (n,).

    Of what does not look like a peak the position is worth little: its highest pixel is taken.
    """
    where, kinds = np.empty((len(peaks), 2)), np.zeros(len(peaks), np.uint8)
    for i in range(len(peaks)):
        if positions[i].flags & POOR_FIT:
            kinds[i] = POOR
            where[i, 0], where[i, 1] = peaks[i].row, peaks[i].col
        else:
            if np.isfinite(positions[i].single.evidence):
                kinds[i] = _DOUBTFUL
            where[i, 0], where[i, 1] = positions[i].row, positions[i].col
    return where, kinds


@njit(cache=True, nogil=True, error_model="numpy")
def _decide(
    rows: NDArray[np.void],
    n: int,
    n_doubtful: int,
    frame: int,
    tracks: Ints,
    born: int,
    kinds: Kinds,
    peaks: NDArray[np.void],
    positions: NDArray[np.void],
) -> tuple[int, Ints, Floats, NDArray[np.int32], Ints, Floats]:
    """Decide as `Multiplicity.decide` does.

    Parameters
    ----------
    rows
        What is known of tracks, `n` of them, with room for as many more as are in doubt and one.

    Returns
    -------
    n
        How many tracks are known now.
    which, places, flags
        As of `Decided`.
    changed, steps
        Tracks whose drift holds another step from now on, and these, (tracks, 2).
    """
    most = len(tracks) if n + n_doubtful else 0
    which, places = np.empty(most, np.int64), np.empty((most, 4))
    flags = np.empty(most, np.int32)
    changed, steps = np.empty(most, np.int64), np.empty((most, 2))
    if not most:
        return n, which, places, flags, changed, steps
    slots = _index(rows[:n], n + n_doubtful)
    found = n_changed = n_gone = 0
    for i in range(most):
        if kinds[i] == POOR:
            continue
        here, track = positions[i], tracks[i]
        at = _slot(rows, slots, track)
        is_doubtful = kinds[i] == _DOUBTFUL
        if not is_doubtful and (slots[at] < 0 or here.flags & NEIGHBOUR):
            continue
        known = rows[slots[at] if slots[at] >= 0 else n]
        told = here.single.evidence - _COST if is_doubtful else _UNDOUBTED - _COST
        is_new = slots[at] < 0
        if is_new:
            known.track, known.mean, known.row2, known.col2 = track, 0.0, 0.0, 0.0
            known.seen, known.stepped = frame, False
            known.gathered, known.two = min(told, _MOST), told >= _BORN
            known.first = known.two
        if is_new and 0 <= track < born:  # nothing spoke for two so far
            known.gathered, known.two, known.first = -_MOST, False, False
        if not is_new or 0 <= track < born:
            known.seen = frame
            known.gathered = max(-_MOST, min(_KEPT * known.gathered + told, _MOST))
            known.two = known.gathered > (-_SWITCH if known.two else _SWITCH)
        down, right = here.row - here.single.row, here.col - here.single.col
        if is_doubtful and np.isfinite(down + right):  # how far the answers are apart
            learns = 1.0 if known.row2 + known.col2 == 0.0 else _LEARNS
            known.mean += learns * (here.single.evidence - known.mean)
            known.row2 += learns * (down * down - known.row2)
            known.col2 += learns * (right * right - known.col2)
        if track >= 0:
            if is_new:
                slots[at] = n
                n += 1
            # It stands elsewhere for no other reason than that another answer is likely.
            holds = (known.gathered > 0.0) != known.first and known.mean < _CLEAR
            if holds != known.stepped:
                known.stepped = holds
                changed[n_changed] = track
                steps[n_changed, 0] = known.row2 if holds else 0.0
                steps[n_changed, 1] = known.col2 if holds else 0.0
                n_changed += 1
        if is_doubtful:
            odds = known.gathered
            if told > 0.0 and not known.two:
                odds = max(odds, told)  # what appears at once is not overlooked
            flags[found] = _answer(here, peaks[i].flags, odds, known.two, places[found])
        elif known.gathered < -_SWITCH and not known.two:
            known.track = _GONE
            n_gone += 1
            continue
        else:
            likely = 1.0 / (1.0 + np.exp(-0.5 * known.gathered))
            places[found, 0], places[found, 1] = here.row, here.col
            places[found, 2] = np.sqrt(here.row_sigma**2 + likely * known.row2)
            places[found, 3] = np.sqrt(here.col_sigma**2 + likely * known.col2)
            flags[found] = here.flags
        which[found] = i
        found += 1
    if n_gone:
        n = _keep(rows, n)
    return n, which[:found], places[:found], flags[:found], changed[:n_changed], steps[:n_changed]


@njit(cache=True, nogil=True, error_model="numpy")
def _answer(here: Any, said: int, odds: float, two: bool, place: Floats) -> int:
    """Fill in where a doubtful peak stands by the answer of its track; return its flags.

    The variance about one of two answers is that of their mixture (Buckland, Burnham and Augustin,
    Biometrics 53, 603, 1997).
    """
    alone = here.single
    likely = 1.0 / (1.0 + np.exp((-0.5 if two else 0.5) * odds))
    down, right = (here.row - alone.row) ** 2, (here.col - alone.col) ** 2
    row2, col2 = here.row_sigma**2, here.col_sigma**2
    alone_row2, alone_col2 = alone.row_sigma**2, alone.col_sigma**2
    if two:
        place[0], place[1] = here.row, here.col
        place[2] = np.sqrt(likely * row2 + (1.0 - likely) * (alone_row2 + down))
        place[3] = np.sqrt(likely * col2 + (1.0 - likely) * (alone_col2 + right))
        return int(here.flags | NEIGHBOUR)
    place[0], place[1] = alone.row, alone.col
    place[2] = np.sqrt(likely * alone_row2 + (1.0 - likely) * (row2 + down))
    place[3] = np.sqrt(likely * alone_col2 + (1.0 - likely) * (col2 + right))
    return int((here.flags & ~NEIGHBOUR) | (said & NEIGHBOUR))


@njit(cache=True, nogil=True, error_model="numpy")
def _index(rows: NDArray[np.void], most: int) -> NDArray[np.int32]:
    """Return where in a table of slots, half of them free, that of each track is; see `_slot`."""
    size = 8
    while size < 2 * most:
        size *= 2
    slots = np.full(size, -1, np.int32)
    for r in range(len(rows)):
        slots[_slot(rows, slots, rows[r].track)] = r
    return slots


@njit(cache=True, nogil=True, error_model="numpy")
def _slot(rows: NDArray[np.void], slots: NDArray[np.int32], track: int) -> int:
    """Return the slot that holds the row of a track, or the free one that it would have."""
    at = track & (len(slots) - 1)
    while slots[at] >= 0 and rows[slots[at]].track != track:
        at = (at + 1) & (len(slots) - 1)
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(rows: NDArray[np.void], n: int) -> int:
    """Move up what is not gone; return how much that is."""
    kept = 0
    for r in range(n):
        if rows[r].track != _GONE:
            rows[kept] = rows[r]
            kept += 1
    return kept
