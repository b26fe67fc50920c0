"""The sink node: orders, links, commits, acknowledges, publishes."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import zmq
from numpy.typing import NDArray

from streamer.config import Config
from streamer.feed import Columns, Feed
from streamer.ledger import Ledger
from streamer.messages import (
    EPOCH,
    PEAK,
    POSITION,
    Acks,
    FramePeaks,
    MessageError,
    Positions,
    Record,
    Records,
    SeriesHeader,
    pack,
    unpack,
)
from streamer.metrics import Metrics
from streamer.pubsub import FAR_END, Subscriber, bind
from streamer.store import FRAMES, PEAKS, RunFolder
from streamer.tracks import Tracker

__all__ = ["Sink"]

logger = logging.getLogger(__name__)

_ACK_S = 0.2
_AT_ONCE = 256
_REASON = FRAMES.get_field_index("reason")


@dataclass(frozen=True, slots=True)
class _Result:
    """A frame as it reached the sink."""

    head: FramePeaks
    peaks: NDArray[np.void]
    positions: NDArray[np.void]


@dataclass(slots=True)
class _Row:
    """A frame whose turn has come: a row of the next part."""

    series: str
    frame: int
    time_ns: int
    state: str
    reason: str
    received_ns: int
    result: _Result | None = None
    tracks: NDArray[np.int64] | None = None


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
        self._metrics = metrics
        self._commit_s = config.sink.commit_s
        self._most_rows = max(1, config.transport.window_frames // 4)
        self._ledger = Ledger()
        self._buffer: dict[int, _Result | Record] = {}
        self._rows: list[_Row] = []
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
        self._resume(config)
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

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the sink does, in words and figures."""
        value = self._metrics.value
        stats = {
            state: value("braggstream_frames_total", state=state)
            for state in ("done", "failed", "missing", "shed", "duplicate")
        }
        stats["peaks"] = value("braggstream_peaks_total")
        stats["refused"] = value("braggstream_messages_refused_total")
        stats["latency_ms"] = self._latency_ms
        stats["span_s"] = (self._last_ns - self._first_ns) / 1e9 if self._first_ns else 0.0
        stats["tracks"] = float(self._tracker.next_track)
        held = len(self._buffer)
        doing = "putting results on disk" if not held else f"{held} results wait for an earlier one"
        return doing, stats, {"feed": self.feed.address}

    def close(self) -> None:
        """Release the sockets."""
        self._subscriber.close()
        self._acks.close()
        self.feed.close()

    def _resume(self, config: Config) -> None:
        """Go on where a sink before this one left off."""
        last = self._folder.last_part()
        self._next = self._committed = last.upto if last else 0
        self._part = last.index + 1 if last else 0
        self._tracker = Tracker(
            config.tracks.gate_px,
            config.tracks.memory_frames,
            first=last.next_track if last else 0,
        )
        if last is None:
            return
        logger.info("going on after part %d", last.index)
        frames = self._folder.read("frames", ["series", "frame", "state", "n_peaks"]).to_pydict()
        counts: dict[str, int] = {}
        for series, frame, state in zip(
            frames["series"], frames["frame"], frames["state"], strict=True
        ):
            self._ledger.enter(series, frame)
            self._open.add(series)
            self._ordinal = self._place(series, frame)
            counts[state] = counts.get(state, 0) + 1
        for state, count in counts.items():
            self._metrics.frames.labels(state).inc(count)
        self._metrics.peaks.inc(sum(frames["n_peaks"]))
        peaks = self._folder.read("peaks", ["series", "frame", "row", "col", "track"])
        if peaks.num_rows == 0:
            return
        recent = peaks.slice(max(0, peaks.num_rows - 20_000))
        frame = recent["frame"].to_numpy()
        where = np.stack([recent["row"].to_numpy(), recent["col"].to_numpy()], axis=1)
        track = recent["track"].to_numpy()
        starts = [0, *(np.flatnonzero(np.diff(frame)) + 1), len(frame)]
        for start, stop in itertools.pairwise(int(i) for i in starts):
            series = recent["series"][start].as_py()
            self._tracker.resume(
                self._place(series, int(frame[start])), where[start:stop], track[start:stop]
            )

    def _take(self, parts: list[Any]) -> None:
        try:
            header, buffers = unpack(parts)
        except MessageError as error:
            self._metrics.messages_refused.inc()
            logger.warning("message refused: %s", error)
            return
        if isinstance(header, Positions):
            peaks = np.frombuffer(buffers[0], PEAK)
            positions = np.frombuffer(buffers[1], POSITION)
            start = 0
            for head in header.frames:
                stop = start + head.n_peaks
                self._arrive(head.seq, _Result(head, peaks[start:stop], positions[start:stop]))
                start = stop
        elif isinstance(header, Records):
            for record in header.records:
                self._arrive(record.seq, record)
        elif not isinstance(header, SeriesHeader):
            self._metrics.messages_refused.inc()
            logger.warning("message refused: a sink has no use for %s", type(header).__name__)

    def _arrive(self, seq: int, item: _Result | Record) -> None:
        if seq < self._next or seq in self._buffer:
            self._metrics.frames.labels("duplicate").inc()
            if seq >= self._next:
                self._received.append(seq)
            return
        if seq // EPOCH > self._next // EPOCH:
            self._begin_epoch(seq // EPOCH)
        self._buffer[seq] = item
        self._received.append(seq)
        if isinstance(item, _Result) and item.head.reason:
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

    def _enter_result(self, result: _Result) -> None:
        head = result.head
        row = _Row(
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
        self._ordinal = self._place(head.series, head.frame)
        where = np.empty((head.n_peaks, 2))
        where[:, 0], where[:, 1] = result.positions["row"], result.positions["col"]
        row.tracks = self._tracker.link(self._ordinal, where)

    def _enter_record(self, record: Record) -> None:
        if record.state == "end":
            self._close_series(record.series)
            self._first_row = 0.0  # nothing more will come to share the part with
            return
        for frame in range(record.first, record.first + record.count):
            self._enter(_Row(record.series, frame, record.time_ns, record.state, record.reason, 0))
            if len(self._rows) >= self._most_rows:
                self._commit()  # one record can stand for millions of frames

    def _enter(self, row: _Row) -> bool:
        if not self._ledger.enter(row.series, row.frame):
            self._metrics.frames.labels("duplicate").inc()
            return False
        self._open.add(row.series)
        if not self._rows:
            self._first_row = time.monotonic()
        self._rows.append(row)
        return True

    def _close_series(self, series: str) -> None:
        for frame in self._ledger.unaccounted(series):
            self._enter(_Row(series, frame, 0, "missing", "lost with a node that died", 0))
        self._open.discard(series)

    def _place(self, series: str, frame: int) -> int:
        """Return where a frame stands in the run, one series following on the other."""
        offset = self._offset.get(series)
        if offset is None:
            offset = self._offset[series] = self._ordinal + 1 - frame
        return offset + frame

    def _commit(self) -> None:
        rows, self._rows = self._rows, []
        names = list(dict.fromkeys(row.series for row in rows))
        with self._metrics.timed("commit"):
            frames, peaks = _frame_columns(rows, names), _peak_columns(rows, names)
            reasons = pa.array([row.reason for row in rows], pa.string())
            self._folder.write_part(
                self._part,
                _table(frames, names, FRAMES.remove(_REASON)).add_column(
                    _REASON, "reason", reasons
                ),
                _table(peaks, names, PEAKS),
                upto=self._next,
                next_track=self._tracker.next_track,
            )
        self._part += 1
        self._committed = self._next
        for row in rows:
            self._metrics.frames.labels(row.state).inc()
        self._metrics.peaks.inc(len(peaks["frame"]))
        latency = frames["latency_ms"][np.isfinite(frames["latency_ms"])]
        for value in latency.tolist():
            self._metrics.latency.observe(value / 1000.0)
        if len(latency):
            first = min(row.received_ns for row in rows if row.received_ns)
            self._first_ns = min(self._first_ns or first, first)
            self._last_ns = time.time_ns()
            self._latency_ms = float(np.median(latency))
        self.feed.publish("peaks", names, peaks)
        self.feed.publish("frames", names, frames)
        self._next_ack = 0.0

    def _acknowledge(self, now: float) -> None:
        if not self._rows:
            self._committed = self._next  # what brought no row, such as the end of a series
        acks = Acks(self._committed, self._received, self._failed)
        self._acks.send_multipart(pack(acks))
        self._received, self._failed = [], []
        self._next_ack = now + _ACK_S


def _frame_columns(rows: list[_Row], names: list[str]) -> Columns:
    """Return the numeric columns of a frames part, one row per frame."""
    now_ns = time.time_ns()
    received = np.array([row.received_ns for row in rows], np.int64)
    return {
        "series": np.array([names.index(row.series) for row in rows], np.int32),
        "frame": np.array([row.frame for row in rows], np.int64),
        "time_ns": np.array([row.time_ns for row in rows], np.int64),
        "state": np.array([row.state for row in rows], "S8"),
        "n_peaks": np.array([row.result.head.n_peaks if row.result else 0 for row in rows], "i4"),
        "latency_ms": np.where(received > 0, (now_ns - received) / 1e6, np.nan),
    }


def _peak_columns(rows: list[_Row], names: list[str]) -> Columns:
    """Return the columns of a peaks part, one row per peak."""
    done = [row for row in rows if row.result is not None and row.tracks is not None]
    results = [row.result for row in done if row.result is not None]
    peaks = np.concatenate([np.empty(0, PEAK), *(result.peaks for result in results)])
    positions = np.concatenate([np.empty(0, POSITION), *(result.positions for result in results)])
    counts = [result.head.n_peaks for result in results]
    columns: Columns = {
        "series": np.repeat(np.array([names.index(row.series) for row in done], np.int32), counts),
        "frame": np.repeat(np.array([row.frame for row in done], np.int64), counts),
        "time_ns": np.repeat(np.array([row.time_ns for row in done], np.int64), counts),
        "peak_row": peaks["row"],
        "peak_col": peaks["col"],
        "score": peaks["score"],
        "intensity": peaks["intensity"],
    }
    for name in ("row", "col", "row_sigma", "col_sigma", "flags"):
        columns[name] = positions[name]
    columns["track"] = np.concatenate(
        [np.empty(0, np.int64), *(row.tracks for row in done if row.tracks is not None)]
    )
    return {name: np.ascontiguousarray(column) for name, column in columns.items()}


def _table(columns: Columns, names: list[str], schema: pa.Schema) -> pa.Table:
    """Return columns as an Arrow table, with the names of the series written out."""
    arrays: dict[str, pa.Array] = {}
    for name, column in columns.items():
        if name == "series":
            indices = pa.array(column)
            arrays[name] = pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
        elif column.dtype.kind == "S":
            arrays[name] = pa.array(column.astype("U").tolist())
        else:
            arrays[name] = pa.array(column)
    return pa.table({field.name: arrays[field.name].cast(field.type) for field in schema})
