"""One run from its source to its folder: the plan, the processes, the summary."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from streamer.cell.log import CellLog
from streamer.cell.told import describe
from streamer.config import CellConfig, Config
from streamer.errors import RunError, UserError
from streamer.results.folder import RunFolder
from streamer.run.best_effort import BestEffort
from streamer.run.console import View
from streamer.run.engine import open_placement
from streamer.run.journal import UNTOLD, Journal
from streamer.run.private import private_files
from streamer.run.resume import Earlier
from streamer.run.secrets import Secrets
from streamer.run.snapshot import Snapshot, take_snapshot
from streamer.run.supervisor import Phase, Supervisor
from streamer.run.targets import Targets
from streamer.run.topology import Topology
from streamer.transport.context import run_context
from streamer.transport.keys import RunKeys

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
    earlier: Earlier | None = None,
    tell: Callable[[str], None] = lambda line: None,
    at_work: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Process a source into a run folder and return the content of its ``run.json``.

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
    earlier
        What is known of the run in the folder if that is gone on with.
    tell
        Says a line of what was taken for the run.
    at_work
        Called once, when all nodes are at work: what waits for that may come now.

    Raises
    ------
    UserError
        The folder is taken, or a node refused to start for a user's mistake.
    RunError
        A node died too often, the run was ended at once, or its folder cannot be written to or is
        gone.
    """
    beside = BestEffort()
    with contextlib.suppress(OSError):  # what is wrong with it is said below
        out.parent.mkdir(parents=True, exist_ok=True)  # of other runs, too: not private
    with (
        private_files(config),
        _folder(out, is_new=earlier is None) as folder,
        Secrets(config, out, beside) as secrets,
    ):
        journal = Journal(config, source, folder, earlier, beside)
        journal.begin()
        keys = RunKeys.make(curve=config.encrypts)
        supervisor: Supervisor | None = None
        cell: CellLog | None = None
        try:
            with (
                _cell_log(config.cell, out) as cell,
                _runtime_folder() as runtime,
                closing(open_placement(config, command, runtime, out, cuda_devices)) as placement,
                run_context(keys, directory=placement.directory, linger_ms=0) as context,
            ):
                _tell_cell(cell, tell, beside)
                secrets.make_token(placement.host)
                topology = Topology.plan(config, runtime, placement.cuda_devices, placement.cores)
                specs = topology.specs(
                    source,
                    out,
                    patch_size,
                    config.metrics.base_port,
                    incarnation=earlier.incarnation if earlier is not None else 0,
                    keys=keys,
                    directory=str(placement.directory.folder if placement.directory else ""),
                )
                supervisor = Supervisor(context, specs, placement, logs=out / "logs")
                observe = partial(
                    take_snapshot,
                    supervisor,
                    source,
                    journal.started,
                    expected,
                    beside.troubles,
                    str if cell is None else cell.missed,
                )
                with (
                    closing(supervisor),
                    _signals(supervisor),
                    Targets(config.metrics, out) as targets,
                ):
                    _start(supervisor)
                    note = partial(_note, journal, beside, supervisor, cell, targets)
                    _watch(supervisor, out, view, beside, observe, note, at_work)
            _raise_for_end(supervisor)
        finally:
            ended = {} if _is_gone(out) else journal.conclude(supervisor, cell)
    if not ended:
        raise RunError(f"run.json in {out} does not say how the run ended: it cannot be written")
    return ended


@contextmanager
def _folder(out: Path, *, is_new: bool) -> Iterator[RunFolder]:
    """Yield a run's folder; for a user's mistake nothing half-made is left behind.

    Raises
    ------
    UserError
        The folder is taken, or what was raised meanwhile, with what is left where.
    """
    was_there = out.exists()
    folder = RunFolder.create(out) if is_new else RunFolder.open(out)
    try:
        yield folder
    except UserError as error:
        if is_new and _remove(folder, was_there):
            raise
        raise UserError(f"{error} (what came before is in {out})") from None


def _start(supervisor: Supervisor) -> None:
    try:
        supervisor.start()
    except OSError as error:
        raise RunError(f"the nodes cannot be started: {error}") from None


def _raise_for_end(supervisor: Supervisor) -> None:
    """Tell of an end that is no good one."""
    if supervisor.mistake:
        raise UserError(supervisor.reason)
    if supervisor.phase is not Phase.DONE:
        raise RunError(supervisor.reason or "stopped at once; what is in the folder is whole")


def _remove(folder: RunFolder, was_there: bool) -> bool:
    """Leave nothing half-made behind where nothing was taken in; False where something was."""
    if folder.parts("frames"):
        return False
    try:
        for path in folder.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not was_there:
            folder.path.rmdir()
    except OSError as error:
        logger.warning("%s cannot be removed: %s", folder.path, error)
    return True


@contextmanager
def _cell_log(config: CellConfig, out: Path) -> Iterator[CellLog | None]:
    """Yield what keeps the cell's readings, if there are any."""
    if config.file is None:
        yield None
        return
    with closing(CellLog(config, out)) as cell:
        yield cell


def _tell_cell(cell: CellLog | None, tell: Callable[[str], None], beside: BestEffort) -> None:
    """Say what is taken for the cell's readings."""
    if cell is not None:
        beside(UNTOLD, lambda: tell("\n".join(describe(cell.record()))))


@contextmanager
def _runtime_folder() -> Iterator[Path]:
    """Yield a folder with a short path: an ipc address holds about 100 characters."""
    with tempfile.TemporaryDirectory(
        prefix="bragg-", dir="/tmp", ignore_cleanup_errors=True
    ) as name:
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
    out: Path,
    view: View,
    beside: BestEffort,
    observe: Callable[[], Snapshot],
    note: Callable[[Snapshot], None],
    at_work: Callable[[], None] | None,
) -> None:
    """See to the processes until none is left, showing how the run stands and noting it.

    Raises
    ------
    RunError
        The run folder is gone.
    """
    next_note = 0.0
    with _shown(view, beside):
        while not supervisor.over:
            supervisor.poll(_TICK_S)
            if supervisor.killed:
                supervisor.kill()
            elif supervisor.asked_to_stop:
                supervisor.stop()
            if _is_gone(out):
                supervisor.kill()
                raise RunError(f"{out} was removed while the run went on, and its results with it")
            if at_work is not None and supervisor.at_work:
                at_work()
                at_work = None
            now = observe()
            beside("the run cannot be shown", partial(view.update, now))
            if time.monotonic() >= next_note:
                next_note = time.monotonic() + _NOTE_S
                note(now)


@contextmanager
def _shown(view: View, beside: BestEffort) -> Iterator[None]:
    """Have a view for as long as there is something to show, if it can be had."""
    with ExitStack() as stack:
        beside("the view cannot be opened", lambda: stack.enter_context(view))
        try:
            yield
        finally:
            beside("the view cannot be closed", stack.pop_all().close)


def _is_gone(out: Path) -> bool:
    """Tell whether a run folder is there no more; one that cannot be reached may be there again."""
    try:
        (out / "run.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def _note(
    journal: Journal,
    beside: BestEffort,
    supervisor: Supervisor,
    cell: CellLog | None,
    targets: Targets,
    now: Snapshot,
) -> None:
    """Let the run folder say how things stand."""
    if cell is not None:
        beside("the cell's readings cannot be kept", cell.poll)
    journal.note(now)
    nodes = supervisor.nodes.values()
    beside("the list of metrics ports cannot be written", partial(targets.update, nodes))
