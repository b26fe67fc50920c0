"""How frames a second grow with hosts: ``python -m tests.cluster.growth``, for root on Linux.

Hosts are network namespaces. Each has so much of a core as a control group gives it, before all
that is in no such group, so that three have their share on two cores and beside other programs.
Launcher and scheduler are on a host of their own, which has no limit and does not count.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from streamer.config import load_config
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.benchmarks.topology import SINGLE
from tests.cluster.conftest import LAUNCH, Run
from tests.cluster.hosts import Hosts, can_be_made

_HOSTS = "bcd"
_SHARE = 0.6
"""Of a core, for each host."""
_ROUNDS, _FRAMES, _LOOPS = 3, 1500, 6
"""Rounds, frames of the recording, and how often each host's part goes through it."""
_PERIOD_US = 20_000
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run went while all its nodes worked."""

    frames_per_s: float
    busy: float
    """CPU seconds a second, of all hosts."""


@contextlib.contextmanager
def limited(name: str, share: float) -> Iterator[Path]:
    """Yield a control group with so much of a core, before all others, until nothing is in it."""
    quota = int(share * _PERIOD_US)
    if (_CGROUPS / "cgroup.controllers").exists():
        (_CGROUPS / "cgroup.subtree_control").write_text("+cpu")
        group = _CGROUPS / name
        settings = {"cpu.max": f"{quota} {_PERIOD_US}", "cpu.weight": "10000"}
    else:
        group = _CGROUPS / "cpu" / name
        settings = {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)}
        settings["cpu.shares"] = "100000"
    group.mkdir()
    try:
        for file, value in settings.items():
            (group / file).write_text(value)
        yield group
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.05)
        group.rmdir()


def grow(count: int, recording: Path, folder: Path) -> Pace:
    """Have a run on so many hosts."""
    with contextlib.ExitStack() as stack:
        groups = {
            name: stack.enter_context(limited(f"bragg{os.getpid()}{name}", _SHARE))
            for name in _HOSTS[:count]
        }
        env = {"PYTHONPATH": str(Path(LAUNCH).parent)}
        hosts = stack.enter_context(Hosts(folder, 1 + count, env))
        hosts.start_scheduler()
        for name in groups:
            hosts.start_worker(name)
        settings = (
            *SINGLE, "positions.method=braggnn", f"nodes.detectors={count}", f"nodes.gpus={count}",
            "placement.insecure=true", f"placement.hosts={count}",
            f"placement.scheduler={hosts.scheduler}", f"source.loop={_LOOPS * count}",
        )  # fmt: skip
        run = Run(lambda words: hosts.run("a", words, "launcher.log"), str(recording),
                  folder / "run", settings)  # fmt: skip
        run.await_frames(1)
        # Only now: they need not start at such a pace.
        for name, group in groups.items():
            for pid in hosts.pids(name):
                with contextlib.suppress(ProcessLookupError):
                    (group / "cgroup.procs").write_text(str(pid))
        frames = _FRAMES * _LOOPS * count
        marks = []
        for part in (0.3, 0.9):
            run.await_frames(round(part * frames))
            cpu_s = sum(map(_cpu_s, (pid for name in groups for pid in hosts.pids(name))))
            marks.append((time.monotonic(), run.settled, cpu_s))
        assert run.end() == 0
        assert run.summary["frames"]["done"] == frames
        (begin, first, cpu), (end, last, more_cpu) = marks
        return Pace((last - first) / (end - begin), (more_cpu - cpu) / (end - begin))


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print frames a second for one, two and three hosts."""
    if reason := can_be_made():
        sys.exit(reason)
    paces: dict[int, list[Pace]] = {count: [] for count in range(1, len(_HOSTS) + 1)}
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / "cycle_master.h5"
        scene = load_config(None, [f"simulate.frames={_FRAMES}", "simulate.spots=20"])
        write_recording(Scene(scene.simulate), recording)
        for number in range(_ROUNDS):
            for count, found in paces.items():
                folder = Path(name) / f"{number}-{count}"
                folder.mkdir()
                found.append(grow(count, recording, folder))
    alone = median(pace.frames_per_s for pace in paces[1]) / _SHARE
    print("| hosts | cores | frames/s | busy | frames/s a core | of one host |")
    print("|---|---|---|---|---|---|")
    for count, found in paces.items():
        rates = [pace.frames_per_s for pace in found]
        rate, busy = median(rates), median(pace.busy for pace in found)
        cores = count * _SHARE
        row = (
            str(count), f"{cores:.1f}", f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
            f"{busy / cores:.0%}", f"{rate / cores:,.0f}", f"{rate / cores / alone:.0%}",
        )  # fmt: skip
        print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
