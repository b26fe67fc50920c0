"""Peaks beside a higher one, which are no spots of their own: the fringes of a coherent one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.detect.base import Finder, ImageFinder, Peaks, found_by, lowest_of
from workers.detect.bright import Bright
from workers.detect.image import Image, image_of

__all__ = ["MergingFinder", "merged"]

_CELL = 8.0
"""Least edge in pixels of the cells in which peaks are looked up: small ones would be many."""


class MergingFinder(ImageFinder):
    """Finds peaks by another finder and keeps the highest of those that stand close together.

    Parameters
    ----------
    inner
        Finds the peaks.
    distance
        In pixels of the frames that it sees, see `merged`.
    """

    def __init__(self, inner: Finder, distance: float) -> None:
        self._inner = inner
        self._distance = distance
        none = np.empty(0, np.int32)
        merged(Peaks(none, none, np.empty(0)), distance)  # compiles: no frame is to wait for it

    def find(self, image: Image) -> Peaks:
        """Return the peaks of a frame; see `workers.detect.base.ImageFinder`."""
        return merged(found_by(self._inner, image), self._distance)

    @property
    def lowest(self) -> int | None:
        """Counts from which a pixel matters to the other finder."""
        return lowest_of(self._inner)

    def find_bright(self, bright: Bright) -> Peaks:
        """Return the peaks of a frame; see `workers.detect.base.ImageFinder`."""
        return merged(found_by(self._inner, image_of(bright.pixels), bright), self._distance)


def merged(peaks: Peaks, distance: float) -> Peaks:
    """Return peaks without those that lie within `distance` pixels of a higher one that stays.

    They are taken by falling score, of equal ones by raster index. What a limit on scores leaves
    is the same before and after.
    """
    order = np.lexsort((peaks.col, peaks.row, -peaks.score))
    stays = np.ones(len(peaks), np.bool_)
    _thin(
        np.ascontiguousarray(peaks.row, np.int32),
        np.ascontiguousarray(peaks.col, np.int32),
        order,
        float(distance),
        stays,
    )
    return replace(
        peaks,
        row=peaks.row[stays],
        col=peaks.col[stays],
        score=peaks.score[stays],
        merged=peaks.merged + int(np.count_nonzero(~stays)),
    )


@njit(cache=True, nogil=True)
def _thin(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    order: NDArray[np.int64],
    distance: float,
    stays: NDArray[np.bool_],
) -> None:
    """Clear `stays` of peaks beside those that come before them in `order`."""
    if len(order) == 0:
        return
    cell = max(distance, _CELL)
    n_down, n_across = int(rows.max() / cell) + 1, int(cols.max() / cell) + 1
    newest = np.full((n_down, n_across), -1)
    before = np.empty(len(order), np.int64)
    for k in order:
        down, across = int(rows[k] / cell), int(cols[k] / cell)
        for i in range(max(down - 1, 0), min(down + 2, n_down)):
            for j in range(max(across - 1, 0), min(across + 2, n_across)):
                other = newest[i, j]
                while other >= 0 and stays[k]:
                    apart = (rows[k] - rows[other]) ** 2 + (cols[k] - cols[other]) ** 2
                    stays[k] = apart > distance**2
                    other = before[other]
        if stays[k]:
            before[k], newest[down, across] = newest[down, across], k
