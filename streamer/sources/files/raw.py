"""Files whose layout the user says: frames without any coding behind a header of some bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.config import SourceConfig
from streamer.config.source import RawConfig
from streamer.errors import UserError
from streamer.frames.events import Series, Taken
from streamer.sources.files.plain import PlainFrames, check_frames
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["open_raw"]


def open_raw(path: Path, layout: RawConfig, config: SourceConfig) -> RecordingReader:
    """Open a file as frames of a shape and type, to its end or as many as the layout says.

    Raises
    ------
    UserError
        It has not one such frame, or does not end with a whole one.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    dtype = np.dtype(layout.dtype)
    rows, cols = layout.shape[-2:]
    check_frames(f"{path} as source.raw says", layout.shape, dtype)
    n_whole, rest = divmod(max(0, size - layout.offset), rows * cols * dtype.itemsize)
    n_frames = layout.shape[0] if len(layout.shape) == 3 else n_whole
    if rest and len(layout.shape) == 2:
        raise UserError(
            f"{path} has {n_whole} frames of {rows} x {cols} {layout.dtype} behind"
            f" {layout.offset} bytes, and {rest} bytes more: correct source.raw, or say in"
            " source.raw.shape how many frames there are"
        )
    series = Series(
        name=path.stem,
        n_frames=n_frames,
        frame_time_s=config.frame_time_s,
        taken=Taken(source=f"{path} as source.raw says, from byte {layout.offset} on"),
    )
    coded = PlainFrames(path, layout.offset, n_frames, (rows, cols), dtype)
    return PlainReader(series, n_frames, coded)
