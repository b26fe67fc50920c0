"""Hears signals and notices that the launcher is gone, whatever the node is doing."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from streamer.transport.lease import Lease

__all__ = ["Watch"]

_CLOSE_S = 4.0
"""For a node whose launcher is gone to come to look about, and to close its files."""
_LOOK_S = 0.25
_CUT_OFF = os.EX_TEMPFAIL
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


class Watch:
    """A thread beside a node, so that one that does not come to look about still ends.

    The first SIGTERM or SIGINT sets `stop`, a second one ends the process. When its parent is gone
    the node is alone, and is ended if it does not end by itself within a few seconds; one whose
    lease has run out is ended at once. Signals are
    only heard when entered in the main thread.

    Parameters
    ----------
    stop
        Set when the node is to finish.
    parent
        Process without which this one must not live.
    lease
        Ends the process when it has run out; None: nothing does.
    """

    def __init__(self, stop: threading.Event, parent: int, lease: Lease | None = None) -> None:
        self.is_alone = False
        """Whether the parent is gone."""
        self._stop = stop
        self._parent = parent
        self._lease = lease
        self._end_by = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        with contextlib.suppress(ValueError):  # not the main thread: a test runs the node
            # What the interpreter writes there comes even while the main thread runs no Python.
            signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, _is_heard) for number in _SIGNALS}
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before:
            signal.set_wakeup_fd(-1)
            for number, handler in self._before.items():
                signal.signal(number, handler)
        self._mouth.close()
        self._thread.join()
        self._ear.close()

    def _run(self) -> None:
        while True:
            if select.select([self._ear], [], [], _LOOK_S)[0]:
                numbers = self._ear.recv(64)
                if not numbers:
                    return
                for number in numbers:
                    self._hear(number)
            self._look()

    def _hear(self, number: int) -> None:
        if number not in _SIGNALS:
            return
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()

    def _look(self) -> None:
        now = time.monotonic()
        if self._lease is not None and self._lease.left_s <= 0:
            # Another may have been started in its place: it must not touch a thing.
            logger.error("this node is cut off: ending it")
            os._exit(_CUT_OFF)
        if not self.is_alone and os.getppid() != self._parent:
            logger.warning("the process that started this one is gone: ending")
            self._end_by = now + _CLOSE_S
            self.is_alone = True
        elif self.is_alone and now >= self._end_by:
            logger.error("this node does not come to an end by itself: ending it")
            os._exit(1)


def _is_heard(number: int, frame: FrameType | None) -> None:
    """Do nothing: the thread has heard it."""
