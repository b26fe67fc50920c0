"""What a page asks for, checked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from streamer.dashboard.drifts import Common, Parameter, XAxis
from streamer.results.curves import Quantity
from streamer.results.shapes import Shape
from streamer.results.thresholds import Threshold

__all__ = [
    "Hold",
    "MaskOf",
    "PatchOf",
    "PointOf",
    "Preview",
    "RegionOf",
    "Request",
    "RoiOf",
    "Show",
    "Watch",
    "WholeOf",
    "read_request",
]


_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 43)]
_Pixel = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Place = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]


class _Asked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class Watch(_Asked, frozen=True, kw_only=True, tag="watch"):
    """Which drifts to send, or what else of the tracks."""

    tracks: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=200)] = ()
    quantity: Quantity | Shape | Common | Parameter = "radial"
    x: XAxis = "time"
    begin: float | None = msgspec.field(default=None, name="from")
    end: float | None = msgspec.field(default=None, name="to")
    points: Annotated[int, msgspec.Meta(ge=2, le=20_000)] = 2000
    request: int | str | None = None


class Show(_Asked, frozen=True, kw_only=True, tag="show"):
    """Which frame to show; None the newest; or what many of them are together."""

    frame: _Number | None = None
    series: str | None = None
    stack: Literal["sum", "highest"] | None = None


class PatchOf(_Asked, frozen=True, kw_only=True, tag="patch"):
    """Which peak to show the surroundings of."""

    frame: _Number
    row: _Place
    col: _Place
    series: str | None = None


class RegionOf(_Asked, frozen=True, kw_only=True, tag="region"):
    """Which pixels to send of each frame that is shown; without rows or columns none."""

    row: _Pixel = 0
    col: _Pixel = 0
    rows: _Pixel = 0
    cols: _Pixel = 0
    binning: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class WholeOf(_Asked, frozen=True, kw_only=True, tag="whole"):
    """Which frame to send all pixels of."""

    frame: _Number
    series: str | None = None


class MaskOf(_Asked, frozen=True, kw_only=True, tag="mask"):
    """Of which frame to tell what is masked."""

    frame: _Number
    series: str | None = None


class RoiOf(_Asked, frozen=True, kw_only=True, tag="roi"):
    """Within which rectangle to sum the counts of each frame; without rows or columns none."""

    row: _Pixel = 0
    col: _Pixel = 0
    rows: _Pixel = 0
    cols: _Pixel = 0


class PointOf(_Asked, frozen=True, kw_only=True, tag="point"):
    """Which pixel to tell the counts of."""

    frame: _Number
    row: _Pixel
    col: _Pixel
    series: str | None = None


class Hold(_Asked, frozen=True, kw_only=True, tag="hold"):
    """Whether to send nothing but how the run stands."""

    hold: bool = True


class Preview(_Asked, frozen=True, kw_only=True, tag="preview"):
    """Which thresholds to try out on the frame that is shown; None: none any more."""

    minval: Threshold | None = None
    minscore: Threshold | None = None


Request = Watch | Show | PatchOf | RegionOf | WholeOf | MaskOf | PointOf | RoiOf | Hold | Preview


def read_request(text: str) -> Request:
    """Return what a page asks for.

    Raises
    ------
    ValueError
        It means nothing; the text is for the user.
    """
    try:
        request: Request = msgspec.json.decode(text, type=Request)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"the page asked for what does not exist: {error}") from None
    return request
