"""Peaks found in a series of frames with several pairs of thresholds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import Config, DetectConfig
from streamer.errors import UserError
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Frame, Gap, Series
from streamer.frames.peaks import PEAK
from streamer.simulator.scene import Scene
from streamer.simulator.stream_v2 import SATURATION
from streamer.simulator.truth import read_truth, truth_path_for
from streamer.sources import open_source
from streamer.sources.images import load_dark, load_mask
from workers.detect.base import Finder
from workers.detect.choice import finder_of
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.detect.patches import Patches

__all__ = ["Footage", "Observations", "Pair", "RecordedFootage", "SimulatedFootage", "find_peaks"]


@dataclass(frozen=True, slots=True)
class Pair:
    """The two thresholds that decide which peaks are found, in counts or ``auto``."""

    minval: float | str
    minscore: float | str

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read ``MINVAL:MINSCORE``.

        Raises
        ------
        UserError
            It is not two fitting numbers.
        """
        try:
            minval, minscore = (float(word) for word in text.split(":"))
        except ValueError:
            minval = minscore = np.nan
        if not (0.0 <= minval < np.inf and 0.0 < minscore < np.inf):
            raise UserError(f"--pair {text}: write it as MINVAL:MINSCORE, in counts, such as 40:60")
        return cls(minval, minscore)

    def __str__(self) -> str:
        minval, minscore = (
            one if isinstance(one, str) else f"{one:g}" for one in (self.minval, self.minscore)
        )
        return f"minval {minval}, minscore {minscore}"


class Footage(Protocol):
    """Frames to find peaks in."""

    name: str
    """What the user knows it by."""
    truth: pa.Table | None
    """Where the spots truly were, see `streamer.simulator.scene.Scene.truth`."""
    n_taken: int
    """Frames that `frames` gives."""

    def frames(self) -> Iterator[tuple[int, NDArray[np.generic] | str, Correction]]:
        """Yield number, pixels or why there are none, and what to do to them first."""
        ...


class SimulatedFootage:
    """The simulated charge cycle, rendered frame by frame as it is asked for.

    Parameters
    ----------
    config
        Scene and corrections.
    n
        Frames to take at most, spread evenly.
    """

    name = "simulated charge cycle"

    def __init__(self, config: Config, n: int):
        self._scene = Scene(config.simulate)
        self._numbers = _spread(self._scene.n_frames, n)
        self.n_taken = len(self._numbers)
        self.truth = self._scene.truth()
        series = Series(name=self.name, saturation=SATURATION, pixel_mask=self._scene.pixel_mask)
        self._correction = _correction(config.detect, series)

    def frames(self) -> Iterator[tuple[int, NDArray[np.generic], Correction]]:
        """See `Footage.frames`."""
        for number in self._numbers.tolist():
            yield number, self._scene.render(number), self._correction


class RecordedFootage:
    """A recording, with its truth where a simulated one has it beside it.

    Parameters
    ----------
    path
        As for `streamer.sources.open_source`; no live stream.
    config
        Of the source and of the corrections.
    n
        Frames to take at most, spread evenly.

    Raises
    ------
    UserError
        It cannot be read, or the mask or the dark frame cannot.
    """

    def __init__(self, path: str, config: Config, n: int):
        if re.match(r"[\w+.-]+://", path):
            raise UserError(f"{path} is a live stream: evaluate reads recordings, as replay does")
        self.name = path
        self._detect = config.detect
        # A pace is of no use here.
        self._source_config = config.source.model_copy(update={"speed": None})
        source = open_source(path, self._source_config)
        with closing(source):
            self._numbers = set(_spread(source.n_frames or 0, n).tolist())
        self.n_taken = len(self._numbers)
        if not self.n_taken:
            raise UserError(f"{path} holds no frames")
        beside = truth_path_for(Path(path))
        self.truth = read_truth(beside)[0] if beside.is_file() else None

    def frames(self) -> Iterator[tuple[int, NDArray[np.generic] | str, Correction]]:
        """See `Footage.frames`."""
        correction = Correction()
        source = open_source(self.name, self._source_config)
        with closing(source):
            while not source.exhausted:
                for event in source.read(1):
                    if isinstance(event, Series):
                        correction = _correction(self._detect, event)
                    elif isinstance(event, Gap):
                        for number in sorted(n for n in self._numbers if n in event.frames):
                            yield number, event.reason, correction
                    elif isinstance(event, Frame) and event.frame in self._numbers:
                        yield event.frame, _decoded(event), correction


@dataclass(frozen=True, slots=True)
class Observations:
    """The peaks found with one pair of thresholds, in the order of the frames."""

    pair: Pair
    frame: NDArray[np.int64]
    """(n,), number of the frame."""
    peaks: NDArray[np.void]
    """(n,) of `streamer.frames.peaks.PEAK`."""
    counts: dict[int, NDArray[np.float32]]
    """By patch size: (n, size, size) counts."""
    valid: dict[int, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.frame)


def find_peaks(
    frames: Iterator[tuple[int, NDArray[np.generic] | str, Correction]],
    pairs: Sequence[Pair],
    detect: DetectConfig,
    sizes: Sequence[int],
) -> tuple[list[Observations], dict[int, str]]:
    """Find the peaks of every frame with every pair.

    Parameters
    ----------
    frames
        As `Footage.frames` yields them.
    pairs
        Thresholds; they stand in for those of `detect`.
    detect
        Finder.
    sizes
        Sizes of the patches to cut, in pixels.

    Returns
    -------
    observations, lost
        One of each pair, and the reason of each frame that could not be used.

    Raises
    ------
    UserError
        The user's mask or dark frame is not of the frames' shape.
    """
    finders = [
        finder_of(detect.model_copy(update={"minval": pair.minval, "minscore": pair.minscore}))
        for pair in pairs
    ]
    found: list[list[tuple[int, NDArray[np.void], list[Patches]]]] = [[] for _ in pairs]
    lost: dict[int, str] = {}
    for number, pixels, correction in frames:
        if isinstance(pixels, str):
            lost[number] = pixels
            continue
        for name, image in (("mask", correction.bad), ("dark", correction.dark)):
            if image is not None and image.shape != pixels.shape:
                rows, cols = pixels.shape
                raise UserError(
                    f"the {name} has {image.shape[0]} x {image.shape[1]} pixels, "
                    f"the frames have {rows} x {cols}"
                )
        try:
            tables = [_find(pixels, correction, finder, sizes) for finder in finders]
        except ValueError as error:
            lost[number] = str(error)
            continue
        for each, (peaks, patches) in zip(found, tables, strict=True):
            each.append((number, peaks, patches))
    return [_gathered(pair, one, sizes) for pair, one in zip(pairs, found, strict=True)], lost


def _find(
    pixels: NDArray[np.generic], correction: Correction, finder: Finder, sizes: Sequence[int]
) -> tuple[NDArray[np.void], list[Patches]]:
    tables = [find_in_frame(pixels, correction, finder, size) for size in sizes]
    return tables[0][0], [patches for _, patches in tables]


def _gathered(
    pair: Pair, tables: list[tuple[int, NDArray[np.void], list[Patches]]], sizes: Sequence[int]
) -> Observations:
    counts, valid = {}, {}
    for i, size in enumerate(sizes):
        none = np.empty((0, size, size))
        counts[size] = np.concatenate(
            [none.astype(np.float32), *(patches[i].counts for _, _, patches in tables)]
        )
        valid[size] = np.concatenate(
            [none.astype(np.bool_), *(patches[i].valid for _, _, patches in tables)]
        )
    return Observations(
        pair,
        np.repeat(
            np.array([number for number, _, _ in tables], np.int64),
            np.array([len(peaks) for _, peaks, _ in tables], np.int64),
        ),
        np.concatenate([np.empty(0, PEAK), *(peaks for _, peaks, _ in tables)]),
        counts,
        valid,
    )


def _spread(n_frames: int, n: int) -> NDArray[np.int64]:
    """Return at most `n` frame numbers, evenly spread."""
    return np.unique(np.arange(0, n_frames, max(1, -(-n_frames // n))))


def _correction(detect: DetectConfig, series: Series) -> Correction:
    """Combine what the source and the user say of the pixels, as detector workers do."""
    try:
        return Correction.for_series(
            series,
            user_mask=load_mask(detect.mask) if detect.mask else None,
            dark=load_dark(detect.dark) if detect.dark else None,
            binning=detect.binning,
            saturation=detect.saturation,
        )
    except ValueError as error:
        raise UserError(f"detect.mask does not fit the frames: {error}") from None


def _decoded(frame: Frame) -> NDArray[np.generic] | str:
    try:
        pixels: NDArray[np.generic] = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    except DecodeError as error:
        return str(error)
    return pixels
