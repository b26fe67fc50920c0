"""Ctrl-C and its relatives."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stop_event"]


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Give an event that SIGINT or SIGTERM sets; a second one ends the process at once."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: os._exit(1) if stop.is_set() else stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
