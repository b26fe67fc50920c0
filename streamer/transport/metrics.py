"""Prometheus metrics of one node, served on a port of its own.

Which node they are of is not said here: a Prometheus learns role, name and run of a node from the
list of targets that the launcher keeps, see `streamer.run.targets`.
"""

from __future__ import annotations

import platform
import select
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    make_asgi_app,
)
from prometheus_client.metrics import disable_created_metrics

from streamer.errors import UserError
from streamer.transport.counts import Counts
from streamer.transport.guard import Guard

__all__ = [
    "INCIDENTS",
    "RANKS",
    "FlowMetrics",
    "Lap",
    "Metrics",
    "QueueMetrics",
    "ScienceMetrics",
    "StageMetrics",
]

# Frames come every 100 us (10 kHz) to every few seconds: what a stage takes compares with that.
_WORK_S = (
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
)  # fmt: skip
# From a few frame periods up to what a full spool needs.
_LATENCY_S = (
    1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
_PATCHES = (1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_PIXELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_SIGMAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_STATES = ("received", "done", "failed", "missing", "shed", "duplicate")

INCIDENTS = (
    "disconnects", "dropped", "duplicates", "ignored", "late", "malformed", "not_recorded",
    "skipped", "stray", "other",
)  # fmt: skip
"""What a source may count; ``other`` stands for what a source counts beyond that."""
RANKS = 10
"""Tracks whose drift is exported."""
_MOST_TRACKS = 50
_MOST_ALARMS = 200


class FlowMetrics:
    """What came and what became of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.frames = _counter(registry, "frames", "Frames by state", "state")
        for state in _STATES:
            # A series that starts at zero has a rate from the first event.
            self.frames.labels(state)
        self.peaks = _counter(registry, "peaks", "Peaks handled")
        self.bytes = _counter(registry, "received_bytes", "Coded pixels taken in")
        self.series = _counter(registry, "series", "Series that began")
        self.messages_refused = _counter(
            registry, "messages_refused", "Messages that did not fit their schema"
        )
        self.decode_errors = _counter(
            registry, "decode_errors", "Frames whose coded pixels could not be read"
        )
        self.redelivered = _counter(
            registry, "redelivered_frames", "Frames sent again after a worker was lost or late"
        )
        self.incidents = _counter(
            registry, "source_incidents", "What the source met that gave no frame", "reason"
        )
        self.live = _gauge(
            registry, "source_live", "1 where frames not taken in time are lost, 0 for a recording"
        )
        self.last_frame = _gauge(
            registry,
            "last_frame_timestamp_seconds",
            "When this node last had a frame or a series began",
        )
        self._totals: dict[Counter, int] = {}

    def show(self, counts: Counts) -> None:
        """Bring frames, peaks and refused messages up to what the node itself counted."""
        for state, count in counts.frames.items():
            self._follow(self.frames.labels(state), count)
        self._follow(self.peaks, counts.peaks)
        self._follow(self.messages_refused, counts.refused)

    def count_received(self, frames: int, n_bytes: int) -> None:
        """Bring what was taken in up to a node's own totals."""
        self._follow(self.frames.labels("received"), frames)
        self._follow(self.bytes, n_bytes)

    def count_redelivered(self, total: int) -> None:
        """Bring the counter of redelivered frames up to a publisher's own total."""
        self._follow(self.redelivered, total)

    def count_incidents(self, totals: Mapping[str, int]) -> None:
        """Bring the counters of what gave no frame up to a source's own totals."""
        sums = dict.fromkeys(INCIDENTS, 0)
        for name, total in totals.items():
            reason = name.replace(" ", "_")
            sums[reason if reason in sums else "other"] += total
        for reason, total in sums.items():
            self._follow(self.incidents.labels(reason), total)

    def _follow(self, counter: Counter, total: int) -> None:
        before = self._totals.get(counter, 0)
        counter.inc(max(0, total - before))
        self._totals[counter] = max(total, before)


class QueueMetrics:
    """What waits, and where."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.window = _gauge(
            registry, "window_frames", "Frames on their way that are not yet on disk"
        )
        self.window_limit = _gauge(registry, "window_limit_frames", "Most that may be on their way")
        self.backlog = _gauge(registry, "backlog_frames", "Frames waiting in this node")
        self.spool = _gauge(registry, "spool_bytes", "Frames waiting on disk")
        self.workers = _gauge(registry, "workers", "Workers that take what this node sends")
        self.outstanding = _gauge(
            registry, "worker_outstanding_frames", "Frames a worker has before it", "worker"
        )
        self.open_series = _gauge(registry, "open_series", "Series that have begun and not ended")
        self.announced = _gauge(
            registry,
            "open_series_announced_frames",
            "Frames that the source said the open series have",
        )
        self.received = _gauge(
            registry, "open_series_received_frames", "Frames of the open series that have come"
        )
        self._shown: set[str] = set()

    def show_workers(self, loads: Mapping[str, int]) -> None:
        """Show how many frames each of the workers has before it that there are now."""
        self.workers.set(len(loads))
        for gone in self._shown - loads.keys():
            self.outstanding.remove(gone)
        for worker, load in loads.items():
            self.outstanding.labels(worker).set(load)
        self._shown = set(loads)

    def show_series(self, books: Iterable[Mapping[str, int | None]]) -> None:
        """Show the books of the open series: frames ``announced`` (None: unknown), ``received``."""
        books = list(books)
        self.open_series.set(len(books))
        self.announced.set(sum(book["announced"] or 0 for book in books))
        self.received.set(sum(book["received"] or 0 for book in books))


@dataclass(slots=True)
class Lap:
    """One piece of work."""

    seconds: float = 0.0
    """What it took, once it is done."""


class StageMetrics:
    """How long things take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.busy = _histogram(
            registry,
            "stage_duration_seconds",
            "Time spent on one frame, message or batch",
            _WORK_S,
            "stage",
        )
        self.latency = _histogram(
            registry,
            "frame_latency_seconds",
            "From a frame's arrival until a stage was done with it; after `commit` it is on disk",
            _LATENCY_S,
            "stage",
        )

    def expect(self, *stages: str) -> None:
        """Name stages that will be timed, so that they are there from the start."""
        for stage in stages:
            self.busy.labels(stage)

    @contextmanager
    def timed(self, stage: str) -> Iterator[Lap]:
        """Observe the time a block takes as that of `stage`, and say it."""
        lap, start = Lap(), perf_counter()
        yield lap
        lap.seconds = perf_counter() - start
        self.busy.labels(stage).observe(lap.seconds)

    def note_latency(self, stage: str, received_ns: Iterable[int]) -> None:
        """Observe how long ago frames came in that `stage` is done with: Unix times in ns."""
        now, latency = time.time_ns(), self.latency.labels(stage)
        for received in received_ns:
            latency.observe((now - received) / 1e9)


class ScienceMetrics:
    """What the answers are like."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batch = _histogram(registry, "batch_size_patches", "Patches in one batch", _PATCHES)
        self.disagreement_px = _histogram(
            registry,
            "model_disagreement_pixels",
            "Distance of the model's position from that of a fit, for a share of the peaks",
            _PIXELS,
        )
        self.disagreement_sigmas = _histogram(
            registry,
            "model_disagreement_sigmas",
            "The same in standard deviations of the fit",
            _SIGMAS,
        )
        self.tracks = _gauge(registry, "tracks", "Tracks seen often enough to count")
        self._drift = [
            _gauge(
                registry, name, f"{what}, for the tracks of the most significant drifts", "track"
            )
            for name, what in (
                ("track_drift_pixels", "Drift on the detector"),
                ("track_drift_sigma_pixels", "Its standard deviation"),
                ("track_strain_microstrain", "Relative change of the spacing, in millionths"),
            )
        ]
        self._alarm = _gauge(
            registry,
            "track_alarm_severity",
            "1 where a limit of `alarms` is passed, 2 where it is lolo or hihi, 0 again after that",
            "track",
            "quantity",
        )
        self._drifting: dict[int, None] = {}
        self._alarmed: set[tuple[int, str]] = set()

    @property
    def drifting(self) -> Collection[int]:
        """Tracks that are shown: who was once among the first is, until there are too many."""
        return self._drifting.keys()

    def show_tracks(self, count: int, top: Sequence[tuple[int, float, float, float]]) -> None:
        """Show the number of tracks and the drift of some, each under its own label for good.

        Parameters
        ----------
        count
            Tracks that were seen often enough.
        top
            Track, drift and its standard deviation in pixels, and strain (1e-3 is 1000 microstrain)
            of the tracks with the most significant drifts, in this order, and of those `drifting`.
        """
        self.tracks.set(count)
        for track, drift, sigma, strain in top:
            self._drifting.setdefault(track)
            for gauge, value in zip(self._drift, (drift, sigma, strain * 1e6), strict=True):
                gauge.labels(str(track)).set(value)
        if len(self._drifting) > _MOST_TRACKS:
            first = {track for track, *_ in top[:RANKS]}
            for track in [one for one in self._drifting if one not in first]:
                del self._drifting[track]
                for gauge in self._drift:
                    gauge.remove(str(track))
                if len(self._drifting) <= _MOST_TRACKS:
                    break

    def show_alarms(self, severities: Mapping[tuple[int, str], int]) -> None:
        """Show which quantities of tracks are in alarm, and how badly, by (track, quantity).

        An alarm that is over is 0; of very many only the first are shown.
        """
        for track, quantity in self._alarmed - severities.keys():
            self._alarm.labels(str(track), quantity).set(0)
        for (track, quantity), severity in severities.items():
            if (track, quantity) in self._alarmed or len(self._alarmed) < _MOST_ALARMS:
                self._alarmed.add((track, quantity))
                self._alarm.labels(str(track), quantity).set(severity)


class Metrics:
    """The metrics every role has, in groups; a role leaves at zero what it has no use for.

    Parameters
    ----------
    registry
        Where they are registered; a new one when not given.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        # Tells when the process began, what memory it has and what it uses of the processor.
        ProcessCollector(registry=self.registry)
        Info("braggstream_build", "What is running", registry=self.registry).info(
            {"version": version("braggstream"), "python": platform.python_version()}
        )
        self.flow = FlowMetrics(self.registry)
        self.queues = QueueMetrics(self.registry)
        self.stages = StageMetrics(self.registry)
        self.science = ScienceMetrics(self.registry)

    def value(self, name: str, **labels: str) -> float:
        """Return the present value of a sample; 0 when there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def serve(self, host: str, port: int, token: str | None = None) -> int:
        """Serve the metrics over HTTP from a thread and return the port.

        Parameters
        ----------
        host, port
            Where; port 0 lets the system choose one.
        token
            Who has not got it is not served; None: nobody needs one.

        Raises
        ------
        UserError
            The port is in use.
        """
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server((host, port), family=family)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot serve metrics on {host}:{port} ({why}): set metrics.base_port "
                "to a free port, or to 0"
            ) from None
        app = Guard(make_asgi_app(self.registry), token, host)
        threading.Thread(target=_serve, args=(app, listener), name="metrics", daemon=True).start()
        return int(listener.getsockname()[1])


def _serve(app: Guard, listener: socket.socket) -> None:
    """Serve from the first time on that somebody asks: many nodes are never asked."""
    select.select([listener], [], [])
    from streamer.transport.web import web_server

    web_server(app, lifespan="off", ws="none").run([listener])


def _counter(registry: CollectorRegistry, name: str, what: str, *labels: str) -> Counter:
    return Counter(f"braggstream_{name}", what, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, what: str, *labels: str) -> Gauge:
    return Gauge(f"braggstream_{name}", what, labels, registry=registry)


def _histogram(
    registry: CollectorRegistry, name: str, what: str, buckets: Sequence[float], *labels: str
) -> Histogram:
    return Histogram(f"braggstream_{name}", what, labels, buckets=buckets, registry=registry)
