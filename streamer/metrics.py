"""Prometheus metrics of one node, served on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics import disable_created_metrics

from streamer.errors import UserError

__all__ = ["Metrics"]

_SECONDS = (
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
)  # fmt: skip
_PATCHES = (1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_PIXELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_SIGMAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_STATES = ("received", "done", "failed", "missing", "shed", "duplicate")


class Metrics:
    """The counters every role has; a role leaves at zero what it has no use for.

    Parameters
    ----------
    registry
        Where they are registered; a new one when not given.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        self.frames = Counter(
            "braggstream_frames", "Frames by state", ["state"], registry=self.registry
        )
        for state in _STATES:
            self.frames.labels(
                state
            )  # a series that starts at zero has a rate from the first event
        self.peaks = Counter("braggstream_peaks", "Peaks handled", registry=self.registry)
        self.bytes = Counter(
            "braggstream_received_bytes", "Coded pixels taken in", registry=self.registry
        )
        self.messages_refused = Counter(
            "braggstream_messages_refused",
            "Messages that did not fit their schema",
            registry=self.registry,
        )
        self.redelivered = Counter(
            "braggstream_redelivered_frames",
            "Frames sent again after a worker was lost or late",
            registry=self.registry,
        )
        self.window = Gauge(
            "braggstream_window_frames",
            "Frames on their way that are not yet on disk",
            registry=self.registry,
        )
        self.backlog = Gauge(
            "braggstream_backlog_frames",
            "Frames waiting in this node",
            registry=self.registry,
        )
        self.busy = Histogram(
            "braggstream_stage_duration_seconds",
            "Time spent on one message or batch",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.latency = Histogram(
            "braggstream_frame_latency_seconds",
            "From a frame's arrival to its result on disk",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "braggstream_batch_size_patches",
            "Patches in one batch",
            buckets=_PATCHES,
            registry=self.registry,
        )
        self.disagreement_px = Histogram(
            "braggstream_model_disagreement_pixels",
            "Distance of the model's position from that of a fit, for a share of the peaks",
            buckets=_PIXELS,
            registry=self.registry,
        )
        self.disagreement_sigmas = Histogram(
            "braggstream_model_disagreement_sigmas",
            "The same in standard deviations of the fit",
            buckets=_SIGMAS,
            registry=self.registry,
        )
        self._sent_again = 0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observe the time a block takes as that of `stage`."""
        start = perf_counter()
        yield
        self.busy.labels(stage).observe(perf_counter() - start)

    def count_redelivered(self, total: int) -> None:
        """Bring the counter of redelivered frames up to a publisher's own total."""
        self.redelivered.inc(total - self._sent_again)
        self._sent_again = total

    def value(self, name: str, **labels: str) -> float:
        """Return the present value of a sample; 0 when there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def serve(self, host: str, port: int) -> int:
        """Serve the metrics over HTTP from a thread and return the port.

        Raises
        ------
        UserError
            The port is in use.
        """
        try:
            server, _ = start_http_server(port, host, registry=self.registry)
        except OSError as error:
            raise UserError(
                f"cannot serve metrics on {host}:{port} ({error.strerror}): set metrics.base_port "
                "to a free port, or to 0"
            ) from None
        return int(server.server_port)
