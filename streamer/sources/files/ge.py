"""Files of the GE amorphous-silicon detectors: a header, then frames without any coding."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Series, Taken
from streamer.sources.files.plain import PlainFrames
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["is_ge", "open_ge"]

_HEADER = struct.Struct("<10sHIHIHHHH")
"""Format, version and size of the header, the same of the user's, frames, rows, columns, bits."""
_BLANK_BYTES = 8192
_BLANK_SHAPE = (2048, 2048)
_EXPOSURE_MS_AT, _RATE_HZ_AT = 696, 700
_DTYPES = {8: "u1", 16: "<u2", 32: "<u4"}


def is_ge(path: Path, start: bytes) -> bool:
    """Tell by its name and first bytes whether a file is from such a detector."""
    if start.startswith(b"ADEPT"):
        return True
    # Some beamlines leave the header blank, or write one of another format in its place.
    named = re.fullmatch(r"\.ge\d*", path.suffix.lower()) is not None
    return named and (not any(start) or start.lstrip(b"\r\n").startswith(b"{"))


def open_ge(path: Path, config: SourceConfig) -> RecordingReader:
    """Open a file of a GE detector.

    Raises
    ------
    UserError
        It is damaged, or truncated before the end of its first frame.
    """
    with path.open("rb") as file:
        header = file.read(_BLANK_BYTES)
    offset, shape, bits, n_said = _BLANK_BYTES, _BLANK_SHAPE, 16, 0
    frame_time_s, metadata = None, {}
    if header.startswith(b"ADEPT") and len(header) == _BLANK_BYTES:
        _, _, size, _, user_size, n_said, rows, cols, bits = _HEADER.unpack_from(header)
        offset, shape = size + user_size, (rows, cols)
        exposure_ms, rate_hz = struct.unpack_from("<ff", header, _EXPOSURE_MS_AT)
        if 0 < exposure_ms < 1e9:
            metadata["count_time"] = round(exposure_ms * 1e-3, 9)
        frame_time_s = 1 / rate_hz if 1e-6 < rate_hz < 1e6 else None
    elif match := re.search(rb"Num_Images\s*=\s*(\d+)", header):
        n_said = int(match[1])
    dtype = _DTYPES.get(bits)
    if dtype is None or 0 in shape:
        raise UserError(
            f"{path} has a damaged header ({shape} pixels of {bits} bits): copy it again"
        )
    frame_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
    n_whole, rest = divmod(max(0, path.stat().st_size - offset), frame_bytes)
    # Of a frame that is cut off it is known that it should be there.
    n_frames = max(n_said, n_whole) or min(1, rest)
    if not n_said and rest:
        n_frames = n_whole + 1
    series = Series(
        name=path.stem,
        taken=Taken(source=str(path)),
        n_frames=n_frames,
        frame_time_s=config.frame_time_s or frame_time_s,
        metadata=metadata,
    )
    return PlainReader(
        series, n_frames, PlainFrames(path, offset, n_frames, shape, np.dtype(dtype))
    )
