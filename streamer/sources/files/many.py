"""Many files of one or several frames each, one after another."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from streamer.errors import UserError
from streamer.frames.events import Pixels
from streamer.sources.files.recording import RecordingReader

__all__ = ["Files", "natural_order", "without_holes"]

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")
"""What is before the last number of a name, the number, and what is behind."""

_MOST_HOLES = 100_000
"""Files that may yet come between those that are there."""


class Files(RecordingReader):
    """The frames of files, in the order given.

    What is in the first file that can be read holds for all: its shape, and, where that is one, the
    number of frames. A file that is damaged, or not like the first, becomes a gap.

    Parameters
    ----------
    name
        Of the series.
    paths
        The files.
    open_one
        Opens a file.
    complete
        False while files may be added.

    Raises
    ------
    UserError
        None of the files can be read.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        open_one: Callable[[Path], RecordingReader],
        *,
        complete: bool = True,
    ) -> None:
        self.complete = complete
        self._paths = paths
        self._open_one = open_one
        self._at = -1
        self._reader: RecordingReader | str = ""
        first = self._first()
        self._n_first = len(first)
        coded = first.coded(0)
        self._shape = None if isinstance(coded, str) else coded.shape
        self._starts = self._count()
        self.series = replace(first.series, name=name, n_frames=len(self) if complete else None)

    def __len__(self) -> int:
        return self._starts[-1]

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        reader, number = self._find(frame)
        if isinstance(reader, str):
            return reader
        name = self._paths[self._at].name
        if self._n_first == 1 and len(reader) != 1:
            return f"{name} has {len(reader)} frames, the first file has one"
        coded = reader.coded(number)
        if isinstance(coded, str) or self._shape in (None, coded.shape):
            return coded
        return f"{name} has shape {coded.shape}, the first file {self._shape}"

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        reader, number = self._find(frame)
        return None if isinstance(reader, str) else reader.time_ns(number)

    def close(self) -> None:
        """Release the file that is open."""
        if not isinstance(self._reader, str):
            self._reader.close()
        self._at, self._reader = -1, ""

    def _first(self) -> RecordingReader:
        """Open the first file that can be read."""
        mistake: UserError | None = None
        for number, path in enumerate(self._paths):
            try:
                self._at, self._reader = number, self._open_one(path)
            except UserError as error:
                mistake = mistake or error
                continue
            return self._reader
        raise mistake or UserError("no files")

    def _count(self) -> list[int]:
        """Return the number of the first frame of each file, and that after the last."""
        starts = [0]
        for number in range(len(self._paths)):
            n_frames = self._n_first
            if n_frames > 1 and not isinstance(reader := self._open(number), str):
                n_frames = len(reader)
            starts.append(starts[-1] + n_frames)
        return starts

    def _find(self, frame: int) -> tuple[RecordingReader | str, int]:
        """Return the file that holds a frame and its place there."""
        number = bisect_right(self._starts, frame) - 1
        return self._open(number), frame - self._starts[number]

    def _open(self, number: int) -> RecordingReader | str:
        if number != self._at:
            self.close()
            path = self._paths[number]
            try:
                self._reader = self._open_one(path)
            except UserError as error:
                self._reader = str(error) if path.exists() else f"{path.name} is missing"
            self._at = number
        return self._reader


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that counts numbers as numbers: frame_9 comes before frame_10."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", str(path))
        if part
    ]


def without_holes(paths: Sequence[Path]) -> list[Path]:
    """Return numbered files with those between them that are not there yet.

    So a file has its place whenever it comes.

    Raises
    ------
    UserError
        The names differ in more than their last number.
    """
    parts = [_NUMBERED.fullmatch(path.stem) for path in paths]
    stems = {
        (path.parent, part[1], part[3], path.suffix) if part else path
        for path, part in zip(paths, parts, strict=True)
    }
    if len(stems) != 1 or parts[0] is None:
        raise UserError(
            f"{paths[0].parent} cannot be followed: its files must differ in their last number"
            f" alone, {paths[0].name} and {paths[-1].name} do not"
        )
    found = {int(part[2]): path for path, part in zip(paths, parts, strict=True) if part}
    if max(found) - min(found) - len(found) > _MOST_HOLES:
        raise UserError(
            f"{paths[0].parent} cannot be followed: its {len(found)} files have numbers from"
            f" {min(found)} to {max(found)}, move away those that do not belong to the others"
        )
    head, width, tail = parts[0][1], len(parts[0][2]), parts[0][3] + paths[0].suffix
    return [
        found.get(number) or paths[0].with_name(f"{head}{number:0{width}d}{tail}")
        for number in range(min(found), max(found) + 1)
    ]
