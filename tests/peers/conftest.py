"""Fixtures for tests with programs that other people wrote, each in an environment of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from streamer.config import SourceConfig
from streamer.frames.events import Event, Frame, Gap, Series, SeriesEnd
from streamer.results.folder import RunFolder
from streamer.sources import open_source

ROOT = Path(__file__).parents[2]
QUICK = ["positions.method=centroid", "nodes.detectors=1", "nodes.gpus=1"]
"""Settings of a run whose processes start fast: no torch."""


class Started:
    """A process of which every line is read."""

    def __init__(self, args: list[str], **popen: Any) -> None:
        self.process = subprocess.Popen(
            args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            **popen,
        )  # fmt: skip
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was said."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """Wait for a line in which a pattern is found."""
        found: re.Match[str] | None = None

        def is_said() -> bool:
            nonlocal found
            found = next(filter(None, (re.search(pattern, line) for line in self.lines)), None)
            return found is not None or not self._reader.is_alive()

        with self._news:
            self._news.wait_for(is_said, seconds)
        assert found is not None, f"no line with {pattern!r}:\n{self.text}"
        return found

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """End it, if it has not ended, and release what it held here."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(5)
        self.process.stdout.close()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Attached(Started):
    """A run that was attached to a live stream."""

    def __init__(self, uri: str, out: Path, *sets: str) -> None:
        words = [word for setting in (*QUICK, *sets) for word in ("--set", setting)]
        launch = [sys.executable, str(ROOT / "launch.py")]
        super().__init__([*launch, "attach", uri, "--out", str(out), *words])
        self.out = out

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        return RunFolder(self.out).read_summary()

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of ``frames`` or ``peaks`` that are on disk."""
        return RunFolder(self.out).read(name).to_pylist()

    def states(self, series: str | None = None) -> dict[int, tuple[str, str]]:
        """Return state and reason of each frame, checking that each stands there once."""
        rows = [r for r in self.table("frames") if series is None or r["series"] == series]
        states = {
            row["frame"] + n: (row["state"], row["reason"])
            for row in rows
            for n in range(row["count"])
        }
        assert len(states) == sum(row["count"] for row in rows)
        return states

    def log(self, node: str = "ingest") -> str:
        """Return what a node has logged."""
        return (self.out / "logs" / f"{node}.log").read_text()

    def view(self) -> dict[str, Any]:
        """Return how the run stood a second ago at most; empty before and after it."""
        try:
            return json.loads((self.out / "live.json").read_text())
        except FileNotFoundError:
            return {}

    def wait_until(
        self, condition: Callable[[dict[str, Any]], bool], seconds: float = 30.0
    ) -> None:
        """Wait until the `view` of the run meets a condition, or the run has ended."""
        deadline = time.monotonic() + seconds
        while not condition(self.view()) and self.process.poll() is None:
            assert time.monotonic() < deadline, f"{self.view()}\n{self.text}"
            time.sleep(0.05)

    def wait_listening(self, seconds: float = 40.0) -> None:
        """Wait until the run is a client of the sender, or has ended."""
        self.wait_until(lambda now: _doing(now) not in ("", "starting"), seconds)

    def stop(self) -> None:
        """Ask the run to end, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, status: int = 0, seconds: float = 60.0) -> Path:
        """Wait for the end of the run, check its exit status and return the run folder.

        A run with missing or failed frames ends with status 1, one with a mistake in 2.
        """
        self.process.wait(seconds)
        self._reader.join(5)
        assert self.process.returncode == status, self.text
        return self.out


def _doing(view: dict[str, Any]) -> str:
    """Return what the ingest node says that it does."""
    return next((n["doing"] for n in view.get("nodes", ()) if n["name"] == "ingest"), "")


class Listener:
    """A source in this process, for tests that look at every pixel."""

    def __init__(self, uri: str, **config: Any) -> None:
        self.source = open_source(uri, SourceConfig(**config))
        self.events: list[Event] = []

    def read(
        self, until: Callable[[Event], bool] | None = None, seconds: float = 20.0
    ) -> list[Event]:
        """Return the events up to and with one of a kind, or all that will ever come."""
        deadline = time.monotonic() + seconds
        first = len(self.events)
        while not self.source.exhausted:
            events = self.source.read(64)
            self.events += events
            if until is not None and any(until(event) for event in events):
                break
            assert time.monotonic() < deadline, f"{self.series} {self.numbers[-1:]} {self.counted}"
            if not events and self.source.socket is not None:
                self.source.socket.poll(20)
        return self.events[first:]

    @property
    def series(self) -> list[Series]:
        return [event for event in self.events if isinstance(event, Series)]

    @property
    def frames(self) -> list[Frame]:
        return [event for event in self.events if isinstance(event, Frame)]

    @property
    def numbers(self) -> list[tuple[str, int]]:
        """Series and number of each frame, as they came."""
        return [(frame.series, frame.frame) for frame in self.frames]

    @property
    def lost(self) -> list[tuple[str, int]]:
        """Series and number of each frame that is known to be lost."""
        gaps = [event for event in self.events if isinstance(event, Gap)]
        return [(gap.series, number) for gap in gaps for number in gap.frames]

    @property
    def ends(self) -> list[str]:
        """Why the series ended."""
        return [event.reason for event in self.events if isinstance(event, SeriesEnd)]

    @property
    def counted(self) -> dict[str, int]:
        """What the source has counted, without zeros."""
        return {name: count for name, count in self.source.counters.items() if count}


@pytest.fixture(scope="session")
def sender_python() -> Callable[[str], str]:
    """Gives the Python of a program's environment, or skips."""

    def python(name: str) -> str:
        path = ROOT / ".peers" / name / "bin" / "python"
        if not path.exists():
            pytest.skip(f"no environment .peers/{name}: `make peers` makes it")
        return str(path)

    return python


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Starts processes, waits until one has said that it is ready, and ends them all."""
    started: list[Started] = []

    def run(args: list[str], ready: str | None = None, **popen: Any) -> Started:
        process = Started([str(arg) for arg in args], **popen)
        started.append(process)
        if ready is not None:
            process.wait_for(ready)
        return process

    yield run
    for process in started:
        process.close()


@pytest.fixture
def attach(tmp_path: Path) -> Iterator[Callable[..., Attached]]:
    """Starts runs on live streams, each with its settings, and returns once they listen."""
    started: list[Attached] = []

    def run(uri: str, *sets: str) -> Attached:
        attached = Attached(uri, tmp_path / f"run-{len(started)}", *sets)
        started.append(attached)
        attached.wait_listening()
        return attached

    yield run
    for attached in started:
        attached.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Opens live sources in this process, each with settings of its section."""
    opened: list[Listener] = []

    def listener(uri: str, **config: Any) -> Listener:
        opened.append(Listener(uri, **config))
        return opened[-1]

    yield listener
    for one in opened:
        one.source.close()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives ports on loopback that were free a moment ago, none of them twice."""
    given: set[int] = set()

    def port() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                number = probe.getsockname()[1]
            if number not in given:
                given.add(number)
                return number

    return port
