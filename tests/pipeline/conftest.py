from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.config import Config, load_config
from streamer.results.folder import RunFolder
from streamer.run.execute import execute
from streamer.run.snapshot import Snapshot
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.settings import sets

LAUNCH = Path(__file__).parents[2] / "launch.py"
FRAMES = 120
SCENE = ["simulate.frames=120", "simulate.rows=256", "simulate.cols=256", "simulate.spots=8"]
QUICK = [
    *SCENE, "positions.method=centroid", "nodes.gpus=1", "report.auto=false",
]  # fmt: skip
"""Settings of a run whose processes start fast: no torch."""


def command(spec: Path) -> list[str]:
    """How a node is started."""
    return [sys.executable, str(LAUNCH), "node", str(spec)]


def launch(*words: str, **more) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, str(LAUNCH), *words],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        **more,
    )


class Watcher:
    """A view that acts on what it sees, in place of showing it."""

    def __init__(self, act: Callable[[Snapshot], None] | None = None) -> None:
        self.act = act
        self.error: Exception | None = None
        self.seen: list[Snapshot] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, now: Snapshot) -> None:
        self.seen.append(now)
        if self.act is not None:
            try:
                self.act(now)
            except Exception as error:  # a run goes on without its view
                self.error = self.error or error


def run(source: Path | str, out: Path, *settings: str, act=None) -> dict:
    """Process a source as the command line would, with a hand in it."""
    config: Config = load_config(None, [*QUICK, *settings])
    watcher = Watcher(act)
    summary = execute(config, str(source), out, command, watcher, patch_size=11, expected=FRAMES)
    if watcher.error is not None:
        raise watcher.error
    return summary


def frames_of(out: Path) -> list[tuple[int, str]]:
    """Return number and state of each frame of a run."""
    table = RunFolder(out).read("frames")
    columns = (table[name].to_pylist() for name in ("frame", "count", "state"))
    rows = zip(*columns, strict=True)
    return [(first + n, state) for first, count, state in rows for n in range(count)]


def assert_each_frame_once(out: Path, count: int = FRAMES) -> None:
    """Check that the result holds every frame once, done, and what it says of its peaks."""
    assert frames_of(out) == [(frame, "done") for frame in range(count)]
    folder = RunFolder(out)
    peaks = Counter(folder.read("peaks")["frame"].to_pylist())
    table = folder.read("frames")
    said = dict(zip(table["frame"].to_pylist(), table["n_peaks"].to_pylist(), strict=True))
    assert peaks == {frame: count for frame, count in said.items() if count}
    assert sum(peaks.values()) > 0


def assert_whole(out: Path) -> None:
    """Check that what is in the folder of a run that was cut short is in order and complete."""
    states = frames_of(out)
    assert states == [(frame, "done") for frame in range(len(states))]


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated recording, with its truth beside it."""
    path = tmp_path_factory.mktemp("recording") / "cycle_master.h5"
    write_recording(Scene(load_config(None, SCENE).simulate), path, truth=True)
    return path


@pytest.fixture
def detector(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts simulated detectors as processes and returns their URIs."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> str:
        process = subprocess.Popen(
            [sys.executable, str(LAUNCH), "simulate", *sets(*SCENE), *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        assert "dectris://" in line, line
        return line.split()[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def summary_of(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())
