"""What all spots of a frame did together: the beam drifted, the sample moved or turned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.results.schema import Columns
from streamer.tracks.booking import REMEMBERED, find, readable
from streamer.tracks.similarity import FEWEST, Similarity, fit_frame

__all__ = ["CommonMotion"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FORGET = 2000
"""Frames with peaks after which a track will not come back."""
_PLACED = ("row", "col", "row_sigma", "col_sigma")
_SPOT = np.dtype(
    [
        *((name, "i8") for name in ("track", "seen", "last_seen")),
        *((name, "f8") for name in ("weight", "row", "col")),
        *((name, "f8") for name in ("place_row", "place_col", "variance")),
    ]
)
"""Sums over the first observations of a spot, and what they say of its place."""


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
        self._stages = min(confirm_frames, reference_frames), reference_frames
        self._spots = np.zeros(0, _SPOT)
        self._remembered = np.zeros(REMEMBERED, np.int64)
        self._frames = 0
        self._about = np.full(2, np.nan)
        self._newest = np.zeros(4)
        """Shift and turn that were told last."""
        self.frame = np.empty(0, np.int64)
        """(n,), which of the frames that were measured last, counted from 0, each peak is on."""
        self._next: tuple[NDArray[np.void], int, Floats, Floats] | None = None

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {
            "spots": self._spots,
            "frames": self._frames,
            "about": self._about,
            "newest": self._newest,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._spots = state["spots"].astype(_SPOT)
        self._frames = state["frames"]
        self._about, self._newest = state["about"], state["newest"]

    def commit(self) -> None:
        """Learn from what was measured last."""
        if self._next is not None:
            self._spots, self._frames, self._about, self._newest = self._next
            self._next = None

    def measure(self, peaks: Columns, beam: tuple[float, float] | None = None) -> Columns:
        """Return the columns `MOTION` of each frame that has peaks; `frame` tells which is whose.

        Parameters
        ----------
        peaks
            Columns of the peaks table, frame after frame.
        beam
            Row and column that the pattern turns and grows about, where known.
        """
        whole = (
            np.asarray(peaks[name], np.int64) for name in ("series", "frame", "track", "flags")
        )
        places = (np.asarray(peaks[name], np.float64) for name in _PLACED)
        self.frame, bounds, tracks, where, sigma = _usable(*map(readable, (*whole, *places)))
        spots, slot = self._known(tracks)
        about, newest = self._centred(beam)
        told = _go_through(spots, slot, where, sigma, bounds, about, newest, self._stages)
        seen = self._frames + np.repeat(np.arange(len(told)), np.diff(bounds))
        spots["last_seen"][slot] = seen  # of several the last stays
        frames = self._frames + len(told)
        self._next = spots[spots["last_seen"] > frames - _FORGET], frames, about, newest
        return Similarity(about, *np.split(told, 4, axis=1)).columns()

    def _known(self, tracks: Ints) -> tuple[NDArray[np.void], Ints]:
        """Return what is known of spots, sorted by track, with new ones, and where tracks are."""
        spots = self._spots.copy()
        slot = find(np.ascontiguousarray(spots["track"]), tracks, self._remembered)
        new = np.unique(tracks[slot < 0])
        if len(new):
            begun = np.zeros(len(new), _SPOT)
            begun["track"], begun["place_row"] = new, np.nan
            spots = np.concatenate([spots, begun])
            spots = spots[np.argsort(spots["track"], kind="stable")]
            slot = find(np.ascontiguousarray(spots["track"]), tracks, self._remembered)
        return spots, slot

    def _centred(self, beam: tuple[float, float] | None) -> tuple[Floats, Floats]:
        """Return what the pattern turns about, and what was told last as told about that."""
        newest = self._newest.copy()
        if beam is None or not np.isfinite(beam).all():
            return self._about.copy(), newest
        about = np.array(beam, np.float64)
        if np.isfinite(self._about).all():
            lever, (a, b) = about - self._about, newest[2:]
            newest[:2] += a * lever + b * lever[::-1] * [1.0, -1.0]
        return about, newest


@njit(cache=True, nogil=True, error_model="numpy")
def _usable(
    series: Ints,
    frames: Ints,
    tracks: Ints,
    flags: Ints,
    row: Floats,
    col: Floats,
    row_sigma: Floats,
    col_sigma: Floats,
) -> tuple[Ints, Ints, Ints, Floats, Floats]:
    """Pick the peaks that can tell of a motion.

    Returns
    -------
    frame
        (n,), that of each peak, counted from 0.
    bounds
        (frames + 1,), which of those that were picked are on each.
    track, where, sigma
        Of these: tracks, places (m, 2) and standard deviations along an axis, NaN where unknown.
    """
    n = len(frames)
    frame, bounds = np.empty(n, np.int64), np.zeros(n + 1, np.int64)
    track, where, sigma = np.empty(n, np.int64), np.empty((n, 2)), np.empty(n)
    at, m = -1, 0
    for i in range(n):
        if i == 0 or frames[i] != frames[i - 1] or series[i] != series[i - 1]:
            at += 1
        frame[i] = at
        is_placed = np.isfinite(row[i]) and np.isfinite(col[i])
        if tracks[i] >= 0 and not flags[i] & POOR_FIT and is_placed:
            track[m], where[m, 0], where[m, 1] = tracks[i], row[i], col[i]
            variance = 0.5 * (row_sigma[i] ** 2 + col_sigma[i] ** 2)
            sigma[m] = np.sqrt(variance) if variance > 0 else np.nan
            m += 1
        bounds[at + 1] = m
    return frame, bounds[: at + 2], track[:m], where[:m], sigma[:m]


@njit(cache=True, nogil=True, error_model="numpy")
def _go_through(
    spots: NDArray[np.void],
    slot: Ints,
    where: Floats,
    sigma: Floats,
    bounds: Ints,
    about: Floats,
    newest: Floats,
    stages: tuple[int, int],
) -> Floats:
    """Tell the motion of frames, (frames, 8), and let `spots` learn their places on the way.

    Parameters
    ----------
    slot, where, sigma
        Of each peak, frame after frame: its spot, its place (n, 2) and its standard deviation.
    bounds
        (frames + 1,), which peaks are those of each frame.
    about
        (2,), what the pattern turns about, which is found where it is NaN.
    newest
        (4,), shift and turn that were told last, which are brought up to date.
    stages
        Observations after which a spot's place is set.
    """
    told = np.full((len(bounds) - 1, 8), np.nan)
    most = 0
    for f in range(len(told)):
        most = max(most, bounds[f + 1] - bounds[f])
    places, now, unsure = np.empty((most, 2)), np.empty((most, 2)), np.empty(most)
    looks = np.isnan(about[0])
    for f in range(len(told)):
        if looks:
            looks = False
            middle = _middle(spots)
            about[0], about[1] = middle
        is_told = not np.isnan(about[0])
        n = 0
        for i in range(bounds[f], bounds[f + 1]):
            spot = spots[slot[i]]
            if np.isfinite(spot.place_row):
                places[n, 0], places[n, 1] = spot.place_row, spot.place_col
                now[n, 0], now[n, 1] = where[i, 0], where[i, 1]
                unsure[n] = np.sqrt(sigma[i] ** 2 + spot.variance)
                n += 1
        if is_told:
            fit_frame(places[:n], now[:n], unsure[:n], about, told[f])
            if np.isfinite(told[f, 0]):
                newest[:] = told[f, :4]
        cosine, sine = 1.0 + newest[2], newest[3]
        size = cosine * cosine + sine * sine
        for i in range(bounds[f], bounds[f + 1]):
            spot = spots[slot[i]]
            if spot.seen >= stages[1]:
                continue
            row, col = where[i, 0], where[i, 1]
            if is_told:  # where it was before the motion
                dr, dc = row - about[0] - newest[0], col - about[1] - newest[1]
                row = about[0] + (cosine * dr - sine * dc) / size
                col = about[1] + (sine * dr + cosine * dc) / size
            weight = 1.0 / sigma[i] ** 2 if sigma[i] > 0 else 1.0
            spot.seen += 1
            spot.weight += weight
            spot.row += weight * row
            spot.col += weight * col
            if spot.seen == stages[0] or spot.seen == stages[1]:
                spot.variance = 1.0 / spot.weight
                spot.place_row, spot.place_col = (
                    spot.row * spot.variance,
                    spot.col * spot.variance,
                )
                looks |= not is_told
    return told


@njit(cache=True, nogil=True, error_model="numpy")
def _middle(spots: NDArray[np.void]) -> tuple[float, float]:
    """Return the mean of the places that are known, NaN where they are too few."""
    n, row, col = 0, 0.0, 0.0
    for i in range(len(spots)):
        if np.isfinite(spots[i].place_row):
            n += 1
            row += spots[i].place_row
            col += spots[i].place_col
    if n < FEWEST:
        return np.nan, np.nan
    return row / n, col / n
