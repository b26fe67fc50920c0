"""Files that are compressed as a whole, unpacked into a file that goes away by itself."""

from __future__ import annotations

import bz2
import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamer.errors import UserError

__all__ = ["is_packed", "unpacked"]

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
_MOST_BYTES = 16 << 30
_PIECE = 1 << 22


def is_packed(start: bytes) -> bool:
    """Tell by its first bytes whether a file is compressed by gzip or bzip2."""
    return start.startswith((_GZIP, _BZIP2))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack a file; who opens the result meanwhile can read it as long as he keeps it open.

    Raises
    ------
    UserError
        It is damaged, or there is no room for it.
    """
    with path.open("rb") as file:
        opens = bz2.open if file.read(3) == _BZIP2 else gzip.open
    folder = Path(tempfile.mkdtemp(prefix="braggstream-"))
    target = folder / path.stem
    try:
        try:
            with opens(path, "rb") as source, target.open("wb") as out:
                while piece := source.read(_PIECE):
                    out.write(piece)
                    if out.tell() > _MOST_BYTES:
                        raise UserError(
                            f"{path} has more than {_MOST_BYTES >> 30} GiB when it is unpacked:"
                            " unpack it beforehand"
                        )
        except (EOFError, OSError) as error:
            raise UserError(
                f"{path} cannot be unpacked ({error}): copy it again, or unpack it beforehand"
            ) from None
        yield target
    finally:
        shutil.rmtree(folder, ignore_errors=True)
