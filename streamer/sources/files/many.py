"""Many files of one or several frames each, one after another."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from streamer.errors import UserError
from streamer.frames.events import Pixels, Series, Taken
from streamer.sources.files.recording import RecordingReader

__all__ = ["Files"]


class Files(RecordingReader):
    """The frames of files, in the order given.

    What most of the first, middle and last files hold goes for all: the shape, and, where that is
    one, the number of frames. A file that is damaged, or not like them, becomes a gap.

    Parameters
    ----------
    name
        Of the series.
    paths
        The files.
    open_one
        Opens a file.
    taken
        What they are called, and what was left out.
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
        taken: Taken,
        complete: bool = True,
    ) -> None:
        self.complete = complete
        self._paths = paths
        self._open_one = open_one
        self._at = -1
        self._reader: RecordingReader | str = ""
        self._n_each, self._shape, series = self._usual()
        self._starts = self._count()
        self.series = replace(
            series, name=name, n_frames=len(self) if complete else None, taken=taken
        )

    def __len__(self) -> int:
        return self._starts[-1]

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        reader, number = self._find(frame)
        if isinstance(reader, str):
            return reader
        name = self._paths[self._at].name
        if self._n_each == 1 and len(reader) != 1:
            return f"{name} has {len(reader)} frames, other files have one"
        coded = reader.coded(number)
        if isinstance(coded, str) or self._shape in (None, coded.shape):
            return coded
        return f"{name} has shape {coded.shape}, other files {self._shape}"

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        reader, number = self._find(frame)
        return None if isinstance(reader, str) else reader.time_ns(number)

    def close(self) -> None:
        """Release the file that is open."""
        if not isinstance(self._reader, str):
            self._reader.close()
        self._at, self._reader = -1, ""

    def _usual(self) -> tuple[int, tuple[int, int] | None, Series]:
        """Return number of frames and shape of most files looked at, and what one says of them."""
        last = len(self._paths) - 1
        sample = sorted({0, 1, last // 2, last} & set(range(last + 1))) if self.complete else [0]
        looked: list[tuple[int, tuple[int, int] | None, Series]] = []
        why = ""
        for n_looked, number in enumerate((*sample, *range(last + 1))):
            if looked and n_looked >= len(sample):
                break
            reader = self._open(number)
            if isinstance(reader, str):
                why = why or reader
                continue
            coded = reader.coded(0)
            shape = None if isinstance(coded, str) else coded.shape
            looked.append((len(reader), shape, reader.series))
        if not looked:
            raise UserError(why)
        shapes = Counter(one[1] for one in looked if one[1])
        shape = shapes.most_common(1)[0][0] if shapes else None
        alike = [one for one in looked if shape in (None, one[1])]
        ((n_frames, _),) = Counter(one[0] for one in alike).most_common(1)
        return n_frames, shape, alike[0][2]

    def _count(self) -> list[int]:
        """Return the number of the first frame of each file, and that after the last."""
        starts = [0]
        for number in range(len(self._paths)):
            n_frames = self._n_each
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
