"""What may happen to the hosts of a run, and how long it takes until frames get on disk again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.conftest import LAUNCH, LONG, Run
from tests.cluster.hosts import Hosts
from tests.pipeline.conftest import SCENE, frames_of
from tests.settings import sets

__all__ = ["FAULTS", "Fault", "Outcome", "await_until", "suffer"]

SETTINGS = ("placement.insecure=true", "placement.hosts=3")
WORKERS = "bcd"
"""Hosts with a worker of Dask; launcher, scheduler and detector are on the first one."""
_BEFORE = 300
"""Frames on disk before anything happens."""
_LATER = 60
_HEALED_S = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to a run."""

    name: str
    strike: Callable[[Hosts, Run, set[str]], None]
    nodes: Sequence[str] = ()
    """Those whose hosts it happens to."""
    live: bool = False
    resumed: bool = False
    """Whether the run ends with it, and is gone on with."""
    frames: int = LONG
    """For a live detector so many that it still sends when somebody listens again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run."""

    rows: list[tuple[int, str]]
    """Number and state of each frame, by number."""
    silent_s: float
    """Until frames that came afterwards were on disk, or all nodes had ended."""
    redelivered: int


def _kill(hosts: Hosts, run: Run, struck: set[str]) -> None:
    for name in struck:
        hosts.kill(name)


def _cut(hosts: Hosts, run: Run, struck: set[str]) -> None:
    for name in struck:
        hosts.cut(name)


def _cut_and_heal(hosts: Hosts, run: Run, struck: set[str]) -> None:
    _cut(hosts, run, struck)
    time.sleep(_HEALED_S)  # as long as the cable is out
    for name in struck:
        hosts.heal(name)


def _kill_launcher(hosts: Hosts, run: Run, struck: set[str]) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)


def _kill_scheduler(hosts: Hosts, run: Run, struck: set[str]) -> None:
    assert hosts.scheduler_process is not None
    os.killpg(hosts.scheduler_process.pid, signal.SIGKILL)


FAULTS = (
    Fault("host of a detector worker killed", _kill, ("detector-0",)),
    Fault("hosts of sink and ingest killed", _kill, ("sink", "ingest")),
    Fault("host of the sink cut off for good", _cut, ("sink",)),
    Fault("host of the sink cut off for 8 s", _cut_and_heal, ("sink",)),
    Fault("launcher killed", _kill_launcher, resumed=True),
    Fault("scheduler killed", _kill_scheduler, resumed=True),
    Fault("live: host of a detector worker cut off", _cut, ("detector-0",), live=True),
    Fault("live: host of ingest killed", _kill, ("ingest",), live=True),
    Fault("live: host of ingest cut off for good", _cut, ("ingest",), live=True, frames=4000),
    Fault("live: host of ingest cut off for 8 s", _cut_and_heal, ("ingest",), live=True),
)


def suffer(fault: Fault, recording: Path, folder: Path) -> Outcome:
    """Have a run suffer a fault and come to its end."""
    with Hosts(folder, 4, {"PYTHONPATH": str(Path(LAUNCH).parent)}) as hosts:
        hosts.start_scheduler()
        for name in WORKERS:
            hosts.start_worker(name)
        source = _detector(hosts, fault.frames) if fault.live else str(recording)
        settings = (
            *SETTINGS,
            f"placement.scheduler={hosts.scheduler}",
            "source.speed=0.5",
        )

        def start(words: list[str]) -> subprocess.Popen[bytes]:
            return hosts.run("a", words, "launcher.log")

        run = Run(start, source, folder / "run", settings)
        run.await_frames(_BEFORE)
        struck = {hosts.name_of(run.nodes()[node]["host"]) for node in fault.nodes}
        # A second old at most; what came later has come after it for certain.
        later, since = run.live["received"] + _LATER, time.monotonic()
        fault.strike(hosts, run, struck)
        if fault.resumed:
            await_until(lambda: not hosts.nodes())
            silent_s = time.monotonic() - since
            run.process.wait(60)
            _start_again(hosts)
            assert run.resume() == 0
        else:
            run.wait_until(lambda: run.settled >= later)
            silent_s = time.monotonic() - since
            code = run.end()
            assert code == 0 or (fault.live and code == 1)
        redelivered = run.summary["delivery"]["redelivered"]
        return Outcome(sorted(frames_of(run.out)), silent_s, redelivered)


def _start_again(hosts: Hosts) -> None:
    """Have a cluster, whatever is left of the one before."""
    for name in WORKERS:
        hosts.kill(name)
    hosts.kill("a")
    hosts.start_scheduler()
    for name in WORKERS:
        hosts.start_worker(name)


def _detector(hosts: Hosts, frames: int) -> str:
    """Start a simulated detector and return its URI."""
    address = f"{hosts.address('a')}:31001"
    settings = sets(*SCENE, f"simulate.frames={frames}", "insecure=true")
    words = [sys.executable, LAUNCH, "simulate", "--bind", address, "--rate", "50", *settings]
    detector: subprocess.Popen[bytes] = hosts.run("a", words, "detector.log")
    await_until(lambda: "dectris://" in (hosts.folder / "detector.log").read_text())
    assert detector.poll() is None
    return f"dectris://{address}"


def await_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what the hosts will have done."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
