"""Numbers of images whose sender counts in 32 bits and may start over."""

from __future__ import annotations

from typing import Literal

__all__ = ["UniqueIds"]

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
