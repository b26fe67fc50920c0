"""What an armed detector waits for before its first frame."""

from __future__ import annotations

import os
import select
from typing import Protocol

from streamer.errors import UserError

__all__ = ["LineTrigger", "Trigger"]

_MOST_BYTES = 1 << 12


class Trigger(Protocol):
    """Comes once; a `threading.Event` is one."""

    def wait(self, timeout: float, /) -> bool:
        """Wait for at most so many seconds; True once it has come."""
        ...


class LineTrigger:
    """A line that somebody writes into a pipe, or types.

    Parameters
    ----------
    number
        File descriptor to read it from.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._has_come = False

    def wait(self, timeout: float, /) -> bool:
        """See `Trigger.wait`.

        Raises
        ------
        UserError
            There will never be a line.
        """
        if not self._has_come and select.select([self._number], [], [], timeout)[0]:
            read = os.read(self._number, _MOST_BYTES)
            if not read:
                raise UserError("the detector was armed, and its input ended without a trigger")
            self._has_come = b"\n" in read
        return self._has_come
