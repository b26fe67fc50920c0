"""The order of the stream: what arrives early waits for its turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from streamer.transport.messages import EPOCH

__all__ = ["PATIENCE_S", "Order"]

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""For results of frames that an ingest node had sent before it died: so long after the last one."""

Item = TypeVar("Item")


class Order(Generic[Item]):
    """Gives items in the order of their sequence numbers, each number once.

    After a later epoch began, what an ingest node took to its grave is not waited for: the later
    one has its turn once nothing of earlier ones has come for a while.

    Parameters
    ----------
    upto
        Every number below has had its turn already, with an earlier sink.
    patience_s
        How long that while is.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        upto: int = 0,
        *,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.upto = upto
        """Every number below has had its turn."""
        self._waiting: dict[int, Item] = {}
        self._spans: dict[int, int] = {}  # of those that stand for several numbers
        self._patience_s = patience_s
        self._clock = clock
        self._newest = upto
        self._due = 0.0
        self._overtaken = 0  # an epoch whose node has all that earlier ones had in hand

    def __len__(self) -> int:
        """Items that wait for an earlier one."""
        return len(self._waiting)

    def has(self, seq: int, span: int = 1) -> bool:
        """Tell whether numbers came before, or are not waited for any more."""
        return seq + span <= self.upto or seq in self._waiting

    @property
    def waiting(self) -> list[int]:
        """Numbers of the items that wait, the last of each."""
        return [seq + self._spans.get(seq, 1) - 1 for seq in self._waiting]

    def add(self, seq: int, item: Item, span: int = 1) -> None:
        """Take an item whose numbers, `span` of them, did not all come before."""
        if seq < self.upto:
            seq, span = self.upto, seq + span - self.upto
        if seq // EPOCH != self._newest // EPOCH:  # a later one begins, or something earlier came
            self._due = self._clock() + self._patience_s
        self._newest = max(self._newest, seq + span - 1)
        self._waiting[seq] = item
        if span > 1:
            self._spans[seq] = span

    def overtake(self, seq: int) -> None:
        """Wait for nothing before the epoch of a number: what is not on disk comes again in it."""
        self._overtaken = max(self._overtaken, seq // EPOCH)

    def is_past(self, seq: int) -> bool:
        """Tell whether a number is of an epoch that is not waited for any more."""
        return seq // EPOCH < self.upto // EPOCH

    def in_turn(self) -> Iterator[Item]:
        """Give the items whose turn has come.

        While an item is being handled `upto` is the number after its own.
        """
        while self.upto in self._waiting:
            first = self.upto
            item = self._waiting.pop(first)
            self.upto += self._spans.pop(first, 1)
            yield item
            for seq in range(first + 1, self.upto):
                if seq in self._waiting:  # it came by itself as well
                    self._spans.pop(seq, None)
                    yield self._waiting.pop(seq)

    def left_behind(self) -> Iterator[Item]:
        """Give the items of earlier epochs once what they wait for is not waited for any more."""
        epoch = self._newest // EPOCH
        if epoch <= self.upto // EPOCH:
            return
        if epoch <= self._overtaken or self._clock() >= self._due:
            logger.warning("the ingest node was started again: not waiting for what it had in hand")
            yield from self._rest(epoch * EPOCH)
            self.upto = epoch * EPOCH

    def rest(self) -> Iterator[Item]:
        """Give all items, also those that wait for one that will not come."""
        yield from self._rest(self._newest + 1)

    def _rest(self, end: int) -> Iterator[Item]:
        """Give all items below a number."""
        for seq in sorted(seq for seq in self._waiting if seq < end):
            self.upto = max(self.upto, seq)
            yield from self.in_turn()
