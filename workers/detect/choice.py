"""Peak finders by name."""

from __future__ import annotations

from streamer.errors import UserError
from workers.detect.base import Finder
from workers.detect.findpeaks import FindpeaksFinder
from workers.detect.topology import TopologyFinder

__all__ = ["make_finder"]


def make_finder(name: str, minval: float, minscore: float) -> Finder:
    """Return the finder called `name`, ``topology`` or ``findpeaks``.

    Raises
    ------
    UserError
        There is no such finder.
    """
    if name == "topology":
        return TopologyFinder(minval, minscore)
    if name == "findpeaks":
        return FindpeaksFinder(minval, minscore)
    raise UserError(f"unknown finder {name!r}: choose topology or findpeaks")
