"""The ingest node: gives every frame a number and keeps it until its result is on disk."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import zmq
from msgspec.structs import replace

from streamer.config import Config
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.ingest.backlog import Backlog, Newest, Spool
from streamer.ingest.failed import FailedFrames
from streamer.ingest.state import StateFile
from streamer.sources.base import Resumable, Source
from streamer.transport.acks import AckListener
from streamer.transport.messages import EPOCH, Frames, pack, unpack
from streamer.transport.metrics import Metrics
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS, FAR_END

__all__ = ["Ingest"]

logger = logging.getLogger(__name__)

_BUNDLE_BYTES = 8 << 20
_AT_ONCE = 64
_SILENT_S = 2.0


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
        info: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._metrics = metrics
        metrics.stages.expect("read")
        metrics.flow.live.set(source.live)
        metrics.queues.window_limit.set(config.transport.window_frames)
        self._out = out
        self._failed = FailedFrames(out / "failed")
        self._info = dict(info or {})
        self._transport = config.transport
        # The reference finder takes seconds for a frame: no other frame should wait behind it.
        reference = config.detect.finder == "findpeaks"
        self._bundle_frames = 1 if reference else config.transport.bundle_frames
        self._publisher = Publisher(
            context,
            frames_address,
            prefetch=config.transport.prefetch_frames,
            ack_timeout_s=config.transport.ack_timeout_s,
            max_tries=config.transport.max_tries,
            on_failed=self._give_up,
            heartbeat_ms=config.transport.heartbeat_ms,
        )
        self._acks = AckListener(context, acks_address, self._publisher)
        # A recording is read again from its start and gives the same numbers.
        self._seq = incarnation * EPOCH if source.live else 0
        self._window_bytes = 0
        self._sizes: dict[int, int] = {}
        self._backlog = self._make_backlog(config)
        self._stopping = False
        self._heard = time.monotonic()
        self._open: list[str] = []
        self._books: dict[str, dict[str, Any]] = {}
        self._ended: deque[tuple[str, int]] = deque()
        self._state_file = StateFile(out)
        if self._seq:
            # The sink stops waiting for what this node's predecessor had in hand.
            reason = "the ingest node was started again"
            self._tell(SeriesEnd(series="", reason=reason, seq=self._next_seq()))
            self._follow()

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        sockets = [self._publisher.socket, self._acks.socket]
        may_read = self._backlog is not None or self._has_room
        if may_read and not self._stopping and self._source.socket is not None:
            sockets.append(self._source.socket)
        return sockets

    @property
    def finished(self) -> bool:
        """True when the source has no more and every frame's result is on disk."""
        return (
            (self._source.exhausted or self._stopping)
            and not self._open
            and not self._waiting
            and self._publisher.outstanding == 0
        )

    def step(self) -> float:
        """Move what can be moved."""
        for seq, reason in self._acks.listen():
            parcel = self._publisher.find(seq)
            if parcel is not None:
                self._set_aside(parcel, seq, reason)
        self._acks.commit()
        self._publisher.pump()
        self._metrics.flow.count_redelivered(self._publisher.redelivered)
        self._shrink_window()
        moved = self._drain_backlog()
        if not self._stopping and (self._source.live or self._publisher.members(DETECTORS)):
            moved += self._read()
        if (self._stopping or self._source.exhausted) and not self._waiting:
            self._close_series("end of source" if self._source.exhausted else "stopped")
        if moved or not self._has_room:
            return 0.0 if moved else 0.05
        return 0.05 if self._source.socket is not None or self._source.exhausted else 0.002

    def stop(self) -> None:
        """Read no more; what was read still goes its way."""
        self._stopping = True

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the node does, in words and figures."""
        workers = len(self._publisher.members(DETECTORS))
        if self._stopping or self._source.exhausted:
            doing = f"{self._publisher.outstanding} frames on their way"
        elif not workers:
            doing = "waiting for detector workers"
        elif not self._has_room:
            doing = "window full, holding the source back"
        elif not self._open:
            doing = "waiting for a series"
        elif (silent := time.monotonic() - self._heard) > _SILENT_S:
            doing = f"no frame of series {self._open[-1]} for {silent:.0f} s"
        else:
            doing = f"reading series {self._open[-1]}"
        value = self._metrics.value
        stats = {
            "received": value("braggstream_frames_total", state="received"),
            "bytes": value("braggstream_received_bytes_total"),
            "redelivered": value("braggstream_redelivered_frames_total"),
            "window": float(self._publisher.outstanding),
            "backlog": float(self._waiting),
            "workers": float(workers),
        }
        self._metrics.queues.window.set(stats["window"])
        self._metrics.queues.backlog.set(stats["backlog"])
        self._metrics.queues.spool.set(
            self._backlog.size if isinstance(self._backlog, Spool) else 0
        )
        self._metrics.queues.show_workers(self._publisher.loads(DETECTORS))
        self._metrics.queues.show_series([self._books[name] for name in self._open])
        self._metrics.flow.count_incidents(self._source.counters)
        ignored = {name: count for name, count in self._source.counters.items() if count}
        stats["ignored"] = float(sum(ignored.values()))
        words = ", ".join(f"{count:,} {name}" for name, count in ignored.items())
        return (
            doing,
            stats,
            {
                "ignored": words,
                "series": json.dumps(self._books),
                **self._info,
            },
        )

    def close(self) -> None:
        """Release the source, sockets and files."""
        if self.finished:
            self._state_file.clear()
        self._source.close()
        if self._backlog is not None:
            self._backlog.close()
        self._acks.close()
        self._publisher.close()

    @property
    def _waiting(self) -> int:
        return 0 if self._backlog is None else len(self._backlog)

    @property
    def _has_room(self) -> bool:
        return (
            self._publisher.outstanding < self._transport.window_frames
            and self._window_bytes < self._transport.window_mib << 20
        )

    @property
    def _room(self) -> int:
        """Frames that may be read at once so that the window is not left."""
        frames = self._transport.window_frames - self._publisher.outstanding
        if self._sizes:
            size = max(1, next(reversed(self._sizes.values())))
            frames = min(frames, ((self._transport.window_mib << 20) - self._window_bytes) // size)
        return max(1, min(_AT_ONCE, frames))

    def _make_backlog(self, config: Config) -> Backlog | None:
        overload = config.overload
        if overload == "auto":
            overload = "spool" if self._source.live else "wait"
        if overload == "spool":
            return Spool(self._out / "spool.bin")
        if overload == "newest":
            return Newest(
                max(1, config.transport.window_frames // 4), config.transport.window_mib << 18
            )
        return None

    def _read(self) -> int:
        """Take what the source has, as far as there is room, and send it on."""
        if self._backlog is None and not self._has_room:
            return 0
        begun = time.perf_counter()
        events = self._source.read(self._room if self._backlog is None else _AT_ONCE)
        now = time.time_ns()
        if events:
            self._heard = time.monotonic()
            self._metrics.flow.last_frame.set_to_current_time()
            self._metrics.stages.busy.labels("read").observe(time.perf_counter() - begun)
        batch: list[Frame] = []
        for event in events:
            if isinstance(event, Frame):
                self._take(event, now, batch)
                continue
            self._send(batch)
            batch = []
            if isinstance(event, Series):
                self._announce(event)
            elif isinstance(event, Gap):
                self._tell(replace(event, seq=self._next_seq(), time_ns=time.time_ns()))
            else:
                self._end(event)
        self._send(batch)
        return len(events)

    def _take(self, event: Frame, now: int, batch: list[Frame]) -> None:
        frame = replace(event, seq=self._next_seq(), received_ns=now)
        self._books[event.series]["received"] += 1
        self._metrics.flow.frames.labels("received").inc()
        self._metrics.flow.bytes.inc(len(frame.data))
        if self._backlog is None or (not self._waiting and self._has_room):
            batch.append(frame)
            return
        for shed in self._backlog.push(frame):
            self._tell(_gap(shed, "shed", "newer frames came"))

    def _drain_backlog(self) -> int:
        if self._backlog is None:
            return 0
        batch: list[Frame] = []
        while len(self._backlog) and len(batch) < _AT_ONCE and self._has_room:
            batch.append(self._backlog.pop())
        self._send(batch)
        return len(batch)

    def _send(self, batch: list[Frame]) -> None:
        """Send frames in bundles: what a message costs is shared by all in it."""
        bundle: list[Frame] = []
        size = 0
        for frame in batch:
            if frame.seq < self._acks.upto:
                continue  # this node was started again; the sink had it already
            if bundle and (
                len(bundle) >= self._bundle_frames or size + len(frame.data) > _BUNDLE_BYTES
            ):
                self._publisher.send(DETECTORS, _parcel(bundle))
                bundle, size = [], 0
            bundle.append(frame)
            size += len(frame.data)
            self._sizes[frame.seq] = len(frame.data)
            self._window_bytes += len(frame.data)
        if bundle:
            self._publisher.send(DETECTORS, _parcel(bundle))

    def _shrink_window(self) -> None:
        """Give back the room of what is on disk; numbers were taken in order."""
        while self._sizes:
            seq = next(iter(self._sizes))
            if seq >= self._acks.upto and self._publisher.find(seq) is not None:
                break
            self._window_bytes -= self._sizes.pop(seq)
        while self._ended and self._ended[0][1] < self._acks.upto:
            series, _ = self._ended.popleft()
            for pool in (DETECTORS, FAR_END):
                self._publisher.forget(pool, series)

    def _follow(self) -> None:
        """Go on where the node that died left off, as far as the source can."""
        state = self._state_file.take()
        if state is not None and isinstance(self._source, Resumable):
            self._books |= state.books
            self._source.resume(list(state.books), state.opening)

    def _leave(self) -> None:
        """Leave to a successor what it must know; a recording tells it all again."""
        if self._source.live and isinstance(self._source, Resumable):
            opening = self._source.opening
            if opening is not None and opening.series not in self._open:
                opening = None
            self._state_file.leave(self._books, opening)

    def _announce(self, series: Series) -> None:
        for open_series in list(self._open):
            self._close(open_series, "new series")
        self._open.append(series.name)
        self._metrics.flow.series.inc()
        self._books.setdefault(series.name, {"announced": series.n_frames, "received": 0})
        self._leave()
        parts = pack(replace(series, first_seq=self._seq))
        for pool in (DETECTORS, FAR_END):
            self._publisher.announce(pool, series.name, parts)

    def _end(self, end: SeriesEnd) -> None:
        if end.series in self._open:
            self._books[end.series] |= {"end": end.reason, **end.counters}
            self._close(end.series, end.reason)

    def _close_series(self, reason: str) -> None:
        for series in list(self._open):
            self._close(series, reason)

    def _close(self, series: str, reason: str) -> None:
        self._open.remove(series)
        self._ended.append((series, self._seq))
        self._tell(SeriesEnd(series=series, reason=reason, seq=self._next_seq()))
        self._leave()

    def _tell(self, record: Gap | SeriesEnd) -> None:
        if record.seq >= self._acks.upto:
            self._publisher.send(FAR_END, Parcel(keys=[record.seq], parts=pack(record)))

    def _give_up(self, parcel: Parcel) -> None:
        """Record a parcel that was sent in vain too often as failed."""
        for frame in _frames(parcel):
            reason = f"no result after {parcel.tries} tries"
            logger.error("frame %d of series %s: %s", frame.frame, frame.series, reason)
            self._failed.keep(frame, reason)
            self._tell(_gap(frame, "failed", reason))

    def _set_aside(self, parcel: Parcel, seq: int, reason: str) -> None:
        for frame in _frames(parcel):
            if frame.seq == seq:
                self._failed.keep(frame, reason)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq - 1


def _gap(frame: Frame, state: Literal["shed", "failed"], reason: str) -> Gap:
    """Return that a frame came and brings no result."""
    return Gap(
        series=frame.series,
        first=frame.frame,
        count=1,
        reason=reason,
        state=state,
        time_ns=frame.time_ns,
        seq=frame.seq,
    )


def _parcel(frames: Sequence[Frame]) -> Parcel:
    return Parcel(
        keys=[frame.seq for frame in frames],
        parts=pack(Frames(list(frames))),
        split=lambda: [_parcel([frame]) for frame in frames],
    )


def _frames(parcel: Parcel) -> list[Frame]:
    header, _ = unpack(parcel.parts)
    return header.frames if isinstance(header, Frames) else []
