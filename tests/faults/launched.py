"""A run as a user starts it, and the processes that it consists of."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.faults.schedule import NODES
from tests.settings import sets

__all__ = ["Launched", "OverdueError", "wait_until"]

LAUNCH = Path(__file__).parents[2] / "launch.py"
NODE = LAUNCH.parent / "braggstream" / "__main__.py"
QUICK = (
    "positions.method=centroid", "nodes.gpus=1", "nodes.detectors=2", "report.auto=false",
)  # fmt: skip
"""Settings of a run whose processes start fast."""
_PATIENCE_S = 240.0


class OverdueError(AssertionError):
    """Something did not happen in time."""


class Launched:
    """The command line that processes a source into a folder, started and perhaps gone on with.

    Parameters
    ----------
    source
        Recording, or URI of a stream.
    out
        Run folder.
    settings
        What else is configured.
    log
        File for what it prints.
    env
        Its environment.
    """

    def __init__(
        self,
        source: str,
        out: Path,
        settings: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._env = env
        self.out = out
        self.log = log
        self.pids: dict[str, int] = {}
        """Of each role, as of the last look."""
        command = "attach" if "://" in source else "replay"
        self._words = [sys.executable, str(LAUNCH), command, source, "--out", str(out)]
        self._settings = sets(*QUICK, *settings)
        self._process = self._start(self._settings)
        self._beside: list[subprocess.Popen[bytes]] = []

    @property
    def code(self) -> int | None:
        """Exit status of the launcher; None while it runs."""
        return self._process.poll()

    def look(self) -> dict[str, int]:
        """Return the process of each role that there is."""
        launcher = self._process.pid
        self.pids = {"launcher": launcher} | {
            role: pid for role, pid in self.pids.items() if role == "recorder"
        }
        for pid in _children_of(launcher):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if "node" in words:
                    self.pids[Path(words[words.index("node") + 1]).stem] = pid
                elif "dashboard" in words:
                    self.pids["dashboard"] = pid
        return self.pids

    def record(self, uri: str, path: Path) -> None:
        """Have a recorder listen to what the run publishes."""
        words = [sys.executable, str(LAUNCH), "record", uri, "--out", str(path)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        self._beside.append(process)
        self.pids["recorder"] = process.pid

    def visit(self) -> None:
        """Ask for the page, so that there is a dashboard."""
        found = re.findall(r"dashboard (http://\S+)", self.log.read_text(errors="replace"))
        if found:
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(found[-1], timeout=10).close()

    def strike(self, roles: Sequence[str], number: signal.Signals) -> list[int]:
        """Send a signal to all of some roles that are there; return their processes.

        The launcher comes first: it has no time to notice what became of the others.
        """
        pids = self.look()
        order = sorted(roles, key=lambda role: role != "launcher")
        hit = [pids[role] for role in order if role in pids]
        for pid in hit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number is signal.SIGKILL and "launcher" in roles:
            self._process.wait(10)
        return hit

    def resume(self) -> None:
        """Go on with what a launcher that died has left."""
        self._process = self._start(["--resume"])

    def wait(self, patience_s: float = _PATIENCE_S) -> int:
        """Wait for its end; return the exit status.

        Raises
        ------
        OverdueError
            It went on for too long, and was ended.
        """
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise OverdueError(f"no end after {patience_s:g} s: {self.last_words}") from None

    @property
    def last_words(self) -> str:
        """The end of what it printed."""
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])

    def close(self) -> None:
        """Leave no process."""
        pids = [*_children_of(self._process.pid), *self.pids.values()]
        for process in (self._process, *self._beside):
            if process.poll() is None:
                process.kill()
            process.wait()
        for pid in pids:
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if {str(LAUNCH), str(NODE)} & set(words):
                    os.kill(pid, signal.SIGKILL)

    def _start(self, more: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen([*self._words, *more], stdout=log, stderr=log, env=self._env)


def _children_of(pid: int) -> list[int]:
    """Return the processes that a process started, in whichever of its threads."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    children: list[int] = []
    with contextlib.suppress(OSError):
        for path in listed:
            children += map(int, path.read_text().split())
    return children


def all_nodes(launched: Launched) -> bool:
    """Tell whether all nodes are there."""
    return set(NODES) <= launched.look().keys()


def wait_until(condition: Callable[[], object], what: str, seconds: float = _PATIENCE_S) -> None:
    """Wait for what other processes do.

    Raises
    ------
    OverdueError
        It did not come.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise OverdueError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
