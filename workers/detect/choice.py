"""Peak finders by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamer.config import DetectConfig
from streamer.plugins import Plugins
from workers.detect.base import Finder, FinderPlugin

__all__ = ["FINDERS", "finder_of", "make_finder"]


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
    minval: float | str,
    minscore: float | str,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    false_peaks: float = 0.1,
) -> Finder:
    """Return the finder called `name`.

    Parameters
    ----------
    minval, minscore
        Counts; what is no number, ``auto``, comes from the noise of each frame.
    parameters
        Of finders by their names, as ``detect.finders`` has them.
    false_peaks
        Peaks of noise that a frame may have on average, where `minscore` comes from the noise.

    Raises
    ------
    UserError
        There is no such finder, or its parameters do not fit.
    """
    plugin = FINDERS.configure(name, parameters or {})
    fixed, least = (None if isinstance(one, str) else one for one in (minval, minscore))
    if fixed is not None and least is not None:
        return plugin.make(fixed, least)
    from workers.detect.adaptive import ANY_SCORE, AdaptiveFinder

    inner = plugin.make(0.0 if fixed is None else fixed, ANY_SCORE if least is None else least)
    return AdaptiveFinder(inner, fixed, least, false_peaks)


def finder_of(detect: DetectConfig) -> Finder:
    """Return the finder that is configured, for frames as binned; see `make_finder`."""
    finder = make_finder(
        detect.finder, detect.minval, detect.minscore, detect.finders, detect.false_peaks
    )
    if not detect.merge_px:
        return finder
    from workers.detect.merging import MergingFinder

    return MergingFinder(finder, detect.merge_px / detect.binning)
