"""One HDF5 dataset, frame by frame, not decoded where a chunk is one frame."""

from __future__ import annotations

import math
import os
from array import array
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import h5py
import hdf5plugin  # noqa: F401  (registers the filters that h5py decodes with)
import numpy as np
from numpy.typing import NDArray

from streamer.frames.events import Buffer, Pixels
from streamer.frames.pixels import as_bytes
from streamer.sources.files.hdf5.files import is_being_written, is_truncated
from streamer.sources.files.hdf5.scaling import Scaling, scaling_of
from streamer.sources.files.plain import FileBytes

__all__ = ["Decoded", "FrameStack", "file_name", "open_stack"]

_BITSHUFFLE, _LZ4 = 32008, 32004
_SHUFFLED = {2: "bslz4", 3: "bszstd"}
_BLOCK_BYTES = 256 << 20


class FrameStack(Protocol):
    """The frames of one dataset, numbered through all axes but the last two in C order."""

    def coded(self, index: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        ...


def open_stack(dataset: h5py.Dataset) -> FrameStack:
    """Return the fastest way to read the frames of a dataset of 2 to 5 axes that is not virtual.

    Raises
    ------
    UserError
        Its numbers stand for others, and it does not say plainly for which.
    """
    stack, scaling = _stack(dataset), scaling_of(dataset)
    return stack if scaling is None else _Scaled(stack, scaling)


@dataclass(frozen=True, slots=True)
class _Scaled:
    """The frames of a dataset whose numbers stand for others."""

    stack: FrameStack
    scaling: Scaling

    def coded(self, index: int) -> Pixels | str:
        pixels = self.stack.coded(index)
        return pixels if isinstance(pixels, str) else self.scaling(pixels)


def _stack(dataset: h5py.Dataset) -> FrameStack:
    if not _is_as_stored(dataset):
        return Decoded(dataset)
    create = dataset.id.get_create_plist()
    encoding = _encoding(create, dataset.dtype.itemsize)
    rows, cols = dataset.shape[-2:]
    one_frame = (1,) * (dataset.ndim - 2) + (rows, cols)
    if encoding is not None and dataset.chunks == one_frame and dataset.ndim > 2:
        return _Chunks(dataset, encoding)
    if dataset.chunks is None and _is_plain(dataset):
        return _Contiguous(dataset)
    return Decoded(dataset)


def _is_as_stored(dataset: h5py.Dataset) -> bool:
    """Tell whether numbers lie in the file as numpy has them, not in some of the bits of each."""
    return bool(dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)))


def _is_plain(dataset: h5py.Dataset) -> bool:
    """Tell whether the frames lie in one piece in a file as it is."""
    file = dataset.file
    is_plain = file.driver in ("sec2", "fileobj") and not file.userblock_size
    return is_plain and dataset.id.get_offset() is not None


class _Chunks:
    """Each chunk is a frame, in a coding that travels as it is."""

    def __init__(self, dataset: h5py.Dataset, encoding: str) -> None:
        self._id = dataset.id
        self._encoding = encoding
        self._dtype = dataset.dtype.str
        self._shape = (int(dataset.shape[-2]), int(dataset.shape[-1]))
        self._lead = dataset.shape[:-2]
        self._file = _File(dataset)

    def coded(self, index: int) -> Pixels | str:
        try:
            begin, size, skipped = self._place(index)
            # What is cut off of the index of a truncated file looks like zeros.
            if not begin or not size:
                is_cut = begin is not None
                return f"{'cut off of' if is_cut else 'never written to'} {self._file.name}"
            data: Buffer | None = self._file.read(begin, size)
            if data is None:
                skipped, data = self._id.read_direct_chunk(self._corner(index))
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            return f"cannot be read from {self._file.name} ({error})"
        if len(data) < size:
            return f"{self._file.name} is truncated"
        # The lowest bit says that the only filter was not applied to this chunk.
        return Pixels(data, "raw" if skipped & 1 else self._encoding, self._dtype, self._shape)

    def _place(self, index: int) -> tuple[int | None, int, int]:
        """Return where a chunk begins, None if nowhere; its bytes; the filters it skipped."""
        if self._places is not None:
            begin, size, skipped = self._places[index].tolist()
            return None if begin < 0 else begin, size, skipped
        chunk = self._id.get_chunk_info_by_coord(self._corner(index))
        return chunk.byte_offset, chunk.size, chunk.filter_mask

    @cached_property
    def _places(self) -> NDArray[np.int64] | None:
        """(frames, 3) of what `_place` returns; None where it may change, or not all is to be had.

        For a single chunk the library goes through all before it.
        """
        if not self._file.is_settled:
            return None
        flat = array("q")

        def note(chunk: Any) -> None:
            corner = chunk.chunk_offset[:-2]
            flat.extend((*corner, chunk.byte_offset, chunk.size, chunk.filter_mask))

        try:
            self._id.chunk_iter(note)
            found = np.array(flat).reshape(-1, len(self._lead) + 3)
            places = np.full((math.prod(self._lead), 3), (-1, 0, 0), np.int64)
            places[np.ravel_multi_index(tuple(found[:, :-3].T), self._lead)] = found[:, -3:]
        except Exception:  # of any type: h5py trusts what a damaged file says
            return None
        return places

    def _corner(self, index: int) -> tuple[int, ...]:
        """Return where in the dataset a frame begins."""
        return (*map(int, np.unravel_index(index, self._lead)), 0, 0)


class _Contiguous:
    """The frames lie in the file one after another, without any coding."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dtype = dataset.dtype.str
        self._shape = (int(dataset.shape[-2]), int(dataset.shape[-1]))
        self._size = self._shape[0] * self._shape[1] * dataset.dtype.itemsize
        self._offset = int(dataset.id.get_offset())
        self._file = _File(dataset)

    def coded(self, index: int) -> Pixels | str:
        try:
            data = self._file.read(self._offset + index * self._size, self._size)
        except (OSError, ValueError) as error:
            return f"{self._file.name} cannot be read ({error})"
        if data is None or len(data) < self._size:
            return f"{self._file.name} is truncated"
        return Pixels(data, "raw", self._dtype, self._shape)


class _File:
    """The bytes of the file that holds a dataset, read without the library, which is faster."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        file = dataset.file
        self.name = Path(file.filename).name
        self._key: tuple[str, int, int] | None = None
        # Where a chunk lies is said without the user block; and what grows changes.
        if (
            file.driver in ("sec2", "fileobj")
            and not file.userblock_size
            and not is_being_written(file)
        ):
            status = os.stat(file.filename)
            self._key = (file.filename, status.st_size, status.st_mtime_ns)

    @property
    def is_settled(self) -> bool:
        """True where nobody writes to it, and it is all there."""
        return self._key is not None

    def read(self, offset: int, size: int) -> Buffer | None:
        """Return bytes of the file, fewer at its end; None when they are the library's to read."""
        return None if self._key is None else _opened(*self._key).read(offset, size)


@lru_cache(maxsize=4)
def _opened(path: str, size: int, changed_ns: int) -> FileBytes:
    """Open a file; each takes a file descriptor, and a recording can have thousands of files."""
    return FileBytes(Path(path))


class Decoded:
    """Frames that h5py decodes: chunks of several frames or of parts of one, other filters.

    It also reads a virtual dataset, whose sources the caller has looked at: for h5py one that is
    not there is full of zeros.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._dtype = dataset.dtype.str
        self._shape = (int(dataset.shape[-2]), int(dataset.shape[-1]))
        self._lead = dataset.shape[:-2]
        frame_bytes = max(1, self._shape[0] * self._shape[1] * dataset.dtype.itemsize)
        together = dataset.chunks[0] if dataset.chunks and dataset.ndim > 2 else 1
        self._together = max(1, min(together, _BLOCK_BYTES // frame_bytes))
        # Of a truncated file HDF5 decodes zeros as well as pixels.
        self._truncated = is_truncated(dataset.file)
        self._incomplete = not self._truncated and _is_incomplete(dataset)
        self._block_at: tuple[int, ...] | None = None
        self._block: NDArray[Any] = np.empty((0, *self._shape))

    def coded(self, index: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        position = tuple(int(i) for i in np.unravel_index(index, self._lead)) if self._lead else ()
        first = position[0] // self._together * self._together if position else 0
        block_at = (first, *position[1:])
        if self._truncated:
            return f"{file_name(self._dataset)} is truncated"
        try:
            if self._incomplete and not self._is_written(position):
                return f"never written to {file_name(self._dataset)}"
            if self._block_at != block_at:
                self._block = self._read(first, position[1:])
                self._block_at = block_at
        except (OSError, RuntimeError, ValueError) as error:
            return f"cannot be decoded from {file_name(self._dataset)} ({error})"
        frame = self._block[position[0] - first if position else 0]
        return Pixels(as_bytes(frame), "raw", self._dtype, self._shape)

    def _read(self, first: int, rest: tuple[int, ...]) -> NDArray[Any]:
        if not self._lead:
            return np.asarray(self._dataset[...])[None]
        block: NDArray[Any] = self._dataset[(slice(first, first + self._together), *rest)]
        return block

    def _is_written(self, position: tuple[int, ...]) -> bool:
        """Tell whether every chunk of a frame exists: h5py gives zeros for one that does not."""
        chunks = self._dataset.chunks
        if chunks is None:
            return False
        corner = tuple(i // c * c for i, c in zip(position, chunks, strict=False))
        info = self._dataset.id.get_chunk_info_by_coord
        return all(
            info((*corner, row, col)).byte_offset is not None
            for row in range(0, self._shape[0], chunks[-2])
            for col in range(0, self._shape[1], chunks[-1])
        )


def file_name(dataset: h5py.Dataset) -> str:
    """Return the name of the file a dataset lies in, without its folder."""
    return str(dataset.file.filename).rpartition("/")[2]


def _encoding(create: h5py.h5p.PropDCID, itemsize: int) -> str | None:
    """Name the coding of a dataset's chunks; None for one that only h5py decodes."""
    if create.get_nfilters() == 0:
        return "raw"
    if create.get_nfilters() > 1:
        return None
    code, _, values, _ = create.get_filter(0)
    if code == _LZ4:
        return "lz4"
    # The filter's values are its version (2), the item size, the block size and the codec.
    if code == _BITSHUFFLE and len(values) > 4 and values[2] == itemsize:
        return _SHUFFLED.get(values[4])
    return None


def _is_incomplete(dataset: h5py.Dataset) -> bool:
    """Tell whether some of a dataset was never written."""
    if dataset.is_virtual:
        return False  # whose sources are looked at one by one
    if dataset.chunks is None:
        # External and compact storage have no offset, and no way to tell.
        return bool(dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED)
    grid = zip(dataset.shape, dataset.chunks, strict=True)
    return bool(dataset.id.get_num_chunks() < math.prod(-(-size // chunk) for size, chunk in grid))
