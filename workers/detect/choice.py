"""Peak finders by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamer.plugins import Plugins
from workers.detect.base import Finder, FinderPlugin

__all__ = ["FINDERS", "make_finder"]


class _Topology(FinderPlugin):
    def make(self, minval: float, minscore: float) -> Finder:
        # Imported where it works: numba takes long, and not everyone who asks has frames.
        from workers.detect.topology import TopologyFinder

        return TopologyFinder(minval, minscore)


class _Findpeaks(FinderPlugin):
    slow = True

    def make(self, minval: float, minscore: float) -> Finder:
        from workers.detect.findpeaks import FindpeaksFinder

        return FindpeaksFinder(minval, minscore)


FINDERS = Plugins(
    "finder", "detect.finders", FinderPlugin, {"topology": _Topology, "findpeaks": _Findpeaks}
)


def make_finder(
    name: str,
    minval: float,
    minscore: float,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> Finder:
    """Return the finder called `name`.

    Parameters
    ----------
    parameters
        Of finders by their names, as ``detect.finders`` has them.

    Raises
    ------
    UserError
        There is no such finder, or its parameters do not fit.
    """
    return FINDERS.configure(name, parameters or {}).make(minval, minscore)
