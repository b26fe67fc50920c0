"""What benchmarks share: rounds in turn, medians with their spread, tables, what a run costs."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from streamer.config import Config
from streamer.run.console import PlainView
from streamer.run.execute import execute
from workers.place.methods import patch_size_of

__all__ = [
    "LAUNCH", "ROLES", "Command", "Run", "Table", "command", "compile_kernels", "machine",
    "markdown", "median", "peak_mib", "rounds", "run_topology", "slope", "spread",
]  # fmt: skip

LAUNCH = Path(__file__).parents[2] / "launch.py"
ROLES = ("ingest", "detector", "gpu", "sink")
_WATCH_S = 0.02
_T = TypeVar("_T")


@dataclass(slots=True)
class Table:
    """A question, and what was measured to answer it."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""
    """What is to be known to read it."""

    def add(self, *cells: object) -> None:
        """Add a row.

        Raises
        ------
        ValueError
            It does not have a cell for each column.
        """
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append([str(cell) for cell in cells])


def markdown(table: Table) -> str:
    """Return a table as Markdown; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in (table.columns, rule, *table.rows)]
    return "\n".join([f"**{table.title}**", "", *lines, *(["", table.note] if table.note else [])])


def rounds(n: int, work: Mapping[str, Callable[[int], _T]]) -> dict[str, list[_T]]:
    """Do each piece of work in turn, so many times, and return what they gave.

    What else the machine does so hits all of them. The order is reversed each time.

    Parameters
    ----------
    work
        Each is told which time it is.
    """
    found: dict[str, list[_T]] = {name: [] for name in work}
    for turn in range(n):
        for name in list(work)[:: -1 if turn % 2 else 1]:
            found[name].append(work[name](turn))
    return found


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Return the median, and where there are several the least and the largest, as text."""
    text = f"{statistics.median(values):{form}}"
    several = len(values) > 1
    return f"{text} ({min(values):{form}} to {max(values):{form}})" if several else text


def slope(short: float, long: float, more: int) -> float:
    """Return what one of `more` things costs: what does not grow with them is not in it."""
    return (long - short) / more


class _Silent(PlainView):
    def update(self, now: Any) -> None:
        pass


def compile_kernels() -> None:
    """Have everything compiled, so that no run is the one that does it."""
    subprocess.run([sys.executable, "-m", "workers.kernels"], check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the whole topology, and what the system says of its processes."""

    summary: dict[str, Any]
    """Content of its ``run.json``."""
    cpu_s: dict[str, float]
    """CPU seconds by role, of all its processes, from their start to their end."""
    peak_mib: dict[str, float]
    """Largest memory by role, of the largest of its processes."""

    @property
    def frames(self) -> int:
        """Frames that were worked on."""
        return int(self.summary["frames"]["done"])

    @property
    def rate(self) -> float:
        """Frames a second, from the first that came until the last was on disk."""
        return float(self.summary["rates"]["frames_per_s"])


def run_topology(config: Config, source: Path | str, out: Path) -> Run:
    """Run the whole topology over a recording."""
    summary = execute(
        config,
        str(source),
        out,
        lambda spec: [sys.executable, "-m", "tests.benchmarks.node", str(spec)],
        _Silent(Console(quiet=True)),
        patch_size=patch_size_of(config.positions),
    )
    cpu, peak = defaultdict(float), defaultdict(float)
    for told in (out / "logs").glob("*.cost"):
        role, said = told.stem.partition("-")[0], json.loads(told.read_text())
        cpu[role] += said["cpu_s"]
        peak[role] = max(peak[role], said["peak_mib"])
    return Run(summary, dict(cpu), dict(peak))


@dataclass(frozen=True, slots=True)
class Command:
    """What a command took."""

    seconds: float
    cpu_s: float
    peak_mib: float


def command(
    words: Sequence[str], look: Callable[[subprocess.Popen[str]], None] | None = None
) -> Command:
    """Run a command to its end and return what it took.

    Parameters
    ----------
    look
        Is given the process, and is to see to it that it ends; None waits for it.

    Raises
    ------
    SystemExit
        It failed.
    """
    began, peaks = time.monotonic(), [0.0]

    def watch(pid: int) -> None:
        # What `wait4` says counts the memory of the process that this one was forked from.
        with contextlib.suppress(OSError):
            while peak := peak_mib(pid):
                peaks.append(peak)
                time.sleep(_WATCH_S)

    with subprocess.Popen(list(words), stdout=subprocess.PIPE, text=True) as process:
        watcher = threading.Thread(target=watch, args=(process.pid,))
        watcher.start()
        if look is not None:
            look(process)
        elif process.stdout is not None:
            process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.join()
    if look is None and process.returncode:
        raise SystemExit(f"{words} failed")
    cpu = used.ru_utime + used.ru_stime
    return Command(time.monotonic() - began, cpu, max(peaks))


def peak_mib(pid: int | str = "self") -> float:
    """Return the largest memory of a process so far, 0 where it has ended.

    Raises
    ------
    OSError
        There is no such process.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def machine() -> str:
    """Return what the figures are measured on and what else it does, as sentences."""
    names = ("numpy", "numba", "pyzmq", "pyarrow", "torch")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    try:
        text = Path("/proc/cpuinfo").read_text()
        model = re.findall(r"model name\s*: (.+)", text)[0]
    except (OSError, IndexError):
        model = platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, no GPU was used; "
        f"{platform.system()}, Python {platform.python_version()}, {libraries}. When it began, "
        f"{os.getloadavg()[0]:.1f} processes were waiting for the cores."
    )
