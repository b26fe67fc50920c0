"""Nodes placed by Dask."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import msgspec
from dask.utils import parse_timedelta
from distributed import Client, Future, LocalCluster
from distributed.comm import connect, get_address_host_port
from distributed.security import Security

from streamer.config import PlacementConfig
from streamer.errors import RunError, UserError
from streamer.run.cluster.board import UNREACHED, Board, Mirror
from streamer.run.cluster.hosts import Host, choose, describe, wanted_hosts
from streamer.run.cluster.keeper import Errand, NodeEnded, keep
from streamer.run.topology import NodeSpec
from streamer.transport.directory import Directory

__all__ = ["DaskPlacement"]

logger = logging.getLogger(__name__)

_CONNECT_S = 10.0
_WORKERS_S = 30.0
_EXCHANGE_S = 0.1
_LOOK_S = 5.0
_KILL_S = 3.0
_CLOSE_S = 10.0
_LOCAL = "local:"


class _Kept:
    """A node that a task of Dask keeps."""

    pid = 0

    def __init__(self, future: Future, board: Board, spec: NodeSpec, address: str) -> None:
        self.address = address
        """Of Dask's worker."""
        self.name = spec.name
        self._future = future
        self._board = board
        self._incarnation = spec.incarnation
        self._has_begun = False
        self._next_look = time.monotonic() + _LOOK_S
        self._given_up = math.inf
        """When it counts as ended although nobody has said so: its host may be gone."""

    @property
    def is_lost(self) -> bool:
        """True when nobody can say what became of it, as the scheduler is gone."""
        return math.isinf(self._given_up) and self._future.status in ("cancelled", "lost")

    @property
    def why(self) -> str:
        """How it ended, in a few words."""
        return self._end()[1]

    def poll(self) -> int | None:
        """Return its exit status; None before."""
        if self._future.status != "pending":
            return self._end()[0]
        now = time.monotonic()
        if not self._has_begun and now >= self._next_look:
            self._next_look = now + _LOOK_S
            self._look()
        return None if now < self._given_up else self._end()[0]

    def send_signal(self, number: signal.Signals) -> None:
        """Have its process get a signal, if it is still there."""
        if number == signal.SIGKILL:
            self._given_up = min(self._given_up, time.monotonic() + _KILL_S)
        try:
            value = (self._incarnation, int(number))
            self._board.put("signals", self.name, value=value)
        except UNREACHED as error:
            logger.warning("%s cannot be told to end: %s", self.name, error)

    def kill(self) -> None:
        """End it at once."""
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)

    def wait(self) -> None:
        """Wait for its end, but not for long: its host may be gone."""
        while self.poll() is None:
            time.sleep(0.02)
        self._future.release()

    def _look(self) -> bool:
        """Tell whether somebody keeps it; give it up if nobody is there who could."""
        try:
            self._has_begun = self._future.key in self._board.read().get("begun", {})
            if not self._has_begun and self.address not in self._future.client.nthreads():
                self._given_up = 0.0
                self._future.cancel()
        except UNREACHED as error:
            logger.debug("the scheduler does not answer: %s", error)
        return self._has_begun

    def _end(self) -> tuple[int, str]:
        if self._future.status == "finished":
            return 0, "exit status 0"
        if self._future.status == "error":
            error = self._future.exception()
            if isinstance(error, NodeEnded):
                return error.code, error.why
            return 1, f"Dask gave it up: {error}"
        if self._given_up < math.inf:
            return -signal.SIGKILL, "its host is gone"
        return 1, "the connection to Dask's scheduler is lost"


class DaskPlacement:
    """Asks a Dask cluster to run nodes.

    Parameters
    ----------
    config
        Which cluster, and what goes where.
    command
        Returns the command line that runs the node whose spec lies in a file.
    directory
        Folder for that of this host.
    out
        Run folder, which the hosts have to see.

    Raises
    ------
    UserError
        The cluster cannot be used: the message says why.
    """

    def __init__(
        self,
        config: PlacementConfig,
        command: Callable[[Path], list[str]],
        directory: Path,
        out: Path,
    ) -> None:
        self._config = config
        self._command = command(Path())[:-1]
        self._out = out.resolve()
        self._kept: list[_Kept] = []
        self._hosts: dict[str, Host] = {}
        self._over = threading.Event()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._cluster, address = _cluster_of(config.scheduler or "")
        self._client = _connect(address)
        self._address = address
        self._run = f"braggstream-{secrets.token_hex(8)}"
        self._board = Board(partial(_ask, self._client), self._run)
        self._mirror: threading.Thread | None = None
        try:
            self._check_patience()
            self._survey(at_least=config.hosts)
            self._check_pins()
            # The address under which this host reaches the scheduler is one that others reach.
            self.host = config.host or _own_host(address)
            self.directory = Directory(directory, self.host)
            self._mirror = threading.Thread(
                target=_keep_up, args=(Mirror(self.directory, self._board, 0), self._over),
                name="directory", daemon=True,
            )  # fmt: skip
            self._mirror.start()
        except BaseException:
            self.close()
            raise

    @property
    def cores(self) -> int:
        """Of all hosts."""
        return sum(host.cores for host in self._by_host().values())

    @property
    def cuda_devices(self) -> int:
        """Of all hosts."""
        return sum(host.gpus for host in self._by_host().values())

    def start(self, spec: NodeSpec, log: Path) -> _Kept:
        """Start a node; see `Placement`.

        Raises
        ------
        RunError
            The scheduler is gone, and with it all nodes.
        OSError
            No host can have it now.
        """
        if any(kept.is_lost for kept in self._kept):
            raise RunError(
                f"the Dask scheduler {self._address} is gone, and with it all nodes: --resume goes "
                "on with the run when there is one again"
            )
        self._kept = [kept for kept in self._kept if kept.poll() is None]
        log.touch()
        try:
            self._survey()
            # From here on who kept the node before is to end it, if that is still alive.
            self._board.put("current", spec.name, value=spec.incarnation)
        except UNREACHED as error:
            raise OSError(f"the Dask scheduler does not answer: {error}") from None
        busy: dict[str, list[str]] = {}
        for kept in self._kept:
            busy.setdefault(kept.address, []).append(kept.name)
        pins = self._config.pin
        host = choose(self._hosts.values(), spec.name, busy, pins)
        if host is None:
            raise OSError(f"none of the hosts that {spec.name} is pinned to is there")
        errand = Errand(
            run=self._run,
            spec=spec,
            command=self._command,
            log=str(log.resolve()),
            folder=str(Path.cwd()),
            umask=self._umask,
            is_local=self._cluster is not None,
            lease_s=self._config.lease_s,
            wanted=list(wanted_hosts(pins, spec.name)),
        )
        future = self._client.submit(
            keep,
            msgspec.msgpack.encode(errand),
            key=f"{self._run}-{spec.name}-{spec.incarnation}",
            workers=[host.address],
            allow_other_workers=True,  # there it is said that this one is gone
            retries=0,
            pure=False,
        )
        kept = _Kept(future, self._board, spec, host.address)
        self._kept.append(kept)
        return kept

    def close(self) -> None:
        """Free what is Dask's."""
        self._over.set()
        if self._mirror is not None:
            self._mirror.join()
        for free in (
            self._board.clear,
            partial(self._client.close, timeout=_CLOSE_S),
            partial(self._cluster.close, timeout=_CLOSE_S) if self._cluster is not None else int,
        ):
            try:
                free()
            except UNREACHED as error:
                logger.debug("the scheduler does not answer: %s", error)

    def _by_host(self) -> dict[str, Host]:
        """Return one of Dask's workers for each host: a host may have several."""
        return {host.names[0] + host.names[1]: host for host in self._hosts.values()}

    def _check_patience(self) -> None:
        def patience() -> float:
            return float(parse_timedelta(dask.config.get("distributed.comm.timeouts.tcp"), "s"))

        limit = self._client.run_on_scheduler(patience)
        if self._config.lease_s > 0.6 * limit:
            raise UserError(
                f"placement.lease_s = {self._config.lease_s:g} is too long: Dask's scheduler takes "
                f"a host for dead after about {limit:g} s, and by then the lease must have run out "
                f"for long; choose {0.5 * limit:g} or less"
            )

    def _survey(self, at_least: int = 0) -> None:
        """Learn which hosts there are."""
        try:
            if at_least:
                self._client.wait_for_workers(at_least, timeout=_WORKERS_S)
            there = set(self._client.nthreads())
            new = sorted(there - self._hosts.keys())
            said = self._client.run(describe, str(self._out), workers=new) if new else {}
        except TimeoutError:
            count = len(self._client.nthreads())
            raise UserError(
                f"the Dask scheduler {self._address} has {count} of {at_least} workers: start "
                f"'dask worker {self._address}' on each host, or see placement.hosts"
            ) from None
        except ImportError as error:
            raise UserError(
                f"Dask's workers cannot run nodes ({error}): install braggstream[cluster] for them "
                "as here"
            ) from None
        self._hosts = {address: self._hosts[address] for address in there & self._hosts.keys()}
        own, refused = version("braggstream"), dict[str, str]()
        for address, says in said.items():
            if says["version"] != own:
                refused[address] = f"has braggstream {says['version']}, not {own}"
            elif not says["is_seen"]:
                refused[address] = f"does not see {self._out}"
            else:
                names = tuple(says["names"])
                self._hosts[address] = Host(address, names, says["cores"], says["gpus"])
        for address, why in refused.items():
            logger.warning("no node is placed on %s, which %s", address, why)
        if at_least and not self._hosts:
            address, why = next(iter(refused.items()))
            raise UserError(f"no host of the cluster can be used: {address} {why}")

    def _check_pins(self) -> None:
        known = {name for host in self._hosts.values() for name in host.names}
        for node, hosts in self._config.pin.items():
            if not known & set(hosts):
                raise UserError(
                    f"placement.pin.{node} names no host that is there: there are "
                    f"{', '.join(sorted({host.names[0] for host in self._hosts.values()}))}"
                )


def _cluster_of(where: str) -> tuple[LocalCluster | None, str]:
    """Return the address of the scheduler, and the cluster if it was started here."""
    if not where.startswith(_LOCAL):
        return None, where
    cluster = LocalCluster(
        n_workers=int(where.removeprefix(_LOCAL)),
        threads_per_worker=1,
        dashboard_address=None,
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    return cluster, cluster.scheduler_address


def _connect(address: str) -> Client:
    # What Dask would say of a scheduler that is gone is said by the run.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        # A client that does not get to its scheduler takes seconds to end, and says so at length.
        asyncio.run(_reach(address))
        return Client(address, name="braggstream", set_as_default=False, timeout=_CONNECT_S)
    except (TimeoutError, OSError, ValueError, TypeError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"no Dask scheduler answers at {address}: {why}") from None


async def _reach(address: str) -> None:
    words = Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_S, **words)
    await comm.close()


def _own_host(scheduler: str) -> str:
    """Return the address of this host on the way to the scheduler."""
    host, port = get_address_host_port(scheduler)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def _keep_up(mirror: Mirror, over: threading.Event) -> None:
    while not over.wait(_EXCHANGE_S):
        try:
            mirror.exchange()
        except UNREACHED as error:
            logger.debug("the scheduler does not answer: %s", error)


def _ask(client: Client, method: str, **words: Any) -> Any:
    return client.sync(getattr(client.scheduler, method), **words)
