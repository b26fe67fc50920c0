"""Processes that find no compiled kernels at the same time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
from numba import njit

@njit(cache=True)
def double(x):
    return 2 * x
"""

PROCESS = """
import sys
from kernel import double
from numba.core import event
from workers.compile_lock import compile_once

class Slow(event.Listener):
    def on_start(self, event):
        print("compiling", flush=True)
        sys.stdin.readline()

    def on_end(self, event):
        pass

def use():
    with event.install_listener("numba:compile", Slow()):  # which hears of it after the lock
        assert double(2) == 4

compile_once(use)
print("loaded" if double.stats.cache_hits else "compiled", flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that uses a kernel, and has to be told to go on when it compiles it."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    started = []

    def start() -> subprocess.Popen[str]:
        pipe, environment = subprocess.PIPE, {"PYTHONPATH": str(Path(__file__).parents[3])}
        process = subprocess.Popen(
            [sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_lock(process: subprocess.Popen[str]) -> None:
    """Wait until a process waits for a lock, or has ended."""
    while process.poll() is None:
        waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
        if any(line.split()[5] == str(process.pid) for line in waiting):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="nobody tells who waits for a lock")
def test_one_compiles_and_the_others_wait_and_load(start):
    first = start()
    assert first.stdout.readline() == "compiling\n"
    second = start()
    wait_for_lock(second)
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "compiled\n"
    assert second.stdout.readline() == "loaded\n"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="nobody tells who waits for a lock")
def test_where_who_compiles_dies_the_next_one_compiles(start):
    first = start()
    assert first.stdout.readline() == "compiling\n"
    second = start()
    wait_for_lock(second)
    first.kill()
    assert second.stdout.readline() == "compiling\n"
    second.stdin.write("\n")
    second.stdin.flush()
    assert second.stdout.readline() == "compiled\n"
