"""A task of Dask that keeps one node on the host where it runs."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from distributed import Worker, get_worker
from distributed.comm import get_address_host
from distributed.utils import sync
from distributed.worker import secede

from streamer.run.cluster.board import UNREACHED, Board, Mirror
from streamer.run.cluster.hosts import names_of
from streamer.run.placement import start_process
from streamer.run.topology import NodeSpec
from streamer.transport.directory import Directory
from streamer.transport.lease import Lease, now

__all__ = ["Errand", "NodeEnded", "keep"]

logger = logging.getLogger(__name__)

_TICK_S = 0.05
_EXCHANGE_S = 0.25
_NANNY_SETS = ("MALLOC_TRIM_THRESHOLD_",)
"""What Dask sets for processes of its own kind, and a node has set otherwise."""
_slots: set[int] = set()
"""Devices of this host that GPU workers have."""
_slots_lock = threading.Lock()


class NodeEnded(Exception):  # noqa: N818 - most do so when they are asked to
    """A node ended otherwise than well."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code
        self.why = why


class Errand(msgspec.Struct, frozen=True):
    """What a keeper is told."""

    run: str
    """Name of the run on the scheduler's board."""
    spec: NodeSpec
    command: list[str]
    """Runs a node, but for the file with its spec."""
    log: str
    folder: str
    """In which the launcher works: what the user gave may be relative to it."""
    umask: int
    is_local: bool
    """Whether Dask's worker is of the launcher's terminal, whose Ctrl-C is for the launcher."""
    lease_s: float
    wanted: list[str]
    """Names of hosts that may have the node; empty: any may."""


def keep(packed: bytes) -> None:
    """Have a node on this host until it ends, or until another takes its place.

    Dask itself runs a task again whose host is gone. Only the launcher starts nodes, so that each
    has a number of its own: the second time this only says that the first has failed.

    Parameters
    ----------
    packed
        An `Errand`, as msgpack: it holds keys, which are not to be shown in Dask's records.

    Raises
    ------
    NodeEnded
        It did not end well.
    """
    errand = msgspec.msgpack.decode(packed, type=Errand)
    if errand.is_local and os.getpgrp() != os.getpid():
        os.setpgrp()
    worker, spec = get_worker(), errand.spec
    key = worker.get_current_task()
    # What stays for as long as a run takes none of the places that Dask counts.
    secede()
    board = Board(partial(_ask, worker), errand.run)
    host = get_address_host(worker.address)
    begun = board.read().get("begun", {})
    if key in begun:
        raise NodeEnded(-signal.SIGKILL, f"its host {begun[key]} is gone")
    if errand.wanted and not set(errand.wanted) & set(names_of(worker)):
        raise NodeEnded(-signal.SIGKILL, "the host that it was to be on is gone")
    board.put("begun", key, value=host)
    with tempfile.TemporaryDirectory(prefix="bragg-", dir="/tmp") as name, _slot(spec) as slot:
        runtime = Path(name)
        directory = Directory(runtime / "addresses", host)
        mirror = Mirror(directory, board, spec.incarnation)
        lease = Lease(runtime / "lease")
        _exchange(mirror, lease, errand)
        spec = msgspec.structs.replace(
            spec,
            directory=str(runtime / "addresses"),
            host=host,
            lease=str(runtime / "lease"),
            launcher=os.getpid(),
            slot=slot,
        )
        path = runtime / f"{spec.name}.json"
        spec.write(path)
        process = start_process(
            [*errand.command, str(path)],
            Path(errand.log),
            folder=errand.folder,
            umask=errand.umask,
            without=_NANNY_SETS,
        )
        heard: signal.Signals | None = None
        next_exchange = 0.0
        while (code := process.poll()) is None:
            time.sleep(_TICK_S)
            wish = heard
            if time.monotonic() >= next_exchange:
                wish = _exchange(mirror, lease, errand) or heard
                next_exchange = time.monotonic() + _EXCHANGE_S
            task = worker.state.tasks.get(key)
            if task is None or task.state not in ("executing", "long-running"):
                wish = signal.SIGKILL  # nobody waits for it any more
            if wish is not None and wish is not heard:
                process.send_signal(wish)
                heard = wish
        if code:
            raise NodeEnded(code, process.why)


def _exchange(mirror: Mirror, lease: Lease, errand: Errand) -> signal.Signals | None:
    """Renew the lease if this is still the node that the launcher wants; return its wish."""
    asked = now()
    try:
        says = mirror.exchange()
    except UNREACHED as error:
        logger.debug("the scheduler does not answer: %s", error)
        return None
    spec = errand.spec
    if _current(says, spec.name) != spec.incarnation:
        return signal.SIGKILL
    lease.renew(asked + errand.lease_s)
    incarnation, number = says.get("signals", {}).get(spec.name, (-1, 0))
    return signal.Signals(number) if incarnation == spec.incarnation else None


def _current(says: Mapping[str, Any], name: str) -> int:
    """Return which start of a node is the one that counts."""
    return int(says.get("current", {}).get(name, -1))


def _ask(worker: Worker, method: str, **words: Any) -> Any:
    return sync(worker.loop, getattr(worker.scheduler, method), **words)


@contextmanager
def _slot(spec: NodeSpec) -> Any:
    """Yield which of this host's GPU workers a node is."""
    if spec.role != "gpu":
        yield None
        return
    with _slots_lock:
        slot = next(n for n in range(len(_slots) + 1) if n not in _slots)
        _slots.add(slot)
    try:
        yield slot
    finally:
        with _slots_lock:
            _slots.discard(slot)
