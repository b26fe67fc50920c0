"""What a successor of the sink needs to know of all parts but the newest, in one file."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow.parquet as pq

from streamer.config import Config
from streamer.results.folder import RunFolder, write_atomically
from streamer.results.parts import committed

__all__ = ["EVERY", "Checkpoint"]

logger = logging.getLogger(__name__)

EVERY = 64
"""Parts from one checkpoint to the next; they end where files end that are merged."""
_VERSION = 4
_SHARE = 0.05
"""Largest share of the sink's time that writing takes."""
_ARRAY = 1
_HASH_BYTES = 32


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

    def is_due(self, part: int) -> bool:
        """Tell whether the state after a part is to be written."""
        return (part + 1) % EVERY == 0 and time.monotonic() >= self._next_write

    def write(self, part: int, upto: int, state: dict[str, Any]) -> None:
        """Write the state after a part, if it can be.

        Parameters
        ----------
        upto
            What the part says that a successor goes on from.
        state
            What msgpack takes, and arrays.
        """
        started = time.monotonic()
        says = {"version": _VERSION, "depends": self._depends, "part": part, "upto": upto}
        packed = msgpack.packb(says | {"state": state}, default=_pack_array)
        try:
            write_atomically(self._path, hashlib.sha256(packed).digest() + packed)
        except OSError as error:
            if not self._failed:
                logger.warning("no checkpoint can be written: %s", error.strerror)
            self._failed = True
        self._next_write = started + (time.monotonic() - started) / _SHARE

    def read(self) -> tuple[int, dict[str, Any]] | None:
        """Return a part and the state after it; None when there is none that fits."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        packed = content[_HASH_BYTES:]
        if hashlib.sha256(packed).digest() != content[:_HASH_BYTES]:
            why = "is damaged"
        else:
            says = msgpack.unpackb(packed, ext_hook=_unpack_array, strict_map_key=False)
            if (says["version"], says["depends"]) != (_VERSION, self._depends):
                why = "was made by another version or with another configuration"
            elif _upto(self._folder.path, says["part"]) != says["upto"]:
                why = "does not fit the parts"
            else:
                return says["part"], says["state"]
        logger.warning("the checkpoint %s: reading all parts in its place", why)
        return None


def _upto(run: Path, part: int) -> int | None:
    """Return what a part says that a successor goes on from; None where no file ends with it."""
    for span in committed(run):
        if span.last == part:
            return int(pq.read_schema(run / "frames" / span.name).metadata[b"braggstream.upto"])
    return None


def _pack_array(item: Any) -> msgpack.ExtType:
    if not isinstance(item, np.ndarray):
        raise TypeError(f"no state holds a {type(item).__name__}")
    buffer = io.BytesIO()
    np.save(buffer, item, allow_pickle=False)
    return msgpack.ExtType(_ARRAY, buffer.getvalue())


def _unpack_array(code: int, content: bytes) -> Any:
    if code != _ARRAY:
        raise ValueError(f"no array but {code}")
    return np.load(io.BytesIO(content), allow_pickle=False)
