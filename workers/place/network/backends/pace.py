"""How long work takes on this machine, and the batch size that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["cpu_clock", "fastest_chunk", "measure"]

Key = TypeVar("Key")


def cpu_clock(n_threads: int) -> Callable[[], float]:
    """Return what tells the time for so many CPU threads.

    Workers start together, and each would measure the others: a thread that is alone in its process
    is timed while it is at work. Of several, the slowest counts, so they are timed by the wall.
    """
    return time.process_time if n_threads == 1 else time.perf_counter


def measure(
    work: Mapping[Key, Callable[[], object]],
    clock: Callable[[], float] = time.perf_counter,
    seconds: float = 0.3,
) -> dict[Key, float]:
    """Return the least time that each piece of work takes.

    Work is done in rounds over all pieces, so that other load on the machine hits all of them.

    Parameters
    ----------
    work
        What to time, the quickest first: what there is no time for is left out, the first never.
    clock
        Returns seconds.
    seconds
        After so long by the wall nothing more is begun.

    Returns
    -------
    dict
        Seconds of each piece that was done at least once.
    """
    best: dict[Key, float] = {}
    end = time.perf_counter() + seconds
    while True:
        for key, run in work.items():
            if best and time.perf_counter() >= end:
                return best
            start = clock()
            run()
            best[key] = min(best.get(key, float("inf")), clock() - start)


def fastest_chunk(times: Mapping[int, float]) -> int:
    """Return the batch size with the least time for a patch, given seconds for each size."""
    return min(times, key=lambda size: times[size] / size)
