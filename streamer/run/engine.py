"""Which placement a run has."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from streamer.config import Config
from streamer.errors import UserError
from streamer.run.placement import LocalPlacement, Placement
from streamer.transport.directory import Directory
from streamer.transport.exposure import is_loopback

__all__ = ["check_placement", "open_placement"]

_OWN = "or set placement.insecure=true where nobody else is on the network"


def check_placement(config: Config) -> None:
    """Refuse a placement that cannot be, or that others on the network could use.

    Raises
    ------
    UserError
        What to do.
    """
    placement = config.placement
    if placement.engine == "local":
        return
    if importlib.util.find_spec("distributed") is None:
        raise UserError(
            "placement.engine=dask needs Dask: pip install 'braggstream[cluster]', here and on "
            "the hosts of the cluster"
        )
    where = placement.scheduler or ""
    scheme, _, rest = where.partition("://")
    host = rest.rpartition(":")[0]
    count = where.removeprefix("local:")
    if where != count and not (count.isdigit() and int(count)):
        raise UserError(f"placement.scheduler = {where!r}: write local:3 for three workers")
    if where == count and not (scheme in ("tcp", "tls") and host):
        raise UserError(
            "placement.scheduler is to say where Dask's scheduler is, as tls://HOST:8786; local:3 "
            "tries it on this machine alone"
        )
    if placement.insecure or config.insecure or where != count:
        return
    if scheme == "tcp" and not is_loopback(host):
        raise UserError(
            f"{where} runs any program for whoever reaches it, and would hand out the keys of the "
            f"run: have it listen at tls://, {_OWN}"
        )
    if not placement.curve and not is_loopback(host):
        raise UserError(f"hops between hosts are not encrypted: set placement.curve=true, {_OWN}")


def open_placement(
    config: Config,
    command: Callable[[Path], list[str]],
    runtime: Path,
    out: Path,
    cuda_devices: int = 0,
) -> Placement:
    """Return what starts the nodes of a run, to be closed when they have ended.

    Parameters
    ----------
    command
        Returns the command line that runs the node whose spec lies in a file.
    runtime
        Short-lived folder of this host for what it needs.
    out
        Run folder.
    cuda_devices
        GPUs of this host.

    Raises
    ------
    UserError
        It cannot be had.
    """
    addresses = runtime / "addresses"
    if config.placement.engine == "dask":
        from streamer.run.cluster.placement import DaskPlacement

        return DaskPlacement(config.placement, command, addresses, out)
    directory = None if config.uses_ipc else Directory(addresses)
    return LocalPlacement(command, runtime, directory, cuda_devices)
