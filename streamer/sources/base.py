"""What every source of frames yields, whatever protocol or file format it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import zmq

from streamer.config import SourceConfig
from streamer.frames.events import Event
from streamer.plugins import Plugin

__all__ = ["Dealt", "Hasty", "Joined", "Opening", "ProtocolPlugin", "Resumable", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a series of a live source began."""

    series: str
    messages: list[list[bytes]]
    """The parts of each message that said so."""


@runtime_checkable
class Resumable(Protocol):
    """A live source whose successor, in another process, can go on with a series in its middle."""

    @property
    def opening(self) -> Opening | None:
        """Of the series that was opened last; None where no message says how one begins."""
        ...

    def resume(self, names: Sequence[str], opening: Opening | None) -> None:
        """Go on where another source left off, before anything is read.

        Parameters
        ----------
        names
            Series that it had.
        opening
            Of the one that was open; its frames are taken from the first that comes, and the
            series is told again.
        """
        ...


@runtime_checkable
class Dealt(Protocol):
    """A live source whose sender may give each message to one client only."""

    @property
    def is_dealt(self) -> bool:
        """True when it does: a second client takes its turn of them."""
        ...


@runtime_checkable
class Hasty(Protocol):
    """A source that gives what it has at a pace of its own, and need not."""

    def hurry(self, count: int) -> None:
        """Give so many of the next frames, gaps and ends at once; the pace begins anew there."""
        ...


@runtime_checkable
class Joined(Protocol):
    """A source that knows whether its sender is there."""

    @property
    def gone_s(self) -> float:
        """Seconds since the sender, which was there, went away; 0 while it is there."""
        ...


class Source(Protocol):
    """Yields events; never blocks, never decodes, never looks at pixels.

    For each series a `Series` comes first, then its `Frame` and `Gap` events, then one
    `SeriesEnd`. A source is made by its constructor, which checks what can be checked at once and
    raises `streamer.errors.UserError` with one line that says what to do.
    """

    uri: str
    """What the user asked for."""
    live: bool
    """True when frames that are not taken in time are lost (a detector), False for a recording."""

    @property
    def counters(self) -> dict[str, int]:
        """What went by without giving a frame, such as messages that could not be read."""
        ...

    @property
    def n_frames(self) -> int | None:
        """Total number of frames if known, for progress."""
        ...

    @property
    def exhausted(self) -> bool:
        """True when nothing will ever come any more."""
        ...

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """A socket that turns readable when events come; None if `read` can always be called.

        It may turn to None when the last event was received. A source may have more events than one
        `read` asked for while its socket has nothing: `read` again until it gives fewer.
        """
        ...

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events that are there now; empty when there are none."""
        ...

    def close(self) -> None:
        """Release files and sockets."""
        ...


class ProtocolPlugin(Plugin):
    """Opens live streams; its name is what stands before ``://``, in lower case."""

    def open(self, uri: str, config: SourceConfig) -> Source:
        """Open a stream.

        Parameters
        ----------
        uri
            As the user wrote it.
        config
            What all sources are told.

        Raises
        ------
        UserError
            It cannot be opened; the text says what to do.
        """
        raise NotImplementedError

    def reach(self, uri: str, config: SourceConfig) -> None:
        """Check that a stream is there, before a run starts, and take no frame from it.

        Raises
        ------
        UserError
            It is not.
        """
