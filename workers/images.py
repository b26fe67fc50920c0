"""Images that a user hands in: masks and dark frames."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamer.codecs import DecodeError, decode
from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources import open_source
from streamer.sources.base import Frame

__all__ = ["load_dark", "load_mask"]


def load_mask(path: Path) -> NDArray[np.bool_]:
    """Return (rows, cols), True where the file holds anything but 0.

    Raises
    ------
    UserError
        The file cannot be read as an image.
    """
    frames = _frames(path, "mask")
    return np.any(frames != 0, axis=0)  # type: ignore[no-any-return]


def load_dark(path: Path) -> NDArray[np.float32]:
    """Return (rows, cols), the mean of the frames in the file, in counts.

    Raises
    ------
    UserError
        The file cannot be read as an image.
    """
    frames = _frames(path, "dark").astype(np.float64)
    return np.asarray(frames.mean(axis=0), np.float32)


def _frames(path: Path, what: str) -> NDArray[np.generic]:
    """Return (frames, rows, cols)."""
    file = Path(re.sub(r"::.*", "", str(path)))
    if file.suffix == ".npy" and file.is_file():
        # The one format in which masks are of type bool, which no detector sends.
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError):
            raise UserError(f"{what} {path} is not a .npy file of numbers") from None
        if array.ndim in (2, 3) and array.dtype.kind in "biuf":
            return array.reshape(-1, *array.shape[-2:])  # type: ignore[no-any-return]
        raise UserError(f"{what} {path} holds {array.ndim}-D {array.dtype}: it must be an image")
    source = open_source(str(path), SourceConfig())
    frames = []
    try:
        while not source.exhausted:
            for event in source.read(16):
                if isinstance(event, Frame):
                    frames.append(decode(event.data, event.encoding, event.dtype, event.shape))
    except DecodeError as error:
        raise UserError(f"{what} {path} cannot be decoded: {error}") from None
    finally:
        source.close()
    if not frames:
        raise UserError(f"{what} {path} holds no image")
    return np.stack(frames)
