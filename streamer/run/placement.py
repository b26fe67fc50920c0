"""Who starts the nodes of a run, and where: this host, or an engine that has many."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from streamer.run.topology import NodeSpec
from streamer.transport.directory import Directory

__all__ = ["MEMORY", "LocalPlacement", "Placed", "Placement", "end_of", "start_process"]

# A page costs more to get anew than all that is done with it.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 31), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
"""Environment of a process that keeps what a frame needed for the next, and gives it back to the
system only at its end."""


class Placed(Protocol):
    """A node that was started somewhere."""

    @property
    def pid(self) -> int:
        """Its process on its host; 0 while that is not known."""
        ...

    @property
    def why(self) -> str:
        """How it ended, in a few words."""
        ...

    def poll(self) -> int | None:
        """Return its exit status, minus the number of the signal that ended it; None before."""
        ...

    def send_signal(self, number: signal.Signals) -> None:
        """Have its process get a signal, if it is still there."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def wait(self) -> object:
        """Wait for the end of one that was killed."""
        ...


class Placement(Protocol):
    """Starts nodes. One that ended, however that came, is not started again but by who asked."""

    @property
    def host(self) -> str:
        """Address of the launcher's host, as the nodes reach it."""
        ...

    @property
    def directory(self) -> Directory | None:
        """Where nodes say where they publish; None where all addresses are known before."""
        ...

    @property
    def cores(self) -> int:
        """Of all hosts together."""
        ...

    @property
    def cuda_devices(self) -> int:
        """GPUs of all hosts together."""
        ...

    def start(self, spec: NodeSpec, log: Path) -> Placed:
        """Start a node.

        Parameters
        ----------
        log
            File to which what it prints is added.

        Raises
        ------
        OSError
            It cannot be started now; it may be later.
        """
        ...

    def close(self) -> None:
        """Give back what was taken, once all nodes have ended."""
        ...


class _Process(subprocess.Popen[bytes]):
    """A node on this host."""

    @property
    def why(self) -> str:
        return end_of(self.returncode)


class LocalPlacement:
    """Starts nodes as processes of this host.

    Parameters
    ----------
    command
        Returns the command line that runs the node whose spec lies in a file.
    runtime
        Folder for the specs.
    directory
        See `Placement`.
    cuda_devices
        GPUs that the GPU workers may use.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        command: Callable[[Path], list[str]],
        runtime: Path,
        directory: Directory | None = None,
        cuda_devices: int = 0,
    ) -> None:
        self.directory = directory
        self.cores = os.cpu_count() or 1
        self.cuda_devices = cuda_devices
        self._command = command
        self._runtime = runtime

    def start(self, spec: NodeSpec, log: Path) -> Placed:
        """Start a node; see `Placement`."""
        path = self._runtime / f"{spec.name}.json"
        spec.write(path)
        return start_process(self._command(path), log)

    def close(self) -> None:
        """Do nothing: there is nothing but the nodes."""


def start_process(
    words: list[str],
    log: Path,
    *,
    folder: str | None = None,
    umask: int = -1,
    without: Sequence[str] = (),
) -> _Process:
    """Start a node's command on this host.

    Parameters
    ----------
    folder, umask
        Its working folder and the modes of files that it makes; default: as of this process.
    without
        Names in this process' environment that are not for it.

    Raises
    ------
    OSError
        It cannot be started.
    """
    # One thread each: the processes are the parallelism, and they share the cores.
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
    own = {name: value for name, value in os.environ.items() if name not in without}
    with log.open("ab") as file:
        # A session of its own: Ctrl-C is for the launcher, which stops nodes in order.
        return _Process(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd=folder,
            umask=umask,
            env={**MEMORY, **own, **threads},
        )


def end_of(code: int) -> str:
    """Say how a process ended."""
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
