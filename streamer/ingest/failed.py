"""Frames that failed, set aside so that the reason can be looked into."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from urllib.parse import quote

from streamer.frames.events import Frame
from streamer.results.folder import write_atomically

__all__ = ["FailedFrames"]

logger = logging.getLogger(__name__)

_MOST_BYTES = 1 << 30
_MOST_FILES = 10_000
_LONGEST_NAME = 200
"""Characters of a series' name in that of a file; file systems take 255 bytes."""


class FailedFrames:
    """A folder with the coded pixels and the reason of each frame that failed, within bounds.

    A frame whose pixels would exceed `most_bytes` is kept as a reason alone, and beyond
    `most_files` reasons nothing more is kept: every reason is in the frames table too. What lies in
    the folder already counts. Failing to write is logged, no more.

    Parameters
    ----------
    folder
        Made when the first frame fails.
    most_bytes
        Coded pixels in the folder.
    most_files
        Reasons in the folder.
    """

    def __init__(
        self, folder: Path, most_bytes: int = _MOST_BYTES, most_files: int = _MOST_FILES
    ) -> None:
        self._folder = folder
        self._most_bytes, self._most_files = most_bytes, most_files
        self._n_bytes = sum(path.stat().st_size for path in folder.glob("*.bin"))
        self._n_files = sum(1 for _ in folder.glob("*.json"))
        self._said: set[str] = set()

    def keep(self, frame: Frame, reason: str) -> None:
        """Keep what there is room for; a frame that fails again replaces what was kept of it."""
        try:
            self._write(frame, reason)
        except OSError as error:
            self._say(f"a frame that failed cannot be kept in {self._folder}: {error.strerror}")

    def _write(self, frame: Frame, reason: str) -> None:
        self._folder.mkdir(exist_ok=True)
        name = f"{_file_name(frame.series)}_{frame.frame:08d}"
        pixels, about = self._folder / f"{name}.bin", self._folder / f"{name}.json"
        known = about.exists()
        if not known and self._n_files >= self._most_files:
            self._say(
                f"{self._folder} holds {self._most_files:,} frames: of later ones that fail"
                " nothing is kept but the reason in the frames table"
            )
            return
        says = {
            "series": frame.series,
            "frame": frame.frame,
            "shape": frame.shape,
            "dtype": frame.dtype,
            "encoding": frame.encoding,
            "reason": reason,
        }
        write_atomically(about, json.dumps(says) + "\n")
        self._n_files += not known
        if pixels.exists():
            self._n_bytes -= pixels.stat().st_size
            pixels.unlink()
        if self._n_bytes + len(frame.data) > self._most_bytes:
            self._say(
                f"{self._folder} holds no more than {self._most_bytes:,} bytes: of frames that fail"
                " and do not fit only the reason is kept"
            )
            return
        write_atomically(pixels, bytes(frame.data))
        self._n_bytes += len(frame.data)

    def _say(self, what: str) -> None:
        """Log what is so from now on, once."""
        if what not in self._said:
            self._said.add(what)
            logger.warning("%s", what)


def _file_name(series: str) -> str:
    """Return a name that no other series has; ``urllib.parse.unquote`` gives the series back.

    Of one that is too long there is the start, and a digest in place of the rest.
    """
    name = quote(series, safe="", errors="surrogatepass")
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST_NAME - 18]}%~{digest}"  # no quoted name holds this
