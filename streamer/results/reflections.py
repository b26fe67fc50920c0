"""Which tracks are spots of the same reflection, and of which phase."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["reflections"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def reflections(tracks: pa.Table) -> Ints:
    """Return the reflection of each track, (n,), as the lowest number of the tracks that are in it.

    Tracks belong together where one split from the other or ended beside it, and so does all that
    hangs together by such steps; also through a track that was seen too rarely to have a row.

    Parameters
    ----------
    tracks
        Columns `track`, `parent` and `merged_into` of the table of tracks.
    """
    number, parent, merged = (
        tracks[name].to_numpy() for name in ("track", "parent", "merged_into")
    )
    nodes = np.unique(np.concatenate([number, parent[parent >= 0], merged[merged >= 0]]))
    own = np.searchsorted(nodes, number)
    one, other = (
        np.concatenate([ends[kin >= 0] for ends, kin in pairs])
        for pairs in (
            ((own, parent), (own, merged)),
            ((np.searchsorted(nodes, kin), kin) for kin in (parent, merged)),
        )
    )
    lowest = np.arange(len(nodes))
    while True:  # each round halves the longest way to the lowest
        before = lowest
        low = np.minimum(lowest[one], lowest[other])
        lowest = lowest.copy()
        for ends in (one, other):
            np.minimum.at(lowest, lowest[ends], low)
            np.minimum.at(lowest, ends, low)
        lowest = lowest[lowest]
        if (lowest == before).all():
            break
    named = np.full(len(nodes), np.iinfo(np.int64).max)
    np.minimum.at(named, lowest[own], number)
    found: Ints = named[lowest[own]]
    return found
