"""The life of one process: its loop, its signals, its reports."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

import zmq

from streamer.transport.lease import Lease
from streamer.transport.messages import State, Status, pack
from streamer.transport.metrics import Metrics
from streamer.transport.sockets import connect_hop, seal
from streamer.transport.watch import Watch

__all__ = ["Node", "Role"]

_TICK_S = 0.1
_REPORT_S = 0.25

logger = logging.getLogger(__name__)


class Role(Protocol):
    """What a node does; the node around it waits, reports and stops."""

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets whose input the role wants to be woken for."""
        ...

    @property
    def finished(self) -> bool:
        """True when there is nothing left to do and nothing will come."""
        ...

    def step(self) -> float:
        """Do what there is to do and return the seconds after which to be called at the latest."""
        ...

    def stop(self) -> None:
        """Take nothing new, bring to an end what was begun; `finished` turns true after that."""
        ...

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return a few plain words on what it does, its figures, and facts worth knowing."""
        ...

    def close(self) -> None:
        """Release sockets and files."""
        ...


class Node:
    """Runs a role until it has finished or is told to stop.

    SIGTERM or SIGINT asks the role to stop and waits for it; a second one ends the process at once.
    The process also ends when the one that started it is gone: at once and with nothing brought to
    an end, as if it had died too, so that whoever goes on with the run does what is left to do.

    Parameters
    ----------
    name
        The node's name in the run, such as ``detector-0``.
    make_role
        Builds the role; called in `run`, so that the time it takes is reported as ``starting``.
    status_address
        Where reports go; None reports to nobody.
    parent
        Process without which this one must not live; default: the one that started it.
    incarnation, host
        As reports say.
    lease
        How long it may go on; None: as long as that process is there.
    """

    def __init__(
        self,
        name: str,
        context: zmq.Context[zmq.Socket[bytes]],
        make_role: Callable[[], Role],
        metrics: Metrics,
        *,
        status_address: str | None = None,
        metrics_port: int = 0,
        parent: int | None = None,
        incarnation: int = 0,
        host: str = "",
        lease: Lease | None = None,
    ) -> None:
        self.name = name
        self._context = context
        self._make_role = make_role
        self._metrics = metrics
        self._metrics_port = metrics_port
        self._stop = threading.Event()
        self._incarnation, self._host = incarnation, host
        self._lease = lease
        self._parent = parent or os.getppid()
        self._status: zmq.Socket[bytes] | None = None
        if status_address is not None:
            self._status = context.socket(zmq.PUSH)
            self._status.set(zmq.LINGER, 500)
            self._status.set(zmq.SNDHWM, 100)
            connect_hop(self._status, status_address)

    def run(self) -> None:
        """Run the role to its end; signals are handled when called in the main thread."""
        with Watch(self._stop, self._parent, self._lease) as watch:
            self.say("starting")
            role = self._make_role()
            try:
                if self._loop(role, watch):
                    self._report(role, "done")
            finally:
                role.close()
                if self._status is not None:
                    self._status.close()

    def say(self, doing: str) -> None:
        """Report what goes on before there is a role."""
        self._send("starting", doing, {}, {})

    def _loop(self, role: Role, watch: Watch) -> bool:
        """Run a role; False if it was left before it had finished."""
        poller, polled = zmq.Poller(), list[zmq.Socket[bytes]]()
        state: State = "running"
        next_report, directory = 0.0, getattr(self._context, "directory", None)
        while not role.finished:
            if watch.is_alone:
                return False
            if directory is not None:
                directory.catch_up()
            pause = role.step()
            now = time.monotonic()
            if self._stop.is_set() and state == "running":
                logger.info("stopping: finishing what was begun")
                state = "draining"
                role.stop()
            if now >= next_report:
                next_report = now + _REPORT_S
                self._report(role, state)
            if pause > 0 and not role.finished:
                if role.sockets != polled:
                    poller, polled = zmq.Poller(), role.sockets
                    for socket in polled:
                        poller.register(socket, zmq.POLLIN)
                poller.poll(round(min(pause, _TICK_S) * 1000))
        return True

    def _report(self, role: Role, state: State) -> None:
        self._send(state, *role.report())

    def _send(
        self, state: State, doing: str, stats: dict[str, float], info: dict[str, str]
    ) -> None:
        if self._status is None:
            return
        status = Status(
            self.name,
            os.getpid(),
            state,
            doing,
            self._metrics_port,
            stats,
            info,
            self._incarnation,
            self._host,
        )
        with contextlib.suppress(zmq.Again):  # nobody reads: the next report says more
            self._status.send_multipart(seal(self._status, pack(status)), zmq.NOBLOCK)
