"""One run from its source to its folder: the plan, the processes, the summary."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import zmq

from streamer.cell.log import CellLog
from streamer.config import CellConfig, Config
from streamer.errors import RunError, UserError
from streamer.results.folder import RunFolder, write_atomically
from streamer.run.console import View
from streamer.run.snapshot import LIVE_FILE, Snapshot, take_snapshot
from streamer.run.summary import summarise
from streamer.run.supervisor import Phase, Supervisor
from streamer.run.targets import Targets
from streamer.run.topology import Topology

__all__ = ["execute"]

logger = logging.getLogger(__name__)
_TICK_S = 0.125
_NOTE_S = 1.0


def execute(
    config: Config,
    source: str,
    out: Path,
    command: Callable[[Path], list[str]],
    view: View,
    *,
    patch_size: int,
    expected: int | None = None,
    cuda_devices: int = 0,
) -> dict[str, Any]:
    """Process a source into a new run folder and return the content of its ``run.json``.

    SIGINT, SIGTERM or SIGHUP ends the run after what is on its way; a second one ends it at once.

    Parameters
    ----------
    source
        URI of a live stream or path of a recording, checked by the caller.
    command
        Returns the command line that runs the node whose spec lies in a file.
    patch_size
        Pixels along each axis of the patches that the position method wants.
    expected
        Number of frames, if known, for the progress bar.

    Raises
    ------
    UserError
        The folder is taken, or a node refused to start for a user's mistake.
    RunError
        A node died too often, or the run was ended at once.
    """
    was_there = out.exists()
    folder = RunFolder.create(out)
    try:
        _process(config, source, folder, command, view, patch_size, expected, cuda_devices)
    except UserError as error:
        if not _remove(folder, was_there):
            raise UserError(f"{error} (what came before is in {out})") from None
        raise
    return folder.read_summary()


def _process(
    config: Config,
    source: str,
    folder: RunFolder,
    command: Callable[[Path], list[str]],
    view: View,
    patch_size: int,
    expected: int | None,
    cuda_devices: int,
) -> None:
    """Have all nodes at work until the run is over; no node is left, however it ends."""
    out, started = folder.path, time.time()
    write_atomically(out / "config.yaml", config.to_yaml())
    folder.write_summary(summarise(folder, source, started, None, None, "running"))
    supervisor: Supervisor | None = None
    try:
        with (
            _cell_log(config.cell, out) as cell,
            _context() as context,
            _runtime_folder() as runtime,
        ):
            topology = Topology.plan(config, runtime, cuda_devices)
            supervisor = Supervisor(
                context,
                topology.specs(source, out, patch_size, config.metrics.base_port),
                command,
                runtime=runtime,
                logs=out / "logs",
            )
            with (
                closing(supervisor),
                _signals(supervisor),
                Targets(config.metrics, out) as targets,
            ):
                supervisor.start()
                observe = partial(take_snapshot, supervisor, source, started, expected)
                note = partial(_note, out, supervisor, cell, targets)
                _watch(supervisor, view, observe, note)
            if supervisor.mistake:
                raise UserError(supervisor.reason)
            if supervisor.phase is not Phase.DONE:
                raise RunError(
                    supervisor.reason or "stopped at once; what is in the folder is whole"
                )
    finally:
        if out.exists():
            state = _state_of(supervisor)
            summary = summarise(folder, source, started, time.time(), supervisor, state)
            folder.write_summary(summary)
            (out / LIVE_FILE).unlink(missing_ok=True)


def _state_of(supervisor: Supervisor | None) -> str:
    """Return how a run has ended, in the words of ``run.json``."""
    if supervisor is None or supervisor.phase is not Phase.DONE:
        return "failed"
    return "stopped" if supervisor.asked_to_stop else "done"


def _remove(folder: RunFolder, was_there: bool) -> bool:
    """Leave nothing half-made behind where nothing was taken in; False where something was."""
    if folder.parts("frames"):
        return False
    for path in folder.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not was_there:
        folder.path.rmdir()
    return True


@contextmanager
def _cell_log(config: CellConfig, out: Path) -> Iterator[CellLog | None]:
    """Yield what keeps the cell's readings, if there are any."""
    if config.file is None:
        yield None
        return
    with closing(CellLog(config, out)) as cell:
        yield cell


@contextmanager
def _context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield context
    finally:
        context.destroy(linger=0)


@contextmanager
def _runtime_folder() -> Iterator[Path]:
    """Yield a folder with a short path: an ipc address holds about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="bragg-", dir="/tmp") as name:
        yield Path(name)


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        if supervisor.asked_to_stop:
            supervisor.killed = True
        supervisor.asked_to_stop = True

    before = {
        number: signal.signal(number, on_signal)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    supervisor: Supervisor,
    view: View,
    observe: Callable[[], Snapshot],
    note: Callable[[Snapshot], None],
) -> None:
    """See to the processes until none is left, showing how the run stands and noting it."""
    next_note, shown = 0.0, True
    with view:
        while not supervisor.over:
            supervisor.poll(_TICK_S)
            if supervisor.killed:
                supervisor.kill()
            elif supervisor.asked_to_stop:
                supervisor.stop()
            now = observe()
            try:
                if shown:
                    view.update(now)
            except (OSError, SystemExit):  # the latter is rich's answer to a closed pipe
                shown = False  # who reads is gone; the run is not
                logger.warning("nobody reads what is printed any more: going on in silence")
            if time.monotonic() >= next_note:
                next_note = time.monotonic() + _NOTE_S
                note(now)


def _note(
    out: Path, supervisor: Supervisor, cell: CellLog | None, targets: Targets, now: Snapshot
) -> None:
    """Let the run folder say how things stand."""
    if cell is not None:
        cell.poll()
    write_atomically(out / LIVE_FILE, json.dumps(asdict(now)) + "\n")
    targets.update(supervisor.nodes.values())
