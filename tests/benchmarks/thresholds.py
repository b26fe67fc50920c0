"""What thresholds from the noise of each frame cost, beside thresholds as numbers.

Run as ``python -m tests.benchmarks.thresholds``.
"""

from time import thread_time

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.finder import CASES
from workers.detect.base import Finder
from workers.detect.choice import make_finder
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame

__all__ = ["main"]

REPEATS = 20


def main() -> None:
    """Print the table."""
    table = Table(title="A frame's peaks and patches, uint16", box=box.SIMPLE, pad_edge=False)
    for heading in ("size", "spots", "numbers", "auto"):
        table.add_column(heading, justify="right")
    for case in CASES:
        frames = [case.frame(seed) for seed in range(4)]
        finders = (
            make_finder("topology", case.minval, 60),
            make_finder("topology", "auto", "auto"),
        )
        costs = (f"{_cost_ms(finder, frames):.2f} ms" for finder in finders)
        table.add_row(str(case.size), str(case.spots), *costs)
    Console().print(table)


def _cost_ms(finder: Finder, frames: list[np.ndarray]) -> float:
    correction, best = Correction(), np.full(len(frames), np.inf)
    for _ in range(REPEATS):
        for i, frame in enumerate(frames):
            start = thread_time()
            find_in_frame(frame, correction, finder, 11)
            best[i] = min(best[i], thread_time() - start)
    return 1e3 * float(best.mean())


if __name__ == "__main__":
    main()
