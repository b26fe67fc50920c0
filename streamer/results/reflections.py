"""Which tracks are spots of the same reflection."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["reflections"]


def reflections(tracks: pa.Table) -> NDArray[np.int64]:
    """Return the reflection of each track, (n,), as the lowest number of the tracks that are in it.

    Tracks belong together where one split from the other or ended beside it, and so does all that
    hangs together by such steps.

    Parameters
    ----------
    tracks
        Rows of the table of tracks.
    """
    numbers: list[int] = tracks["track"].to_pylist()
    towards = {number: number for number in numbers}

    def lowest(number: int) -> int:
        while (further := towards.setdefault(number, number)) != number:
            towards[number] = towards[further]
            number = further
        return number

    for name in ("parent", "merged_into"):
        for number, other in zip(numbers, tracks[name].to_pylist(), strict=True):
            if other >= 0:
                low, high = sorted((lowest(number), lowest(other)))
                towards[high] = low
    return np.array([lowest(number) for number in numbers], np.int64)
