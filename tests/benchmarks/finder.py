"""How fast the topology finder is, beside findpeaks and one numpy comparison of the frame.

Run as ``python -m tests.benchmarks.finder``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from streamer.simulator.profiles import pseudo_voigt
from workers.detect.base import Peaks
from workers.detect.findpeaks import FindpeaksFinder
from workers.detect.topology import TopologyFinder

__all__ = ["main"]

MINSCORE = 20
REPEATS = 20


@dataclass(frozen=True, slots=True)
class Case:
    size: int
    spots: int
    background: float
    minval: int
    goal_ratio: int
    goal_passes: int | None

    def frame(self, seed: int) -> NDArray[np.uint16]:
        """Spots over a Poisson background, with hot pixels and a gap between modules."""
        rng = np.random.default_rng(seed)
        row, col = np.mgrid[: self.size, : self.size]
        counts = np.full((self.size, self.size), float(self.background))
        for _ in range(self.spots):
            centre, width = rng.uniform(0, self.size, 2), rng.uniform(1, 3)
            near = tuple(slice(max(0, int(x) - 30), int(x) + 31) for x in centre)
            r2 = (row[near] - centre[0]) ** 2 + (col[near] - centre[1]) ** 2
            amplitude = np.exp(rng.uniform(np.log(50), np.log(5000)))
            counts[near] += amplitude * _profile(r2 / width**2, rng.choice([0.0, 0.1]))
        frame = rng.poisson(counts).astype(np.uint16)
        frame[rng.integers(0, self.size, 8), rng.integers(0, self.size, 8)] = 60000
        frame[self.size // 2 - 8 : self.size // 2 + 8] = 0
        return frame


_profile = np.vectorize(pseudo_voigt.py_func, otypes=[float])

CASES = (
    Case(512, 15, 5, 40, goal_ratio=20_000, goal_passes=10),
    Case(512, 24, 5, 40, goal_ratio=20_000, goal_passes=10),
    Case(512, 30, 6, 12, goal_ratio=5_000, goal_passes=None),
    Case(1024, 60, 5, 40, goal_ratio=20_000, goal_passes=10),
)


def main() -> None:
    """Print the table; it takes about a minute, nearly all of it findpeaks."""
    title = f"Topology finder, uint16 frames, score of at least {MINSCORE} counts"
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    for heading in ("size", "kept", "peaks", "findpeaks", "ours", "ratio", "passes", "same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in CASES:
        table.add_row(*_measure(case))
    console = Console()
    console.print(table)
    console.print("In brackets: the goal. Passes: in units of numpy's frame >= minval.")


def _measure(case: Case) -> tuple[str, ...]:
    # A processor learns a single frame by heart; a detector never sends the same noise twice.
    frames = [case.frame(seed) for seed in range(8)]
    ours = TopologyFinder(case.minval, MINSCORE)
    reference = FindpeaksFinder(case.minval, MINSCORE)
    mask = np.empty(frames[0].shape, np.bool_)

    before, expected = _timed(reference, frames[0])
    ours(frames[0])
    times = np.array([[_timed(ours, frame)[0] for frame in frames] for _ in range(REPEATS)])
    passes = [
        _timed(lambda frame: np.greater_equal(frame, case.minval, out=mask), frame)[0]
        for frame in frames * REPEATS
    ]
    after, _ = _timed(reference, frames[0])

    theirs, mean = min(before, after), float(times.min(axis=0).mean())
    kept = np.mean([np.mean(frame >= case.minval) for frame in frames])
    passes_goal = f" ({case.goal_passes})" if case.goal_passes else ""
    return (
        f"{case.size}",
        f"{100 * kept:.2f} %",
        f"{len(expected)}",
        f"{theirs:.2f} s",
        f"{1e3 * mean:.3f} ms",
        f"{theirs / mean:,.0f} ({case.goal_ratio // 1000}k)",
        f"{mean / min(passes):.1f}{passes_goal}",
        "yes" if _same(ours(frames[0]), expected) else "NO",
    )


def _timed(function: Callable[..., Any], frame: NDArray[np.uint16]) -> tuple[float, Any]:
    # Time spent waiting for a busy processor would count for the slower one alone.
    start = thread_time()
    result = function(frame)
    return thread_time() - start, result


def _same(peaks: Peaks, expected: Peaks) -> bool:
    return all(
        np.array_equal(getattr(peaks, name), getattr(expected, name)) for name in Peaks.__slots__
    )


if __name__ == "__main__":
    main()
