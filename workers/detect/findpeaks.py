"""The reference finder: findpeaks itself."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.detect.base import Peaks, check_limits, sorted_peaks, zeroed
from workers.detect.image import image_of

__all__ = ["FindpeaksFinder"]


class FindpeaksFinder:
    """Finds peaks with the findpeaks package itself: the reference, seconds for each frame.

    Scores are the difference of the pixels where a class is born and dies, without the noise by
    which findpeaks tells equal pixels apart. While findpeaks runs, what the whole process prints
    and warns is held back: use it in a process without other threads.

    Parameters
    ----------
    minval, minscore
        As for `TopologyFinder`.
    """

    def __init__(self, minval: float, minscore: float) -> None:
        self.minval, self.minscore = check_limits(minval, minscore)

    def __call__(self, frame: NDArray[Any], masked: NDArray[np.bool_] | None = None) -> Peaks:
        """Return the peaks of `frame`; see `Finder`."""
        values = zeroed(image_of(frame, masked), self.minval)
        row, col, score = [], [], []
        for birth, _, _, death in _groups(values) if values.size else []:
            row.append(birth[0])
            col.append(birth[1])
            # The first class never dies. Of inf - inf Python makes NaN, in silence.
            score.append(float(values[birth]) - (float(values[death]) if death else 0.0))
        scores = np.array(score, np.float64)
        keep = scores >= self.minscore
        return sorted_peaks(
            np.array(row, np.int32)[keep], np.array(col, np.int32)[keep], scores[keep]
        )


def _groups(values: NDArray[np.float64]) -> list[tuple[Any, float, float, Any]]:
    """Return findpeaks' classes: (row, col) of birth, level, score, (row, col) of death or None."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    with _silence():
        try:
            # Only imported here because it takes seconds and few runs need it.
            from findpeaks import findpeaks

            # Its own switch misses the module at work, whose level also decides on a progress bar.
            logging.getLogger("findpeaks").setLevel(logging.CRITICAL)
            finder = findpeaks(
                method="topology",
                whitelist="peak",
                scale=False,
                togray=False,
                denoise=None,
                imsize=None,
                # Its own default leaves out scores up to the frame's minimum.
                limit=0.0,
                verbose="silent",
            )
            groups = finder.fit(values)["groups0"]
        finally:
            # It sets up the root logger, too.
            root.setLevel(before[0])
            root.handlers[:] = before[1]
    return [(tuple(b), level, score, d and tuple(d)) for b, level, score, d in groups]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
