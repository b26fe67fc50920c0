"""Pixels of frames as the detector has them: a part, one or all, and what is wrong with each.

Each has a mark, of these bits: 1 masked by what the source says of its pixels, 2 masked by
``detect.mask``, 4 a value that means that there are no counts (the largest of an unsigned type, one
below 0, one that is no number), 8 saturated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive
from streamer.dashboard.image.gallery import Gallery, Key
from streamer.dashboard.image.stack import KINDS
from streamer.dashboard.messages import encode
from streamer.dashboard.packing import Packed
from streamer.dashboard.requests import PointOf, RegionOf
from streamer.frames.display import highest

__all__ = ["MASKED", "OWN_MASK", "SATURATED", "WORTHLESS", "Region", "Regions"]

MASKED, OWN_MASK, WORTHLESS, SATURATED = 1, 2, 4, 8
_MOST_PIXELS = 4 << 20
"""Of a part; all pixels of a frame may be more."""
_EXACT = 1 << 53
"""Integers up to here are exact in the numbers that a page has."""
_LOW_SHARE = 0.01
_LOOKED_AT = 1 << 16
_NONE = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels of a frame."""

    header: dict[str, Any]
    counts: NDArray[Any]
    """(h, w), in the detector's own type."""
    marks: NDArray[np.uint8]
    """(h, w), see above; of several pixels in one what holds of all."""

    def message(self, kind: str) -> bytes:
        """Write it down; this takes a while and touches nothing else."""
        arrays = {"counts": Packed.of(self.counts), "marks": Packed.of(self.marks)}
        return encode(kind, self.header, arrays)


class Regions:
    """Cuts pixels out of the frames of a run.

    Parameters
    ----------
    archive
        When each frame was exposed.
    gallery
        The frames' pixels.
    saturation
        Counts from which a pixel is saturated, whatever the source says; None where it knows best.
    """

    def __init__(self, archive: Archive, gallery: Gallery, saturation: float | None) -> None:
        self._archive = archive
        self._gallery = gallery
        self._saturation = saturation

    def cut(self, key: Key, wanted: RegionOf) -> Region:
        """Return the pixels within a window, or why there are none."""
        n_pixels = -(-wanted.rows // wanted.binning) * -(-wanted.cols // wanted.binning)
        if n_pixels > _MOST_PIXELS:
            return self._none(key, f"more than {_MOST_PIXELS:,} pixels at once: zoom in further")
        return self._cut(key, wanted)

    def whole(self, key: Key) -> Region:
        """Return all pixels of a frame, or why there are none."""
        return self._cut(key, None)

    def point(self, key: Key, wanted: PointOf) -> bytes:
        """Tell the counts of one pixel."""
        region = self._cut(key, RegionOf(row=wanted.row, col=wanted.col, rows=1, cols=1))
        header = region.header | {"row": wanted.row, "col": wanted.col, "counts": None, "marks": 0}
        if region.counts.size:
            counts, marks = region.counts[0, 0].item(), region.marks[0, 0].item()
            header |= {"counts": counts, "marks": marks}
        return encode("point", header)

    def _cut(self, key: Key, wanted: RegionOf | None) -> Region:
        row = self._archive.find(*key)
        time_ns = None if row is None else int(self._archive.frames["time_ns"][row])
        pixels = self._gallery.pixels(key, time_ns)
        if isinstance(pixels, str):
            return self._none(key, pixels)
        rows, cols = pixels.shape
        if wanted is None:
            wanted = RegionOf(rows=rows, cols=cols)
        n = wanted.binning
        # From whole bins on, so that they are the same wherever the window is.
        top, left = wanted.row // n * n, wanted.col // n * n
        window = (slice(top, wanted.row + wanted.rows), slice(left, wanted.col + wanted.cols))
        part = pixels[window]
        if not part.size:
            return self._none(key, "")
        source, own = self._gallery.masks(key[0], pixels.shape)
        masks = [one[window] for one in (source, own) if one is not None]
        mask = np.logical_or.reduce(masks) if masks else None
        values, valid = highest(part, mask, n)
        counts = _plain(values)
        if counts is None:
            return self._none(key, f"{part.dtype} counts above 2⁵³, which no page can hold")
        saturation = self._saturation_of(key[0])
        if n == 1:
            marks = np.where(highest(part, None, 1)[1], 0, WORTHLESS).astype(np.uint8)
            for one, bit in ((source, MASKED), (own, OWN_MASK)):
                if one is not None:
                    marks[one[window]] |= bit
        else:
            marks = np.where(valid, 0, MASKED).astype(np.uint8)
        if saturation is not None:
            marks[valid & (counts >= saturation)] |= SATURATED
        header = self._header(key) | {
            "shape": [rows, cols],
            "origin": [top, left],
            "binning": n,
            "saturation": saturation,
            "low": _low(counts, valid),
        }
        return Region(header, counts, marks)

    def _saturation_of(self, series: str) -> float | None:
        if series == KINDS["sum"]:  # of which each frame may be far from it
            return None
        return self._gallery.saturation(series) if self._saturation is None else self._saturation

    def _none(self, key: Key, why: str) -> Region:
        return Region(self._header(key) | {"why": why}, _NONE, _NONE)

    def _header(self, key: Key) -> dict[str, Any]:
        return {"series": key[0], "frame": key[1], "shape": [0, 0], "origin": [0, 0], "binning": 1,
                "saturation": None, "low": None, "why": ""}  # fmt: skip


def _low(counts: NDArray[Any], valid: NDArray[np.bool_]) -> float | None:
    """Return the counts below which about a hundredth of the pixels are."""
    step = max(1, counts.size // _LOOKED_AT)
    values = counts.reshape(-1)[::step][valid.reshape(-1)[::step]]
    return float(np.quantile(values, _LOW_SHARE, method="lower")) if len(values) else None


def _plain(counts: NDArray[Any]) -> NDArray[Any] | None:
    """Return counts in a type that a page has; None where their values would not stay the same."""
    if counts.dtype.kind == "f":
        return counts.astype(np.float64 if counts.itemsize == 8 else np.float32)
    if counts.itemsize < 8:
        return counts.astype(counts.dtype.newbyteorder("="))
    # Numbers that are no counts may be anything: what is said of them is kept by the marks.
    top = np.iinfo(counts.dtype).max if counts.dtype.kind == "u" else None
    if counts.size and (counts[counts != top] if top else counts).max(initial=0) > _EXACT:
        return None
    return counts.astype(np.float64)
