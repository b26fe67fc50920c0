"""What a node has counted: its status reports and its metrics are made from the same numbers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from streamer.transport.messages import MessageError

__all__ = ["Counts"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What a node has handled since it began; it leaves at zero what it has no use for."""

    frames: Counter[str] = field(default_factory=Counter)
    """By state: ``done``, ``failed``, ``missing``, ``shed``, ``duplicate``."""
    peaks: int = 0
    batches: int = 0
    refused: int = 0
    """Messages that did not fit their schema."""
    busy_s: float = 0.0
    """Seconds spent on the frames."""

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Count a message that a block finds to be none, and say why in the log."""
        try:
            yield
        except MessageError as error:
            self.refused += 1
            logger.warning("message refused: %s", error)
