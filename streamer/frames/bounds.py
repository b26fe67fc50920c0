"""Bounds of what a sender or a file may say of its frames."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from streamer.errors import as_line
from streamer.frames.events import Series
from streamer.frames.metadata import plain_items, positive

__all__ = ["LAST_FRAME", "bounded"]

LAST_FRAME = (1 << 53) - 1
"""Highest number of a frame: a float of 64 bits holds it exactly, too."""

_LONGEST_NAME = 128
_LONGEST_S = 1e9
_MOST_LEFT_OUT = 16
_Number = TypeVar("_Number", int, float)


def bounded(series: Series) -> Series:
    """Return a series with what its messages and files can carry.

    A name is one line, no more than 128 characters long. Numbers that cannot be are not known, and
    what is no plain metadata is left out; see `streamer.frames.metadata.plain`.
    """
    n_frames = series.n_frames
    return replace(
        series,
        name=as_line(series.name, _LONGEST_NAME) or "series",
        n_frames=_within(n_frames, LAST_FRAME + 1),
        frame_time_s=_within(positive(series.frame_time_s), _LONGEST_S),
        saturation=positive(series.saturation),
        metadata=plain_items(series.metadata),
        taken=replace(
            series.taken,
            source=as_line(series.taken.source),
            left_out=[as_line(text) for text in series.taken.left_out[:_MOST_LEFT_OUT]],
        ),
    )


def _within(number: _Number | None, largest: _Number) -> _Number | None:
    return number if number is not None and 0 < number <= largest else None
