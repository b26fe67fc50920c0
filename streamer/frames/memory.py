"""Memory that ZeroMQ sends as it is.

Of other memory that it is to send and not to copy, each buffer is given back through a thread that
wakes up for it, which costs more than to copy any but a large one.
"""

from __future__ import annotations

import os

import zmq

from streamer.frames.events import Buffer

__all__ = ["COPIED_BYTES", "as_part", "read_part"]

COPIED_BYTES = 1 << 20
"""Buffers up to this size are sooner copied than given back."""
_BLANK = memoryview(bytes(COPIED_BYTES))


def as_part(buffer: Buffer) -> Buffer | zmq.Frame:
    """Return the part of a message that a buffer is, where it is all of one; else the buffer."""
    if isinstance(buffer, memoryview):
        whole = buffer.obj
        if isinstance(whole, zmq.Frame) and len(whole) == buffer.nbytes:
            return whole
    return buffer


def read_part(file: int, offset: int, size: int) -> memoryview:
    """Return bytes of a file, fewer at its end, in memory that can be sent.

    Raises
    ------
    OSError
        They cannot be read.
    """
    if size > COPIED_BYTES:
        return memoryview(os.pread(file, size, offset))
    # ZeroMQ has memory for a copy of something only; where that stays in the cache it costs little.
    part: memoryview = zmq.Frame(_BLANK[:size], copy=True).buffer
    n_bytes = os.preadv(file, [part], offset)
    return part if n_bytes == size else part[:n_bytes]
