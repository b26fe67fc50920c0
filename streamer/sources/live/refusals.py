"""Messages that cannot be read: counted, said once for each reason, and skipped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from streamer.errors import UserError, as_line

__all__ = ["Refusals"]

logger = logging.getLogger(__name__)

_MOST_REASONS = 50


class Refusals:
    """Guards what reads the messages of a sender: whatever one holds, the next is read.

    Parameters
    ----------
    uri
        Of the sender, for the log.
    counters
        Of the source; refused messages are ``malformed``.
    """

    def __init__(self, uri: str, counters: dict[str, int]) -> None:
        self._uri = uri
        self._counters = counters
        self._said: set[str] = set()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse a message that a block fails to read.

        Raises
        ------
        UserError
            What the sender sends cannot be used.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # of any type: nobody foresees all that can be sent
            self._counters["malformed"] += 1
            reason = as_line(str(error)) or type(error).__name__
            if reason not in self._said and len(self._said) < _MOST_REASONS:
                self._said.add(reason)
                foreseen = isinstance(error, ValueError)
                logger.warning(
                    "a message of %s is refused: %s", self._uri, reason, exc_info=not foreseen
                )
