"""Files of torch.save read without torch, which takes seconds to import."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_arrays"]

_MOST_BYTES = 64 << 20


def read_arrays(path: Path) -> Mapping[str, Any] | None:
    """Return a dictionary of arrays and plain values; never runs code from the file.

    Returns
    -------
    content
        Tensors as float32 arrays. None where there is anything in it that is not read here: torch
        may know it, and says what is wrong with it otherwise.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with zipfile.ZipFile(path) as archive:
            (said,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            root = said.removesuffix("data.pkl")
            if archive.read(f"{root}byteorder") != b"little":
                return None
            with archive.open(said) as file:
                content = _Reader(file, archive, root).load()
    except Exception:  # a damaged file has pickle, zipfile and numpy raise almost anything
        return None
    return (
        content if isinstance(content, dict) and all(isinstance(k, str) for k in content) else None
    )


class _Reader(pickle.Unpickler):
    """Makes nothing but plain values, ordered dictionaries and arrays of what is in the archive."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _array,
            ("torch", "FloatStorage"): "float32",
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"no use for {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> NDArray[np.float32]:
        kind, dtype, key, _, _ = pid
        entry = self._archive.getinfo(f"{self._root}data/{key}")
        if (kind, dtype, entry.compress_type) != ("storage", "float32", zipfile.ZIP_STORED):
            raise pickle.UnpicklingError("no storage of float32")
        return np.frombuffer(self._archive.read(entry), "<f4")


def _array(
    storage: NDArray[np.float32], first: int, shape: Sequence[int], strides: Sequence[int], *_: Any
) -> NDArray[np.float32]:
    """Return a part of a storage as an array; strides are in numbers."""
    array = storage[first : first + math.prod(shape)].reshape(shape)
    if tuple(stride * array.itemsize for stride in strides) != array.strides:
        raise pickle.UnpicklingError("an array that is not in order")
    return array
