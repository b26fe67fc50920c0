"""One run from its source to its folder: the plan, the processes, the summary."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from streamer.cell.log import CellLog
from streamer.cell.told import describe
from streamer.config import CellConfig, Config
from streamer.errors import RunError, UserError
from streamer.results.derived import write_derived
from streamer.results.folder import RunFolder, write_atomically
from streamer.run.best_effort import BestEffort
from streamer.run.console import View
from streamer.run.engine import open_placement
from streamer.run.launcher import this_process
from streamer.run.private import private_files
from streamer.run.resume import Earlier
from streamer.run.snapshot import LIVE_FILE, Snapshot, take_snapshot
from streamer.run.summary import summarise, utc
from streamer.run.supervisor import Phase, Supervisor
from streamer.run.targets import Targets
from streamer.run.topology import Topology
from streamer.transport.context import run_context
from streamer.transport.keys import RunKeys
from streamer.transport.readers import make_reader_key, publish_keys
from streamer.transport.token import CONTROL_FILE, TOKEN_FILE, needs_token, own_token, token_path

__all__ = ["execute"]

logger = logging.getLogger(__name__)
_TICK_S = 0.125
_NOTE_S = 1.0
_UNTOLD = "what was taken for the cell cannot be said"
_LAST_PAUSES_S = (0.0, 1.0, 2.0, 4.0)
"""Before each attempt to say how a run has ended."""


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
    was_there = out.exists()
    with contextlib.suppress(OSError):  # what is wrong with it is said below
        out.parent.mkdir(parents=True, exist_ok=True)
    with private_files(config):
        folder = RunFolder.create(out) if earlier is None else RunFolder.open(out)
        try:
            return _process(
                config,
                source,
                folder,
                command,
                view,
                patch_size,
                expected,
                cuda_devices,
                earlier,
                tell,
                at_work,
            )
        except UserError as error:
            if earlier is not None or not _remove(folder, was_there):
                raise UserError(f"{error} (what came before is in {out})") from None
            raise


def _process(
    config: Config,
    source: str,
    folder: RunFolder,
    command: Callable[[Path], list[str]],
    view: View,
    patch_size: int,
    expected: int | None,
    cuda_devices: int,
    earlier: Earlier | None,
    tell: Callable[[str], None],
    at_work: Callable[[], None] | None,
) -> dict[str, Any]:
    """Have all nodes at work until the run is over; no node is left, however it ends."""
    out, started, beside = folder.path, time.time(), BestEffort()
    own_keys = publish_keys(config, out) if config.publish.keys is None else None
    resumed: dict[str, Any] = {}
    if earlier is not None:
        resumed = {"resumed": [*earlier.resumed, utc(started)]}
        started = earlier.started
    if any(needs_token(host, config) for host in (config.metrics.host, config.dashboard.host)):
        own_token(token_path(config, out))
    if config.dashboard.control:
        own_token(out / CONTROL_FILE)
    if own_keys is not None:
        make_reader_key(own_keys, "page")
    try:
        write_atomically(out / "config.yaml", config.to_yaml())
        begun = summarise(folder, source, started, None, None, "running") | resumed
        folder.write_summary(begun | {"launcher": this_process()})
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}") from None
    keys = RunKeys.make(curve=config.encrypts)
    supervisor: Supervisor | None = None
    ended: dict[str, Any] = {}
    cell: CellLog | None = None
    try:
        with (
            _cell_log(config.cell, out) as cell,
            _runtime_folder() as runtime,
            closing(open_placement(config, command, runtime, out, cuda_devices)) as placement,
            run_context(keys, directory=placement.directory, linger_ms=0) as context,
        ):
            _tell_cell(cell, tell, beside)
            if needs_token(placement.host, config):
                own_token(token_path(config, out))
            topology = Topology.plan(config, runtime, placement.cuda_devices, placement.cores)
            supervisor = Supervisor(
                context,
                topology.specs(
                    source,
                    out,
                    patch_size,
                    config.metrics.base_port,
                    incarnation=earlier.incarnation if earlier is not None else 0,
                    keys=keys,
                    directory=str(placement.directory.folder if placement.directory else ""),
                ),
                placement,
                logs=out / "logs",
            )
            with (
                closing(supervisor),
                _signals(supervisor),
                Targets(config.metrics, out) as targets,
            ):
                try:
                    supervisor.start()
                except OSError as error:
                    raise RunError(f"the nodes cannot be started: {error}") from None
                observe = partial(
                    take_snapshot,
                    supervisor,
                    source,
                    started,
                    expected,
                    beside.troubles,
                    str if cell is None else cell.missed,
                )
                note = partial(_note, beside, out, supervisor, cell, targets)
                _watch(supervisor, out, view, beside, observe, note, at_work)
            if supervisor.mistake:
                raise UserError(supervisor.reason)
            if supervisor.phase is not Phase.DONE:
                raise RunError(
                    supervisor.reason or "stopped at once; what is in the folder is whole"
                )
    finally:
        if not _is_gone(out):
            beside("what a node left in the run folder cannot be removed", folder.tidy)
            conclude = partial(_conclude, folder, begun, started, supervisor, beside, cell)
            for pause_s in _LAST_PAUSES_S:
                time.sleep(pause_s)
                if beside("run.json cannot be written", lambda: ended.update(conclude())):
                    break
            beside(
                f"{LIVE_FILE} cannot be removed", partial((out / LIVE_FILE).unlink, missing_ok=True)
            )
            derive = partial(write_derived, folder, config)
            if not beside("reflections.parquet and lattice.parquet cannot be written", derive):
                beside("run.json cannot be written", lambda: ended.update(conclude()))
            for name in (TOKEN_FILE, CONTROL_FILE):
                forget = partial((out / name).unlink, missing_ok=True)
                beside("the token cannot be removed", forget)
            if own_keys is not None and own_keys.exists():
                beside("the keys cannot be removed", partial(shutil.rmtree, own_keys))
    if not ended:
        raise RunError(f"run.json in {out} does not say how the run ended: it cannot be written")
    return ended


def _conclude(
    folder: RunFolder,
    begun: dict[str, Any],
    started: float,
    supervisor: Supervisor | None,
    beside: BestEffort,
    cell: CellLog | None,
) -> dict[str, Any]:
    """Have ``run.json``, which is as `begun`, say how a run has ended."""
    source, state = begun["source"], _state_of(supervisor)
    summary = summarise(folder, source, started, time.time(), supervisor, state, begun)
    if "resumed" in begun:
        summary["resumed"] = begun["resumed"]
    if cell is not None:
        times = folder.read("frames", ["time_ns"])["time_ns"].to_numpy()
        beside(_UNTOLD, lambda: summary.update(cell=cell.record(times)))
    summary["troubles"] = dict(beside.troubles)
    folder.write_summary(summary)
    return summary


def _state_of(supervisor: Supervisor | None) -> str:
    """Return how a run has ended, in the words of ``run.json``."""
    if supervisor is None or supervisor.phase is not Phase.DONE:
        return "failed"
    return "stopped" if supervisor.asked_to_stop else "done"


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
        beside(_UNTOLD, lambda: tell("\n".join(describe(cell.record()))))


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
    beside: BestEffort,
    out: Path,
    supervisor: Supervisor,
    cell: CellLog | None,
    targets: Targets,
    now: Snapshot,
) -> None:
    """Let the run folder say how things stand."""
    if cell is not None:
        beside("the cell's readings cannot be kept", cell.poll)
    live = json.dumps(asdict(now)) + "\n"
    beside(f"{LIVE_FILE} cannot be written", partial(write_atomically, out / LIVE_FILE, live))
    nodes = supervisor.nodes.values()
    beside("the list of metrics ports cannot be written", partial(targets.update, nodes))
