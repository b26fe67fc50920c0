"""The order of the stream: what arrives early waits for its turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Generic, TypeVar

from streamer.transport.messages import EPOCH

__all__ = ["Order"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


class Order(Generic[Item]):
    """Gives items in the order of their sequence numbers, each number once.

    Parameters
    ----------
    upto
        Every number below has had its turn already, with an earlier sink.
    """

    def __init__(self, upto: int = 0) -> None:
        self.upto = upto
        """Every number below has had its turn."""
        self._waiting: dict[int, Item] = {}

    def __len__(self) -> int:
        """Items that wait for an earlier one."""
        return len(self._waiting)

    def __contains__(self, seq: int) -> bool:
        """Whether a number came before; those that are not waited for any more count as well."""
        return seq < self.upto or seq in self._waiting

    @property
    def waiting(self) -> list[int]:
        """Numbers of the items that wait."""
        return list(self._waiting)

    def add(self, seq: int, item: Item) -> None:
        """Take an item whose number did not come before."""
        self._waiting[seq] = item

    def in_turn(self) -> Iterator[Item]:
        """Give the items whose turn has come.

        While an item is being handled `upto` is the number after its own.
        """
        while self.upto in self._waiting:
            item = self._waiting.pop(self.upto)
            self.upto += 1
            yield item

    def rest(self) -> Iterator[Item]:
        """Give all items, also those that wait for one that will not come."""
        for seq in sorted(self._waiting):
            self.upto = max(self.upto, seq)
            yield from self.in_turn()

    def before_epoch_of(self, seq: int) -> Iterator[Item]:
        """Give what is left of earlier epochs than that of a number.

        After a later epoch began, what an ingest node took to its grave is not waited for.
        """
        epoch = seq // EPOCH
        if epoch > self.upto // EPOCH:
            logger.warning("the ingest node was started again: not waiting for what it had in hand")
            yield from self.rest()
            self.upto = epoch * EPOCH
