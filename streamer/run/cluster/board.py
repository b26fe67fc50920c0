"""What the processes of a run tell each other through Dask's scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamer.transport.directory import Directory

__all__ = ["UNREACHED", "Board", "Mirror"]

UNREACHED = (OSError, RuntimeError, ValueError, TypeError, AttributeError)
"""What Dask raises where its scheduler is out of reach or a client of it is closing."""
_PATIENCE_S = 5.0


class Board:
    """One run's part of the scheduler's metadata.

    Parameters
    ----------
    ask
        Calls a method of the scheduler that has a name and returns its answer.
    run
        Name of the run there.
    """

    def __init__(self, ask: Callable[..., Any], run: str) -> None:
        self._ask = ask
        self._run = run

    def read(self) -> dict[str, Any]:
        """Return all that is there."""
        found: dict[str, Any] = self._ask(
            "get_metadata", keys=[self._run], default={}, callback_timeout=_PATIENCE_S
        )
        return found or {}

    def put(self, *keys: str, value: Any) -> None:
        """Enter a value under keys, each within the one before."""
        keys_ = [self._run, *keys]
        self._ask("set_metadata", keys=keys_, value=value, callback_timeout=_PATIENCE_S)

    def clear(self) -> None:
        """Leave nothing."""
        self._ask("set_metadata", keys=[self._run], value=None, callback_timeout=_PATIENCE_S)


class Mirror:
    """Has the directory of a host say what those of the others say.

    Parameters
    ----------
    directory
        Of this host.
    board
        Of the run.
    order
        Grows with each start of the node that tells of its publishers here: of two that told of one
        name the later one counts.
    """

    def __init__(self, directory: Directory, board: Board, order: int) -> None:
        self._directory = directory
        self._board = board
        self._order = order
        self._known: dict[str, str] = {}

    def exchange(self) -> Mapping[str, Any]:
        """Say what is new here, take in what is new elsewhere, return all that the board says."""
        for name, address in self._directory.told().items():
            if address != self._known.get(name):
                self._board.put("addresses", name, str(self._order), value=address)
                self._known[name] = address
        says = self._board.read()
        for name, addresses in says.get("addresses", {}).items():
            newest = addresses[max(addresses, key=int)]
            if newest != self._known.get(name):
                self._directory.tell(name, newest)
                self._known[name] = newest
        return says
