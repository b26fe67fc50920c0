"""Files of the GE amorphous-silicon detectors: a header, then frames without any coding."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Series, Taken
from streamer.sources.files.plain import PlainFrames, check_frames
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["is_ge", "open_ge"]

_HEADER = struct.Struct("<10sHIHIHHHH")
"""Format, version and size of the header, the same of the user's, frames, rows, columns, bits."""
_BLANK_BYTES = 8192
_EXPOSURE_MS_AT, _RATE_HZ_AT = 696, 700
_DTYPES = {8: "u1", 16: "<u2", 32: "<u4"}
_EDF_TYPES = {
    **{"unsignedbyte": "u1", "signedbyte": "i1", "unsignedshort": "u2", "signedshort": "i2"},
    **{"unsignedinteger": "u4", "signedinteger": "i4", "unsignedlong": "u4", "signedlong": "i4"},
    **{"unsigned64": "u8", "signed64": "i8", "floatvalue": "f4", "float": "f4"},
    **{"floatieee32": "f4", "doublevalue": "f8", "double": "f8", "floatieee64": "f8"},
}
_MOST_SAID = 1 << 24


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
        It is damaged, truncated before the end of its first frame, or does not say its layout.
    """
    with path.open("rb") as file:
        header = file.read(_BLANK_BYTES)
    if header.startswith(b"ADEPT") and len(header) == _BLANK_BYTES:
        layout = _of_adept(path, header)
    elif header.lstrip(b"\r\n").startswith(b"{"):
        layout = _of_edf(path, header)
    else:
        layout = _Layout()
        if _is_wider(path, layout):
            raise UserError(
                f"{path} has a blank header, and every other one of its 16-bit pixels is 0, as if"
                " they had 32: say its layout, such as --set 'source.raw={shape: [2048, 2048],"
                " dtype: <i4, offset: 8192}'"
            )
    shape, dtype = layout.shape, layout.dtype
    frame_bytes = shape[0] * shape[1] * dtype.itemsize
    n_whole, rest = divmod(max(0, path.stat().st_size - layout.offset), frame_bytes)
    # Of a frame that is cut off it is known that it should be there.
    n_frames = max(layout.n_said, n_whole) or min(1, rest)
    if not layout.n_said and rest:
        n_frames = n_whole + 1
    series = Series(
        name=path.stem,
        n_frames=n_frames,
        frame_time_s=config.frame_time_s or layout.frame_time_s,
        metadata=layout.metadata,
        taken=Taken(source=f"{path}, {layout.source}"),
    )
    return PlainReader(series, n_frames, PlainFrames(path, layout.offset, n_frames, shape, dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What a header says; that of a blank one is what the detector writes."""

    offset: int = _BLANK_BYTES
    shape: tuple[int, int] = (2048, 2048)
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype("<u2"))
    n_said: int = 0
    frame_time_s: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    source: str = "whose header is blank, as 2048 x 2048 pixels of 16 bits"


def _of_adept(path: Path, header: bytes) -> _Layout:
    _, _, size, _, user_size, n_said, rows, cols, bits = _HEADER.unpack_from(header)
    dtype = _DTYPES.get(bits)
    if dtype is None or 0 in (rows, cols):
        raise UserError(
            f"{path} has a damaged header ({rows, cols} pixels of {bits} bits): copy it again"
        )
    exposure_ms, rate_hz = struct.unpack_from("<ff", header, _EXPOSURE_MS_AT)
    return _Layout(
        offset=size + user_size,
        shape=(rows, cols),
        dtype=np.dtype(dtype),
        n_said=n_said,
        frame_time_s=1 / rate_hz if 1e-6 < rate_hz < 1e6 else None,
        metadata={"count_time": round(exposure_ms * 1e-3, 9)} if 0 < exposure_ms < 1e9 else {},
        source="as its header says",
    )


def _of_edf(path: Path, header: bytes) -> _Layout:
    """Read the header of an EDF file that some beamlines write in place of the detector's."""
    text = header.decode("latin-1").partition("}")[0]
    said = {key.lower(): value for key, value in re.findall(r"(\w+)\s*=\s*([^;]*?)\s*;", text)}

    def number(*keys: str) -> int | None:
        return next((int(said[key]) for key in keys if said.get(key, "").isdecimal()), None)

    n_said = min(number("num_images") or 0, _MOST_SAID)
    rows, cols = number("dim_2"), number("dim_1")
    if rows is None or cols is None:
        return _Layout(
            n_said=n_said, source="whose header says no shape, as 2048 x 2048 pixels of 16 bits"
        )
    kind = _EDF_TYPES.get(said.get("datatype", "").lower())
    if kind is None or min(rows, cols) < 1:
        raise UserError(
            f"{path} has a header of EDF that says {said.get('datatype', 'no data type')} of"
            f" {rows} x {cols}: say its layout in source.raw"
        )
    order = ">" if said.get("byteorder", "").lower() == "highbytefirst" else "<"
    dtype = np.dtype(order + kind)
    check_frames(str(path), (rows, cols), dtype)
    n_bytes, size = rows * cols * dtype.itemsize, number("size")
    if size not in (None, n_bytes, n_bytes * max(1, n_said)):
        raise UserError(
            f"{path} contradicts itself: {rows} x {cols} {dtype.str} are {n_bytes} bytes, its"
            f" header says {size}: say its layout in source.raw"
        )
    return _Layout(
        offset=number("edf_headersize") or _BLANK_BYTES,
        shape=(rows, cols),
        dtype=dtype,
        n_said=n_said,
        source="as its header of EDF says",
    )


def _is_wider(path: Path, layout: _Layout) -> bool:
    """Tell whether the first frame has zeros in all odd places, as numbers of 32 bits have."""
    with path.open("rb") as file:
        file.seek(layout.offset)
        pixels = np.frombuffer(file.read(layout.shape[0] * layout.shape[1] * 2 & ~3), layout.dtype)
    return bool(pixels.any() and not pixels[1::2].any())
