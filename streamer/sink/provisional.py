"""What has come, said before it is on disk."""

from __future__ import annotations

import time

import numpy as np

from streamer.sink.feed import PROVISIONAL, Feed
from streamer.sink.tables import Result, Row, peak_columns
from streamer.tracks.linker import Linked

__all__ = ["Provisional"]


class Provisional:
    """Publishes peaks as they reach the sink, if anybody listens.

    A sink that dies with them on its hands may say them again, and what is on disk in the end may
    differ: in tracks, and in frames that are given up.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._results: dict[int, Result] = {}
        self._linked: dict[int, Linked] = {}

    def take(self, result: Result) -> None:
        """Take what has come for the first time."""
        if len(result.peaks) and self._feed.wants(PROVISIONAL):
            self._results[result.head.seq] = result

    def link(self, result: Result, linked: Linked) -> None:
        """Take the tracks of its peaks, if its turn came before it was published."""
        if result.head.seq in self._results:
            self._linked[result.head.seq] = linked

    def publish(self) -> None:
        """Publish what was taken; what waits for an earlier frame is in no track yet."""
        if not self._results:
            return
        rows = [Row.of(result) for result in self._results.values()]
        for row, (seq, result) in zip(rows, self._results.items(), strict=True):
            none = np.full(len(result.peaks), -1, np.int64)
            row.linked = self._linked.get(seq) or Linked(none, result.positions)
        names = list(dict.fromkeys(row.series for row in rows))
        columns = peak_columns(rows, names)
        age_ns = time.time_ns() - np.array([row.received_ns for row in rows], np.int64)
        counts = [len(result.peaks) for result in self._results.values()]
        columns["latency_ms"] = np.repeat(age_ns / 1e6, counts)
        self._feed.publish(PROVISIONAL, names, columns)
        self._results.clear()
        self._linked.clear()
