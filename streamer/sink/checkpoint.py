"""What a successor of the sink needs to know of all parts but the newest, in one file."""

from __future__ import annotations

import hashlib
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from typing import Any, BinaryIO

import msgpack
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamer.config import Config
from streamer.results.folder import RunFolder
from streamer.results.parts import committed, discard, partial_of

__all__ = ["EVERY", "Checkpoint"]

logger = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]

EVERY = 64
"""Parts from one checkpoint to the next; they end where files end that are merged."""
_VERSION = 6
_SHARE = 0.05
"""Largest share of the sink's time that writing takes."""
_PATIENCE_S = 0.25
"""For the first copy of a state while rows wait for it; twice as long after each that was given up,
so that one is written in the end however busy the machine is."""
_ARRAY = 1
_HASH_BYTES, _LENGTH_BYTES = 32, 8


class Checkpoint:
    """Keeps a state of the sink beside the parts that it is the outcome of.

    It saves time and nothing else: where it cannot be written or does not fit, a successor reads
    all parts.

    Parameters
    ----------
    config
        What the state depends on must be the same when it is read.
    """

    def __init__(self, folder: RunFolder, config: Config) -> None:
        self._folder = folder
        self._path = folder.path / "checkpoint.msgpack"
        self._depends = config.tracks.model_dump_json() + repr(config.source.chosen.step)
        self._next_write = 0.0
        self._failed = False
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._job: Future[None] | None = None
        self._copying = _Copying()
        self._copying.end(whole=False)
        self._patience_s = _PATIENCE_S
        self._until = 0.0

    def is_due(self, part: int) -> bool:
        """Tell whether the state after a part is to be written."""
        is_free = self._job is None or self._job.done()
        return (part + 1) % EVERY == 0 and is_free and time.monotonic() >= self._next_write

    def may_change(self, timeout_s: float = 0.0) -> bool:
        """Tell, or wait so long until, arrays of the state that is being written may change.

        A machine may be too busy for copies of them: these are given up after a while.
        """
        if self._copying.over.wait(timeout_s):
            return True
        if time.monotonic() < self._until:
            return False
        if not self._copying.end(whole=False):
            self._patience_s *= 2.0
        return True

    def begin(self, part: int, upto: int, state: dict[str, Any]) -> None:
        """Write the state after a part while the sink goes on, as `write` does.

        Arrays must stay as they are until they `may_change`, lists and the like need not: the sink
        can take in more while those of 100,000 tracks are copied, 230 MB.
        """
        self._copying = _Copying()
        self._until = time.monotonic() + self._patience_s
        packed, arrays = self._packed(part, upto, state)
        self._job = self._thread.submit(self._write_copies, packed, arrays, self._copying)

    def close(self) -> None:
        """Wait for what was begun."""
        self._thread.shutdown()

    def write(self, part: int, upto: int, state: dict[str, Any]) -> None:
        """Write the state after a part, if it can be.

        Parameters
        ----------
        upto
            What the part says that a successor goes on from.
        state
            What msgpack takes, and arrays.
        """
        self._write(*self._packed(part, upto, state))

    def _packed(self, part: int, upto: int, state: dict[str, Any]) -> tuple[bytes, Arrays]:
        """Return what is said of a state, and the arrays that follow behind it."""
        says = {"version": _VERSION, "depends": self._depends, "part": part, "upto": upto}
        arrays: Arrays = []
        return msgpack.packb(says | {"state": state}, default=_Kept(arrays)), arrays

    def _write_copies(self, packed: bytes, arrays: Arrays, copying: _Copying) -> None:
        started, is_whole = time.monotonic(), False
        try:
            arrays = [array.copy() for array in arrays]
            is_whole = True
        finally:
            is_whole = copying.end(whole=is_whole)
        if is_whole:
            self._write(packed, arrays)
        else:
            self._rest(started)

    def _write(self, packed: bytes, arrays: Arrays) -> None:
        started = time.monotonic()
        partial = partial_of(self._path)
        try:
            with partial.open("wb") as file:
                file.write(bytes(_HASH_BYTES))
                hashed = _Hashed(file)
                hashed.write(len(packed).to_bytes(_LENGTH_BYTES, "little"))
                hashed.write(packed)
                for array in arrays:
                    _save(hashed, array)
                file.seek(0)
                file.write(hashed.digest)
            partial.rename(self._path)
        except OSError as error:
            discard(partial)
            if not self._failed:
                logger.warning("no checkpoint can be written: %s", error.strerror)
            self._failed = True
        self._rest(started)

    def _rest(self, started: float) -> None:
        """Write no other one until what began has taken its share of the time."""
        self._next_write = started + (time.monotonic() - started) / _SHARE

    def read(self) -> tuple[int, dict[str, Any]] | None:
        """Return a part and the state after it; None when there is none that fits."""
        try:
            with self._path.open("rb") as file:
                said = file.read(_HASH_BYTES)
                if hashlib.file_digest(file, "sha256").digest() != said:
                    why = "is damaged"
                else:
                    file.seek(_HASH_BYTES)
                    says = _unpacked(file)
                    if (says["version"], says["depends"]) != (_VERSION, self._depends):
                        why = "was made by another version or with another configuration"
                    elif _upto(self._folder.path, says["part"]) != says["upto"]:
                        why = "does not fit the parts"
                    else:
                        return says["part"], says["state"]
        except OSError:
            return None
        logger.warning("the checkpoint %s: reading all parts in its place", why)
        return None


def _upto(run: Path, part: int) -> int | None:
    """Return what a part says that a successor goes on from; None where no file ends with it."""
    for span in committed(run):
        if span.last == part:
            return int(pq.read_schema(run / "frames" / span.name).metadata[b"braggstream.upto"])
    return None


class _Copying:
    """Copies of arrays, which are whole if these stood still until the end."""

    def __init__(self) -> None:
        self.over = Event()
        self._lock = Lock()
        self._is_whole = False

    def end(self, *, whole: bool) -> bool:
        """End it, if it goes on; return whether the copies are whole."""
        with self._lock:
            if not self.over.is_set():
                self._is_whole = whole
                self.over.set()
            return self._is_whole


class _Hashed:
    """Writes to a file, and takes the hash of what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> bytes:
        """The hash of all that was written."""
        return self._hash.digest()

    def write(self, content: bytes | memoryview) -> None:
        """Write more."""
        self._file.write(content)
        self._hash.update(content)


def _save(file: _Hashed, array: NDArray[Any]) -> None:
    """Write an array as `numpy.save` does, which holds up other threads with copies of it."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.reshape(-1).view(np.uint8).data)


class _Kept:
    """Puts numbers in place of arrays, which follow behind what is packed."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def __call__(self, item: Any) -> msgpack.ExtType:
        if not isinstance(item, np.ndarray):
            raise TypeError(f"no state holds a {type(item).__name__}")
        self._arrays.append(item)
        return msgpack.ExtType(_ARRAY, len(self._arrays).to_bytes(_LENGTH_BYTES, "little"))


def _unpacked(file: BinaryIO) -> dict[str, Any]:
    """Return what was packed, with its arrays, which come in their order."""

    def next_array(code: int, content: bytes) -> Any:
        if code != _ARRAY:
            raise ValueError(f"no array but {code}")
        return np.load(file, allow_pickle=False)

    packed = file.read(int.from_bytes(file.read(_LENGTH_BYTES), "little"))
    says: dict[str, Any] = msgpack.unpackb(packed, ext_hook=next_array, strict_map_key=False)
    return says
