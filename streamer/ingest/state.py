"""What an ingest node of a live stream leaves to its successor, should it die."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import msgspec

from streamer.ingest.accounts import SeriesAccount
from streamer.results.folder import write_atomically
from streamer.sources.base import Opening

__all__ = ["IngestState", "StateFile"]

logger = logging.getLogger(__name__)


class IngestState(msgspec.Struct, frozen=True):
    """What is left."""

    accounts: dict[str, SeriesAccount]
    """Of each series so far."""
    opening: Opening | None
    """Of the series that is open."""
    exhausted: bool = False
    """Nothing more comes from the source."""


class StateFile:
    """A file that is there while a run goes on. The run goes on, too, if it cannot be written.

    Parameters
    ----------
    folder
        Run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ingest_state.msgpack"

    def leave(self, state: IngestState) -> None:
        """Replace what was left before."""
        try:
            write_atomically(self._path, msgspec.msgpack.encode(state))
        except OSError as error:
            logger.warning("a successor could not go on with the open series: %s", error)

    def take(self) -> IngestState | None:
        """Return what a predecessor left."""
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=IngestState)
        except (OSError, msgspec.MsgspecError):
            return None

    def clear(self) -> None:
        """Nobody follows."""
        with contextlib.suppress(OSError):
            self._path.unlink()
