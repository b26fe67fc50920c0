"""One run from its source to its folder: the plan, the processes, the summary."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import zmq

from streamer.cell.log import CellLog
from streamer.config import Config
from streamer.errors import RunError, UserError
from streamer.results.folder import RunFolder, write_atomically
from streamer.run.console import View
from streamer.run.snapshot import (
    LIVE_FILE,
    take_snapshot,
)
from streamer.run.summary import summarise
from streamer.run.supervisor import Phase, Supervisor
from streamer.run.targets import Targets
from streamer.run.topology import NodeSpec, Topology

__all__ = ["execute"]

logger = logging.getLogger(__name__)


_TICK_S = 0.125


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
    write_atomically(out / "config.yaml", config.to_yaml())
    started = time.time()
    folder.write_summary(summarise(folder, source, started, None, None, "running"))
    cell = _open_cell(config, folder, was_there)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    supervisor: Supervisor | None = None
    try:
        with _runtime_folder() as runtime:
            topology = Topology.plan(config, runtime, cuda_devices)
            supervisor = Supervisor(
                context,
                _specs(topology, config, source, out, patch_size),
                command,
                runtime=runtime,
                logs=out / "logs",
            )
            with _signals(supervisor), Targets(config.metrics, out) as targets:
                supervisor.start()
                _watch(supervisor, view, out, source, started, expected, targets, cell)
    except UserError as error:
        if supervisor is not None:
            supervisor.close()  # so that no part is committed between a look and the removal
        if not _remove(folder, was_there):
            raise UserError(f"{error} (what came before is in {out})") from None
        raise
    finally:
        if supervisor is not None:
            supervisor.close()
        context.destroy(linger=0)
        if cell is not None:
            cell.close()
        if folder.path.exists():
            done = supervisor is not None and supervisor.phase is Phase.DONE
            stopped = supervisor is not None and supervisor.asked_to_stop
            state = ("stopped" if stopped else "done") if done else "failed"
            summary = summarise(folder, source, started, time.time(), supervisor, state)
            folder.write_summary(summary)
            (out / LIVE_FILE).unlink(missing_ok=True)
    if supervisor.mistake:
        gone = _remove(folder, was_there)
        raise UserError(supervisor.reason + ("" if gone else f" (what came before is in {out})"))
    if not done:
        raise RunError(supervisor.reason or "stopped at once; what is in the folder is whole")
    return summary


def _open_cell(config: Config, folder: RunFolder, was_there: bool) -> CellLog | None:
    if config.cell.file is None:
        return None
    try:
        return CellLog(config.cell, folder.path)
    except UserError:
        _remove(folder, was_there)
        raise


def _remove(folder: RunFolder, was_there: bool) -> bool:
    """Leave nothing half-made behind where nothing was taken in; False where something was."""
    if folder.parts("frames"):
        return False
    for path in folder.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not was_there:
        folder.path.rmdir()
    return True


def _specs(
    topology: Topology, config: Config, source: str, out: Path, patch_size: int
) -> list[NodeSpec]:
    base = config.metrics.base_port
    return [
        NodeSpec(
            name=name,
            source=source,
            out=str(out),
            endpoints=topology.endpoints,
            detectors=topology.detectors,
            gpus=topology.gpus,
            patch_size=patch_size,
            metrics_port=base + i if base else 0,
            launcher=os.getpid(),
        )
        for i, name in enumerate(topology.nodes)
    ]


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
    out: Path,
    source: str,
    started: float,
    expected: int | None,
    targets: Targets,
    cell: CellLog | None,
) -> None:
    next_note, shown = 0.0, True
    with view:
        while not supervisor.over:
            supervisor.poll(_TICK_S)
            if supervisor.killed:
                supervisor.kill()
            elif supervisor.asked_to_stop:
                supervisor.stop()
            now = take_snapshot(supervisor, source, started, expected)
            try:
                if shown:
                    view.update(now)
            except (OSError, SystemExit):  # the latter is rich's answer to a closed pipe
                shown = False  # who reads is gone; the run is not
                logger.warning("nobody reads what is printed any more: going on in silence")
            if time.monotonic() >= next_note:
                next_note = time.monotonic() + 1.0
                if cell is not None:
                    cell.poll()
                write_atomically(out / LIVE_FILE, json.dumps(asdict(now)) + "\n")
                targets.update(supervisor.nodes.values())
