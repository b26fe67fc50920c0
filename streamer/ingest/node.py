"""The ingest node: gives every frame a number and keeps it until its result is on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import zmq
from msgspec.structs import replace

from streamer.config import Config
from streamer.frames.events import Frame, Gap, Series
from streamer.ingest.accounts import SeriesAccounts
from streamer.ingest.backlog import make_backlog
from streamer.ingest.delivery import Delivery
from streamer.ingest.failed import FailedFrames
from streamer.ingest.open_series import Numbers, OpenSeries
from streamer.ingest.thresholds import LiveThresholds
from streamer.sources.base import Hasty, Joined, Source
from streamer.transport.messages import EPOCH
from streamer.transport.metrics import Metrics

__all__ = ["Ingest"]

_AT_ONCE = 64
_SILENT_S = 2.0
_LATE_S, _LATE_FRAMES = 5.0, 3.0
"""After so long, and so many times the time of a frame, what was announced is late."""


class Ingest:
    """Takes frames from a source, not decoded, and sends each to one detector worker.

    Parameters
    ----------
    source
        Where frames come from.
    frames_address
        Where to publish them.
    acks_address
        Where the sink publishes its acknowledgements.
    out
        Run folder: frames that failed and frames that must wait are kept below it.
    incarnation
        How often this node was started before in this run.
    detectors
        Workers for frames that there will be.
    slow
        A worker takes long for a frame: no other frame should wait behind it in its message.
    info
        What else to report.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        source: Source,
        metrics: Metrics,
        *,
        frames_address: str,
        acks_address: str,
        out: Path,
        incarnation: int = 0,
        detectors: int = 1,
        slow: bool = False,
        info: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._metrics = metrics
        metrics.stages.expect("read")
        metrics.flow.live.set(source.live)
        metrics.queues.window_limit.set(config.transport.window_frames)
        self._info = dict(info or {})
        window_bytes = config.transport.window_bytes(detectors)
        self._delivery = Delivery(
            context,
            config,
            FailedFrames(out / "failed"),
            frames_address=frames_address,
            acks_address=acks_address,
            window_bytes=window_bytes,
            slow=slow,
        )
        self._backlog = make_backlog(config, out, live=source.live, window_bytes=window_bytes)
        self._accounts = SeriesAccounts()
        # A recording is read again from its start and gives the same numbers.
        self._numbers = Numbers(incarnation * EPOCH if source.live else 0)
        self._series = OpenSeries(source, self._accounts, self._delivery, self._numbers, out)
        self._thresholds = LiveThresholds(
            out, self._delivery.announce_thresholds, listens=config.dashboard.control
        )
        # What is on disk is known before it would be sent.
        self._reads_again = incarnation > 0 and not source.live
        self._shed: list[Frame] = []  # since the source was read
        self._n_early = 0  # frames before anybody could work on them
        self._stopping = self._at_end = False
        self._heard, self._patience_s = time.monotonic(), _LATE_S
        if self._numbers.upcoming:
            self._series.follow(self._backlog)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        sockets = self._delivery.sockets
        if self._may_read and not self._stopping and self._source.socket is not None:
            sockets.append(self._source.socket)
        return sockets

    @property
    def finished(self) -> bool:
        """True when the source has no more and every frame's result is on disk."""
        return (
            (self._source.exhausted or self._stopping)
            and not self._accounts.open
            and not self._backlog
            and self._delivery.window.n_frames == 0
        )

    def step(self) -> float:
        """Move what can be moved."""
        self._delivery.update()
        self._backlog.settle(self._delivery.upto)
        self._thresholds.look(self._first_untold)
        moved = self._drain_backlog()
        self._backlog.retry()
        if not self._stopping and self._may_begin:
            moved += self._read()
        if not self._backlog:
            if self._source.exhausted:
                self._series.end_all("end of source")
            elif self._stopping and self._source.live:
                self._series.end_all("stopped")
            elif self._stopping:
                self._accounts.open.clear()
        if self._source.exhausted and not self._at_end:
            self._at_end = True
            self._series.leave()
        looks_about = self._may_begin and self._may_read
        if looks_about and self._source.socket is None and not self._source.exhausted:
            return 0.0 if moved else 0.002
        return 0.0 if moved else 0.05

    def stop(self) -> None:
        """Read no more; what was read still goes its way.

        A recording's series stays open, for its next frame has the number that its end would take:
        a run that goes on with it would never send that frame.
        """
        self._stopping = True

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the node does, in words and figures."""
        # That a sender went away is no message, and at the end of its series no wonder.
        ignored = {
            name: count
            for name, count in self._source.counters.items()
            if count and name != "disconnects"
        }
        stats: dict[str, float] = {
            "received": self._accounts.n_frames,
            "bytes": self._accounts.n_bytes,
            "redelivered": self._delivery.redelivered,
            "window": self._delivery.window.n_frames,
            "backlog": len(self._backlog),
            "workers": self._delivery.n_workers,
            "begun": self._delivery.has_begun,
            "early": self._n_early,
            "ignored": sum(ignored.values()),
        }
        series = self._accounts.news()
        self._metrics.queues.window.set(stats["window"])
        self._metrics.queues.backlog.set(stats["backlog"])
        self._metrics.queues.spool.set(self._backlog.size)
        self._metrics.queues.show_workers(self._delivery.loads)
        self._metrics.queues.show_series([series[name] for name in self._accounts.open])
        self._metrics.flow.count_received(self._accounts.n_frames, self._accounts.n_bytes)
        self._metrics.flow.count_redelivered(self._delivery.redelivered)
        self._metrics.flow.count_incidents(self._source.counters)
        words = ", ".join(f"{count:,} {name}" for name, count in ignored.items())
        is_late = self._source.live and self._silent_s > self._patience_s
        late = self._accounts.awaited() if is_late else ""
        books = {f"series/{name}": json.dumps(book) for name, book in series.items()}
        info = {"ignored": words, "gone": self._gone(), "late": late, **books, **self._info}
        return self._doing(), {name: float(figure) for name, figure in stats.items()}, info

    def close(self) -> None:
        """Release the source, sockets and files."""
        if self.finished:
            self._series.clear()
        self._source.close()
        self._backlog.close()
        self._delivery.close()

    def _gone(self) -> str:
        """Say that the sender went away while there may be more to come; empty if it did not."""
        if self._stopping or self._source.exhausted or not isinstance(self._source, Joined):
            return ""
        if not (gone_s := self._source.gone_s):
            return ""
        since = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() - gone_s))
        return f"detector gone since {since}, trying again"

    def _doing(self) -> str:
        window = self._delivery.window
        if self._stopping or self._source.exhausted:
            return f"{window.n_frames} frames on their way"
        if not self._delivery.n_workers:
            return "waiting for detector workers"
        if not window.has_room:
            return "window full, holding the source back"
        if not self._accounts.open:
            return "waiting for a series"
        series = self._accounts.open[-1]
        if self._silent_s > _SILENT_S:
            return f"no frame of series {series} for {self._silent_s:.0f} s"
        return f"reading series {series}"

    @property
    def _silent_s(self) -> float:
        """Seconds in which the source could have given something, and did not."""
        return time.monotonic() - self._heard

    @property
    def _may_begin(self) -> bool:
        """Tell whether those who take part are there; a detector waits for nobody."""
        if self._source.live:
            return True
        return self._delivery.has_begun and (not self._reads_again or self._delivery.knows_sink)

    def _first_untold(self) -> int:
        """Return the number of the first frame that no worker can have got."""
        upcoming = self._numbers.upcoming
        if self._reads_again:  # what an earlier node of this run has sent is sent again
            upcoming = max(upcoming, self._delivery.upto + self._delivery.window.most_frames)
        return upcoming

    @property
    def _may_read(self) -> bool:
        if not self._backlog.holds_back:
            return True
        # A recording waits as well where it is: what is read ahead of all need is memory that was
        # never used before, and has left the cache by the time it is sent.
        return self._delivery.window.has_room and (self._source.live or not self._delivery.waits)

    def _read(self) -> int:
        """Take what the source has, as far as there is room, and send it on."""
        if not self._may_read:
            self._heard = time.monotonic()  # nobody listened
            return 0
        if self._reads_again and isinstance(self._source, Hasty):
            self._source.hurry(self._delivery.upto - self._numbers.upcoming)
        begun = time.perf_counter()
        room = self._delivery.window.room(_AT_ONCE)
        events = self._source.read(room if self._backlog.holds_back else _AT_ONCE)
        now = time.time_ns()
        if events:
            self._heard = time.monotonic()
            self._metrics.flow.last_frame.set_to_current_time()
            self._metrics.stages.busy.labels("read").observe(time.perf_counter() - begun)
        batch: list[Frame] = []
        for event in events:
            if isinstance(event, Frame):
                self._take(replace(event, seq=self._numbers.take(), received_ns=now), batch)
                continue
            self._delivery.send(batch)
            batch = []
            if isinstance(event, Series):
                self._begin(event)
            elif isinstance(event, Gap):
                self._accounts.skip(event)
                self._delivery.tell(replace(event, seq=self._numbers.take()))
            else:
                self._series.end(event)
        self._delivery.send(batch)
        self._delivery.shed(self._shed, "newer frames came")
        self._shed.clear()
        return len(events)

    def _take(self, frame: Frame, batch: list[Frame]) -> None:
        """Add a frame to those that are sent at once, or let it wait."""
        self._n_early += not self._delivery.has_begun
        self._thresholds.note(frame)
        if self._accounts.receive(frame):
            self._series.leave()
        if not self._backlog and self._delivery.window.has_room and self._backlog.log(frame):
            batch.append(frame)
            return
        self._shed += self._backlog.push(frame)

    def _drain_backlog(self) -> int:
        batch: list[Frame] = []
        window = self._delivery.window
        # Gaps and ends that fill the window may come after what waits, and wait for it in turn.
        while (
            self._backlog
            and len(batch) < _AT_ONCE
            and (window.has_room or not (batch or window.has_frames))
        ):
            batch.append(self._backlog.pop())
        self._delivery.send(batch)
        return len(batch)

    def _begin(self, series: Series) -> None:
        self._backlog.begin(series)
        if self._series.begin(series):
            self._patience_s = max(_LATE_S, _LATE_FRAMES * (series.frame_time_s or 0.0))
            self._metrics.flow.series.inc()
