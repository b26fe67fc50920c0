"""A recording, played from its first frame to its last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import zmq
from msgspec.structs import replace

from streamer.config import SourceConfig
from streamer.errors import as_line
from streamer.frames.bounds import bounded
from streamer.frames.events import Event, Frame, Gap, Pixels, Series, SeriesEnd
from streamer.frames.metadata import unix_ns
from streamer.frames.pixels import unfit
from streamer.plugins import Plugin
from streamer.sources.files.plain import one_line

__all__ = ["PlainReader", "ReaderPlugin", "Recording", "RecordingReader"]

_MOST_TOGETHER = 65_536
"""Frames in one gap: each is asked for, and who reads has to hear of some before long."""
_OWN = "the detector's"
_GIVEN = "computed from source.frame_time_s"
_PACE = "computed from the frame time that the recording states"
_NONE = "none"


class RecordingReader(Protocol):
    """The frames of one file or set of files, in any order, not decoded where that can be."""

    series: Series
    end_reason: str = "end"
    """Goes into `SeriesEnd`."""
    complete: bool = True
    """False while files are being written, so that there may be more when it is opened again."""
    patience_s: float = 10.0
    """How long it can take, when all is well, until there are more."""

    def __len__(self) -> int: ...

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        ...

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        return None

    def awaits(self, frame: int) -> bool:
        """Tell whether a frame that is not there may still come: ask again later."""
        return False

    def close(self) -> None:
        """Release the files."""


class PlainReader(RecordingReader):
    """Frames that a function reads.

    Parameters
    ----------
    coded, time_ns, close
        See `RecordingReader`.
    """

    def __init__(
        self,
        series: Series,
        n_frames: int,
        coded: Callable[[int], Pixels | str],
        *,
        time_ns: Callable[[int], int | None] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.series = series
        self._coded = coded
        self._n_frames = n_frames
        self._time_ns = time_ns
        self._close = close

    def __len__(self) -> int:
        return self._n_frames

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        return self._coded(frame)

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        return None if self._time_ns is None else self._time_ns(frame)

    def close(self) -> None:
        """Release the files."""
        if self._close is not None:
            self._close()


class ReaderPlugin(Plugin):
    """Opens files of one format; its name is what they end in, without the dot, in lower case.

    Names that are ours or that fabio knows stay ours; behind all others there may be anything.
    """

    def open(self, path: Path, config: SourceConfig) -> RecordingReader:
        """Open a file, which is there and is not empty.

        Parameters
        ----------
        config
            What all sources are told.

        Raises
        ------
        UserError
            It cannot be read; the text says what to do.
        """
        raise NotImplementedError


class Recording:
    """A `Source` that plays a `RecordingReader`, as fast as it is asked.

    The same recording gives the same events whenever it is read, in whatever portions: frames that
    cannot be had for one reason and follow each other are one `Gap`, or several if many.

    Parameters
    ----------
    reader
        The frames.
    chosen
        Those to play; they keep their numbers.
    rounds
        How often to play them, each time as a series with another name; 0 plays until stopped.
    frame_time_s
        Seconds from one frame to the next, where the user says it.
    merge_gaps
        False gives each frame that cannot be had a `Gap` of its own: when more may be there the
        next time that the recording is read, all else then keeps its place among the events.
    """

    live = False
    socket: zmq.Socket[bytes] | None = None

    def __init__(
        self,
        uri: str,
        reader: RecordingReader,
        chosen: slice = slice(None),
        rounds: int = 1,
        *,
        frame_time_s: float | None = None,
        merge_gaps: bool = True,
    ) -> None:
        self.uri = uri
        self.counters: dict[str, int] = {}
        self._reader = reader
        self._chosen = chosen
        self._rounds = rounds
        self._round = 1
        self._given_s = frame_time_s
        self._times: str | None = None
        self._merge_gaps = merge_gaps
        self._name = ""
        self._place = -1  # in the frames chosen; -1: the series was not announced
        self._over = False

    @property
    def series(self) -> Series:
        """The series that is played; of a file that is followed it may not be known yet."""
        return self._reader.series

    @property
    def n_frames(self) -> int | None:
        """Number of frames in all rounds; None when not known."""
        if not self._reader.complete or self._rounds == 0:
            return None
        return len(self._numbers()) * self._rounds

    @property
    def exhausted(self) -> bool:
        """True when the end of the last series was read."""
        return self._over

    def read(self, limit: int) -> list[Event]:
        """Return the next `limit` events; fewer at the end, or when the next is not there yet."""
        events: list[Event] = []
        while len(events) < limit and not self._over:
            event = self._advance()
            if event is None:
                break
            events.append(event)
        return events

    def picture(self, frame: int) -> Frame | Gap:
        """Return a frame by its number, out of turn."""
        name = bounded(self._reader.series).name
        coded = self._coded(frame) if 0 <= frame < len(self._reader) else "there is no such frame"
        if isinstance(coded, str):
            return Gap(series=name, first=frame, count=1, reason=coded)
        return self._frame(name, frame, coded)

    def close(self) -> None:
        """Release the files; nothing more comes."""
        self._reader.close()
        self._over = True

    def _numbers(self, n_frames: int | None = None) -> range:
        return range(*self._chosen.indices(len(self._reader) if n_frames is None else n_frames))

    def _advance(self) -> Event | None:
        if self._place < 0:
            return self._announce()
        numbers = self._numbers()
        if self._place == len(numbers):
            step = self._chosen.step or 1
            following = (self._chosen.start or 0) + self._place * step
            if self._chosen.stop is not None and following >= self._chosen.stop > 0:
                return self._end()
            return None if self._reader.awaits(following) else self._end()
        frame = numbers[self._place]
        coded = self._coded(frame)
        if not isinstance(coded, str):
            self._place += 1
            return self._frame(self._name, frame, coded)
        if self._reader.awaits(frame):
            return None
        first = self._place
        self._place += 1
        if self._merge_gaps and numbers.step == 1:
            stop = min(len(numbers), first + _MOST_TOGETHER)
            while self._place < stop and self._coded(numbers[self._place]) == coded:
                self._place += 1
        return Gap(
            series=self._name,
            first=frame,
            count=self._place - first,
            reason=coded,
            time_ns=self._begun_ns(frame),
        )

    def _announce(self) -> Event | None:
        if len(self._reader) == 0 and self._reader.awaits(0):
            return None
        series = bounded(self._reader.series)
        self._name = series.name if self._round == 1 else f"{series.name}_{self._round}"
        self._place = 0
        n_frames = None if series.n_frames is None else len(self._numbers(series.n_frames))
        taken = replace(series.taken, times=self._origin_of_times())
        return replace(series, name=self._name, n_frames=n_frames, taken=taken)

    def _end(self) -> Event:
        if self._round == self._rounds:
            self._over = True
        else:
            self._round += 1
            self._place = -1
        return SeriesEnd(series=self._name, reason=self._reader.end_reason)

    def _frame(self, series: str, frame: int, coded: Pixels) -> Frame:
        return coded.as_frame(series, frame, self._begun_ns(frame))

    def _begun_ns(self, frame: int) -> int:
        """Return the start of an exposure, as the recording says or its pace does; 0 if neither."""
        time_ns, frame_time_s = self._exposed_ns(frame), self._reader.series.frame_time_s
        if time_ns is None and frame_time_s and self._origin_of_times() in (_GIVEN, _PACE):
            # From 1970 on, so that none is taken for a date; 0 would be no time.
            time_ns = unix_ns(1 + frame * frame_time_s * 1e9)
        return time_ns or 0

    def _origin_of_times(self) -> str:
        """Say where the times of all frames are from."""
        if self._times is None:
            numbers = self._numbers()
            ends = (numbers[0], numbers[-1]) if numbers else ()
            if any(self._exposed_ns(frame) is not None for frame in ends):
                self._times = _OWN
            elif self._reader.series.frame_time_s is None:
                self._times = _NONE
            else:
                self._times = _PACE if self._given_s is None else _GIVEN
        return self._times

    def _coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had, whatever it is."""
        try:
            coded = self._reader.coded(frame)
        except Exception as error:  # of any type: readers trust what a damaged file says
            return f"cannot be read ({one_line(error)})"
        return as_line(coded) if isinstance(coded, str) else unfit(coded) or coded

    def _exposed_ns(self, frame: int) -> int | None:
        try:
            return unix_ns(self._reader.time_ns(frame))
        except Exception:
            return None
