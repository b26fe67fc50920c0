"""A recording that is still being written, followed until it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamer.errors import UserError
from streamer.frames.events import Pixels, Series
from streamer.sources.files.recording import RecordingReader

__all__ = ["Growing"]

_FIRST_S = 60.0
_LOOK_S = 0.1
_SHARE = 0.2


class Growing(RecordingReader):
    """A `RecordingReader` that is opened again whenever its end is reached.

    What HDF5 gives to a reader that keeps its file open depends on how that file is written; what
    it gives to one that opens it does not.

    Parameters
    ----------
    reopen
        Opens the reader; while it raises `UserError` there is nothing to be read yet.
    idle_s
        A frame is waited for for so many seconds; 0 takes what the reader says. When it is given
        up, so are those after it that are not there either.
    clock
        Returns a monotonic time in seconds.

    Raises
    ------
    UserError
        Nothing that can be read was there in time.
    """

    def __init__(
        self,
        reopen: Callable[[], RecordingReader],
        idle_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reopen = reopen
        self._idle_s = idle_s
        self._clock = clock
        self._patience_s = _FIRST_S
        self._reader: RecordingReader | None = None
        self._series: Series | None = None
        self._n_frames = 0
        self._mistake = ""
        self._lost: dict[int, str] = {}
        self._waiting_since: float | None = None
        self._next_look = 0.0
        self._look()

    @property
    def series(self) -> Series:  # type: ignore[override]
        """The series, as much as is known of it; without a name before anything can be read."""
        return self._series or Series(name="")

    @property
    def complete(self) -> bool:  # type: ignore[override]
        """True when nothing more will come."""
        return self._reader is not None and self._reader.complete

    @property
    def end_reason(self) -> str:  # type: ignore[override]
        """Say how it ended, or that nothing came any more."""
        if self._reader is not None and self._reader.complete:
            return self._reader.end_reason
        return f"idle: nothing was added for {self._limit_s:g} s"

    def __len__(self) -> int:
        return self._n_frames

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had by now."""
        if self._reader is None:
            return "the file cannot be read"
        # Files that are being written are looked into only when they have just been opened.
        coded = self._lost.get(frame) or self._reader.coded(frame)
        if isinstance(coded, str):
            self._lost[frame] = coded
        else:
            self._waiting_since = None
        return coded

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        return None if self._reader is None else self._reader.time_ns(frame)

    def awaits(self, frame: int) -> bool:
        """Look whether more is there when it is time to; False when a frame is given up."""
        if self.complete:
            return False
        now = self._clock()
        if self._waiting_since is None:
            self._waiting_since = now
        if now >= self._next_look:
            self._look()
            return True
        if now - self._waiting_since < self._limit_s:
            return True
        if self._series is None:
            raise UserError(self._mistake)
        return False

    def close(self) -> None:
        """Release the files."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def _limit_s(self) -> float:
        return self._idle_s or self._patience_s

    def _look(self) -> None:
        """Open the files again, so seldom that this is a small part of the work."""
        started = self._clock()
        # HDF5 gives who opens a file twice what it knows of it from the first time.
        self.close()
        self._lost = {}
        try:
            self._reader = self._reopen()
        except UserError as error:
            self._mistake = str(error)  # the error itself would keep files open
        else:
            self._series, self._n_frames = self._reader.series, len(self._reader)
            self._patience_s = self._reader.patience_s
        now = self._clock()
        self._next_look = now + max(_LOOK_S, (now - started) / _SHARE)
