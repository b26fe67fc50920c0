"""The sink node: orders, links, commits, acknowledges, publishes."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import zmq

from streamer.cell.gauges import CellGauges
from streamer.config import Config
from streamer.frames.peaks import PEAK, POSITION
from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, PEAKS
from streamer.selection import parse_frames
from streamer.sink.feed import Feed
from streamer.sink.ledger import Ledger
from streamer.sink.tables import Result, Row, as_table, frame_columns, peak_columns
from streamer.tracks.catalogue import TrackCatalogue
from streamer.tracks.linking import Tracking
from streamer.transport.counts import Counts
from streamer.transport.messages import (
    EPOCH,
    Acks,
    MessageError,
    Positions,
    Record,
    Records,
    SeriesHeader,
    pack,
    unpack,
)
from streamer.transport.metrics import RANKS, Metrics
from streamer.transport.sockets import FAR_END, bind
from streamer.transport.subscriber import Subscriber

__all__ = ["Sink"]

logger = logging.getLogger(__name__)

_ACK_S = 0.2
_AT_ONCE = 256


class Sink:
    """Puts results into the run folder in the order in which the frames came.

    Parameters
    ----------
    addresses
        The GPU workers' publishers and that of the ingest node.
    acks_address
        Where acknowledgements are published.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        folder: RunFolder,
        metrics: Metrics,
        *,
        addresses: list[str],
        acks_address: str,
    ) -> None:
        self._folder = folder
        self._counts = Counts()
        self._metrics = metrics
        metrics.stages.expect("commit")
        if config.cell.file is not None:
            CellGauges(metrics.registry, folder.path)
        self._commit_s = config.sink.commit_s
        self._most_rows = max(1, config.transport.window_frames // 4)
        self._ledger = Ledger()
        self._step = parse_frames(config.source.frames).step or 1
        self._buffer: dict[int, Result | Record] = {}
        self._rows: list[Row] = []
        self._first_row = 0.0
        self._received: list[int] = []
        self._failed: list[tuple[int, str]] = []
        self._next_ack = 0.0
        self._stopping = False
        self._offset: dict[str, int] = {}
        self._ordinal = 0
        self._open: set[str] = set()
        self._latency_ms = 0.0
        self._first_ns = self._last_ns = 0
        self._tracking = Tracking(config, folder)
        self._resume()
        self._acks = context.socket(zmq.PUB)
        self._acks.set(zmq.SNDHWM, 0)
        self._acks.set(zmq.LINGER, 1000)
        self.acks_address = bind(self._acks, acks_address)
        self.feed = Feed(context, config.feed.address)
        self._subscriber = Subscriber(
            context, addresses, FAR_END, "sink", heartbeat_ms=config.transport.heartbeat_ms
        )

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        return [self._subscriber.socket]

    @property
    def finished(self) -> bool:
        """True once asked to stop and all rows are on disk."""
        return self._stopping and not self._rows

    def step(self) -> float:
        """Take in results, commit when due, acknowledge."""
        now = time.monotonic()
        for _ in range(_AT_ONCE):
            parts = self._subscriber.receive()
            if parts is None:
                break
            self._take(parts)
        else:
            now = 0.0  # more is waiting: come back at once
        self._advance()
        clock = time.monotonic()
        full = len(self._rows) >= self._most_rows
        if self._rows and (full or self._stopping or clock >= self._first_row + self._commit_s):
            self._commit()
        if self._received or clock >= self._next_ack:
            self._acknowledge(clock)
        self._tracking.write()
        if now == 0.0:
            return 0.0
        due = self._first_row + self._commit_s if self._rows else self._next_ack
        return max(0.0, min(due, self._next_ack) - time.monotonic())

    def stop(self) -> None:
        """Commit what is there and finish."""
        self._flush()
        for series in list(self._open):
            self._close_series(series)
        self._stopping = True
        if self._rows:
            self._first_row = 0.0
        else:
            self._tracking.write(now=True)

    @property
    def catalogue(self) -> TrackCatalogue:
        """What is known of each track."""
        return self._tracking.catalogue

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the sink does, in words and figures."""
        counts = self._counts
        stats = {
            state: float(counts.frames[state])
            for state in ("done", "failed", "missing", "shed", "duplicate")
        }
        stats["peaks"] = float(counts.peaks)
        stats["refused"] = float(counts.refused)
        stats["latency_ms"] = self._latency_ms
        stats["span_s"] = (self._last_ns - self._first_ns) / 1e9 if self._first_ns else 0.0
        stats["tracks"] = float(self.catalogue.n_confirmed)
        held = len(self._buffer)
        self._metrics.flow.show(counts)
        self._metrics.queues.backlog.set(held + len(self._rows))
        self._metrics.science.show_tracks(self.catalogue.n_confirmed, self.catalogue.top(RANKS))
        doing = "putting results on disk" if not held else f"{held} results wait for an earlier one"
        return doing, stats, {"feed": self.feed.address}

    def close(self) -> None:
        """Release the sockets."""
        self._subscriber.close()
        self._acks.close()
        self.feed.close()

    def _resume(self) -> None:
        """Go on where a sink before this one left off."""
        last = self._folder.last_part()
        self._next = self._committed = last.upto if last else 0
        self._part = last.index + 1 if last else 0
        if last is None:
            return
        logger.info("going on after part %d", last.index)
        frames = self._folder.read("frames", ["series", "frame", "state", "n_peaks"]).to_pydict()
        linked: list[int] = []
        for series, frame, state in zip(
            frames["series"], frames["frame"], frames["state"], strict=True
        ):
            self._ledger.enter(series, frame)
            self._open.add(series)
            self._ordinal = max(self._ordinal, self._place(series, frame))
            self._counts.frames[state] += 1
            if state == "done":
                linked.append(self._place(series, frame))
        self._counts.peaks += sum(frames["n_peaks"])
        self._tracking.resume(linked, self._place, last.next_track)

    def _take(self, parts: list[Any]) -> None:
        with self._counts.refusing():
            header, buffers = unpack(parts)
            if isinstance(header, Positions):
                peaks = np.frombuffer(buffers[0], PEAK)
                positions = np.frombuffer(buffers[1], POSITION)
                start = 0
                for head in header.frames:
                    stop = start + head.n_peaks
                    self._arrive(head.seq, Result(head, peaks[start:stop], positions[start:stop]))
                    start = stop
            elif isinstance(header, Records):
                for record in header.records:
                    self._arrive(record.seq, record)
            elif isinstance(header, SeriesHeader):
                self._tracking.begin_series(header, buffers)
            else:
                raise MessageError(f"no use for {type(header).__name__}")

    def _arrive(self, seq: int, item: Result | Record) -> None:
        if seq < self._next or seq in self._buffer:
            self._counts.frames["duplicate"] += 1
            if seq >= self._next:
                self._received.append(seq)
            return
        if seq // EPOCH > self._next // EPOCH:
            self._begin_epoch(seq // EPOCH)
        self._buffer[seq] = item
        self._received.append(seq)
        if isinstance(item, Result) and item.head.reason:
            self._failed.append((seq, item.head.reason))

    def _begin_epoch(self, epoch: int) -> None:
        """Stop waiting for what an ingest node took to its grave."""
        logger.warning("the ingest node was started again: not waiting for what it had in hand")
        self._flush()
        self._next = epoch * EPOCH

    def _flush(self) -> None:
        """Give all items their rows, also those that wait for one that will not come."""
        for seq in sorted(self._buffer):
            self._next = max(self._next, seq)
            self._advance()

    def _advance(self) -> None:
        """Give each item whose turn has come its row."""
        while True:
            item = self._buffer.pop(self._next, None)
            if item is None:
                return
            self._next += 1
            if isinstance(item, Record):
                self._enter_record(item)
            else:
                self._enter_result(item)

    def _enter_result(self, result: Result) -> None:
        head = result.head
        row = Row(
            head.series,
            head.frame,
            head.time_ns,
            "failed" if head.reason else "done",
            head.reason,
            head.received_ns,
            result,
        )
        if not self._enter(row):
            return
        place = self._place(head.series, head.frame)
        row.tracks = self._tracking.link(place, result.peaks, result.positions)

    def _enter_record(self, record: Record) -> None:
        if record.state == "end":
            self._close_series(record.series)
            self._first_row = 0.0  # nothing more will come to share the part with
            return
        for frame in range(record.first, record.first + record.count):
            self._enter(Row(record.series, frame, record.time_ns, record.state, record.reason, 0))
            if len(self._rows) >= self._most_rows:
                self._commit()  # one record can stand for millions of frames

    def _enter(self, row: Row) -> bool:
        if not self._ledger.enter(row.series, row.frame):
            self._counts.frames["duplicate"] += 1
            return False
        self._open.add(row.series)
        self._ordinal = max(self._ordinal, self._place(row.series, row.frame))
        if not self._rows:
            self._first_row = time.monotonic()
        self._rows.append(row)
        return True

    def _close_series(self, series: str) -> None:
        for frame in self._ledger.unaccounted(series, self._step):
            self._enter(Row(series, frame, 0, "missing", "lost with a node that died", 0))
        self._open.discard(series)

    def _place(self, series: str, frame: int) -> int:
        """Return where a frame stands among those taken, one series following on the other."""
        place = frame // self._step
        offset = self._offset.get(series)
        if offset is None:
            offset = self._offset[series] = self._ordinal + 1 - place
        return offset + place

    def _commit(self) -> None:
        rows, self._rows = self._rows, []
        names = list(dict.fromkeys(row.series for row in rows))
        with self._metrics.stages.timed("commit"):
            frames, peaks = frame_columns(rows, names), peak_columns(rows, names)
            peaks |= self._tracking.locate(peaks)
            self._folder.write_part(
                self._part,
                as_table(frames, names, FRAMES, reason=[row.reason for row in rows]),
                as_table(peaks, names, PEAKS),
                upto=self._next,
                next_track=self._tracking.next_track,
                note=self._tracking.note(),
            )
            self._tracking.commit(names, peaks)
        self._part += 1
        self._committed = self._next
        self._counts.frames.update(row.state for row in rows)
        self._counts.peaks += len(peaks["frame"])
        latency = frames["latency_ms"][np.isfinite(frames["latency_ms"])]
        self._metrics.stages.note_latency(
            "commit", (row.received_ns for row in rows if row.received_ns)
        )
        self._metrics.flow.last_frame.set_to_current_time()
        if len(latency):
            first = min(row.received_ns for row in rows if row.received_ns)
            self._first_ns = min(self._first_ns or first, first)
            self._last_ns = time.time_ns()
            self._latency_ms = float(np.median(latency))
        self.feed.publish("peaks", names, peaks)
        self.feed.publish("frames", names, frames)
        self._next_ack = 0.0
        if self._stopping:
            self._tracking.write(now=True)

    def _acknowledge(self, now: float) -> None:
        if not self._rows:
            self._committed = self._next  # what brought no row, such as the end of a series
        acks = Acks(self._committed, self._received, self._failed)
        self._acks.send_multipart(pack(acks))
        self._received, self._failed = [], []
        self._next_ack = now + _ACK_S
