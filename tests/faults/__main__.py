"""Breaks runs for as often as one likes.

``python -m tests.faults [COUNT] [--seed FIRST]``
    So many schedules of kills and freezes, each drawn from its seed: one that ended badly is tried
    again by ``python -m tests.faults 1 --seed SEED``, and what it left is in ``faults-found/``.
``python -m tests.faults killed [COUNT] [--seed SEED]``
    A replay that is killed so many times with all its nodes, each time resumed.
``python -m tests.faults overload [SECONDS]``
    A stream of three times what the machine can do, for so long, under each policy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.faults.killed import kill_again_and_again
from tests.faults.material import Material
from tests.faults.overload import POLICIES, overload
from tests.faults.schedule import Schedule
from tests.faults.struck import Outcome, Struck, remove

FOUND = Path("faults-found")
OVERLOAD = 3.0
HEADING = f"{'what':56} times    p50 s    max s"


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", default=["200"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    what, *more = options.what
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        material = Material(Path(name))
        if what == "killed":
            return killed(material, int(more[0]) if more else 20, options.seed)
        if what == "overload":
            return overloaded(material, float(more[0]) if more else 60.0)
        return scheduled(material, int(what), options.seed)


def scheduled(material: Material, count: int, first: int) -> int:
    outcomes = []
    for seed in range(first, first + count):
        out = material.folder / f"run-{seed}"
        outcome = Struck(material, Schedule.draw(seed), out).go()
        outcomes.append(outcome)
        mark = "good" if outcome.is_good else "BAD "
        print(f"{mark} {seed:5} {outcome.elapsed_s:5.1f} s  {outcome.schedule}")
        print(f"{'':19}{outcome}", flush=True)
        if outcome.is_good:
            remove(out)
        else:
            keep(out)
    print(table(outcomes))
    return any(not outcome.is_good for outcome in outcomes)


def keep(out: Path) -> None:
    """Keep what a run that ended badly has left."""
    FOUND.mkdir(exist_ok=True)
    remove(FOUND / out.name)
    for path in (out, out.with_suffix(".log")):
        if path.exists():
            path.rename(FOUND / path.name)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what was broken how often, and how long it took until frames went on."""
    times: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for what, seconds in outcome.recoveries:
            times[what].append(seconds)
    lines = [
        f"{what:56} {len(times[what]):5} {np.median(times[what]):8.2f} {max(times[what]):8.2f}"
        for what in sorted(times)
    ]
    verdicts = [outcome.verdict for outcome in outcomes]
    n_bad = sum(not outcome.is_good for outcome in outcomes)
    counts = f"{sum(v.n_lost for v in verdicts)} lost, {sum(v.n_doubled for v in verdicts)} doubled"
    in_flight = sum(v.n_in_flight for v in verdicts)
    last = f"{len(outcomes)} schedules: {counts}, {in_flight} in flight, {n_bad} bad"
    return "\n".join([HEADING, *lines, last])


def killed(material: Material, count: int, seed: int) -> int:
    verdict, after_s = kill_again_and_again(material, material.folder / "run", count, seed)
    print(f"killed {len(after_s)} times, {', '.join(f'{s:.1f}' for s in after_s)} s after a start")
    print(f"equal to a run that nothing happened to: {verdict.is_good} ({verdict})")
    return not verdict.is_good


def overloaded(material: Material, seconds: float) -> int:
    able_hz = overload(material, "wait", 4000, 0.0).rate_hz
    print(f"this machine does {able_hz:.0f} frames/s with one detector worker")
    print("policy      sent        done/s  ingest MiB  spool MiB  states")
    wrong = False
    for policy in POLICIES:
        # One that holds the sender back makes it send no faster than it goes.
        factor = 1.0 if policy == "wait" else OVERLOAD
        n_frames = round(able_hz * factor * seconds)
        carried = overload(material, policy, n_frames, able_hz * OVERLOAD)
        print(carried, flush=True)
        wrong |= not carried.is_exact
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
