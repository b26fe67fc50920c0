"""A simulated charge cycle from its first frame to its last: sent to a client, or written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console

from streamer.config import SimulateConfig
from streamer.simulator.cycler import Cycler, cell_path_for
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.simulator.sender import Detector
from streamer.simulator.trigger import Trigger
from streamer.simulator.truth import truth_path_for, write_truth
from streamer.transport.exposure import refuse_exposed

__all__ = ["simulate"]


def simulate(
    config: SimulateConfig,
    console: Console,
    stopping: Callable[[], AbstractContextManager[threading.Event]],
    *,
    address: str = "tcp://127.0.0.1:*",
    exposed: bool = False,
    out: Path | None = None,
    truth: Path | None = None,
    cell: Path | None = None,
    trigger: Trigger | None = None,
) -> None:
    """Be a detector until all frames are sent; or write them into a file, as fast as it goes.

    Parameters
    ----------
    config
        The scene, and how it is sent.
    console
        Told where the detector is reached and what became of the frames, or what was written.
    stopping
        Gives an event that is set when the detector is to stop.
    address
        Where clients connect; port ``*`` lets the system choose one.
    exposed
        Other machines may reach that address.
    out
        Recording to write; None sends a stream.
    truth, cell
        Where to write the truth and the cycler's file. None writes those of a recording beside it,
        of a stream none.
    trigger
        What the first frame of a stream waits for; None: for a client alone.

    Raises
    ------
    UserError
        A file cannot be written, the address cannot be listened at, or no trigger will come.
    """
    scene = Scene(config)
    if out is not None:
        _write(scene, console, out, truth or truth_path_for(out), cell or cell_path_for(out))
    else:
        if not exposed:
            refuse_exposed(address, "detectors have none,")
        _send(scene, console, stopping, truth, cell, address, trigger)


def _write(scene: Scene, console: Console, out: Path, truth: Path, cell: Path) -> None:
    begin = time.time()
    with console.status(f"writing {scene.n_frames:,} frames"):
        write_recording(scene, out)
        write_truth(truth, scene.truth(), scene.metadata())
        with Cycler(scene, cell) as cycler:
            for index in range(scene.n_frames):
                cycler.note(index, begin + index * scene.frame_time)
    console.print(
        f"recording {out}\ntruth     {truth}\ncell      {cell}", highlight=False, soft_wrap=True
    )


def _send(
    scene: Scene,
    console: Console,
    stopping: Callable[[], AbstractContextManager[threading.Event]],
    truth: Path | None,
    cell: Path | None,
    address: str,
    trigger: Trigger | None,
) -> None:
    with (
        stopping() as stop,
        nullcontext() if cell is None else Cycler(scene, cell) as cycler,
        Detector(scene, truth, cycler, address, trigger) as detector,
    ):
        endpoint = detector.endpoint.removeprefix("tcp://")
        console.print(f"detector at dectris://{endpoint}", highlight=False, soft_wrap=True)
        if trigger is not None:
            console.print("armed: a line on standard input triggers it", highlight=False)
        console.file.flush()  # who started this waits for the address
        sent = detector.run(stop)
    console.print(
        f"sent {sent.sent:,} frames in {sent.seconds:.1f} s, dropped {sent.dropped:,}",
        highlight=False,
    )
