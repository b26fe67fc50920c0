"""What an ingest node of a live stream leaves to its successor, should it die."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import msgspec
from msgspec.structs import replace

from streamer.ingest.accounts import SeriesAccount
from streamer.results.folder import write_atomically
from streamer.sources.base import Opening

__all__ = ["IngestState", "StateFile"]

logger = logging.getLogger(__name__)


class IngestState(msgspec.Struct, frozen=True):
    """What is left."""

    accounts: dict[str, SeriesAccount]
    """Of each series so far; those that ended lie in a file of their own."""
    opening: Opening | None
    """Of the series that is open."""
    exhausted: bool = False
    """Nothing more comes from the source."""


class _Ended(msgspec.Struct, array_like=True):
    """A line of the series that ended."""

    name: str
    account: SeriesAccount


class StateFile:
    """What is there while a run goes on. The run goes on, too, if it cannot be written.

    The account of a series that ended is added to a file once, so that the next series costs no
    more than the first.

    Parameters
    ----------
    folder
        Run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ingest_state.msgpack"
        self._path_of_ended = folder / "ingest_series.jsonl"
        self._unwritten: list[bytes] = []

    def end(self, name: str, account: SeriesAccount) -> None:
        """Note the account of a series that ended, to be written with what is left next."""
        self._unwritten.append(b"\n" + msgspec.json.encode(_Ended(name, account)) + b"\n")

    def leave(self, state: IngestState) -> None:
        """Replace what was left before, but for the series that ended."""
        try:
            if self._unwritten:
                with self._path_of_ended.open("ab") as file:
                    file.write(b"".join(self._unwritten))
                self._unwritten = []
            write_atomically(self._path, msgspec.msgpack.encode(state))
        except OSError as error:
            logger.warning("a successor could not go on with the open series: %s", error)

    def take(self) -> IngestState | None:
        """Return what a predecessor left."""
        try:
            state = msgspec.msgpack.decode(self._path.read_bytes(), type=IngestState)
        except (OSError, ValueError):
            return None
        return replace(state, accounts=self._ended() | state.accounts)

    def clear(self) -> None:
        """Nobody follows."""
        for path in (self._path, self._path_of_ended):
            with contextlib.suppress(OSError):
                path.unlink()

    def _ended(self) -> dict[str, SeriesAccount]:
        try:
            lines = self._path_of_ended.read_bytes().splitlines()
        except OSError:
            return {}
        ended = {}
        for line in filter(None, lines):
            with contextlib.suppress(
                ValueError, msgspec.MsgspecError
            ):  # a line that was cut off with its disk
                one = msgspec.json.decode(line, type=_Ended)
                ended[one.name] = one.account
        return ended
