"""The files that the tables of a run are made of: parts, and what parts were merged into.

``part-00000007.parquet`` is a part as it was committed, ``part-00000000-00000063.parquet`` holds
the parts 0 to 63 in their order. It takes their place the moment it appears, and they are removed
after that: what lies beside a file that holds it as well is as good as gone. Files of peaks appear
before those of the frames, which make both count.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamer.errors import UserError

__all__ = [
    "Parts", "Rest", "Span", "committed", "discard", "partial_of", "publish", "readable", "tidy",
]  # fmt: skip

_TABLES = ("peaks", "frames")
"""In the order in which their files appear."""
_WHOLE = ("tracks.parquet", "cell.parquet", "checkpoint.msgpack")
"""What is written as a whole beside them."""
_NAME = re.compile(r"part-(\d{8,})(?:-(\d{8,}))?\.parquet")
_CLAIM, _ASIDE, _PARTIAL = ".claim", ".aside", ".partial"
_OWN = secrets.token_hex(4)
"""Hosts that share a folder may give one number to two processes."""


@dataclass(frozen=True, slots=True)
class Span:
    """Parts that follow each other and lie in one file of each table."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, index: int) -> bool:
        return self.first <= index <= self.last

    @property
    def name(self) -> str:
        """Name of the files."""
        upto = f"-{self.last:08d}" if self.last > self.first else ""
        return f"part-{self.first:08d}{upto}.parquet"

    @classmethod
    def of(cls, name: str) -> Span | None:
        """Return what a file of that name holds; None if it is no part."""
        found = _NAME.fullmatch(name)
        return None if found is None else cls(int(found[1]), int(found[2] or found[1]))


@dataclass(frozen=True, slots=True)
class Rest:
    """What was not read yet of a file, which is open."""

    file: pq.ParquetFile
    skip: int
    """Rows that were."""
    span: Span
    """Parts in it."""

    def __len__(self) -> int:
        return int(self.file.metadata.num_rows) - self.skip

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return those of the columns that there are."""
        return self.file.read(columns=list(columns), use_threads=False).slice(self.skip)

    def batches(
        self, rows: int, columns: Sequence[str], frames: NDArray[np.int64] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield it in pieces of about so many rows; without what holds none of some frames.

        Parameters
        ----------
        frames
            Their numbers, sorted. Others may be among what is yielded.
        """
        start = 0
        for group in range(self.file.metadata.num_row_groups):
            n = self.file.metadata.row_group(group).num_rows
            skip, start = max(0, self.skip - start), start + n
            if skip >= n or not (frames is None or self._may_hold(group, frames)):
                continue
            for batch in self.file.iter_batches(rows, row_groups=[group], columns=list(columns)):
                new = batch.slice(skip)
                skip = max(0, skip - len(batch))
                if len(new):
                    yield new

    def _may_hold(self, group: int, frames: NDArray[np.int64]) -> bool:
        """Tell whether any of the frames may have rows in a row group."""
        column = self.file.schema_arrow.names.index("frame")
        known = self.file.metadata.row_group(group).column(column).statistics
        if known is None or not known.has_min_max:
            return True
        low, high = np.searchsorted(frames, known.min), np.searchsorted(frames, known.max, "right")
        return bool(low < high)


class Parts:
    """Goes through tables of a run, each row once, while parts are added and merged.

    Parameters
    ----------
    run
        Run folder.
    tables
        ``frames``, ``peaks`` or both.
    after
        Last part of a file that counts as read, like all before.
    """

    def __init__(self, run: Path, *tables: str, after: int = -1) -> None:
        self._run = run
        self._tables = tables
        self._next = after + 1
        self._rows = (0,) * len(tables)
        # A file that was merged begins where one began that it was merged from.
        self._before: dict[int, tuple[int, ...]] = {}

    def new(self, limit_s: float = math.inf) -> Iterator[tuple[Rest, ...]]:
        """Yield what was committed since the last time, file by file, for about as long as is said.

        What is yielded together holds the same parts of each of the tables. It counts as read when
        the next is asked for.

        Raises
        ------
        FileNotFoundError
            A file was removed, and none has taken its place.
        """
        stop = time.monotonic() + limit_s
        left = committed(self._run)
        last = left[-1].last if left else -1
        while left:
            span = left.pop(0)
            if span.last < self._next:
                continue
            if span.first > last:
                return
            with ExitStack() as stack:
                files = []
                try:
                    for name in self._tables:
                        path = self._run / name / span.name
                        with readable(path):
                            files.append(stack.enter_context(pq.ParquetFile(path)))
                except FileNotFoundError:
                    left = committed(self._run)
                    if span in left:
                        raise
                    continue
                before = self._before.setdefault(span.first, self._rows)
                skips = [now - then for now, then in zip(self._rows, before, strict=True)]
                yield tuple(Rest(*one, span) for one in zip(files, skips, strict=True))
                self._rows = tuple(
                    then + file.metadata.num_rows for then, file in zip(before, files, strict=True)
                )
            self._next = span.last + 1
            if time.monotonic() >= stop:
                return


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say which file is damaged, where a block cannot read it.

    Raises
    ------
    UserError
        It is damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {str(error) or type(error).__name__}") from None


def committed(run: Path) -> list[Span]:
    """Return the files that make up a run, in order: they hold each committed part once."""
    # What appears while a folder is listed may be left out although what it replaces is gone by
    # then; in the next listing it is there.
    there, before = _spans(run / "frames"), None
    while there != before:
        there, before = _spans(run / "frames"), there
    chosen: list[Span] = []
    for span in sorted(there, key=lambda one: (one.first, -one.last)):
        if not chosen or span.first > chosen[-1].last:
            chosen.append(span)
    return chosen


def publish(run: Path, span: Span, write: Callable[[str, Path], None]) -> None:
    """Have a file of each table appear whole.

    Of two sinks that both take themselves for the run's, as one does that was cut off, one is
    refused, and both files are the other's.

    Parameters
    ----------
    write
        Writes the table of a name to a path.

    Raises
    ------
    FileExistsError
        They are there, or parts of theirs are in others.
    OSError
        They could not be written, and nothing of them is left that counts.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        for name in _TABLES:
            target = run / name / span.name
            partial = partial_of(target)
            staged.append((partial, target))
            write(name, partial)
            _flush(partial)
        there = _spans(run / "frames")
        if any(one != span and span.first in one and span.last in one for one in there):
            raise FileExistsError(span.name)
        if span not in there:
            _take_away(run, span)
        for partial, target in staged:
            _link(partial, target)
        # Before the frames were there, another may have taken the peaks for those of a dead one.
        partial, target = staged[0]
        with contextlib.suppress(FileNotFoundError):
            if partial.exists() and not (target.exists() and target.samefile(partial)):
                partial.replace(target)
    finally:
        for partial, _ in staged:
            discard(partial)


def tidy(run: Path) -> None:
    """Remove what a sink that died has left and what was merged; no sink may be at work.

    One that is cut off, and takes itself for the run's, is refused with what it was writing.
    """
    # Peaks before frames, and both before anything else: who has written both of them and loses the
    # first is to lose the second too. What another sink begins from here on stays.
    for name in _TABLES:
        for ending in (_PARTIAL, _CLAIM):
            for left in (run / name).glob(f".part-*{ending}"):
                left.unlink(missing_ok=True)
    for name in _WHOLE:
        for left in run.glob(f".{name}.*{_PARTIAL}"):
            left.unlink(missing_ok=True)
    keep = committed(run)
    for aside in (run / "peaks").glob(f"*{_ASIDE}"):
        _put_back(run, aside)
    for span in _spans(run / "peaks") - _spans(run / "frames"):
        with contextlib.suppress(FileExistsError):
            _take_away(run, span)
    names = {span.name for span in keep}
    for name in _TABLES:
        for path in (run / name).glob("part-*.parquet"):
            held = Span.of(path.name)
            if held is None or held.name in names:
                continue
            # What has come since is of another sink, or of what this one was cut off from.
            if any(_is_in(held, one) for one in keep):
                path.unlink(missing_ok=True)


def partial_of(target: Path) -> Path:
    """Return where this process writes a file before it has its name: of two sinks each its own."""
    return target.with_name(f".{target.name}.{os.getpid()}-{_OWN}{_PARTIAL}")


def discard(partial: Path) -> None:
    """Remove what was not finished, if it can be: it takes room that there may be none of."""
    with contextlib.suppress(OSError):
        partial.unlink()


def _spans(folder: Path) -> set[Span]:
    """Return what the files of a table hold."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    return {span for name in names if (span := Span.of(name)) is not None}


def _is_in(span: Span, other: Span) -> bool:
    return span.first in other and span.last in other


def _take_away(run: Path, span: Span) -> None:
    """Remove peaks whose frames are missing, as a sink leaves them that died in between.

    Raises
    ------
    FileExistsError
        It lives, and has got further meanwhile.
    """
    path = run / "peaks" / span.name
    aside = path.with_name(f".{span.name}.{os.getpid()}-{_OWN}{_ASIDE}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _put_back(run, aside):
        raise FileExistsError(span.name)


def _put_back(run: Path, aside: Path) -> bool:
    """Let peaks have their name again if their frames are there; else they are gone."""
    name = aside.name.removeprefix(".").partition(".parquet.")[0] + ".parquet"
    is_whole = (run / "frames" / name).exists()
    if is_whole and not aside.with_name(name).exists():
        _link(aside, aside.with_name(name))
    discard(aside)
    return is_whole


def _flush(path: Path) -> None:
    """Wait until a file is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _link(partial: Path, target: Path) -> None:
    """Give a file its name.

    Raises
    ------
    FileExistsError
        There is such a file, or another process is about to make it.
    """
    try:
        os.link(partial, target)
    except FileExistsError:
        # A share whose answer was lost asks again, and meets what it made itself.
        if not os.path.samefile(partial, target):
            raise
    except OSError:  # no hard links here
        claim = target.with_name(f".{target.name}{_CLAIM}")
        claim.touch(exist_ok=False)
        try:
            if target.exists():
                raise FileExistsError(target) from None
            partial.rename(target)
        finally:
            claim.unlink()
