"""A process beside a run that nothing waits for: begun with it, ended with it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["companion"]

logger = logging.getLogger(__name__)

_LIVES = 5
_POLL_S = 0.1
_PAUSE_S = 1.0
_PATIENCE_S = 5.0


@contextmanager
def companion(name: str, folder: Path, command: Sequence[str]) -> Iterator[None]:
    """Have a process while a run goes on.

    Parameters
    ----------
    name
        Of its log in the run folder.
    folder
        Run folder, which need not be there yet.
    command
        Command line of the process.
    """
    over = threading.Event()
    thread = threading.Thread(target=_look_after, args=(name, folder, command, over), name=name)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _look_after(name: str, folder: Path, command: Sequence[str], over: threading.Event) -> None:
    while not (folder / "logs").is_dir() or not (folder / "run.json").exists():
        if over.wait(_POLL_S):
            return
    log = folder / "logs" / f"{name}.log"
    for left in reversed(range(_LIVES)):
        try:
            process = _start(command, log)
        except OSError as error:
            logger.warning("no %s for now: %s", name, error)
        else:
            while process.poll() is None and not over.wait(_POLL_S):
                pass
            if over.is_set():
                _end(process)
                return
            again = "" if left else " too often and is not started again"
            logger.warning("%s died (status %d)%s: see %s", name, process.returncode, again, log)
        if over.wait(_PAUSE_S):
            return


def _start(command: Sequence[str], path: Path) -> subprocess.Popen[bytes]:
    with path.open("ab") as log:
        # A session of its own: Ctrl-C is for the run, with which it ends.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
            return
