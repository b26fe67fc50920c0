"""What thresholds from the noise of each frame cost, beside thresholds as numbers."""

from collections.abc import Iterator
from time import thread_time

import numpy as np

from tests.benchmarks.finder import CASES
from tests.benchmarks.measure import Table
from workers.detect.base import Finder
from workers.detect.choice import make_finder
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame

__all__ = ["tables"]

REPEATS = 20


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the table."""
    table = Table(
        "Peaks and patches of a decoded uint16 frame, ms of CPU",
        ("pixels along an axis", "spots", "thresholds as numbers", "automatic"),
    )
    for case in CASES:
        frames = [case.frame(seed) for seed in range(4)]
        finders = (
            make_finder("topology", case.minval, 60),
            make_finder("topology", "auto", "auto"),
        )
        costs = (f"{_cost_ms(finder, frames, n_rounds or REPEATS):.2f}" for finder in finders)
        table.add(case.size, case.spots, *costs)
    yield table


def _cost_ms(finder: Finder, frames: list[np.ndarray], repeats: int) -> float:
    correction, best = Correction(), np.full(len(frames), np.inf)
    for turn in range(repeats + 1):  # the first one compiles
        for i, frame in enumerate(frames):
            start = thread_time()
            find_in_frame(frame, correction, finder, 11)
            if turn:
                best[i] = min(best[i], thread_time() - start)
    return 1e3 * float(best.mean())
