"""The sink node: orders, links, commits, acknowledges, publishes."""

from __future__ import annotations

import logging
import time
from typing import Any

import zmq

from streamer.cell.gauges import CellGauges
from streamer.config import Config
from streamer.frames.events import Gap, Series, SeriesEnd
from streamer.results.alarms import Watch
from streamer.results.folder import LastPart, RunFolder
from streamer.sink.account import Account
from streamer.sink.acknowledger import Acknowledger
from streamer.sink.aside import Aside
from streamer.sink.checkpoint import Checkpoint
from streamer.sink.commit import COMMIT_S, Committer
from streamer.sink.feed import Feed
from streamer.sink.merging import Merging
from streamer.sink.order import PATIENCE_S, Order
from streamer.sink.provisional import Provisional
from streamer.sink.tables import Result, Row, read_results
from streamer.tracks.linking import Tracking
from streamer.transport.counts import Counts
from streamer.transport.messages import (
    MessageError,
    Positions,
    unpack,
)
from streamer.transport.metrics import RANKS, Metrics
from streamer.transport.sockets import FAR_END
from streamer.transport.subscriber import Subscriber

__all__ = ["Sink"]

logger = logging.getLogger(__name__)

_AT_ONCE, _PEAKS_AT_ONCE = 256, 1 << 15
"""Messages, and peaks in them, that are taken in before what is due is written."""
_LOOK_MS = 2
"""From one look at a part that is being written to the next, where nothing comes."""


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
        self._metrics = metrics
        metrics.stages.expect("commit")
        if config.cell.file is not None:
            CellGauges(metrics.registry, folder.path)
        folder.tidy()
        last = folder.last_part()
        self._counts = Counts()
        self._tracking = Tracking(config, folder)
        self._watch = Watch(config.alarms)
        self._account = Account(config.source.chosen.step or 1)
        self._order = Order[Result | Gap | SeriesEnd](
            last.upto if last else 0, patience_s=PATIENCE_S
        )
        self._aside = Aside()
        self._committer = Committer(
            folder,
            self._tracking,
            first=last.index + 1 if last else 0,
            upto=self._order.upto,
            commit_s=COMMIT_S,
            most_rows=max(1, config.transport.window_frames // 4),
        )
        self._merging = Merging(folder)
        self._checkpoint = Checkpoint(folder, config)
        if last is not None:
            self._resume(folder, last)
        self._acks = Acknowledger(context, acks_address, self._order.upto)
        self.feed = Feed(context, config.publish.peaks)
        self._provisional = Provisional(self.feed)
        self._subscriber = Subscriber(context, addresses, FAR_END, "sink")
        self._stopping = False

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        return [self._subscriber.socket, self.feed.socket]

    @property
    def finished(self) -> bool:
        """True once asked to stop and all rows and the tracks are on disk."""
        return self._stopping and not len(self._committer) and not self._tracking.unwritten

    def step(self) -> float:
        """Take in results, commit when due, acknowledge."""
        self.feed.listen()
        is_more = self._take_in()
        self._enter_in_turn()
        self._provisional.publish()
        now = time.monotonic()
        if len(self._committer):
            is_due = self._stopping or now >= self._committer.due
        else:
            is_due = self._order.upto > self._committer.upto  # by what brought no row
        if is_due:
            is_more |= self._commit(self._order.upto)
        if self._acks.take_newcomers():
            # Who connects after a number came would else not hear of it until it is on disk.
            for seq in self._order.waiting:
                self._acks.received(seq)
        if now >= self._acks.due:
            self._acks.publish(now)
        self._tracking.write()
        if is_more or self._tracking.writing:
            return 0.0
        return max(0.0, min(self._committer.due, self._acks.due) - time.monotonic())

    def stop(self) -> None:
        """Commit what is there and finish."""
        self._enter_late()
        for item in self._order.rest():
            self._enter(item)
        for series in self._account.open_series:
            self._end_series(series)
        self._stopping = True
        self._committer.hurry()
        if not len(self._committer):
            self._tracking.write(now=True)

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the sink does, in words and figures."""
        counts, catalogue = self._counts, self._tracking.catalogue
        states = ("done", "failed", "missing", "shed", "duplicate")
        stats = {
            **{state: float(counts.frames[state]) for state in states},
            "peaks": float(counts.peaks),
            "refused": float(counts.refused),
            "latency_ms": self._committer.latency_ms,
            "span_s": self._committer.span_s,
            "disk_errors": float(self._committer.disk_errors + self._tracking.disk_errors),
            "tracks": float(catalogue.n_confirmed),
        }
        if self._watch.look(catalogue.table):
            self._metrics.science.show_alarms(self._watch.severities)
        held = len(self._order)
        self._metrics.flow.show(counts)
        self._metrics.queues.backlog.set(held + len(self._committer))
        science = self._metrics.science
        science.show_tracks(catalogue.n_confirmed, catalogue.top(RANKS, science.drifting))
        doing = "putting results on disk" if not held else f"{held} results wait for an earlier one"
        if trouble := self._committer.trouble or self._tracking.trouble:
            doing = f"waiting for the disk to take results: {trouble}"
        return (
            doing,
            stats,
            {
                "feed": self.feed.address,
                "disk": doing if trouble else "",
                "alarms": self._watch.words,
            },
        )

    def close(self) -> None:
        """Release the sockets, and finish what is being merged or written."""
        self._merging.close()
        self._checkpoint.close()
        self._subscriber.close()
        self._acks.close()
        self.feed.close()

    def _resume(self, folder: RunFolder, last: LastPart) -> None:
        """Go on where a sink before this one left off."""
        after, known = self._checkpoint.read() or (-1, None)
        logger.info("going on after part %d, of which %d are known", last.index, after + 1)
        if known is not None:
            self._account.restore(known["account"])
            self._counts.frames.update(known["frames"])
            self._counts.peaks = known["peaks"]
        names = ["series", "frame", "count", "state", "n_peaks"]
        frames = folder.read("frames", names, after).to_pydict()
        linked: list[int] = []
        for series, frame, count, state, n_peaks in zip(
            *(frames[name] for name in names), strict=True
        ):
            self._account.enter(series, frame, count)
            self._counts.frames[state] += count
            self._counts.peaks += n_peaks
            if state == "done":
                linked.append(self._account.place(series, frame))
        self._tracking.resume(
            linked,
            self._account.place,
            last.next_track,
            after=after,
            state=known and known["tracking"],
        )

    def _take_in(self) -> bool:
        """Take in what is there, up to a bound, and tell whether more may be waiting."""
        n_peaks = 0
        for _ in range(_AT_ONCE):
            parts = self._subscriber.receive()
            if parts is None:
                return False
            n_peaks += self._take(parts)
            if n_peaks >= _PEAKS_AT_ONCE:
                break
        return True

    def _take(self, parts: list[Any]) -> int:
        """Take in a message, and return how many peaks are in it."""
        n_peaks = 0
        with self._counts.refusing():
            header, buffers = unpack(parts)
            if isinstance(header, Positions):
                for result in read_results(header, buffers):
                    self._arrive(result.head.seq, result, result.head.reason)
                    n_peaks += result.head.n_peaks
            elif isinstance(header, Gap | SeriesEnd):
                self._arrive(header.seq, header)
            elif isinstance(header, Series):
                self._tracking.begin_series(header)
            else:
                raise MessageError(f"no use for {type(header).__name__}")
        return n_peaks

    def _arrive(self, seq: int, item: Result | Gap | SeriesEnd, reason: str = "") -> None:
        span = item.numbers if isinstance(item, Gap) else 1
        if isinstance(item, SeriesEnd) and item.again:
            self._order.overtake(seq)
            self._aside.expected = True
        if self._order.is_past(seq) and not isinstance(item, SeriesEnd):
            if not self._aside.put(item):
                self._aside.late.append(item)
        elif self._order.has(seq, span):
            self._counts.frames["duplicate"] += 1
            if seq >= self._order.upto:
                self._acks.received(seq + span - 1)
        else:
            if isinstance(item, Result):
                self._provisional.take(item)
            self._order.add(seq, item, span)
            self._acks.received(seq + span - 1, reason)

    def _enter_in_turn(self) -> None:
        self._enter_late()
        for item in self._order.in_turn():
            self._enter(item)
        for item in self._order.left_behind():
            # A series that has ended is not complete: frames of it may come from the spool.
            if not isinstance(item, SeriesEnd) and not self._aside.put(item):
                self._enter(item)
        for item in self._order.in_turn():
            self._enter(item)

    def _enter_late(self) -> None:
        late, self._aside.late = self._aside.late, []
        for item in late:
            self._enter(item, late=True)

    def _enter(self, item: Result | Gap | SeriesEnd, *, late: bool = False) -> None:
        """Give an item whose turn has come, or is past, its rows; what is late is in no track."""
        if isinstance(item, Result):
            row = Row.of(item)
            if self._account.enter(row.series, row.frame):
                place = self._account.place(row.series, row.frame)
                if late:
                    row.linked = self._tracking.leave_alone(item.peaks, item.positions)
                else:
                    row.linked = self._tracking.link(place, item.peaks, item.positions)
                self._provisional.link(item, row.linked)
                self._committer.add(row)
            else:
                self._counts.frames["duplicate"] += 1
        elif isinstance(item, SeriesEnd):
            self._end_series(item.series, item.taken)
            self._committer.hurry()  # nothing more will come to share the part with
        else:
            n_known = item.count
            for frames in self._account.enter(item.series, item.first, item.count):
                self._add_gap(item.series, frames, item.time_ns, item.state, item.reason)
                n_known -= frames.stop - frames.start
            self._counts.frames["duplicate"] += max(0, n_known)

    def _add_gap(self, series: str, frames: range, time_ns: int, state: str, reason: str) -> None:
        """Add the one row of frames that follow each other, however many they are."""
        count = frames.stop - frames.start
        self._committer.add(Row(series, frames.start, time_ns, state, reason, 0, count=count))

    def _end_series(self, series: str, taken: tuple[int, int] | None = None) -> None:
        for result in self._aside.take(series):
            self._enter(result, late=True)
        for frames in self._account.end(series, taken):
            self._add_gap(series, frames, 0, "missing", "lost with a node that died")

    def _commit(self, upto: int) -> bool:
        """Write a part after which a successor goes on with the number `upto`, if it can be.

        Returns whether that was tried: then there may be more to enter.
        """
        if self._committer.held or not self._checkpoint.may_change(_LOOK_MS / 1e3):
            return False
        with self._metrics.stages.timed("commit"):
            part = self._committer.write(upto, None if self._stopping else self._go_on)
        if part is None:
            return True
        self._acks.committed(upto)
        self._merging.committed()
        for row in part.rows:
            self._counts.frames[row.state] += row.count
        self._counts.peaks += len(part.peaks["frame"])
        self._keep_state(upto)
        arrivals = (row.received_ns for row in part.rows if row.received_ns)
        self._metrics.stages.note_latency("commit", arrivals)
        self._metrics.flow.last_frame.set_to_current_time()
        if part.rows:
            self.feed.publish("peaks", part.series, part.peaks)
            self.feed.publish("frames", part.series, part.frames)
        if self._stopping:
            self._tracking.write(now=True)
        return True

    def _go_on(self) -> None:
        """Take in what comes while a part is written, and say so; its turn is after that."""
        self._subscriber.socket.poll(_LOOK_MS)
        self._take_in()
        self._provisional.publish()
        now = time.monotonic()
        if now >= self._acks.due:
            self._acks.publish(now)

    def _keep_state(self, upto: int) -> None:
        """Write down from time to time what a successor would have to read all parts for."""
        part = self._committer.newest
        if self._checkpoint.is_due(part):
            frames = {name: n for name, n in self._counts.frames.items() if name != "duplicate"}
            state = {
                "account": self._account.state(),
                "frames": frames,
                "peaks": self._counts.peaks,
                "tracking": self._tracking.state(),
            }
            self._checkpoint.begin(part, upto, state)
