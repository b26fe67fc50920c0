"""Frames to take in."""

from __future__ import annotations

from streamer.frames.events import Frame


def frames(first, last, series="1", data=None):
    """Return frames of 8 bytes each, or of what is given, with their numbers as `seq` too."""
    return [
        Frame(
            series=series,
            frame=number,
            time_ns=number,
            shape=(2, 2),
            dtype="<u2",
            encoding="raw",
            data=bytes([number % 256] * 8) if data is None else data,
            seq=number,
        )
        for number in range(first, last)
    ]
