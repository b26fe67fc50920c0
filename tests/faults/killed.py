"""A replay whose machine dies again and again: launcher and all nodes killed, each time resumed."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.faults.launched import Launched, OverdueError
from tests.faults.material import Material
from tests.faults.progress import Progress
from tests.faults.schedule import NODES
from tests.faults.struck import undisturbed
from tests.faults.verdict import Verdict, judge

__all__ = ["kill_again_and_again"]


def kill_again_and_again(
    material: Material, out: Path, count: int, seed: int
) -> tuple[Verdict, list[float]]:
    """Kill a replay at random instants, while it starts as well as later, and let it end then.

    Returns
    -------
    verdict
        What it holds then, beside a run that nothing happened to.
    after_s
        Seconds from each start to each kill.

    Raises
    ------
    OverdueError
        It did not end, or not well.
    """
    rng, after = random.Random(seed), []
    wanted = undisturbed(material, live=False)
    settings = ("source.speed=0.5", "source.frame_time_s=0.1", "dashboard.port=0")
    run = Launched(str(material.recording), out, settings, out.with_suffix(".log"))
    progress = Progress(out)
    progress.start()
    try:
        while not (out / "run.json").exists():
            time.sleep(0.02)  # before that there is nothing to go on with
        for _ in range(count):
            # Every other one early: while nodes start, and read what the last ones left.
            seconds = rng.uniform(0.0, rng.choice((2.0, 8.0)))
            time.sleep(seconds)
            if run.code is not None:
                break
            run.strike(("launcher", *NODES), signal.SIGKILL)
            after.append(seconds)
            run.resume()
        code = run.wait(120.0)
        if code != 0:
            raise OverdueError(f"exit status {code}: {run.last_words}")
    finally:
        run.close()
        progress.close()
    return judge(out, wanted), after
