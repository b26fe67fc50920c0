"""Starts the processes of a run, watches them, restarts the dead, stops them in order."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import msgspec
import zmq

from streamer.run.placement import Placed, Placement
from streamer.run.topology import NodeSpec
from streamer.transport.messages import MessageError, Status, unpack
from streamer.transport.sockets import bind_hop, open_sealed

__all__ = ["NodeProcess", "Phase", "Supervisor", "countable"]

logger = logging.getLogger(__name__)

_RESTARTS = 5
"""How often one node may die, while nothing gets on disk, before the run is given up."""
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_USER_ERROR = 2
_PATIENCE_S = 30.0
_SINK_PATIENCE_S = 300.0
"""The last part and the tables of a long run take a while, in which no figure changes."""
_GOOD_SPELL_S = 120.0
"""A node that has lived for so long is given all its restarts again."""
_MOST_COUNTED = 2.0**63
_COUNTED = ("received", "bytes", "redelivered", "frames", "failed", "peaks", "refused", "busy_s")


class Phase(Enum):
    """How far a run has come."""

    RUNNING = "running"
    STOPPING = "stopping"
    """No more frames are taken; those on their way are finished."""
    WORKERS = "stopping workers"
    SINK = "stopping sink"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class NodeProcess:
    """One node: its process and what it last said."""

    spec: NodeSpec
    log: Path
    process: Placed | None = None
    status: Status | None = None
    restarts: int = 0
    deaths: int = 0
    """Deaths since it last lived well for a while."""
    in_vain: int = 0
    """Deaths since the sink last had something on disk that it had not before."""
    settled: float = 0.0
    """What the sink had on disk when it died last."""
    started: float = 0.0
    due: float = 0.0
    """When it is to be started again."""
    past: dict[str, float] = field(default_factory=dict)
    """What its predecessors had counted when they died."""
    info: dict[str, str] = field(default_factory=dict)
    """The newest of each fact that it, or a predecessor, has told: not every report has all."""

    @property
    def alive(self) -> bool:
        """True while its process runs."""
        return self.process is not None and self.process.poll() is None

    def stat(self, name: str) -> float:
        """Return a figure of its last report, 0 if it gave none, over all its incarnations."""
        last = self.status.stats.get(name, 0.0) if self.status else 0.0
        return last + self.past.get(name, 0.0)


class Supervisor:
    """Looks after the processes of one run.

    Parameters
    ----------
    specs
        The nodes; those first that others need, ``ingest`` last.
    placement
        Starts them.
    logs
        Folder for what the nodes print, one file each.
    restarts
        How often one node may die, while nothing gets on disk, before the run fails.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        specs: list[NodeSpec],
        placement: Placement,
        *,
        logs: Path,
        restarts: int = _RESTARTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nodes = {spec.name: NodeProcess(spec, logs / f"{spec.name}.log") for spec in specs}
        self.phase = Phase.RUNNING
        self.reason = ""
        """Why the run failed, in one line."""
        self.mistake = False
        """True when the failure is a user's mistake."""
        self.restarted = 0
        self.asked_to_stop = False
        self.killed = False
        """Asked twice."""
        self._placement = placement
        self._restarts = restarts
        self._clock = clock
        self._hurry = 0.0
        self._sink_figures: dict[str, float] = {}
        self._socket = context.socket(zmq.PULL)
        self._socket.set(zmq.LINGER, 0)
        # Made before any process, so that an address that cannot be bound leaves none behind.
        bind_hop(self._socket, specs[0].endpoints["status"])

    @property
    def over(self) -> bool:
        """True when no process is left to wait for."""
        return self.phase in (Phase.DONE, Phase.FAILED)

    @property
    def at_work(self) -> bool:
        """True when all nodes are, and frames find their way."""
        said = [node.status for node in self.nodes.values()]
        has_begun = self.nodes["ingest"].stat("begun") > 0
        return has_begun and all(one is not None and one.state != "starting" for one in said)

    def start(self) -> None:
        """Start all nodes."""
        for node in self.nodes.values():
            self._spawn(node)

    def poll(self, timeout_s: float) -> None:
        """Wait for reports, then see to what has died or finished."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0, round((deadline - time.monotonic()) * 1000))
            if not self._socket.poll(min(left, 50)):
                if self._attend() or not left:
                    return
                continue
            try:
                parts = self._socket.recv_multipart()
                header, _ = unpack(open_sealed(self._socket, parts))
            except MessageError as error:
                logger.warning("status refused: %s", error)
                continue
            node = self.nodes.get(header.node) if isinstance(header, Status) else None
            # A dead predecessor's last words may still be on their way.
            if node and node.process and isinstance(header, Status):
                if header.incarnation == node.spec.incarnation:
                    node.status = countable(header)
                    node.info |= header.info

    def stop(self) -> None:
        """Ask for an end: what was taken in is finished first."""
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPING
            self._signal("ingest", signal.SIGTERM)

    def kill(self) -> None:
        """End all processes at once."""
        for node in self.nodes.values():
            if node.process is not None and node.alive:
                node.process.kill()
        for node in self.nodes.values():
            if node.process is not None:
                node.process.wait()
        if not self.over:
            self.phase = Phase.FAILED

    def close(self) -> None:
        """Leave no process and no socket behind."""
        self.kill()
        self._socket.close()

    def _attend(self) -> bool:
        """See to the processes; True when something has changed."""
        before = self.phase
        if self.phase in (Phase.RUNNING, Phase.STOPPING):
            ingest = self.nodes["ingest"]
            code = ingest.process.poll() if ingest.process is not None else None
            never_ran = code is not None and ingest.status is None
            if code == 0 or (self.phase is Phase.STOPPING and never_ran):
                self.phase = Phase.WORKERS
                self._hurry = self._clock() + _PATIENCE_S
                for name in self._workers:
                    self._signal(name, signal.SIGTERM)
            else:
                for node in self.nodes.values():
                    self._revive(node)
        elif self.phase is Phase.WORKERS and any(self.nodes[n].alive for n in self._workers):
            if self._clock() > self._hurry:  # all is on disk: they hold nothing that matters
                for name in self._workers:
                    self._signal(name, signal.SIGKILL)
        elif self.phase is Phase.WORKERS:
            self.phase = Phase.SINK
            self._hurry = self._clock() + _SINK_PATIENCE_S
            self._signal("sink", signal.SIGTERM)
        elif self.phase is Phase.SINK and not self.nodes["sink"].alive:
            # Ingest has ended, so all is on disk: however the sink went, nothing is lost with it.
            self.phase = Phase.DONE
        elif self.phase is Phase.SINK:
            self._await_sink(self.nodes["sink"])
        return self.phase is not before

    def _await_sink(self, sink: NodeProcess) -> None:
        """End a sink that has been asked to finish and gets no further."""
        figures = sink.status.stats if sink.status is not None else {}
        if figures != self._sink_figures:
            self._sink_figures = figures
            self._hurry = self._clock() + _SINK_PATIENCE_S
        elif self._clock() > self._hurry:
            self._fail(sink, f"was asked to finish and got no further for {_SINK_PATIENCE_S:.0f} s")

    @property
    def _workers(self) -> list[str]:
        return [name for name in self.nodes if name not in ("ingest", "sink")]

    @property
    def _settled(self) -> float:
        """Frames on disk, as far as the sink has said."""
        sink = self.nodes["sink"]
        return sink.stat("done") + sink.stat("failed")

    def _revive(self, node: NodeProcess) -> None:
        """Start a node again that has died, after a pause that grows with each time."""
        if node.alive or self.over:
            return
        now = self._clock()
        if node.process is not None:
            code, why = node.process.poll(), node.process.why
            node.process = None
            if code == _USER_ERROR:
                self.mistake = True
                self._fail(node, "")
                return
            if now - node.started > _GOOD_SPELL_S:
                node.deaths = node.in_vain = 0
            node.deaths += 1
            # What kills a node may be a frame, of which there may be many: the run gets on.
            if self._settled > node.settled:
                node.in_vain = 0
            node.in_vain += 1
            node.settled = self._settled
            if node.in_vain > self._restarts:
                self._fail(node, f"died {node.in_vain} times")
                return
            if node.status is not None and node.spec.role != "sink":  # which counts what is on disk
                for name in _COUNTED:
                    node.past[name] = node.stat(name)
            node.status = None
            pause_s = 0.1 * 2 ** (node.in_vain - 1)
            if node.deaths > self._restarts:
                pause_s = max(pause_s, _PAUSE_S)
            node.due = now + min(pause_s, _LONGEST_PAUSE_S)
            logger.warning("%s died (%s): starting it again", node.spec.name, why)
        elif now >= node.due:
            node.spec = msgspec.structs.replace(node.spec, incarnation=node.spec.incarnation + 1)
            try:
                self._spawn(node)
            except OSError as error:  # no room, no memory, no file left: there may be some soon
                node.due = now + _LONGEST_PAUSE_S
                logger.warning("%s cannot be started, trying again: %s", node.spec.name, error)
                return
            node.restarts += 1
            self.restarted += 1
            if self.phase is Phase.STOPPING and node.spec.name == "ingest":
                self._signal("ingest", signal.SIGTERM)

    def _spawn(self, node: NodeProcess) -> None:
        node.started = self._clock()
        node.process = self._placement.start(node.spec, node.log)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.nodes[name].process
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def _fail(self, node: NodeProcess, what: str) -> None:
        last = _last_line(node.log)
        self.reason = last if self.mistake else f"{node.spec.name} {what}; its last words: {last}"
        self.phase = Phase.FAILED
        self.kill()


def countable(status: Status) -> Status:
    """Return a report without the figures that cannot be counted or shown."""
    odd = [name for name, figure in status.stats.items() if not abs(figure) < _MOST_COUNTED]
    if not odd:
        return status
    logger.warning("figures of %s left out: %s", status.node, ", ".join(odd))
    stats = {name: figure for name, figure in status.stats.items() if name not in odd}
    return msgspec.structs.replace(status, stats=stats)


def _last_line(log: Path) -> str:
    """Return the last line a node printed; of an error message, without the word ``error``."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].removeprefix("error: ") if lines else f"(nothing; see {log})"
