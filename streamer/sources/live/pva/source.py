"""Live images of EPICS areaDetector over PVAccess."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import parse_qsl

import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Event, Pixels, Series
from streamer.sources.live.pva.ntndarray import (
    coded_pixels,
    exposed_ns,
    holds_image,
    is_doubtful,
    metadata,
    size_bytes,
)
from streamer.sources.live.pva.unique_ids import Numbers, UniqueIds
from streamer.sources.live.refusals import Refusals
from streamer.sources.live.series import Image, SeriesAssembler

__all__ = ["PvaSource", "Wake", "reach_pva"]

_EXAMPLE = "pva://13SIM1:Pva1:Image"
_SUMMARY = "field(uniqueId,dimension,codec,compressedSize,uncompressedSize,timeStamp,dataTimeStamp)"
"""All of an image but its pixels."""
_QUEUE_BYTES = 1 << 30
_QUEUE_LEAST, _QUEUE_UNKNOWN, _QUEUE_MOST = 16, 256, 4096
_SEARCH_S = 1.0
_OPTIONS = {"type": ("int8", "uint8"), "number": ("arrival",)}


def reach_pva(uri: str, config: SourceConfig) -> None:
    """Check that a channel answers and has images.

    Raises
    ------
    UserError
        The address is malformed, nothing answers, or the channel has no images.
    """
    context = _make_context()
    try:
        _summary(context, _Channel.parse(uri).name, config.connect_s)
    finally:
        context.close()


class Wake:
    """A socket to wait for, and a bell for threads of libraries that know no sockets."""

    def __init__(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        address = f"inproc://pva-{id(self)}"
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._bell: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._lock = threading.Lock()  # sockets may change threads, but not be used by two
        self.socket.bind(address)
        self._bell.connect(address)

    def ring(self) -> None:
        """Make the socket readable."""
        with self._lock:
            if self._bell.closed:
                return
            try:
                self._bell.send(b"", zmq.NOBLOCK)
            except zmq.Again:  # it rings
                return

    def silence(self) -> None:
        """Make it not readable any more."""
        while self.socket.poll(0):
            self.socket.recv()

    def close(self) -> None:
        """Close both ends."""
        with self._lock:
            self._bell.close(linger=0)
        self.socket.close(linger=0)


class PvaSource:
    """Images of one channel, as they come.

    Images wait in the queue of the PVAccess library, which needs no time of Python's. When it is
    full, the newest image overwrites the one before it, and what was lost shows in the ids. Nothing
    is said of where series begin and end: a series goes on as long as the ids do, also when the
    channel was away, and ends when the counter was set back or `idle_s` is over.

    What the channel holds when it is attached is of the past and no frame.

    Parameters
    ----------
    uri
        ``pva://CHANNEL``, and behind it ``?type=int8`` for signed pixels of a byte that are
        compressed, or ``?number=arrival`` where the server does not count its images. Where it is
        looked for, the variables EPICS_PVA_... of the environment say.
    config
        Time limits and number of series.
    clock
        Returns a monotonic time in seconds.

    Raises
    ------
    UserError
        p4p is not installed, nothing answers, or the channel has no images; from `read`: images are
        of a kind that cannot be used, and how to set it.
    """

    live = True

    def __init__(
        self, uri: str, config: SourceConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.uri = uri
        self.assembler = SeriesAssembler(config, clock)
        self.counters["disconnects"] = 0
        self._refusals = Refusals(uri, self.counters)
        self._config = config
        self._channel = _Channel.parse(uri)
        self._clock = clock
        self._context = _make_context()
        try:
            held = _summary(self._context, self._channel.name, config.connect_s)
        except UserError:
            self._context.close()
            raise
        ids = UniqueIds(int(held.uniqueId), exposed_ns(held))
        self._numbers = Numbers(ids, by_arrival=self._channel.by_arrival)
        self._is_current = True  # the next update is what the channel holds, not what is new
        self._is_away = False
        self._searched_s = clock()
        self._has_begun = False
        self._wake = Wake()
        size = size_bytes(held)
        length = _QUEUE_BYTES // size if size else _QUEUE_UNKNOWN
        self._queue_length = min(max(length, _QUEUE_LEAST), _QUEUE_MOST)
        self._updates = self._subscribe()
        # From the first update on no image is missed.
        self._wake.socket.poll(round(config.connect_s * 1000))

    @property
    def counters(self) -> dict[str, int]:
        """What went by without giving a frame."""
        return self.assembler.counters

    @property
    def n_frames(self) -> int | None:
        """Never known."""
        return self.assembler.n_frames

    @property
    def exhausted(self) -> bool:
        """True when as many series have ended as were asked for."""
        return self._wake.socket.closed and not self.assembler.pending

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """Turns readable when images come; None when no more are taken."""
        return None if self._wake.socket.closed else self._wake.socket

    def read(self, limit: int) -> list[Event]:
        """Return at most `limit` events; it must be called now and then for `idle_s` to work."""
        pending = self.assembler.pending
        if not self._wake.socket.closed:
            self._wake.silence()
        while not self._wake.socket.closed and len(pending) < limit:
            update = self._updates.pop()
            if update is None:
                self._search()
                self.assembler.end_if_idle()
            elif isinstance(update, Exception):
                self._lose_channel(update)
            else:
                with self._refusals.refusing():
                    self._take(update)
            if self.assembler.is_done:
                self.close()
            if update is None:
                break
        return [pending.popleft() for _ in range(min(limit, len(pending)))]

    def close(self) -> None:
        """Leave the channel."""
        if not self._wake.socket.closed:
            self._updates.close()
            self._context.close()
            self._wake.close()

    def _take(self, update: Any) -> None:
        """Book an update of the channel."""
        is_current, self._is_current, self._is_away = self._is_current, False, False
        self.assembler.hear()
        unique_id, time_ns = int(update.uniqueId), exposed_ns(update)
        place = self._numbers.place(unique_id, time_ns, update.value)
        if not holds_image(update) or (is_current and place != "next"):
            self.counters["ignored"] += 1
            return
        if place == "constant":
            raise UserError(
                f"channel {self._channel.name} numbers its images all alike (uniqueId is"
                f" {unique_id}), so that a lost one could not be told: have its server count them,"
                " or write ?number=arrival behind the name to count them as they come"
            )
        if place == "restarted":
            self.assembler.end(None)
            if self.assembler.is_done:
                return
        image = Image(
            number=self._numbers.take(unique_id, time_ns, update.value),
            pixels=self._pixels(update),
            time_ns=time_ns,
        )
        if place != "old":
            self.assembler.unannounced_image(image, lambda: self._series(update))
            return
        try:
            self.assembler.image(image, None)
        except ValueError:  # overtaken by the first one that came
            self.counters["stray"] += 1

    def _pixels(self, update: Any) -> Pixels | str:
        try:
            pixels = coded_pixels(update, self._channel.bytes_are or "uint8")
        except ValueError as error:
            return str(error)
        except UserError as error:
            if self._has_begun:
                return str(error)
            raise UserError(f"channel {self._channel.name}: {error}") from None
        self._has_begun = True
        return pixels

    def _series(self, update: Any) -> Series:
        warnings = []
        if self._channel.by_arrival:
            warnings.append("images are counted as they come: a lost one is not noticed")
        if is_doubtful(update) and self._channel.bytes_are is None:
            warnings.append(
                "pixels of a byte are taken as uint8, as areaDetector counts types; write"
                " ?type=int8 behind the name if they are signed"
            )
        return Series(
            name="series_1",
            frame_time_s=self._config.frame_time_s,
            metadata={
                "protocol": "EPICS PVAccess NTNDArray",
                "channel": self._channel.name,
                "first_unique_id": int(update.uniqueId),
                **metadata(update),
                **({"warnings": warnings} if warnings else {}),
            },
        )

    def _lose_channel(self, update: Exception) -> None:
        from p4p.client.raw import Disconnected

        if not isinstance(update, Disconnected):
            raise UserError(f"channel {self._channel.name} cannot be watched: {_one_line(update)}")
        self.counters["disconnects"] += 1
        self._is_current = self._is_away = True

    def _subscribe(self) -> Any:
        return self._context.monitor(
            self._channel.name,
            self._wake.ring,
            request=f"record[queueSize={self._queue_length}]field()",
        )

    def _search(self) -> None:
        """Look for a channel that is away.

        The library looks for a new one at once, but for one that was lost ever less often.
        """
        if self._is_away and self._clock() - self._searched_s >= _SEARCH_S:
            self._searched_s = self._clock()
            self._updates.close()
            self._context.disconnect(self._channel.name)
            self._updates = self._subscribe()


@dataclass(frozen=True, slots=True)
class _Channel:
    """A channel and what is said of it."""

    name: str
    bytes_are: str | None
    by_arrival: bool

    @classmethod
    def parse(cls, uri: str) -> _Channel:
        name, _, query = uri.partition("://")[2].partition("?")
        if not name or any(sign.isspace() or sign == "#" for sign in name):
            raise UserError(f"{uri} names no channel: write it such as {_EXAMPLE}")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for key, value in options.items():
            if value not in _OPTIONS.get(key, ()):
                known = (f"{key}={one}" for key, values in _OPTIONS.items() for one in values)
                raise UserError(f"{uri}: unknown option {key}; known are {', '.join(known)}")
        return cls(name, options.get("type"), options.get("number") == "arrival")


def _make_context() -> Any:
    """Return a client that is set up by the environment, as EPICS users expect."""
    try:
        from p4p.client.raw import Context
    except ImportError:
        raise UserError("pva:// needs the package p4p: pip install 'braggstream[pva]'") from None
    return Context("pva", nt=False, useenv=True)


def _summary(context: Any, name: str, connect_s: float) -> Any:
    """Return what a channel holds, without its pixels."""
    answers: SimpleQueue[Any] = SimpleQueue()
    operation = context.get(name, answers.put, request=_SUMMARY)
    try:
        held = answers.get(timeout=connect_s)
    except Empty:
        where = os.environ.get("EPICS_PVA_ADDR_LIST") or "not set"
        raise UserError(
            f"no answer from channel {name} in {connect_s:g} s: check its name, that its server"
            f" runs, and that EPICS_PVA_ADDR_LIST ({where}) names the host"
        ) from None
    finally:
        operation.close()
    if isinstance(held, Exception):
        raise UserError(f"channel {name} has no images that can be read: {_one_line(held)}")
    if any(held.get(field) is None for field in ("uniqueId", "dimension", "codec")):
        raise UserError(
            f"channel {name} has no images (NTNDArray): name that of a PVA plugin, such as"
            f" {_EXAMPLE}"
        )
    return held


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
