"""The assembler of a live source: what its messages say becomes the events of series."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from streamer.config import SourceConfig
from streamer.errors import as_line
from streamer.frames.bounds import LAST_FRAME, bounded
from streamer.frames.events import Event, Gap, Pixels, Series, SeriesEnd
from streamer.frames.metadata import unix_ns
from streamer.frames.pixels import unfit
from streamer.sources.live.arrivals import Arrivals
from streamer.sources.live.exposures import Exposures

__all__ = ["Image", "SeriesAssembler"]

_HORIZON = 64
"""How far back numbers may go and still be of frames that were overtaken."""
_WITHOUT_END = ("new series", "idle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a message says of one image."""

    number: int
    """As the sender counts."""
    pixels: Pixels | str
    """Not decoded; or what is wrong with them."""
    time_ns: int | None = None
    """Start of the exposure as Unix time in ns; None when the sender does not say."""


class SeriesAssembler:
    """Turns what the messages of one sender say into the events that a `Source` yields.

    Images that were numbered and did not come are `Gap` events. An end before the announced number
    of images is taken for an abort, and what follows the last image was then never taken and is not
    missing, unless the images came at the announced frame time and the end so late that all must
    have been taken: then they are missing. They are missing too when no end came at all.

    Parameters
    ----------
    config
        Time limits and number of series.
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(self, config: SourceConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.counters = dict.fromkeys(("malformed", "stray", "duplicates", "late", "ignored"), 0)
        """Messages that gave no frame. `malformed` could not be read, `stray` are of no open
        series, `late` came after they were given up, `ignored` are of unknown types."""
        self.n_frames: int | None = None
        """Announced frames of all series that are wanted, if that is known."""
        self.pending: deque[Event] = deque()
        self._config = config
        self._clock = clock
        self._run: _Run | None = None
        self._heard_s = clock()
        self.n_opened = 0
        """Series that were opened."""
        self._names: dict[str, int] = {}  # and how many series were to have them
        self._adopted: str | None = None
        self._n_ended = 0

    @property
    def is_done(self) -> bool:
        """True when as many series have ended as were asked for."""
        return 0 < self._config.series <= self._n_ended

    def awaits_first(self, key: Hashable) -> bool:
        """Tell whether that series is open and none of its images has come."""
        run = self._run
        return run is not None and run.key == key and run.exposures.n_booked == 0

    @property
    def is_open(self) -> bool:
        """Tell whether a series is open."""
        return self._run is not None

    @property
    def awaits_images(self) -> bool:
        """Tell whether a series is open and none of its images has come."""
        return self._run is not None and self._run.exposures.n_booked == 0

    def adopt(self, names: Iterable[str], name: str | None) -> None:
        """Go on where another left off.

        Parameters
        ----------
        names
            Series that it had.
        name
            The one that is opened next was open there: what came of it before is known, and its
            name stays.
        """
        self._names = dict.fromkeys(names, 1)
        self._adopted = name

    def hear(self) -> None:
        """Note that the sender lives."""
        self._heard_s = self._clock()

    def forget_identity(self) -> None:
        """Note that the sender was away: one that was restarted may call two series the same."""
        if self._run is not None:
            self._run.identity = None

    def start(
        self, series: Series, key: Hashable, identity: Hashable = None, *, first_frame: int = 0
    ) -> None:
        """Open a series, and end the one before.

        Parameters
        ----------
        series
            Its name is changed when another series of this source had it.
        key
            What its images and its end call it.
        identity
            Equal for a start that came twice; None when there is no telling.
        first_frame
            Frames before it were taken before this source listened, and are not missing; 0 where
            it is a number that no frame can have.
        """
        series = bounded(series)
        if not 0 <= first_frame <= LAST_FRAME:
            first_frame = 0
        if identity is not None and self._run is not None and self._run.identity == identity:
            self._run.is_repeated = self._run.exposures.n_booked > 0
            self._count("duplicates")
            return
        self._close("new series")
        if self.is_done:
            return
        adopted, self._adopted = self._adopted, None
        series = replace(series, name=adopted or self._name(series.name))
        self.n_opened += 1
        self._run = _Run(
            series,
            key,
            identity,
            Arrivals(series.n_frames, first_frame),
            Exposures(series.frame_time_s),
            is_adopted=adopted is not None,
        )
        self.pending.append(series)
        if self._config.series == 1:
            self.n_frames = series.n_frames

    def image(self, image: Image, key: Hashable, *, may_begin: bool = False) -> None:
        """Book an image.

        Parameters
        ----------
        may_begin
            One that came long ago begins a series whose start did not come, as with a sender that
            counts each from 0; else it is a duplicate.

        Raises
        ------
        ValueError
            It has a number that no image of the series can have.
        """
        run = self._run
        if run is None or key != run.key:
            self._count("stray")
            return
        frame = image.number - run.first if type(image.number) is int else -1
        if not run.arrivals.can_be(frame):
            raise ValueError("no image number that can be")
        if run.is_adopted and not run.exposures.n_booked:
            first = max(frame - _HORIZON, run.arrivals.last + 1)
            run.arrivals = Arrivals(run.series.n_frames, first)
        state = run.arrivals.book(frame)
        if may_begin and state == "duplicate" and run.begins_again(frame):
            self._begin_again(image, key)
            return
        if state != "new":
            self._count("duplicates" if state == "duplicate" else "late")
            return
        fault = image.pixels if isinstance(image.pixels, str) else run.misfit(image.pixels)
        if fault is not None:
            self._count("malformed")
            self._lose(range(frame, frame + 1), f"malformed: {fault}")
        elif not isinstance(image.pixels, str):
            time_ns = run.exposures.book(frame, unix_ns(image.time_ns), self._heard_s)
            self.pending.append(image.pixels.as_frame(run.series.name, frame, time_ns))
        for gap in run.arrivals.take_gaps():
            self._lose(gap, "not received")

    def _begin_again(self, image: Image, key: Hashable) -> None:
        """Open a series like the open one, whose numbers start over, with an image."""
        if self._run is None:
            return
        series, first = self._run.series, self._run.first
        told = "its start did not come, or said the same as that before: that is taken for it"
        warnings = [text for text in series.metadata.get("warnings", []) if text != told]
        again = replace(series, metadata={**series.metadata, "warnings": [*warnings, told]})
        self.start(again, key)
        if self._run is not None:
            self._run.first = first
        self.image(image, key)

    def unannounced_image(self, image: Image, series: Callable[[], Series]) -> None:
        """Book an image of a sender that does not say when a series begins and ends.

        Images belong to one series as long as their numbers go on and their shape and type stay the
        same. Frames are counted from the first one that came.

        Parameters
        ----------
        series
            Makes the series that the image would be the first of.
        """
        run = self._run
        if run is None or run.is_over(image):
            self.start(series(), None)
            run = self._run
            if run is None:
                return
            run.first = image.number
        if image.number < run.first:  # overtaken by what is now the first
            self._count("stray")
            return
        self.image(image, None)

    def lose(self, frames: range, reason: str, key: Hashable) -> None:
        """Book frames that the sender says it cannot give.

        Raises
        ------
        ValueError
            They have numbers that no image of the series can have.
        """
        run = self._run
        if run is None or key != run.key:
            self._count("stray")
            return
        if not frames or not (run.arrivals.can_be(frames[0]) and run.arrivals.can_be(frames[-1])):
            raise ValueError("no image numbers that can be")
        for lost in run.arrivals.book_lost(frames):
            self._lose(lost, reason)

    def end(self, key: Hashable, reason: str = "end") -> None:
        """End the open series if it is that one: some senders say so twice."""
        if self._run is not None and self._run.key == key:
            self._close(reason)

    def end_if_idle(self) -> None:
        """End the open series if nothing was heard for too long."""
        idle_s = self._config.idle_s
        if self._run is not None and 0 < idle_s <= self._clock() - self._heard_s:
            self._close(f"idle: nothing came for {idle_s:g} s")

    def _close(self, reason: str) -> None:
        """End the open series, if there is one."""
        run = self._run
        if run is None:
            return
        for gap in run.arrivals.finish():
            self._lose(gap, "not received")
        n_taken, n_announced = run.arrivals.last + 1, run.series.n_frames
        if n_announced is not None and n_taken < n_announced:
            if reason.startswith(_WITHOUT_END):
                self._lose(range(n_taken, n_announced), "not received, nor the end of the series")
            elif run.exposures.are_over(n_announced, self._clock()):
                self._lose(range(n_taken, n_announced), "not received")
            elif reason == "end" and (n_taken or not run.is_adopted):
                reason = f"abort: {n_taken} of {n_announced} frames were taken"
        self.pending.append(
            SeriesEnd(series=run.series.name, reason=as_line(reason), counters=dict(run.counters))
        )
        self._run = None
        self._n_ended += 1

    def _count(self, name: str) -> None:
        self.counters[name] += 1
        if self._run is not None:
            self._run.counters[name] += 1

    def _lose(self, frames: range, reason: str) -> None:
        if self._run is not None:
            name = self._run.series.name
            gap = Gap(series=name, first=frames.start, count=len(frames), reason=as_line(reason))
            self.pending.append(gap)

    def _name(self, stem: str) -> str:
        """Name a series; a detector that was restarted counts from the start again."""
        name, again = stem, self._names.get(stem, 0)
        while name in self._names:
            again += 1
            name = f"{stem}_{again}"
        self._names[stem] = max(again, 1)
        self._names.setdefault(name, 1)
        return name


@dataclass(slots=True)
class _Run:
    """An open series."""

    series: Series
    key: Hashable
    identity: Hashable
    arrivals: Arrivals
    exposures: Exposures
    first: int = 0
    """Number that the sender gives to frame 0."""
    is_adopted: bool = False
    """Another source had it before, and the first of its images."""
    is_repeated: bool = False
    """Its start came again after some of its images."""
    counters: Counter[str] = field(default_factory=Counter)
    kind: tuple[str, tuple[int, int]] | None = None
    """dtype and shape of all its images."""

    def misfit(self, pixels: Pixels) -> str | None:
        """Return what tells an image from those before; the first one that can be decides."""
        fault = unfit(pixels)
        if fault is not None:
            return fault
        kind = pixels.dtype, pixels.shape
        self.kind = self.kind or kind
        if kind == self.kind:
            return None
        return f"{_describe(kind)}, the frames before are {_describe(self.kind)}"

    def begins_again(self, frame: int) -> bool:
        """Tell whether an image that came before is one of a series that is numbered alike.

        It is when it lies too far back to be a duplicate, when all had come, and when the start
        came again.
        """
        last = self.arrivals.last
        all_came = self.series.n_frames == last + 1 and frame == 0 < last
        return all_came or self.is_repeated or frame < last - _HORIZON

    def is_over(self, image: Image) -> bool:
        """Tell whether an image must be of a new series."""
        if image.number < self.first + self.arrivals.last - _HORIZON:
            return True
        if isinstance(image.pixels, str) or self.kind is None:
            return False
        return (image.pixels.dtype, image.pixels.shape) != self.kind


def _describe(kind: tuple[str, tuple[int, int]]) -> str:
    dtype, (rows, cols) = kind
    return f"{rows} x {cols} {dtype}"
