"""The whole topology beside an independent floor, and beside the product's functions in a loop."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamer.config import load_config
from streamer.results.folder import RunFolder
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.benchmarks.floor import STAGES, Cost, run_floor
from tests.benchmarks.floor_check import Agreement, compare
from tests.benchmarks.measure import (
    ROLES,
    Run,
    Table,
    compile_kernels,
    median,
    rounds,
    run_topology,
    slope,
    spread,
)
from tests.benchmarks.plain import run_plain
from workers.place.network.architecture import WEIGHTS

__all__ = ["FIXED", "LEAST", "SINGLE", "agreement", "tables"]

FRAMES, SPOTS, LOOPS, ROUNDS, FEWER = 1500, 20, 3, 5, 3
"""Frames of the recording, spots in its scene, how often a long run goes through it; rounds of what
is compared with the floor, and of what is not."""
LEAST = (40, 60)
"""Least counts of a pixel, least score of a peak: `detect.minval` and `detect.minscore`."""
FIXED = tuple(
    f"detect.{name}={value}" for name, value in zip(("minval", "minscore"), LEAST, strict=True)
)
SINGLE = (*FIXED, "positions.refit=false")
"""What the floor does too."""
_CASES = {
    "thresholds 40/60, `refit=false`": SINGLE,
    "thresholds 40/60, joint fits": FIXED,
    "the defaults: automatic thresholds, joint fits": (),
}
_WEIGHTS = WEIGHTS / "compact.pt"
_NAMES = {"ingest": "ingest", "detector": "detector", "gpu": "GPU workers", "sink": "sink"}


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two runs that differ in length alone."""

    short: Run
    long: Run

    def cpu_ms(self, role: str) -> float:
        """CPU milliseconds a frame of a role, its start left out."""
        more = self.long.frames - self.short.frames
        return 1e3 * slope(self.short.cpu_s[role], self.long.cpu_s[role], more)

    @property
    def all_ms(self) -> float:
        return sum(self.cpu_ms(role) for role in ROLES)


def _pair(settings: tuple[str, ...], path: Path, out: Path, loops: int) -> _Pair:
    """Run the topology once and several times over a recording."""
    runs = []
    for n in (1, loops):
        config = load_config(None, [*settings, "report.auto=false", f"source.loop={n}"])
        runs.append(run_topology(config, path, out / f"run-{n}"))
        shutil.rmtree(out / f"run-{n}")
    return _Pair(*runs)


def agreement(path: Path, out: Path, settings: tuple[str, ...] = SINGLE) -> Agreement:
    """Tell whether floor and topology do the same."""
    run_floor(path, _WEIGHTS, LEAST, out / "floor", 1)
    config = load_config(None, [*settings, "report.auto=false"])
    run_topology(config, path, out / "run")
    run = RunFolder(out / "run")
    return compare(out / "floor", run.read("frames"), run.read("peaks"))


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the tables."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        scene = load_config(None, [f"simulate.frames={FRAMES}", f"simulate.spots={SPOTS}"])
        path = folder / "cycle_master.h5"
        write_recording(Scene(scene.simulate), path)
        yield from _measure(path, folder, n_rounds or ROUNDS, n_rounds or FEWER)


def _measure(path: Path, folder: Path, n_rounds: int, fewer: int) -> Iterator[Table]:
    compile_kernels()
    (folder / "agree").mkdir()
    agreed = agreement(path, folder / "agree")
    if agreed.same_peaks < 0.999 or agreed.within < 0.99 or agreed.missing:
        raise SystemExit(f"the floor does not do the work of a run: {agreed}")
    cores, made = os.cpu_count() or 1, iter(range(1000))

    def new() -> Path:
        return folder / f"out-{next(made)}"

    single = load_config(None, list(SINGLE))
    found = rounds(
        n_rounds,
        {
            "floor": lambda _: run_floor(path, _WEIGHTS, LEAST, new(), cores, LOOPS),
            "plain": lambda _: run_plain(single, path, new(), cores, LOOPS),
            "topology": lambda _: _pair(SINGLE, path, new(), LOOPS),
        },
    )
    floors: list[Cost] = found["floor"]
    pairs: list[_Pair] = found["topology"]
    long = pairs[0].long
    table = Table(
        f"Whole topology, 512 x 512 uint16 bslz4, {long.summary['peaks'] / long.frames:.0f} peaks "
        "a frame, thresholds 40/60, `refit=false`",
        ("what", "frames/s", "of the floor", "CPU ms a frame", "of the floor"),
    )
    lines = {
        "floor: one plain loop a core, own code": [
            (one.frames_per_s, one.cpu_ms) for one in floors
        ],
        "the product's functions in a plain loop a core": found["plain"],
        "topology": [(one.long.rate, one.all_ms) for one in pairs],
    }
    for what, costs in lines.items():
        rates, cpu = zip(*costs, strict=True)
        faster = [rate / floor.frames_per_s for rate, floor in zip(rates, floors, strict=True)]
        dearer = [ms / floor.cpu_ms for ms, floor in zip(cpu, floors, strict=True)]
        table.add(
            what, spread(rates), spread(faster, ".2f"), spread(cpu, ".3f"), spread(dearer, ".2f")
        )
    table.note = (
        f"Median of {n_rounds} rounds in turn (least to largest); {cores} cores. On the frames of "
        f"the recording, {agreed.same_peaks:.2%} of the peaks are found by both floor and "
        f"topology, {agreed.within:.2%} of the clean ones at the same place within a tenth of "
        f"sigma, in {agreed.tracks[0]} and {agreed.tracks[1]} tracks. The floor keeps no catalogue "
        "of tracks, serves no metrics, checks no share of the positions by fits, and delivers "
        "nothing again. Where other programs run too, processes get time by their number, and only "
        "CPU times compare."
    )
    yield table
    yield _by_stage(floors)
    others = rounds(
        fewer,
        {
            what: lambda _, settings=settings: _pair(settings, path, new(), LOOPS)
            for what, settings in list(_CASES.items())[1:]
        },
    )
    yield _by_role({next(iter(_CASES)): pairs, **others}, fewer)


def _by_stage(floors: list[Cost]) -> Table:
    table = Table("The floor by stage, CPU ms a frame", ("", *STAGES, "all"))
    stages = (spread([one.stages_ms[stage] for one in floors], ".3f") for stage in STAGES)
    table.add("floor", *stages, spread([one.cpu_ms for one in floors], ".3f"))
    return table


def _by_role(cases: dict[str, list[_Pair]], fewer: int) -> Table:
    table = Table("The topology by role, CPU ms a frame", ("", *_NAMES.values(), "all", "frames/s"))

    def of(pairs: list[_Pair], get: Callable[[_Pair], float]) -> float:
        return median([get(one) for one in pairs])

    for what, pairs in cases.items():
        roles = (spread([one.cpu_ms(role) for one in pairs], ".3f") for role in ROLES)
        rates = spread([one.long.rate for one in pairs])
        table.add(what, *roles, spread([one.all_ms for one in pairs], ".3f"), rates)
    single, joint, default = cases.values()
    for what, (less, more) in {
        "joint fits cost": (single, joint),
        "automatic thresholds cost": (joint, default),
    }.items():
        costs = (
            of(more, lambda one, role=role: one.cpu_ms(role))
            - of(less, lambda one, role=role: one.cpu_ms(role))
            for role in ROLES
        )
        all_ms = of(more, lambda one: one.all_ms) - of(less, lambda one: one.all_ms)
        table.add(what, *(f"{cost:.3f}" for cost in costs), f"{all_ms:.3f}", "")
    table.note = (
        "User and system time of each process from the operating system. Starts are not in it: it "
        f"is the slope between runs of {FRAMES:,} and {FRAMES * LOOPS:,} frames. Joint fits are "
        f"not in the floor. {fewer} rounds but for the first line."
    )
    return table
