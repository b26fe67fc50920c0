"""Of nodes that start together and find no compiled kernels one compiles them, the others wait."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from numba.core import event

__all__ = ["compile_once"]

_T = TypeVar("_T")
_NAME = "compiling.lock"


class _Compiled(BaseException):
    """Another process compiled meanwhile what was about to be compiled here."""


class _Lock(event.Listener):
    """Held from the first kernel on that has to be compiled; a process that ends holds none."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def on_start(self, event: event.Event) -> None:
        """Wait until nobody else compiles kernels that are kept in the same folder."""
        folder = event.data["dispatcher"].stats.cache_path
        if self._file is not None or folder is None:
            return
        try:
            self._file = file = (Path(folder) / _NAME).open("ab")
        except OSError:
            return  # no file can be made there: each compiles for itself
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(file, fcntl.LOCK_EX)
            raise _Compiled from None
        except OSError:
            return  # or none can be locked

    def on_end(self, event: event.Event) -> None:
        """Do nothing: there will be more to compile."""

    def close(self) -> None:
        """Let others compile."""
        if self._file is not None:
            self._file.close()


def compile_once(use: Callable[[], _T]) -> _T:
    """Call what uses kernels, and return what it returns.

    Where another process is just compiling those that are not there, it is called again once they
    are.
    """
    lock = _Lock()
    with event.install_listener("numba:compile", lock), contextlib.closing(lock):
        try:
            return use()
        except _Compiled:
            return use()
