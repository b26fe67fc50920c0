"""What all spots of a frame did together: the beam drifted, the sample moved or turned."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.results.schema import Columns
from streamer.tracks.similarity import FEWEST, Similarity, fit

__all__ = ["CommonMotion"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Places = NDArray[np.intp]

_FORGET = 2000
"""Frames with peaks after which a track will not come back."""


class CommonMotion:
    """Tells the motion of frames, given in order, from the spots that are known by then.

    A track's place is the mean of its first observations, moved back by what the frames did that
    they are of: it tells of others once it was seen often enough. What is told of a frame does not
    depend on which frames it is given with.

    Parameters
    ----------
    confirm_frames
        Frames on which a track must be seen to tell.
    reference_frames
        Observations in a place.
    """

    def __init__(self, confirm_frames: int = 3, reference_frames: int = 10) -> None:
        self._stages = sorted({min(confirm_frames, reference_frames), reference_frames})
        self._spots = np.zeros(
            0,
            np.dtype(
                [
                    *((name, "i8") for name in ("track", "seen", "last_seen")),
                    *((name, "f8") for name in ("weight", "variance")),
                    *((name, "f8", (2,)) for name in ("sum", "place")),
                ]
            ),
        )
        self._frames = 0
        self._about: Floats | None = None
        self._newest = np.zeros(4)
        """Shift and turn that were told last."""
        self._next: tuple[NDArray[np.void], int, Floats | None, Floats] | None = None

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        about = None if self._about is None else self._about.tolist()
        newest = self._newest.tolist()
        return {"spots": self._spots, "frames": self._frames, "about": about, "newest": newest}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._spots = state["spots"].astype(self._spots.dtype)
        self._frames, self._newest = state["frames"], np.array(state["newest"])
        self._about = None if state["about"] is None else np.array(state["about"])

    def commit(self) -> None:
        """Learn from what was measured last."""
        if self._next is not None:
            self._spots, self._frames, self._about, self._newest = self._next
            self._next = None

    def measure(self, peaks: Columns, beam: tuple[float, float] | None = None) -> Columns:
        """Return the columns `MOTION` for each peak, of the frame that it is on.

        Parameters
        ----------
        peaks
            Columns of the peaks table, frame after frame.
        beam
            Row and column that the pattern turns and grows about, where known.
        """
        n = len(peaks["frame"])
        changes = (np.diff(peaks["frame"]) != 0) | (np.diff(peaks["series"]) != 0)
        frame = np.concatenate([[0], np.cumsum(changes)])[:n].astype(np.intp)
        n_frames = int(frame[-1]) + 1 if n else 0
        where = np.stack([peaks["row"], peaks["col"]], axis=1).astype(np.float64)
        used = np.flatnonzero(
            (peaks["track"] >= 0)
            & ((peaks["flags"] & POOR_FIT) == 0)
            & np.isfinite(where).all(axis=1)
        )
        sigma = np.sqrt(0.5 * (peaks["row_sigma"][used] ** 2 + peaks["col_sigma"][used] ** 2))
        sigma = np.where(sigma > 0, sigma, np.nan)
        tracks = peaks["track"][used]
        spots = self._known(tracks)
        slot = np.searchsorted(spots["track"], tracks)
        about, newest = self._centred(beam)
        motion, about, newest = self._go_through(
            spots, slot, where[used], sigma, frame[used], n_frames, about, newest
        )
        np.maximum.at(spots["last_seen"], slot, self._frames + frame[used])
        frames = self._frames + n_frames
        self._next = spots[spots["last_seen"] > frames - _FORGET], frames, about, newest
        return {name: column[frame] for name, column in motion.columns().items()}

    def _known(self, tracks: Ints) -> NDArray[np.void]:
        """Return what is known of spots, with new ones, sorted by track."""
        new = np.setdiff1d(tracks, self._spots["track"])
        begun = np.zeros(len(new), self._spots.dtype)
        begun["track"], begun["place"] = new, np.nan
        spots = np.concatenate([self._spots, begun])
        return spots[np.argsort(spots["track"], kind="stable")]

    def _centred(self, beam: tuple[float, float] | None) -> tuple[Floats | None, Floats]:
        """Return what the pattern turns about, and what was told last as told about that."""
        if beam is None or not np.isfinite(beam).all():
            return self._about, self._newest
        about, newest = np.array(beam, np.float64), self._newest.copy()
        if self._about is not None:
            lever, (a, b) = about - self._about, newest[2:]
            newest[:2] += a * lever + b * lever[::-1] * [1.0, -1.0]
        return about, newest

    def _go_through(
        self,
        spots: NDArray[np.void],
        slot: Places,
        where: Floats,
        sigma: Floats,
        frame: Places,
        n: int,
        about: Floats | None,
        newest: Floats,
    ) -> tuple[Similarity, Floats | None, Floats]:
        """Tell the motion of frames, and let `spots` learn their places on the way.

        All frames until the next on which a place becomes known are fitted at once.
        """
        rank = spots["seen"][slot] + _ranks(slot)
        settles = np.isin(rank + 1, self._stages)
        bounds = np.unique([0, *(frame[settles] + 1), n]).tolist()
        told = np.full((n, 8), np.nan)
        for start, stop in itertools.pairwise(bounds):
            here = slice(*np.searchsorted(frame, [start, stop]))
            has_place = np.isfinite(spots["place"][:, 0])
            if about is None and has_place.sum() >= FEWEST:
                about = spots["place"][has_place].mean(axis=0)
            if about is not None:
                tells = np.flatnonzero(has_place[slot[here]]) + here.start
                one = spots[slot[tells]]
                unsure = np.sqrt(sigma[tells] ** 2 + one["variance"])
                found = fit(
                    one["place"], where[tells], unsure, frame[tells] - start, stop - start, about
                )
                told[start:stop] = np.concatenate(found[1:], axis=1)
            moved = _carried(told[start:stop, :4], newest)
            newest = moved[-1]
            young = np.flatnonzero(rank[here] < self._stages[-1]) + here.start
            if not len(young):
                continue
            at, mine = frame[young] - start, slot[young]
            back = where[young]
            if about is not None:
                nothing = np.zeros((stop - start, 2))
                motion = Similarity(about, moved[:, :2], moved[:, 2:], nothing, nothing)
                back = motion.undone(back, at)
            weight = np.nan_to_num(1.0 / sigma[young] ** 2, nan=1.0)
            np.add.at(spots["seen"], mine, 1)
            np.add.at(spots["weight"], mine, weight)
            np.add.at(spots["sum"], mine, weight[:, None] * back)
            ready = mine[settles[young]]
            spots["variance"][ready] = 1.0 / spots["weight"][ready]
            spots["place"][ready] = spots["sum"][ready] * spots["variance"][ready][:, None]
        where_about = np.full(2, np.nan) if about is None else about
        return Similarity(where_about, *np.split(told, 4, axis=1)), about, newest


def _ranks(slot: Places) -> Places:
    """Return how many of the same number come before each."""
    order = np.argsort(slot, kind="stable")
    first = np.concatenate([[True], np.diff(slot[order]) != 0])[: len(slot)]
    places = np.arange(len(slot))
    ranks = np.empty(len(slot), np.intp)
    ranks[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    return ranks


def _carried(moved: Floats, newest: Floats) -> Floats:
    """Return rows with what was last told in place of NaN."""
    rows = np.concatenate([newest[None], moved])
    last = np.where(np.isfinite(rows[:, 0]), np.arange(len(rows)), 0)
    return rows[np.maximum.accumulate(last)][1:]
