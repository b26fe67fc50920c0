"""Hosts that are network namespaces of this machine, with a Dask cluster on them.

They need the rights of root and share nothing but files, so that one can be killed, be cut off and
be connected again as a machine can.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = ["Hosts", "can_be_made"]

_NET = "10.213.77"
_PORT = 8786


def can_be_made() -> str:
    """Say why there can be no such hosts; empty where there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "namespaces need root and ip"
    name = f"bragg-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "no network namespaces can be made here"
    _ip("netns", "del", name)
    return ""


class Hosts:
    """Hosts ``a``, ``b``, ``c`` behind a switch; Dask's scheduler is on the first.

    Parameters
    ----------
    folder
        For what Dask prints and keeps.
    count
        How many there are.
    env
        Environment of all that runs there, such as the settings of Dask.
    scheme
        ``tcp`` or ``tls``.
    """

    def __init__(
        self, folder: Path, count: int = 3, env: dict[str, str] | None = None, scheme: str = "tcp"
    ) -> None:
        self.names = "abcdef"[:count]
        self.scheduler = f"{scheme}://{self.address('a')}:{_PORT}"
        self.folder = folder
        self.env = {**os.environ, **(env or {})}
        self._tag = f"bragg{os.getpid()}"
        self._logs: list[IO[bytes]] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self.scheduler_process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Hosts:
        switch = f"{self._tag}sw"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for name in self.names:
            space = self._space(name)
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            ends = ("type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", switch, "link", "add", f"p-{name}", *ends)
            _ip("-n", switch, "link", "set", f"p-{name}", "master", "br0")
            _ip("-n", switch, "link", "set", f"p-{name}", "up")
            _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            self.kill(name)
        for process in self._started:
            process.wait()
        for log in self._logs:
            log.close()
        for name in (*self.names, "sw"):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._space(name))

    def name_of(self, address: str) -> str:
        """Return which host has an address."""
        return next(name for name in self.names if self.address(name) == address)

    def address(self, name: str) -> str:
        """Return the address of a host."""
        return f"{_NET}.{self.names.index(name) + 1}"

    def run(
        self, name: str, words: Sequence[str], log: str, **more: object
    ) -> subprocess.Popen[bytes]:
        """Start a program on a host; what it prints goes to a file of that name."""
        file = (self.folder / log).open("ab")
        self._logs.append(file)
        process = subprocess.Popen(
            ["ip", "netns", "exec", self._space(name), *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            env=self.env, **more,
        )  # fmt: skip
        self._started.append(process)
        return process

    def ask(self, name: str, *words: str) -> str:
        """Return what a program says that ends by itself."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._space(name), *words],
            env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    def sent(self, name: str, to: str) -> int:
        """Return the bytes that a host has sent to another, over connections that there are."""
        said = self.ask(name, "ss", "--tcp", "--info", "--no-header", "dst", self.address(to))
        return sum(map(int, re.findall(r"\bbytes_sent:(\d+)", said)))

    def forget_environment(self, *names: str) -> None:
        """Let what is started from now on not know of what it was told."""
        self.env = {name: it for name, it in self.env.items() if name not in names}

    def start_scheduler(self) -> None:
        """Start Dask's scheduler on the first host."""
        words = [
            "--host",
            self.scheduler.rpartition(":")[0],
            "--port",
            str(_PORT),
            "--no-dashboard",
        ]
        self.scheduler_process = self.run("a", [*_DASK, "scheduler", *words], "scheduler.log")

    def start_worker(self, name: str) -> None:
        """Start a worker of Dask on a host."""
        scheme = self.scheduler.partition(":")[0]
        words = [
            self.scheduler, "--host", f"{scheme}://{self.address(name)}", "--nworkers", "1",
            "--nthreads", "1", "--memory-limit", "0", "--no-dashboard",
            "--local-directory", str(self.folder / f"dask-{name}"),
        ]  # fmt: skip
        self.run(name, [*_DASK, "worker", *words], f"worker-{name}.log")

    def pids(self, name: str) -> list[int]:
        """Return the processes on a host."""
        said = subprocess.run(
            ["ip", "netns", "pids", self._space(name)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in said.stdout.split()]

    def nodes(self) -> dict[str, list[tuple[str, int]]]:
        """Return the host and process of each node there is, by the node's name."""
        found: dict[str, list[tuple[str, int]]] = {}
        for name in self.names:
            for pid in self.pids(name):
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                    if "node" in words and words[-2].endswith(".json"):
                        found.setdefault(Path(words[-2]).stem, []).append((name, pid))
        return found

    def kill(self, name: str) -> None:
        """Have a host go without a word: all that is on it dies at once."""
        while pids := self.pids(name):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def cut(self, name: str) -> None:
        """Pull a host's cable."""
        _ip("-n", self._space("sw"), "link", "set", f"p-{name}", "down")

    def heal(self, name: str) -> None:
        """Put it back."""
        _ip("-n", self._space("sw"), "link", "set", f"p-{name}", "up")

    def _space(self, name: str) -> str:
        return f"{self._tag}{name}"


_DASK = [sys.executable, "-m", "dask"]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
