"""Plain loops, one in each of several processes; knows nothing of the program."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["THREADS", "run_loops"]

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Environment of what computes on one thread."""


def run_loops(
    loop: Callable[..., None], given: tuple[Any, ...], out: Path, processes: int, loops: int
) -> list[dict[str, Any]]:
    """Run a loop in so many processes and return what each wrote to ``loop-N.json``.

    Parameters
    ----------
    loop
        Called with what is given, `out`, its number, `processes`, a barrier and `loops`.
    out
        Folder, which is made.
    """
    out.mkdir()
    # Before they are spawned: numpy reads it when it is imported, which they do at once.
    os.environ |= THREADS
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(processes)
    workers = [
        spawn.Process(target=loop, args=(*given, out, k, processes, barrier, loops))
        for k in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [json.loads((out / f"loop-{k}.json").read_text()) for k in range(processes)]
