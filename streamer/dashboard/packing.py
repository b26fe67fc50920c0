"""Arrays in fewer bytes on their way to the page, and exactly the same when they are there."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packed"]

_LEVEL = 1
"""Higher ones take several times as long and save a few per cent of noise."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An array, packed.

    The first bytes of all values stand together, then the second ones, and so on: counts are mostly
    small, so that whole stretches are 0. Behind that comes zlib, which browsers undo by themselves.
    """

    dtype: str
    """numpy's letter and size, such as ``u2``; the bytes are little endian."""
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self:
        """Pack an array."""
        flat = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        planes = flat.reshape(-1).view(np.uint8).reshape(-1, array.itemsize).T
        data = zlib.compress(np.ascontiguousarray(planes).data, _LEVEL)
        return cls(array.dtype.str[1:], array.shape, data)

    def unpacked(self) -> NDArray[Any]:
        """Return the array, as the page has it."""
        dtype = np.dtype(f"<{self.dtype}")
        planes = np.frombuffer(zlib.decompress(self.data), np.uint8).reshape(dtype.itemsize, -1)
        return np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(self.shape)
