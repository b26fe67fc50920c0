"""Numbers of images whose sender counts in 32 bits and may start over."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

__all__ = ["Numbers", "UniqueIds"]

_FARTHEST_JUMP = 10_000_000
"""Images that may be lost at once; a counter that went farther was set."""


class UniqueIds:
    """Tells from the ids and times of images, as they come, how each belongs to those before.

    Parameters
    ----------
    unique_id
        Of an image that was there before the first one that is taken.
    time_ns
        Its time as Unix time in ns; None when its sender does not say.
    """

    def __init__(self, unique_id: int, time_ns: int | None) -> None:
        self.newest = unique_id
        """Number of the newest image; it goes on where the ids overflow."""
        self.has_taken = False
        """True when an image was taken."""
        self._time_ns = time_ns

    def place(self, unique_id: int, time_ns: int | None) -> Literal["next", "old", "restarted"]:
        """Return ``next`` for an image behind the newest one, ``old`` for one before it or itself.

        ``restarted`` is the first one after the counter was set. It may have a lower number like an
        image that was overtaken, but that is older than the newest one. Images without times are
        taken for ones that do not overtake each other.
        """
        step = self._step(unique_id)
        if step > _FARTHEST_JUMP:
            return "restarted"
        if self._time_ns is not None and time_ns is not None:
            if step > 0:
                return "next"
            return "restarted" if time_ns > self._time_ns else "old"
        if step > 0:
            return "next"
        return "restarted" if step < 0 or not self.has_taken else "old"

    def take(self, unique_id: int, time_ns: int | None) -> int:
        """Note an image that is taken, and return its number."""
        place = self.place(unique_id, time_ns)
        number = unique_id if place == "restarted" else self.newest + self._step(unique_id)
        if place != "old":
            self.newest, self._time_ns, self.has_taken = number, time_ns, True
        return number

    def _step(self, unique_id: int) -> int:
        """Return how far an id is from the newest one, the short way round."""
        return (unique_id - self.newest + (1 << 31)) % (1 << 32) - (1 << 31)


class Numbers:
    """Numbers images by their ids, or as they come.

    Parameters
    ----------
    ids
        Of the channel.
    by_arrival
        Count what comes: the sender does not.
    """

    def __init__(self, ids: UniqueIds, *, by_arrival: bool) -> None:
        self.by_arrival = by_arrival
        self._ids = ids
        self._n_taken = 0
        self._n_in_turn = 0  # since the counter was set
        self._newest: Any = None

    def place(
        self, unique_id: int, time_ns: int | None, value: Any
    ) -> Literal["next", "old", "restarted", "constant"]:
        """Return how an image belongs to those before, as `UniqueIds` does.

        ``constant`` is the second one of a sender that numbers all alike.
        """
        place = self._ids.place(unique_id, time_ns)
        if self.by_arrival or place == "next":
            return "next" if self._n_taken or place == "next" else place
        if unique_id == self._ids.newest and self._n_in_turn == 1:
            if place == "restarted" or not np.array_equal(value, self._newest):
                return "constant"
        return place

    def take(self, unique_id: int, time_ns: int | None, value: Any) -> int:
        """Note an image that is taken, and return its number."""
        if self._ids.place(unique_id, time_ns) == "restarted":
            self._n_in_turn = 0
        self._n_taken += 1
        self._n_in_turn += 1
        self._newest = value
        number = self._ids.take(unique_id, time_ns)
        return self._n_taken if self.by_arrival else number
