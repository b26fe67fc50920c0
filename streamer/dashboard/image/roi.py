"""The counts within a rectangle, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.image.gallery import Gallery, Key
from streamer.dashboard.image.walk import Visited, Walk
from streamer.dashboard.messages import encode
from streamer.dashboard.packing import Packed
from streamer.dashboard.requests import RoiOf
from streamer.frames.display import highest

__all__ = ["Roi"]

_MOST = 20_000
"""Frames that are remembered; of more, every second one."""


class Roi:
    """Sums counts as frames are visited.

    Parameters
    ----------
    wanted
        The rectangle.
    walk
        Brings the frames.
    gallery
        Knows the masks.
    """

    def __init__(self, wanted: RoiOf, walk: Walk, gallery: Gallery) -> None:
        self.walk = walk
        self.version = 0
        self._wanted = wanted
        self._gallery = gallery
        self._sums: dict[Key, tuple[int, float, int]] = {}

    def take(self, visited: Visited) -> None:
        """Sum the counts of a frame; masked pixels are left out."""
        wanted = self._wanted
        window = (
            slice(wanted.row, wanted.row + wanted.rows),
            slice(wanted.col, wanted.col + wanted.cols),
        )
        part = visited.pixels[window]
        masks = self._gallery.masks(visited.key[0], visited.pixels.shape)
        fitting = [one[window] for one in masks if one is not None]
        _, valid = highest(part, np.logical_or.reduce(fitting) if fitting else None, 1)
        # Integers up to 2^53 are exact in what the page gets.
        total = part[valid].sum(dtype=np.float64 if part.dtype.kind == "f" else np.int64)
        self._sums[visited.key] = (visited.time_ns, float(total), int(valid.sum()))
        if len(self._sums) > _MOST:
            for key in list(self._sums)[::2]:
                del self._sums[key]
        self.version += 1

    def message(self, starts: Mapping[str, int]) -> bytes:
        """Tell the sums, in the order of the frames in the run.

        Parameters
        ----------
        starts
            At which of the run's frames each series starts.
        """
        rows = sorted(
            (starts.get(series, 0) + frame, *values)
            for (series, frame), values in self._sums.items()
        )
        table: NDArray[np.float64] = np.array(rows, np.float64).reshape(-1, 4)
        wanted = self._wanted
        header = {
            **{"row": wanted.row, "col": wanted.col, "rows": wanted.rows, "cols": wanted.cols},
            "why": self.walk.why,
        }
        columns = {"frame": table[:, 0], "time": table[:, 1] * 1e-9}
        columns |= {"sum": table[:, 2], "pixels": table[:, 3]}
        return encode("roi", header, {name: Packed.of(one) for name, one in columns.items()})
