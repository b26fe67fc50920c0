"""How fast the topology finder is, beside findpeaks and one numpy comparison of the frame.

A second table has what a detector worker does with a decoded frame, from counts to peaks and on to
patches, beside ImageD11's labels of sparse local maxima with their moments where that is installed.
What it does with a coded one is in `tests.benchmarks.frames`.

Run as ``python -m tests.benchmarks.finder``.
"""

import math
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
from workers.detect.base import Peaks, found_by
from workers.detect.choice import make_finder
from workers.detect.correction import Correction
from workers.detect.findpeaks import FindpeaksFinder
from workers.detect.node import PeakTable, find_in_frame
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


@dataclass(frozen=True, slots=True)
class Stage:
    shape: tuple[int, int]
    spots: int
    dtype: str = "<u2"
    fill: float | None = None
    """Share of the pixels that `minval` keeps; None where it is 40 counts."""

    def frames(self) -> list[NDArray[Any]]:
        """Spots that are apart over a Poisson background, with the gaps of an Eiger."""
        return [self._frame(np.random.default_rng(seed)) for seed in range(4)]

    def _frame(self, rng: np.random.Generator) -> NDArray[Any]:
        level = 5.0 if self.fill is None else 50.0
        frame = rng.poisson(level, self.shape)
        side = math.isqrt(self.spots - 1) + 1
        cells = rng.permutation(side * side)[: self.spots]
        near, reach = np.arange(-8, 9), 8
        for cell in cells:
            share = (np.array(divmod(cell, side)) + rng.uniform(0.25, 0.75, 2)) / side
            row, col = (int(x) for x in reach + share * (np.array(self.shape) - 2 * reach - 1))
            profile = np.exp(-(near**2) / rng.uniform(2, 8))
            spot = np.exp(rng.uniform(np.log(150), np.log(5000))) * np.outer(profile, profile)
            frame[row - 8 : row + 9, col - 8 : col + 9] += rng.poisson(spot)
        highest = np.iinfo(self.dtype).max
        frame = np.minimum(frame, highest - 1).astype(self.dtype)
        for start in range(514, self.shape[0] - 40, 551):
            frame[start : start + 37] = highest
        return frame


LARGE, LARGEST = (2167, 2070), (4148, 4362)
STAGES = (
    Stage((512, 512), 30),
    Stage((1024, 1024), 1000),
    Stage(LARGE, 30),
    Stage(LARGE, 300),
    Stage(LARGE, 10_000),
    Stage(LARGEST, 30),
    Stage(LARGE, 30, "|u1"),
    Stage(LARGE, 30, "<u4"),
    *(Stage((1024, 1024), 30, fill=fill) for fill in (0.001, 0.01, 0.05, 0.2)),
)


def main() -> None:
    """Print the tables; it takes about a minute, nearly all of it findpeaks."""
    title = f"Topology finder, uint16 frames, score of at least {MINSCORE} counts"
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    for heading in ("size", "kept", "peaks", "findpeaks", "ours", "ratio", "passes", "same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in CASES:
        table.add_row(*_measure(case))
    console = Console()
    console.print(table)
    console.print("In brackets: the goal. Passes: in units of numpy's frame >= minval.")
    stages = Table(title="A decoded frame, ms of CPU", box=box.SIMPLE, pad_edge=False)
    for heading in ("frame", "type", "kept", "peaks", "to peaks", "to patches", "ImageD11"):
        stages.add_column(heading, justify="right", no_wrap=True)
    for stage in STAGES:
        stages.add_row(*_measure_stage(stage))
    console.print(stages)
    console.print(
        "ImageD11 labels and measures peaks, as many as there are maxima, and cuts no patches: "
        "beside it stands the time to peaks, which have a place and a score."
    )


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


def _measure_stage(stage: Stage) -> tuple[str, ...]:
    frames = stage.frames()
    shape, dtype = stage.shape, np.dtype(stage.dtype)
    gap = np.iinfo(dtype).max
    minval = 40.0
    if stage.fill is not None:
        minval = float(np.quantile(frames[0][frames[0] < gap], 1.0 - stage.fill))
    finder = make_finder("topology", minval, 60.0)
    correction = Correction(saturation=float(gap - 1))
    for frame in frames:
        frame.flags.writeable = False
    peer = _sparse_maxima(shape, int(minval)) if dtype == np.uint16 else None

    def to_peaks(frame: NDArray[Any]) -> Peaks:
        return found_by(finder, correction(frame)[0])

    def to_patches(frame: NDArray[Any]) -> PeakTable:
        return find_in_frame(frame, correction, finder, 11)

    theirs = f"{_usual(peer, frames):.3f}" if peer else "-"
    return (
        f"{shape[0]} x {shape[1]}",
        dtype.name,
        f"{100 * np.mean((frames[0] >= minval) & (frames[0] < gap)):.2f} %",
        f"{len(to_peaks(frames[0]))}",
        f"{_usual(to_peaks, frames):.3f}",
        f"{_usual(to_patches, frames):.3f}",
        theirs,
    )


def _sparse_maxima(shape: tuple[int, int], minval: int) -> Callable[[NDArray[Any]], Any] | None:
    """Return what labels and measures peaks by ImageD11; None where it is not installed."""
    try:
        from ImageD11 import cImageD11
    except ImportError:
        return None
    listed = [np.empty(shape, np.uint16) for _ in range(3)]

    def find(frame: NDArray[Any]) -> Any:
        usable = (frame < np.iinfo(frame.dtype).max).view(np.uint8)
        n = cImageD11.tosparse_u16(frame, usable, *listed, minval)
        row, col, counts = (array.ravel()[:n] for array in listed)
        counts, labels = counts.astype(np.float32), np.zeros(n, np.int32)
        work = np.empty(n, np.float32), np.empty(n, np.int32)
        found = cImageD11.sparse_localmaxlabel(counts, row, col, *work, labels)
        return cImageD11.sparse_blob2Dproperties(counts, row, col, labels, found)

    return find


def _usual(function: Callable[[Any], Any], arguments: list[Any]) -> float:
    """Return the lower decile of the ms that a call takes: others use the processor too."""
    for argument in arguments:
        function(argument)
    times = [_timed(function, argument)[0] for argument in arguments * REPEATS]
    return 1e3 * float(np.percentile(times, 10))


def _timed(function: Callable[..., Any], frame: Any) -> tuple[float, Any]:
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
