"""What a run of many frames costs: to report, to look at, to go on with, and while it lasts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zmq
from websockets.sync.client import connect

from streamer.config import Config, load_config
from streamer.frames.peaks import PEAK, POSITION
from streamer.results.folder import RunFolder
from streamer.sink.node import Sink
from streamer.sink.tables import Result
from streamer.transport.messages import FramePeaks
from streamer.transport.metrics import Metrics
from tests.benchmarks.measure import LAUNCH, Table, command

FRAMES, SINK_FRAMES, POINTS = 500_000, 100_000, 5
GOAL_MIB = 1024
_DRIFT = "import sys; from streamer.results import open_run; open_run(sys.argv[1]).drift(3)"
_RESTART = "import sys; from tests.benchmarks.long_runs import restart; restart(sys.argv[1])"
_SPOTS = 20


def tables(
    n_rounds: int | None = None, n_frames: int = FRAMES, sink_frames: int = SINK_FRAMES
) -> Iterator[Table]:
    """Yield the tables; each is measured once, however many rounds are asked for."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        # Elsewhere: what this process holds would count for those that it starts.
        words = [sys.executable, "-m", "tests.benchmarks.long_folder", str(run), str(n_frames)]
        subprocess.run(words, check=True)
        table = Table(
            f"A run of {n_frames:,} frames",
            ("what", "s", "CPU s", "MiB", "goal, MiB"),
        )
        launch = [sys.executable, str(LAUNCH)]
        report = [*launch, "report", str(run)]
        subprocess.run(report, check=True, stdout=subprocess.DEVNULL)  # which compiles
        for what, words in (
            ("report", report),
            ("status", [*launch, "status", str(run)]),
            ("drift of a track, each frame", [sys.executable, "-c", _DRIFT, str(run)]),
            ("sink goes on, with checkpoint", [sys.executable, "-c", _RESTART, str(run)]),
        ):
            table.add(what, *_cost(words), GOAL_MIB)
        for what, cost in _page([*launch, "dashboard", str(run)]).items():
            table.add(what, *cost, GOAL_MIB)
        yield table
        yield _flat(Path(name) / "sink", sink_frames)


def restart(run: str) -> None:
    """Go on in a run folder as a sink does."""
    folder = RunFolder(Path(run))
    open_sink(folder, folder.read_config()).close()


def open_sink(folder: RunFolder, config: Config) -> Sink:
    """Return a sink that nobody sends anything to."""
    return Sink(
        zmq.Context.instance(), config, folder, Metrics(),
        addresses=[], acks_address="tcp://127.0.0.1:*",
    )  # fmt: skip


def _cost(
    words: list[str], look: Callable[[subprocess.Popen[str]], None] | None = None
) -> tuple[str, str, str]:
    """Return seconds, seconds of CPU and MiB of a process; `look` is to end it."""
    took = command(words, look)
    return f"{took.seconds:.1f}", f"{took.cpu_s:.1f}", f"{took.peak_mib:.0f}"


def _page(words: list[str]) -> dict[str, tuple[str, str, str]]:
    """Return the cost until a page of a new server has its first picture, and until all curves."""
    watch = json.dumps({"type": "watch", "tracks": list(range(8)), "quantity": "radial"})
    costs = {}
    for what, done in (
        ("page, first picture", _Page.has_picture),
        ("page, whole curves of 8 tracks", _Page.has_curves),
    ):

        def look(process: subprocess.Popen[str], done: Callable[[_Page], bool] = done) -> None:
            url = process.stdout.readline().split()[-1]
            urllib.request.urlopen(url).read()
            page = _Page()
            with connect(url.replace("http", "ws") + "ws", max_size=None) as socket:
                socket.send(watch)
                while not done(page):
                    page.take(socket.recv())
            process.terminate()

        costs[what] = _cost(words, look)
    return costs


class _Page:
    """What a page has got."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.drifts = 0
        self.quiet = 0

    def has_picture(self) -> bool:
        """Tell whether the first image, the tracks and the beginning of the curves are there."""
        return {"image", "tracks", "drift"} <= self.kinds

    def has_curves(self) -> bool:
        """Tell whether the curves have stopped to grow."""
        return self.drifts > 2 and self.quiet > 2

    def take(self, message: bytes) -> None:
        """Take a message."""
        header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
        self.kinds.add(header["type"])
        self.drifts += header["type"] == "drift"
        if header["type"] == "health":  # twice a second
            self.quiet += 1
        elif header["type"] == "drift":
            self.quiet = 0


def results(n_frames: int) -> Iterator[Result]:
    """Yield what GPU workers give of spots that stand still."""
    rng = np.random.default_rng(1)
    spots = rng.uniform(10.0, 500.0, (_SPOTS, 2))
    peaks, positions = np.zeros(_SPOTS, PEAK), np.zeros(_SPOTS, POSITION)
    positions["single"] = np.nan
    peaks["row"], peaks["col"] = np.rint(spots).T.astype(int)
    for seq in range(n_frames):
        one = positions.copy()
        one["row"], one["col"] = (spots + rng.normal(0.0, 0.02, spots.shape)).T
        one["row_sigma"] = one["col_sigma"] = 0.02
        now = time.time_ns()
        head = FramePeaks(
            seq=seq, series="x", frame=seq, time_ns=now, received_ns=now, n_peaks=_SPOTS
        )
        yield Result(head, peaks, one)


def _flat(path: Path, n_frames: int) -> Table:
    """Return what a sink holds while frames go through it."""
    table = Table(
        f"{n_frames:,} frames through a sink",
        ("frames", "MiB", "open files", "files in the folder", "commit, ms", "frames/s"),
    )
    # A part is a quarter of the window: they are as many as in a run of many hours.
    sink = open_sink(RunFolder.create(path), load_config(None, ["transport.window_frames=256"]))
    step = n_frames // POINTS
    began, slowest = time.monotonic(), []
    for seq, result in enumerate(results(n_frames)):
        sink._arrive(seq, result)
        if seq % 64 == 63:
            start = time.monotonic()
            sink.step()
            slowest.append(time.monotonic() - start)
        if seq % step == step - 1:
            table.add(
                f"{seq + 1:,}",
                f"{_resident_mib():.0f}",
                str(len(os.listdir("/proc/self/fd"))),
                str(sum(len(files) for _, _, files in os.walk(path))),
                f"{1e3 * np.quantile(slowest, 0.99):.1f}",
                f"{step / (time.monotonic() - began):,.0f}",
            )
            began, slowest = time.monotonic(), []
    sink.close()
    return table


def _resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
