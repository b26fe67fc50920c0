"""The hosts of a cluster, and which of them is to have a node."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed.comm import get_address_host

from streamer.run.topology import cuda_devices

__all__ = ["Host", "choose", "describe", "names_of", "wanted_hosts"]

_PATIENCE_S = 3.0
"""For a shared file system to show what was just made."""


@dataclass(frozen=True, slots=True)
class Host:
    """One of Dask's workers and the host that it is on."""

    address: str
    """Of Dask's worker."""
    names: tuple[str, ...]
    """What a user may call it: its address, its host's name, the worker's name."""
    cores: int
    gpus: int


def describe(folder: str, dask_worker: Any) -> dict[str, Any]:
    """Return what a launcher must know of the host where this runs.

    Parameters
    ----------
    folder
        Run folder, as on the launcher's host.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while not (is_seen := Path(folder, "run.json").is_file()) and time.monotonic() < deadline:
        time.sleep(0.1)
    declared = dask_worker.state.total_resources.get("GPU")
    return {
        "names": names_of(dask_worker),
        "version": version("braggstream"),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": cuda_devices() if declared is None else int(declared),
        "is_seen": is_seen,
    }


def names_of(worker: Any) -> tuple[str, ...]:
    """Return what a user may call the host of one of Dask's workers."""
    return get_address_host(worker.address), socket.gethostname(), str(worker.name)


def wanted_hosts(pins: Mapping[str, Sequence[str]], node: str) -> Sequence[str]:
    """Return on which hosts a node is to be, by its name or role; none where it does not matter."""
    return pins.get(node) or pins.get(node.partition("-")[0]) or ()


def choose(
    hosts: Iterable[Host],
    node: str,
    busy: Mapping[str, Sequence[str]],
    pins: Mapping[str, Sequence[str]],
) -> Host | None:
    """Return where a node is to be started; None where no host is left for it.

    GPU workers go where a device is free, detector workers to the hosts of these, as long as
    there is a core for each node; apart from that all go where the most cores are left.

    Parameters
    ----------
    busy
        Names of the nodes at each of Dask's workers.
    pins
        Hosts for nodes or roles.
    """
    wanted = wanted_hosts(pins, node)
    fit = [host for host in hosts if not wanted or set(wanted) & set(host.names)]
    role = node.partition("-")[0]
    are_few = any(host.gpus for host in fit)

    def rank(host: Host) -> tuple[float, ...]:
        there = [name.partition("-")[0] for name in busy.get(host.address, ())]
        load = (len(there) + 1) / host.cores
        if role == "gpu":
            return there.count("gpu") >= host.gpus, "detector" not in there, load
        if role == "detector":
            return are_few and load > 1, are_few and "gpu" not in there, load
        return 0, 0, load

    return min(fit, key=rank, default=None)
