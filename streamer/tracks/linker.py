"""Which track each peak of a frame belongs to, and where it stands by what that track was before.

Tracks of frames that are not on disk yet are noted in the part that they will be in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.tracks.multiplicity import POOR, Decided, Multiplicity, look
from streamer.tracks.tracker import Tracker

__all__ = ["Linked", "Linker", "News", "anchors"]


class Linked(NamedTuple):
    """Peaks of a frame whose turn has come."""

    tracks: NDArray[np.int64]
    """(n,), -1 for none."""
    found: NDArray[np.void]
    """POSITION[n], as they came."""
    decided: Decided | None = None
    """What is otherwise, by which is decided between one peak and two."""

    @property
    def positions(self) -> NDArray[np.void]:
        """POSITION[n], as decided."""
        return self.found if self.decided is None else self.decided.applied(self.found)


class News(NamedTuple):
    """What is new of tracks beside where they are."""

    parents: dict[int, int]
    """Tracks that each split from."""
    merged: dict[int, int]
    """Tracks that each ended beside."""
    steps: dict[int, tuple[float, float]]
    """See `Multiplicity.steps`."""

    @classmethod
    def none(cls) -> News:
        """Return what is to be filled."""
        return cls({}, {}, {})


class Linker:
    """Links peaks, frames being given in order, and keeps what is to be noted of them.

    Parameters
    ----------
    gate, memory, confirm
        As of `Tracker`.
    """

    def __init__(self, gate: float, memory: int, *, confirm: int) -> None:
        self.tracker = Tracker(gate, memory, confirm=confirm)
        self._multiplicity = Multiplicity()
        self._news = News.none()
        self._newest = 0

    def link(self, place: int, peaks: NDArray[np.void], positions: NDArray[np.void]) -> Linked:
        """Return the track of each peak of a frame and where it stands.

        Parameters
        ----------
        place
            Where the frame stands among those of the run.
        peaks, positions
            PEAK[n] and POSITION[n] of the frame.
        """
        born, decided = self.tracker.next_track, None

        def settle(tracks: NDArray[np.int64]) -> NDArray[np.float64]:
            nonlocal decided
            decided = self._multiplicity.decide(place, tracks, born, kinds, peaks, positions)
            where[decided.which] = decided.places[:, :2]
            return where

        where, kinds = look(peaks, positions)
        tracks = self.tracker.link(place, where, kinds == POOR, settle)
        self._news.parents.update(self.tracker.parents)
        self._news.merged.update(self.tracker.merged)
        self._news.steps.update(self._multiplicity.steps)
        self._multiplicity.steps.clear()
        self._newest = place
        return Linked(tracks, positions, decided)

    def leave_alone(self, peaks: NDArray[np.void], positions: NDArray[np.void]) -> Linked:
        """Return the same of a frame that comes too late to be in any track."""
        tracks = np.full(len(peaks), -1, np.int64)
        _, kinds = look(peaks, positions)
        decided = self._multiplicity.decide(-1, tracks, 0, kinds, peaks, positions)
        return Linked(tracks, positions, decided)

    def note(self) -> str:
        """Return what a part must say of its tracks beside their peaks."""
        self._multiplicity.forget(self._newest - self.tracker.memory_frames)
        said: dict[str, list[Any]] = {
            name: list(pairs.items()) for name, pairs in self._news._asdict().items()
        }
        said["multiplicity"] = self._multiplicity.state().tolist()
        return msgspec.json.encode(said).decode()

    def take_news(self) -> News:
        """Return what is new of tracks since the last time."""
        news, self._news = self._news, News.none()
        return news

    def recall(self, notes: Iterable[str]) -> News:
        """Go on from what parts say, and return what was new of their tracks."""
        news = News.none()
        for note in notes:
            said = msgspec.json.decode(note or "{}")
            news.parents.update(said.get("parents", ()))
            news.merged.update(said.get("merged", ()))
            news.steps.update(said.get("steps", ()))
            self._multiplicity.restore(said.get("multiplicity", ()))
        return news

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, in copies: the next frame changes it."""
        state = {"tracker": self.tracker.state(), "multiplicity": self._multiplicity.state()}
        return copy.deepcopy(state)

    def restore(self, state: dict[str, Any], *, tracker: bool) -> None:
        """Go on from what `state` returned; without the tracker where peaks are linked anew."""
        self._multiplicity.restore(state["multiplicity"])
        if tracker:
            self.tracker.restore(state["tracker"])


def anchors(
    positions: Any, pixel_row: NDArray[Any], pixel_col: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return where peaks are linked, (n, 2) in pixels, and which do not look like a peak.

    Of one that does not, the position is worth little: its highest pixel is taken.

    Parameters
    ----------
    positions
        Columns `row`, `col` and `flags`.
    pixel_row, pixel_col
        The highest pixels.
    """
    flagged = (positions["flags"] & POOR_FIT) != 0
    where = [
        np.where(flagged, pixel, positions[name])
        for name, pixel in (("row", pixel_row), ("col", pixel_col))
    ]
    return np.stack(where, axis=1, dtype=np.float64), flagged
