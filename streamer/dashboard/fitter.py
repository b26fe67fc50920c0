"""Fits of patches that viewers ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from streamer.frames.display import PATCH_SIZE, Patch

__all__ = ["Fit", "PatchFitter", "fitted"]

logger = logging.getLogger(__name__)

Fit = Callable[[NDArray[np.float32], NDArray[np.bool_]], "dict[str, float] | None"]
"""Fits a patch: counts and which of them are valid, (size, size); the answer has row and col from
the centre of the middle pixel, row_sigma and col_sigma."""

Done = Callable[["dict[str, float] | None"], None]


class PatchFitter:
    """Fits one patch after the other in a thread that nothing waits for: compiling takes a while.

    Parameters
    ----------
    fit
        Fits a patch.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._asked: SimpleQueue[tuple[Patch, Callable[[], bool], Done]] = SimpleQueue()
        Thread(target=self._go_on, name="fit", daemon=True).start()

    def put(self, patch: Patch, is_wanted: Callable[[], bool], done: Done) -> None:
        """Fit a patch when its turn comes, if it `is_wanted` then; `done` gets what was found."""
        self._asked.put((patch, is_wanted, done))

    def _go_on(self) -> None:
        while True:
            patch, is_wanted, done = self._asked.get()
            if not is_wanted():
                continue
            found = None
            try:
                found = fitted(patch, self._fit)
            except Exception:
                logger.exception("a patch could not be fitted")
            done(found)


def fitted(patch: Patch, fit: Fit) -> dict[str, float] | None:
    """Return where on the detector a fit places the peak of a patch."""
    valid = np.isfinite(patch.counts)
    found = fit(np.where(valid, patch.counts, 0).astype(np.float32), valid) if valid.any() else None
    if found is None:
        return None
    half = PATCH_SIZE // 2
    return found | {
        "row": found["row"] + patch.row + half,
        "col": found["col"] + patch.col + half,
    }
