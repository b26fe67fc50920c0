"""Opening HDF5 files that are complete, truncated, or still being written."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import h5py

__all__ = ["is_being_written", "is_truncated", "lies_in_file", "open_file", "waits_for_ever"]

_DEAD_S = 10.0
"""A file to which nothing was written for so long has no writer any more."""
_TRUNCATED = re.compile(r"truncated file: eof = (\d+), .*stored_eof = (\d+)")


def open_file(path: Path, *, growing: bool = False) -> h5py.File:
    """Open a file for reading; what is left of it when it is truncated.

    One that its writer let others read meanwhile (SWMR) and did not close is opened as it is once
    nobody writes to it.

    Parameters
    ----------
    growing
        Open a file as well that is being written in this way. One that is truncated is then one
        that is not all there yet.

    Raises
    ------
    OSError
        It cannot be read, or not yet.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if growing or ("already open for write" in str(error) and _is_left(path)):
            try:
                return h5py.File(path, "r", libver="latest", swmr=True)
            except OSError:
                raise error from None
        match = _TRUNCATED.search(str(error))
        if match is None or not str(path).isascii():
            raise
        try:
            return h5py.File(_Padded(path, int(match[2])), "r")
        except (OSError, RuntimeError, ValueError):
            raise error from None


def is_being_written(file: h5py.File) -> bool:
    """Tell whether a file was not closed by its writer when it was opened here."""
    return bool(file.id.get_intent() & h5py.h5f.ACC_SWMR_READ)


def is_truncated(file: h5py.File) -> bool:
    """Tell whether a part of a file is cut off; as HDF5 sees it, there are zeros."""
    return bool(file.driver == "fileobj")


def lies_in_file(dataset: h5py.Dataset) -> bool:
    """Tell whether what a dataset holds is there to be read, in a file that may be truncated."""
    if not is_truncated(dataset.file):
        return True
    layout, offset = dataset.id.get_create_plist().get_layout(), dataset.id.get_offset()
    if layout == h5py.h5d.COMPACT:
        return True  # it is a part of its own description
    size = os.stat(dataset.file.filename).st_size
    return offset is not None and bool(offset + dataset.id.get_storage_size() <= size)


def waits_for_ever(file: h5py.File) -> Path | None:
    """Return the pipe or device that a file has a link to, None where it has none.

    HDF5 opens what a link names whenever somebody looks behind it, and of a pipe that has no end.
    """
    named: set[str] = set()

    def note(name: bytes, info: h5py.h5l.LinkInfo) -> None:
        if info.type == h5py.h5l.TYPE_EXTERNAL:
            named.add(os.fsdecode(file.id.links.get_val(name)[0]))

    with contextlib.suppress(OSError, RuntimeError, ValueError):  # of a damaged file what is left
        file.id.links.visit(note, info=True)
    here = Path(file.filename)
    folders = {here.parent, here.resolve().parent, Path()}
    for path in (folder / name for name in sorted(named) for folder in folders):
        # These say no of a name that no file can have.
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            return path
    return None


def _is_left(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _DEAD_S


class _Padded:
    """A truncated file with zeros in place of what is cut off, for which HDF5 opens it.

    What lies there must not be read: who reads compares with the size of the file.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._at = 0
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self._file)

    def __repr__(self) -> str:
        return str(self._path)  # which h5py makes the name of the file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return bytes from here on."""
        data = bytearray(self._size - self._at if size < 0 else size)
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: bytearray) -> int:
        """Fill a buffer with bytes from here on."""
        there = 0 <= self._at < os.fstat(self._file).st_size  # HDF5 goes where the file says
        n_read = os.preadv(self._file, [buffer], self._at) if there else 0
        view = memoryview(buffer).cast("B")
        view[n_read:] = bytes(len(view) - n_read)
        self._at += len(view)
        return len(view)
