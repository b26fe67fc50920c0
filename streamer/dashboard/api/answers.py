"""What the HTTP API answers and takes; the schemas of its OpenAPI document are made from these.

What is not known is null.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from streamer.results.thresholds import Threshold

__all__ = [
    "Change",
    "Curve",
    "Frame",
    "Peak",
    "Pixels",
    "Problem",
    "Run",
    "Runs",
    "Series",
    "Status",
    "Thresholds",
    "Track",
    "Tracks",
    "Wanted",
]

Number = float | None
Value = int | float | str | None


def _doc(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Problem(_Answer, frozen=True, kw_only=True):
    """Why there is no other answer."""

    error: Annotated[str, _doc("what is wrong and what to do, for a person")]


class Run(_Answer, frozen=True, kw_only=True):
    """A run in a list."""

    name: Annotated[str, _doc("name of the run folder; it stands in all other paths")]
    state: Annotated[str, _doc("in words: done, stopped by the user, failed, or how far it is")]
    live: bool
    started: Annotated[str, _doc("ISO 8601, UTC")]
    elapsed_s: float
    frames: Annotated[dict[str, int], _doc("frames on disk by state: done, failed, missing, shed")]
    peaks: int
    source: str


class Runs(_Answer, frozen=True, kw_only=True):
    """The runs of a folder, the newest first; one where the page is of one run."""

    runs: list[Run]


class Series(_Answer, frozen=True, kw_only=True):
    """A series of a run."""

    name: str
    start: Annotated[int, _doc("number, among all frames of the run, of its first one")]


class Status(_Answer, frozen=True, kw_only=True):
    """How a run stands."""

    name: str
    live: bool
    phase: Annotated[str, _doc("how far it is, or how it ended, in words")]
    started: Annotated[str, _doc("ISO 8601, UTC")]
    source: str
    software: str
    series: list[Series]
    shape: Annotated[list[int] | None, _doc("rows and columns of a frame of the newest series")]
    quantities: Annotated[list[str], _doc("what can be asked for of a track")]
    n_frames: Annotated[int, _doc("one more than the largest number of a frame of the run")]
    frames: dict[str, int]
    peaks: int
    elapsed_s: float
    frames_in_hz: Number
    frames_out_hz: Number
    latency_ms: Annotated[Number, _doc("from the arrival of a frame to its result on disk")]
    backlog: int
    disagreement_px: Number
    stale_s: Annotated[float, _doc("seconds since the run said anything; 0 when it is over")]
    lost: Annotated[str, _doc("what was lost or is late, and advice, in words; empty: nothing")]
    alarm: bool


class Track(_Answer, frozen=True, kw_only=True):
    """A spot that was followed, and where it is now."""

    track: int
    reflection: Annotated[int, _doc("the same for a spot and what it split into")]
    columns: Annotated[
        dict[str, Value], _doc("all columns of the run's table of tracks, in its units")
    ]


class Tracks(_Answer, frozen=True, kw_only=True):
    """The tracks of a run."""

    units: Annotated[dict[str, str], _doc("of columns that have one")]
    tracks: list[Track]


class Curve(_Answer, frozen=True, kw_only=True):
    """A quantity of a track over the run; lists of the same length."""

    track: int
    quantity: str
    label: str
    unit: Annotated[str, _doc("1 for ratios")]
    x_is: Annotated[
        Literal["time", "frame"], _doc("Unix time in seconds, or number of the frame in the run")
    ]
    x: list[float]
    y: list[Number]
    sigma: Annotated[list[Number], _doc("standard deviation of y, without that of the reference")]


class Peak(_Answer, frozen=True, kw_only=True):
    """A peak of a frame: row and column in detector pixels, an integer is the centre of one."""

    row: Number
    col: Number
    row_sigma: Number
    col_sigma: Number
    score: Annotated[Number, _doc("persistence, counts")]
    flags: Annotated[int, _doc("sum of bits, see the table of peaks")]
    track: Annotated[int | None, _doc("null where it belongs to none")]


class Frame(_Answer, frozen=True, kw_only=True):
    """The peaks of a frame."""

    series: str
    frame: int
    settled: Annotated[bool, _doc("false: not on disk yet, and may differ in the end")]
    state: Annotated[
        str | None,
        _doc(
            "done, failed, missing or shed, of which only the first tells that there are no peaks"
            " where none are listed; null where not settled"
        ),
    ]
    peaks: list[Peak]


class Pixels(_Answer, frozen=True, kw_only=True):
    """Counts of a frame, or of a part of it, as the source gave them."""

    series: str
    frame: int
    row: Annotated[int, _doc("of the first pixel")]
    col: Annotated[int, _doc("of the first pixel")]
    shape: Annotated[list[int], _doc("rows and columns of the whole frame")]
    dtype: Annotated[str, _doc("numpy's name of the source's type")]
    counts: Annotated[list[list[int | float | None]], _doc("by row; null where a pixel is masked")]


class Change(_Answer, frozen=True, kw_only=True):
    """A change of both thresholds."""

    time_ns: Annotated[int, _doc("when it was asked for, Unix time")]
    minval: Threshold
    minscore: Threshold
    series: Annotated[str | None, _doc("of the first frame that it holds for, once that has come")]
    frame: Annotated[int | None, _doc("number of that frame")]


class Configured(_Answer, frozen=True, kw_only=True):
    """Thresholds with which a run began."""

    minval: Threshold
    minscore: Threshold


class Thresholds(_Answer, frozen=True, kw_only=True):
    """Thresholds of a run: counts, or auto."""

    minval: Annotated[Threshold, _doc("what holds from the newest frame on")]
    minscore: Annotated[Threshold, _doc("what holds from the newest frame on")]
    configured: Configured
    changes: list[Change]
    waiting: Annotated[Change | None, _doc("a change that the run has not taken yet")]
    can_change: Annotated[bool, _doc("whether who has the control token can change them now")]
    can_try: bool
    binning: Annotated[int, _doc("pixels summed along each axis before peaks are found")]


class Wanted(_Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds that are asked for."""

    minval: Threshold
    minscore: Threshold
