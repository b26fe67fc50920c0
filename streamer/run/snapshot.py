"""The state of a run at one moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from streamer.results.summary import Delivery

if TYPE_CHECKING:  # who reads a state needs nobody to look after processes
    from streamer.run.supervisor import NodeProcess, Supervisor

__all__ = [
    "LIVE_FILE",
    "STATES",
    "NodeView",
    "Snapshot",
    "Waiting",
    "delivery_of",
    "disagreement",
    "take_snapshot",
]

LIVE_FILE = "live.json"
"""State of a run that goes on, rewritten every second."""

STATES = ("done", "failed", "missing", "shed")
"""What becomes of a frame."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node of a run, as shown."""

    name: str
    doing: str
    rate: str
    restarts: int
    pid: int
    alive: bool
    host: str = ""
    """Where it runs, if that is not where the launcher does."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Frames that have no result yet."""

    window: int
    """Those on their way to the disk."""
    backlog: int
    """Those that came and wait for a place among these."""
    late: str
    """Those that were announced and do not come, in words, while a live source is silent."""
    gone: str = ""
    """That the detector went away, in words."""
    disk: str = ""
    """Why the disk takes no results, in words."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    phase: str
    source: str
    feed: str
    relay: str
    elapsed_s: float
    expected: int | None
    """Frames the source announced, if it did."""
    received: int
    frames: dict[str, int]
    """Frames on disk by state."""
    peaks: int
    latency_ms: float
    waiting: Waiting
    delivery: Delivery
    disagreement_px: float | None
    """Median distance of the model's positions from fits, if any were made."""
    nodes: list[NodeView]
    troubles: dict[str, int]
    """What went wrong beside the run, and how often."""
    cell: str = ""
    """What of the cell's readings could not be read, in words."""
    alarms: str = ""
    """Which tracks are beyond limits, in words."""
    start: str = ""
    """What takes long before all nodes are at work, in words."""

    @property
    def settled(self) -> int:
        """Frames that are in their final state."""
        return sum(self.frames.values())

    @property
    def processed(self) -> int:
        """Those of them that came."""
        return self.settled - self.frames.get("missing", 0)


def take_snapshot(
    supervisor: Supervisor,
    source: str,
    started: float,
    expected: int | None,
    troubles: Mapping[str, int] | None = None,
    cell: Callable[[], str] = str,
) -> Snapshot:
    """Return how a run stands.

    Parameters
    ----------
    started
        Unix time in seconds.
    cell
        Returns what of the cell's readings could not be read, in words.
    """
    nodes = supervisor.nodes
    sink, ingest = nodes["sink"], nodes["ingest"]
    return Snapshot(
        phase=supervisor.phase.value,
        source=source,
        feed=sink.status.info.get("feed", "") if sink.status else "",
        relay=ingest.status.info.get("relay", "") if ingest.status else "",
        elapsed_s=time.time() - started,
        expected=_announced(ingest.info) if expected is None else expected,
        received=int(ingest.stat("received")),
        frames={state: int(sink.stat(state)) for state in STATES},
        peaks=int(sink.stat("peaks")),
        latency_ms=sink.stat("latency_ms"),
        waiting=Waiting(
            int(ingest.stat("window")),
            int(ingest.stat("backlog")),
            ingest.status.info.get("late", "") if ingest.status else "",
            ingest.status.info.get("gone", "") if ingest.status else "",
            sink.status.info.get("disk", "") if sink.status else "",
        ),
        delivery=delivery_of(supervisor),
        disagreement_px=disagreement(supervisor),
        nodes=[_node_view(node) for node in nodes.values()],
        troubles=dict(troubles or {}),
        cell=cell(),
        alarms=sink.status.info.get("alarms", "") if sink.status else "",
        start=_start(nodes.values()),
    )


def _announced(info: Mapping[str, str]) -> int | None:
    """Return how many frames the series of a live source have, by what was announced of each."""
    books = [text for key, text in info.items() if key.startswith("series/")]
    try:
        counts = [msgspec.json.decode(text, type=_Announced).announced for text in books]
    except (ValueError, RecursionError):
        return None
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


class _Announced(msgspec.Struct):
    announced: int | None = None


def _start(nodes: Iterable[NodeProcess]) -> str:
    """Return what nodes that are not yet at work say, but that they are starting."""
    said = [node.status.doing for node in nodes if node.status and node.status.state == "starting"]
    return next((doing for doing in said if doing != "starting"), "")


def _node_view(node: NodeProcess) -> NodeView:
    status = node.status
    doing = status.doing if status else ("starting" if node.alive else "being started again")
    role = node.spec.role
    if role == "ingest":
        so_far = f"{node.stat('received'):,.0f} frames in, {node.stat('bytes') / 1e6:,.0f} MB"
    elif role == "sink":
        so_far = f"{node.stat('done'):,.0f} frames on disk"
    elif role == "gpu":
        so_far = f"{node.stat('peaks'):,.0f} peaks, {node.stat('batch'):,.0f} a batch"
    else:
        so_far = f"{node.stat('frames'):,.0f} frames, {node.stat('peaks'):,.0f} peaks"
    pid = node.process.pid if node.process else 0
    host = ""
    if status is not None:
        pid, host = status.pid, status.host
    return NodeView(node.spec.name, doing, so_far, node.restarts, pid, node.alive, host)


def delivery_of(supervisor: Supervisor) -> Delivery:
    """Return what had to be put right in a run so far."""
    nodes = supervisor.nodes
    ingest = nodes["ingest"].status
    return Delivery(
        redelivered=int(sum(node.stat("redelivered") for node in nodes.values())),
        duplicates=int(nodes["sink"].stat("duplicate")),
        restarts=supervisor.restarted,
        refused=int(sum(node.stat("refused") for node in nodes.values())),
        ignored=ingest.info.get("ignored", "") if ingest else "",
        disk_errors=int(nodes["sink"].stat("disk_errors")),
        early=int(nodes["ingest"].stat("early")),
    )


def disagreement(supervisor: Supervisor) -> float | None:
    """Return the largest of the GPU workers' median distances of model and fit in pixels."""
    values = [
        node.status.stats["disagreement_px"]
        for node in supervisor.nodes.values()
        if node.status is not None and "disagreement_px" in node.status.stats
    ]
    return max(values, default=None)
