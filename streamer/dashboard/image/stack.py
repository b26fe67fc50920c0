"""Many frames in one: their sum, or the highest counts of each pixel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.image.gallery import Gallery, Key
from streamer.dashboard.image.walk import Visited, Walk
from streamer.frames.display import highest

__all__ = ["KINDS", "STACKED", "Kind", "Stack"]

Kind = Literal["sum", "highest"]
KINDS: dict[Kind, str] = {"sum": "sum of frames", "highest": "highest of frames"}
"""Names by which stacks are asked for, in place of a series; the number is how many frames."""

STACKED: dict[str, Kind] = {name: kind for kind, name in KINDS.items()}


class Stack:
    """Takes frames in as they are visited.

    Parameters
    ----------
    kind
        What is made of them.
    walk
        Brings the frames.
    gallery
        Gets what is shown.
    """

    def __init__(self, kind: Kind, walk: Walk, gallery: Gallery) -> None:
        self.walk = walk
        self.key: Key | None = None
        """Under which the gallery has it."""
        self.version = 0
        """How many frames it holds."""
        self.series = ""
        """Of the last of them."""
        self._kind = kind
        self._gallery = gallery
        self._total: NDArray[Any] = np.zeros((0, 0), np.int64)
        self._is_valid = np.zeros((0, 0), np.bool_)

    def take(self, visited: Visited) -> None:
        """Take in a frame; of another size it is left out."""
        pixels = visited.pixels
        if not self.version:
            is_float = pixels.dtype.kind == "f"
            self._total = np.zeros(pixels.shape, np.float64 if is_float else np.int64)
            self._is_valid = np.ones(pixels.shape, np.bool_)
        elif pixels.shape != self._total.shape:
            return
        _, valid = highest(pixels, None, 1)
        self._is_valid &= valid
        if self._kind == "sum":
            np.add(self._total, pixels, out=self._total, casting="unsafe", where=valid)
        else:
            np.maximum(self._total, pixels, out=self._total, casting="unsafe", where=valid)
        self.version += 1
        self.series = visited.key[0]

    def show(self) -> Key | None:
        """Give the gallery what there is by now; None where there is nothing."""
        if not self.version:
            return None
        key = KINDS[self._kind], self.version
        if key != self.key:
            # A pixel that had no counts on one frame has none in all.
            nothing = np.nan if self._total.dtype.kind == "f" else -1
            pixels = np.where(self._is_valid, self._total, nothing).astype(self._total.dtype)
            self._gallery.keep(key, pixels, like=self.series)
            self.key = key
        return key
