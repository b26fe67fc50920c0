"""How old a peak is when it is told, at half of the most that can be borne; how long a start is."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zmq

from streamer.config import load_config
from streamer.results.folder import RunFolder
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.sink.feed import read_message
from tests.benchmarks.measure import (
    LAUNCH,
    Command,
    Table,
    command,
    compile_kernels,
    rounds,
    run_topology,
    spread,
)
from tests.benchmarks.topology import FIXED
from tests.settings import sets

__all__ = ["tables"]

RATE_HZ, SECONDS, ROUNDS = 1000.0, 8.0, 3
_SETTLED = 0.5
"""Share of the frames that are left out: they came while nodes were starting, and wait for that."""
_POLL_MS = 50


@dataclass(slots=True)
class _Listener:
    """What is heard of peaks that are not on disk yet."""

    first: float = 0.0
    """When the first came."""
    frames: list[int] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)

    def take(self, parts: list[bytes]) -> None:
        columns = read_message(parts)[2]
        self.first = self.first or time.monotonic()
        _, rows = np.unique(columns["frame"], return_index=True)
        self.frames += columns["frame"][rows].tolist()
        self.ages_ms += columns["latency_ms"][rows].tolist()


@contextmanager
def _listening() -> Iterator[tuple[str, _Listener]]:
    """Yield an address for a run to publish at, and what is heard there."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{found.getsockname()[1]}"
    heard, over = _Listener(), threading.Event()

    def listen() -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            subscriber.set(zmq.RECONNECT_IVL, 10)
            subscriber.set(zmq.RECONNECT_IVL_MAX, 20)
            subscriber.set(zmq.LINGER, 0)
            subscriber.subscribe(b"provisional")
            subscriber.connect(address)
            while not over.is_set():
                if subscriber.poll(_POLL_MS):
                    heard.take(subscriber.recv_multipart())

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield address, heard
    finally:
        over.set()
        thread.join()


def _ages(path: Path, out: Path, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how old peaks are, in ms, when they are told and when they are on disk."""
    with _listening() as (address, heard):
        frames = int(SECONDS * rate)
        loops = -(-frames // _length(path))
        words = [
            f"publish.peaks={address}",
            f"source.speed={rate / RATE_HZ}",
            f"source.loop={loops}",
        ]
        run_topology(load_config(None, [*FIXED, *words, "report.auto=false"]), path, out)
    told = np.array(heard.ages_ms)
    written = RunFolder(out).read("frames", ["latency_ms"])["latency_ms"].to_numpy()
    return told[int(_SETTLED * len(told)) :], written[int(_SETTLED * len(written)) :]


def _length(path: Path) -> int:
    import h5py

    with h5py.File(path) as master:
        return sum(len(data) for data in master["entry/data"].values())


def _start(path: Path, out: Path) -> tuple[float, Command]:
    """Return the seconds from a command to the first position, and what the whole run took."""
    with _listening() as (address, heard):
        words = ["replay", str(path), "--out", str(out), "--dashboard", "0"]
        settings = [f"publish.peaks={address}", "report.auto=false", *FIXED]
        began = time.monotonic()
        took = command([sys.executable, str(LAUNCH), *words, *sets(*settings)])
    return heard.first - began, took


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the tables."""
    n_rounds = n_rounds or ROUNDS
    compile_kernels()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        words = ["simulate.frames=1000", "simulate.spots=20", f"simulate.rate_hz={RATE_HZ}"]
        path = folder / "cycle_master.h5"
        write_recording(Scene(load_config(None, words).simulate), path)
        settings = [*FIXED, "source.loop=4", "report.auto=false"]
        most = run_topology(load_config(None, settings), path, folder / "most").rate
        found = rounds(
            n_rounds,
            {"half": lambda turn: _ages(path, folder / f"half-{turn}", most / 2.0)},
        )["half"]
        table = Table(
            "Age of a peak, ms from the arrival of its frame, joint fits included",
            ("", "frames/s", "p50", "p99"),
        )
        for what, place in (("told as provisional", 0), ("on disk and acknowledged", 1)):
            ages = [one[place] for one in found if len(one[place])]
            cells = (spread([float(np.quantile(one, q)) for one in ages]) for q in (0.5, 0.99))
            table.add(what, f"{most / 2.0:,.0f} of {most:,.0f}", *cells)
        table.note = f"512 x 512, half of the rate that this machine bears, {n_rounds} rounds."
        yield table
        yield _starts(path, folder, n_rounds)


def _starts(path: Path, folder: Path, n_rounds: int) -> Table:
    table = Table("Start", ("command", "s", "CPU s", "MiB"))
    starts = [_start(path, folder / f"start-{turn}") for turn in range(n_rounds)]
    table.add(
        "`replay`, from the command to the first position",
        spread([s for s, _ in starts], ".1f"),
        "",
        "",
    )
    launch = [sys.executable, str(LAUNCH)]
    commands = {"--help": ["--help"], "status": ["status", str(folder / "start-0")]}
    if "--version" in subprocess.run([*launch, "--help"], capture_output=True, text=True).stdout:
        commands["--version"] = ["--version"]
    found = rounds(
        n_rounds,
        {
            what: lambda _, words=words: command([*launch, *words])
            for what, words in commands.items()
        },
    )
    for what, took in found.items():
        table.add(
            f"`{what}`",
            spread([one.seconds for one in took], ".2f"),
            spread([one.cpu_s for one in took], ".2f"),
            spread([one.peak_mib for one in took]),
        )
    return table
