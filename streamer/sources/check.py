"""What can be said of a source after watching it for a few seconds, and what to do about it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from rich.console import Console

from streamer.config import SourceConfig
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.contradictions import as_gaps, contradictions, like_gaps
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.frames.header_geometry import NoGeometryError, in_words, read_geometry
from streamer.frames.pixels import dtype_in_words
from streamer.sources import open_source
from streamer.sources.base import Dealt, Source

__all__ = ["Findings", "check_source", "watch"]

_AT_ONCE = 64
_YEAR_NS = 365 * 86400 * 10**9
"""No detector took anything in 1970: such times count from the start of a recording."""
_SHARED_SHARE = 0.25
"""Share of frames that are lost one by one, evenly, which a second client would explain."""


@dataclass(slots=True)
class Findings:
    """What a source gave while it was watched."""

    series: list[Series] = field(default_factory=list)
    ends: list[SeriesEnd] = field(default_factory=list)
    kinds: Counter[tuple[tuple[int, int], str, str]] = field(default_factory=Counter)
    """Frames by (rows, cols), dtype and encoding."""
    numbers: list[int] = field(default_factory=list)
    """Frames of the last series, in the order in which they came."""
    missing: Counter[str] = field(default_factory=Counter)
    """Frames by the reason why they cannot be had."""
    n_bytes: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    sample: Frame | None = None
    """The first frame."""
    apart_s: float = 0.0
    """By how much the time of the first lies before its arrival; 0 for a recording."""
    counters: dict[str, int] = field(default_factory=dict)
    is_dealt: bool = False
    """The sender gives each message to one client only."""

    @property
    def n_frames(self) -> int:
        """Frames that came."""
        return self.kinds.total()

    @property
    def rate_hz(self) -> float:
        """Frames a second, 0 where there were too few to tell."""
        took = self.last_s - self.first_s
        return (self.n_frames - 1) / took if self.n_frames > 2 and took > 0 else 0.0

    @property
    def step(self) -> int:
        """From the number of a frame to the next one's, as most are apart; 1 where few came."""
        steps = np.diff(np.unique(np.array(self.numbers, np.int64)))
        if len(steps) < 8:
            return 1
        step = int(np.median(steps))
        return step if float(np.mean(steps == step)) > 1 - _SHARED_SHARE else 1


def check_source(uri: str, config: SourceConfig, console: Console, seconds: float) -> bool:
    """Watch a source and say what it gives.

    Frames of a live stream that are taken here are not given to another client of the detector.

    Parameters
    ----------
    uri
        As for `streamer.sources.open_source`.
    seconds
        How long to watch at most.

    Returns
    -------
    bool
        True when frames came and nothing is wrong with them.

    Raises
    ------
    UserError
        It cannot be reached or read.
    """
    with closing(open_source(uri, config.model_copy(update={"speed": None}))) as source:
        if source.live:
            console.print(f"{uri} answers; listening for up to {seconds:g} s", highlight=False)
        findings = watch(source, seconds)
        is_live = source.live
    for line in _facts(findings):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    troubles = _troubles(findings, is_live, seconds)
    for line in troubles:
        console.print(f"! {line}", highlight=False, markup=False, soft_wrap=True)
    if not troubles:
        console.print("all is well", highlight=False)
    return not troubles


def watch(source: Source, seconds: float, clock: Callable[[], float] = time.monotonic) -> Findings:
    """Take what a source gives within a time, or until it has no more."""
    findings = Findings(is_dealt=isinstance(source, Dealt) and source.is_dealt)
    end_s = clock() + seconds
    while not source.exhausted and (left_s := end_s - clock()) > 0:
        if source.socket is not None:
            source.socket.poll(int(min(1000 * left_s, 100)), zmq.POLLIN)
        events = source.read(_AT_ONCE)
        now = clock()
        for event in events:
            if isinstance(event, Frame):
                _note(findings, event, now)
            elif isinstance(event, Series):
                findings.series.append(event)
                findings.numbers.clear()
            elif isinstance(event, Gap):
                findings.missing[event.reason] += event.count
            else:
                findings.ends.append(event)
        if not events and source.socket is None and not source.exhausted:
            time.sleep(0.01)  # a file that is being written: nothing to wait on
    if findings.sample is not None and not source.live:
        findings.apart_s = 0.0
    findings.counters = {name: count for name, count in source.counters.items() if count}
    return findings


def _note(findings: Findings, frame: Frame, now: float) -> None:
    if findings.sample is None:
        findings.sample, findings.first_s = frame, now
        findings.apart_s = time.time() - frame.time_ns * 1e-9 if frame.time_ns else 0.0
    findings.last_s = now
    findings.kinds[frame.shape, frame.dtype, frame.encoding] += 1
    findings.numbers.append(frame.frame)
    findings.n_bytes += len(frame.data)


def _step_advice(findings: Findings) -> str:
    can_say = findings.series and "step" in findings.series[-1].metadata
    return f"; write step={findings.step} behind the address" if can_say else ""


def _facts(findings: Findings) -> list[str]:
    lines = []
    for series in findings.series:
        said = [f"series    {series.name}"]
        if "protocol" in series.metadata:
            said.append(str(series.metadata["protocol"]))
        if "channel" in series.metadata:
            said.append(f"channel {series.metadata['channel']}")
        if series.n_frames is not None:
            said.append(f"{series.n_frames:,} frames announced")
        if series.frame_time_s:
            said.append(f"one every {series.frame_time_s * 1e3:g} ms")
        if series.pixel_mask is not None:
            said.append(f"{int(np.count_nonzero(series.pixel_mask)):,} pixels masked")
        lines.append(", ".join(said))
        taken = series.taken
        told = {"taken": taken.source, "times": _times(findings, taken.times)}
        told["left out"] = ", ".join(taken.left_out)
        lines += [f"{name:<10}{words}" for name, words in told.items() if words]
        lines.append(f"geometry  {_geometry(series)}")
        lines += [f"warning   {text}" for text in series.metadata.get("warnings", ())]
    for (shape, dtype, encoding), count in findings.kinds.items():
        size = findings.n_bytes / findings.n_frames / 1e6
        lines.append(
            f"frames    {count:,} of {shape[0]} x {shape[1]} {dtype} {encoding}"
            f" ({dtype_in_words(dtype)}), {size:.2f} MB each on the wire"
        )
    if findings.numbers:
        lines.append(f"numbers   {min(findings.numbers)} to {max(findings.numbers)}")
    if findings.rate_hz:
        rate = findings.n_bytes / (findings.last_s - findings.first_s) / 1e6
        lines.append(f"rate      {findings.rate_hz:,.0f} frames/s, {rate:,.0f} MB/s")
    if findings.sample is not None:
        lines.append(f"pixels    {_pixels(findings.sample)}")
    for end in findings.ends:
        lines.append(f"end       {end.series}: {end.reason}")
    return lines


def _times(findings: Findings, origin: str) -> str:
    """Say where the times of a recording are from, and which they are."""
    if origin == "none":
        return "none: set source.frame_time_s to have rates in time"
    if not origin or findings.sample is None:
        return origin
    first_ns = findings.sample.time_ns
    if first_ns < _YEAR_NS:
        return f"{origin}, counted from its start"
    return f"{origin}, from {datetime.fromtimestamp(first_ns * 1e-9, UTC).isoformat()} on"


def _contradictions(findings: Findings) -> list[str]:
    if not findings.series or len(findings.kinds) != 1:
        return []
    ((shape, dtype, _),) = findings.kinds
    return contradictions(findings.series[-1].metadata, shape, dtype, findings.apart_s)


def _geometry(series: Series) -> str:
    try:
        return in_words(read_geometry(series.metadata))
    except NoGeometryError as error:
        return f"none: {error}"


def _pixels(frame: Frame) -> str:
    try:
        pixels = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    except DecodeError as error:
        return f"of frame {frame.frame} cannot be decoded: {error}"
    valid = pixels[_is_valid(pixels)]
    masked = pixels.size - valid.size
    values = f"{valid.min():g} to {valid.max():g}" if valid.size else "none valid"
    said = f"{values} on frame {frame.frame}, {masked:,} marked as masked"
    return "; ".join([said, *as_gaps(like_gaps(valid))])


def _is_valid(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    if pixels.dtype.kind == "f":
        valid: NDArray[np.bool_] = np.isfinite(pixels)
        return valid
    return np.asarray((pixels >= 0) & (pixels != np.iinfo(pixels.dtype).max))


def _troubles(findings: Findings, is_live: bool, seconds: float) -> list[str]:
    """Say what is wrong, and what to do about it."""
    lines, counters = [], findings.counters
    if findings.step > 1 and findings.is_dealt:
        lines.append(
            "frames lack at regular steps: another client takes its turn of them, because a"
            " detector gives each message to one client only; stop the other one"
        )
    elif findings.step > 1 and is_live:
        lines.append(
            f"the numbers of frames go in steps of {findings.step}: the sender counts what it does"
            f" not send, and what lies between is taken for missing{_step_advice(findings)}"
        )
    elif findings.missing:
        lines += [f"{count:,} frames missing: {why}" for why, count in findings.missing.items()]
    if is_live and not findings.series:
        if counters.get("stray"):
            lines.append(
                f"{counters['stray']:,} images of a series whose start was missed: attach before"
                " the detector is armed, and let no other client listen"
            )
        elif counters.get("malformed") or counters.get("ignored"):
            lines.append("what came is of another protocol: is the address that of the stream?")
        else:
            lines.append(
                f"connected, but nothing came for {seconds:g} s: arm and trigger the detector while"
                " this listens (and see that its stream is enabled)"
            )
    elif not findings.n_frames and not findings.missing:
        lines.append(f"the series was announced, but no frame came within {seconds:g} s")
    if findings.sample is not None and "cannot be decoded" in _pixels(findings.sample):
        todo = "set the detector's compression to bslz4" if is_live else "copy the recording again"
        lines.append(f"frames cannot be decoded: {todo}")
    lines += _contradictions(findings)
    if len(findings.kinds) > 1:
        lines.append("frames differ in shape, type or coding within what came")
    words = [f"{count:,} {name}" for name, count in counters.items() if name != "disconnects"]
    if words:
        lines.append(f"messages that gave no frame: {', '.join(words)}")
    # With the end of a series a sender may go.
    left = counters.get("disconnects", 0) - len(findings.ends)
    if left > 0:
        lines.append(f"the sender went away {left:,} times")
    return lines
