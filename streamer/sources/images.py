"""Images that a user hands in: masks and dark frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Frame
from streamer.sources import open_source

__all__ = ["load_dark", "load_mask"]

_T = TypeVar("_T", bound=np.generic)


def load_mask(path: Path) -> NDArray[np.bool_]:
    """Return (rows, cols), True where the file holds anything but 0.

    Raises
    ------
    UserError
        The file cannot be read as an image.
    """
    masked: NDArray[np.bool_] | None = None
    for frame in _frames(path, "mask"):
        masked = (frame != 0) if masked is None else masked | (frame != 0)
    return _one(masked, path, "mask")


def load_dark(path: Path) -> NDArray[np.float32]:
    """Return (rows, cols), the mean of the frames in the file, in counts.

    Raises
    ------
    UserError
        The file cannot be read as an image, or not all of it are numbers.
    """
    total: NDArray[np.float64] | None = None
    count = 0
    for frame in _frames(path, "dark"):
        total = frame.astype(np.float64) if total is None else total + frame
        count += 1
    with np.errstate(over="ignore"):
        mean = (_one(total, path, "dark") / max(1, count)).astype(np.float32)
    if n_none := np.count_nonzero(~np.isfinite(mean)):
        raise UserError(
            f"dark {path} has {n_none:,} pixels that are no finite number: set them to 0 there and"
            " name them in detect.mask"
        )
    return mean


def _one(image: NDArray[_T] | None, path: Path, what: str) -> NDArray[_T]:
    if image is None:
        raise UserError(f"{what} {path} holds no image")
    return image


def _frames(path: Path, what: str) -> Iterator[NDArray[Any]]:
    """Yield the frames of a file, (rows, cols) each."""
    file = Path(re.sub(r"::.*", "", str(path)))
    if file.suffix == ".npy" and file.is_file():
        # The one format in which masks are of type bool, which no detector sends.
        try:
            # Mapped, so that no memory is taken for what is declared and not there.
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception:  # of any type: numpy parses a header as if it were Python
            raise UserError(f"{what} {path} is not a .npy file of numbers") from None
        if array.ndim in (2, 3) and array.size and array.dtype.kind in "biuf":
            yield from array.reshape(-1, *array.shape[-2:])
            return
        raise UserError(f"{what} {path} holds {array.ndim}-D {array.dtype}: it must be an image")
    source = open_source(str(path), SourceConfig())
    try:
        while not source.exhausted:
            for event in source.read(16):
                if isinstance(event, Frame):
                    yield decode(event.data, event.encoding, event.dtype, event.shape)
    except DecodeError as error:
        raise UserError(f"{what} {path} cannot be decoded: {error}") from None
    finally:
        source.close()
