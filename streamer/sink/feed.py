"""The public feed: what was committed, for anyone's SUB socket, and what will be.

Each message has three kinds of part: the topic (``peaks`` or ``frames``, both of what is on disk,
or ``provisional``, see `streamer.sink.provisional`), a msgpack map
``{"version": 1, "n": rows, "series": [names], "columns": [[name, numpy dtype], ...]}`` and one raw
buffer for each column. The column ``series`` holds indices into the list of names. Subscribers that
are too slow miss messages; nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec
import numpy as np
import zmq

from streamer.frames.pixels import dtype_named
from streamer.results.schema import Columns
from streamer.transport.messages import MessageError
from streamer.transport.sockets import bind_public

__all__ = ["PROVISIONAL", "Feed", "read_message"]

PROVISIONAL = "provisional"
"""Topic of what is not on disk yet."""
_ON_DEMAND = (PROVISIONAL.encode(),)
_AT_ONCE = 64


class _Header(msgspec.Struct):
    series: list[str]
    columns: list[tuple[str, str]]


class Feed:
    """Publishes tables of columns.

    Parameters
    ----------
    address
        Where to bind; ``tcp://127.0.0.1:*`` lets the system choose a port. Empty: nowhere, and
        nobody hears what is published.

    Raises
    ------
    UserError
        The address is in use, or others reach it and there are no keys.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.socket = context.socket(zmq.XPUB)  # which is a PUB that hears who listens
        self.socket.set(zmq.LINGER, 500)  # the last message of a run is worth half a second
        self.address = bind_public(self.socket, address) if address else ""
        self._asked: set[bytes] = set()

    def wants(self, topic: str) -> bool:
        """Tell whether anybody has asked for a topic by its name."""
        return topic.encode() in self._asked

    def listen(self) -> None:
        """Hear what is asked for, as far as it is by the name of a topic that not all get."""
        for _ in range(_AT_ONCE):
            try:
                said = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            topic = said[1:]
            if topic in _ON_DEMAND and said[:1] == b"\x01":
                self._asked.add(topic)
            elif said[:1] == b"\x00":
                self._asked.discard(topic)

    def publish(self, topic: str, series: Sequence[str], columns: Columns) -> None:
        """Publish rows; ``columns["series"]`` indexes `series`."""
        n = len(next(iter(columns.values())))
        header = {
            "version": 1,
            "n": n,
            "series": list(series),
            "columns": [[name, column.dtype.str] for name, column in columns.items()],
        }
        buffers = [np.ascontiguousarray(column).data for column in columns.values()]
        self.socket.send_multipart([topic.encode(), msgpack.packb(header), *buffers])

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def read_message(parts: Sequence[bytes]) -> tuple[str, list[str], Columns]:
    """Return the topic, the names of the series and the columns of a message of the feed.

    Raises
    ------
    MessageError
        It is none.
    """
    try:
        topic, said, *buffers = parts
        header = msgspec.msgpack.decode(said, type=_Header)
        columns = {
            name: np.frombuffer(buffer, _numbers(dtype))
            for (name, dtype), buffer in zip(header.columns, buffers, strict=True)
        }
        return topic.decode(), header.series, columns
    except (ValueError, TypeError, RecursionError) as error:
        raise MessageError(f"no message of a feed: {error}") from None


def _numbers(name: str) -> np.dtype[Any]:
    dtype = dtype_named(name)
    if dtype is None or dtype.kind not in "biuf" or not dtype.itemsize:
        raise ValueError(f"{name!r:.40} is no type of numbers")
    return dtype
