"""Zarr: arrays in chunks, in a folder or in an archive, as MIDAS and others keep recordings."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import as_bytes
from streamer.sources.files.choice import choose_array, others
from streamer.sources.files.hdf5.scaling import scaling_in
from streamer.sources.files.plain import check_frames, one_line
from streamer.sources.files.recording import PlainReader, RecordingReader

__all__ = ["is_zarr", "open_zarr"]

_MARKS = (".zgroup", ".zarray", "zarr.json", ".zmetadata")
_MOST_DEPTH = 16
_BLOCK_BYTES = 256 << 20


def is_zarr(path: Path) -> bool:
    """Tell whether a folder or an archive is a store of Zarr."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in _MARKS)
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] in _MARKS for name in archive.namelist())
    except Exception:  # of any type, as zipfile lets through
        return False


def open_zarr(path: Path, inner: str | None, config: SourceConfig) -> RecordingReader:
    """Open an array of a store: the one named, or the one that `choose_array` finds.

    Raises
    ------
    UserError
        It is damaged, or it does not say plainly which array holds the frames.
    """
    try:
        import zarr
        from zarr.storage import LocalStore, ZipStore
    except ImportError:
        raise UserError(
            f"{path} is a store of Zarr, read by a package that is not installed:"
            " pip install 'braggstream[formats]'"
        ) from None
    try:
        store = (
            LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, read_only=True)
        )
        arrays = _arrays(zarr, store)
        known = {name: (tuple(one.shape), np.dtype(one.dtype)) for name, one in arrays.items()}
        chosen = choose_array(str(path), known) if inner is None else f"/{inner.strip('/')}"
        if chosen not in arrays:
            raise UserError(f"{path} has no array {inner}: it has {', '.join(arrays) or 'none'}")
        shape, dtype = known[chosen]
        check_frames(f"{path}::{chosen}", shape, dtype, (2, 3, 4, 5))
    except UserError:
        raise
    except Exception as error:  # of any type: zarr trusts what a damaged store says
        raise UserError(
            f"{path} is a damaged store of Zarr ({one_line(error)}): copy it again"
        ) from None
    stack = _Stack(path, arrays[chosen], shape, dtype)
    scaling = scaling_in(arrays[chosen].attrs, f"{path}::{chosen}")

    def coded(frame: int) -> Pixels | str:
        pixels = stack(frame)
        return pixels if scaling is None or isinstance(pixels, str) else scaling(pixels)

    n_frames = int(np.prod(shape[:-2], dtype=np.int64))
    series = Series(
        name=path.stem,
        n_frames=n_frames,
        frame_time_s=config.frame_time_s,
        metadata={} if scaling is None else {"warnings": [scaling.in_words()]},
        taken=Taken(source=f"{path}::{chosen}", left_out=others(known, chosen)),
    )
    return PlainReader(series, n_frames, coded, close=store.close)


class _Stack:
    """Reads frames, as many together as a chunk has."""

    def __init__(
        self, path: Path, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._path, self._array, self._dtype = path, array, dtype
        self._lead, self._shape = shape[:-2], (int(shape[-2]), int(shape[-1]))
        frame_bytes = self._shape[0] * self._shape[1] * dtype.itemsize
        together = int(array.chunks[0]) if self._lead else 1
        self._together = max(1, min(together, _BLOCK_BYTES // frame_bytes))
        self._block_at: tuple[int, ...] | None = None
        self._block: NDArray[Any] = np.empty(0)

    def __call__(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        place = tuple(int(i) for i in np.unravel_index(frame, self._lead)) if self._lead else ()
        first = place[0] // self._together * self._together if place else 0
        block_at = (first, *place[1:])
        try:
            if self._block_at != block_at:
                self._block = self._read(first, place[1:])
                self._block_at = block_at
            pixels = self._block[place[0] - first if place else 0]
        except Exception as error:  # of any type, as codecs raise
            return f"{self._path.name}: frame {frame} cannot be read ({one_line(error)})"
        return Pixels(as_bytes(pixels), "raw", self._dtype.str, self._shape)

    def _read(self, first: int, rest: tuple[int, ...]) -> NDArray[Any]:
        if not self._lead:
            return np.asarray(self._array[...], self._dtype)[None]
        return np.asarray(self._array[(slice(first, first + self._together), *rest)], self._dtype)


def _arrays(zarr: Any, store: Any) -> dict[str, Any]:
    """Return the arrays of a store by path, also of an archive without its groups' descriptions."""
    try:
        root = zarr.open(store, mode="r")
    except FileNotFoundError:
        with zipfile.ZipFile(store.path) as archive:
            names = [n[: -len("/.zarray")] for n in archive.namelist() if n.endswith("/.zarray")]
        return {f"/{name}": zarr.open_array(store, path=name, mode="r") for name in sorted(names)}
    found: dict[str, Any] = {}
    waiting = [("", root, 0)]
    while waiting:
        path, node, depth = waiting.pop()
        if hasattr(node, "shape"):
            found[path or "/"] = node
        elif depth < _MOST_DEPTH:
            waiting += [(f"{path}/{name}", one, depth + 1) for name, one in node.members()]
    return dict(sorted(found.items()))
