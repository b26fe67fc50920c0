"""Runs on a cluster, as a user starts them, and what becomes of each frame."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from streamer.config import load_config
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.conftest import ROOT
from tests.pipeline.conftest import SCENE
from tests.settings import sets

FRAMES, LONG = 400, 1500
"""Of recordings that are played for some seconds, and for half a minute."""
LAUNCH = str(ROOT / "launch.py")
QUICK = (
    "placement.engine=dask", "positions.method=centroid", "nodes.detectors=2", "nodes.gpus=2",
    "report.auto=false", "dashboard.port=0",
)  # fmt: skip
PATIENCE_S = 100.0


class Run:
    """A run that was started, and what it says of itself.

    Parameters
    ----------
    start
        Starts a command line.
    source
        Recording, or URI of a stream.
    out
        Run folder.
    settings
        What is configured.
    """

    def __init__(
        self,
        start: Callable[[list[str]], subprocess.Popen[bytes]],
        source: str,
        out: Path,
        settings: Sequence[str],
    ) -> None:
        command = "attach" if "://" in source else "replay"
        self.out = out
        self._start = start
        self._words = [sys.executable, LAUNCH, command, source, "--out", str(out)]
        self.process = start([*self._words, *sets(*QUICK, *settings)])

    @property
    def live(self) -> dict[str, Any]:
        """What the run said last; empty before that."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.out / "live.json").read_text())
        return {}

    @property
    def summary(self) -> dict[str, Any]:
        """What the run folder says of it."""
        return json.loads((self.out / "run.json").read_text())

    @property
    def settled(self) -> int:
        """Frames on disk."""
        return sum(self.live.get("frames", {}).values())

    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """Return what is known of each node, by its name."""
        return {node["name"]: node for node in self.live.get("nodes", [])}

    def await_frames(self, count: int) -> None:
        """Wait until so many are on disk."""
        self.wait_until(lambda: self.settled >= count)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for what the run does."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, "the run has ended"
            assert time.monotonic() < deadline, self.live
            time.sleep(0.05)

    def end(self) -> int:
        """Wait for its end and return the exit status."""
        return self.process.wait(PATIENCE_S)

    def resume(self) -> int:
        """Go on with it and return the exit status."""
        self.process = self._start([*self._words, "--resume"])
        return self.end()


def parent_of(pid: int) -> int:
    """Return the process that started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started, in whichever of its threads."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split()]


def end_at_once(pids: Sequence[int]) -> None:
    """Have processes die without a word."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def record(folder: Path, frames: int) -> Path:
    """Write a simulated recording of so many frames."""
    path = folder / "cycle_master.h5"
    settings = [*SCENE, f"simulate.frames={frames}"]
    write_recording(Scene(load_config(None, settings).simulate), path)
    return path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated recording that is played for some seconds."""
    return record(tmp_path_factory.mktemp("recording"), FRAMES)


@pytest.fixture(scope="session")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated recording that is played for half a minute."""
    return record(tmp_path_factory.mktemp("recording"), LONG)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """Starts processes of this host, none of which is there after the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        with (tmp_path / "launcher.log").open("ab") as log:
            processes.append(
                subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        process.kill()
        process.wait()
