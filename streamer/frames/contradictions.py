"""What of a source contradicts itself, or could be meant in another way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.frames.pixels import dtype_named

__all__ = ["as_gaps", "contradictions", "like_gaps"]

_FEWEST_OF_A_GAP = 64
_CLOSE = 8.0
"""Counts by which a gap differs from all others at least."""
_MOST_APART_S = 60.0
"""By which clocks may differ: no cell changes much in that time."""
_YEAR_S = 365 * 86400.0
"""What lies so far back is no date, but counts from a start."""


def contradictions(
    says: Mapping[str, Any], shape: tuple[int, int], dtype: str, apart_s: float = 0.0
) -> list[str]:
    """Hold what the header of a series says against what came.

    Parameters
    ----------
    shape, dtype
        Of the frames that came.
    apart_s
        By how much the time of the first lies before its arrival; 0 for a recording.
    """
    lines = []
    said = tuple(
        says.get(new, says.get(old))
        for new, old in (
            ("image_size_y", "y_pixels_in_detector"),
            ("image_size_x", "x_pixels_in_detector"),
        )
    )
    if None not in said and said != shape:
        lines.append(
            f"the header says images of {said[0]} x {said[1]}, and they are {shape[0]} x"
            f" {shape[1]}: its beam centre and mask may be those of another region"
        )
    kind, bits = dtype_named(says.get("image_dtype")), says.get("bit_depth_image")
    if kind is None and isinstance(bits, int):
        kind = dtype_named(f"uint{bits}")
    if kind is not None and kind != np.dtype(dtype).newbyteorder("="):
        lines.append(f"the header says pixels of {kind}, and they are {np.dtype(dtype).name}")
    if apart_s > _YEAR_S:
        lines.append(
            "the times of frames are no dates of today: set the detector's clock, or no reading of"
            " the cell stands beside them"
        )
    elif abs(apart_s) > _MOST_APART_S:
        lines.append(
            f"the times of frames lie {abs(apart_s):,.0f} s"
            f" {'before' if apart_s > 0 else 'behind'} the clock of this machine: set the clocks,"
            " or frames stand beside readings of the cell that are not theirs"
        )
    return lines


def like_gaps(valid: NDArray[Any]) -> list[tuple[float, int]]:
    """Return lowest and highest values that many pixels share, far from all others.

    The lowest must be further from the next one than that from the middle of all pixels.

    Parameters
    ----------
    valid
        (n,), pixels that nothing marks.
    """
    found: list[tuple[float, int]] = []
    if not valid.size:
        return found
    least = max(_FEWEST_OF_A_GAP, valid.size // 2000)
    low, high = valid.min(), valid.max()
    n_low, n_high = (int(np.count_nonzero(valid == value)) for value in (low, high))
    if n_low + n_high >= valid.size:
        return found
    # Pixels are counted, not sorted: a frame may be of 16 million.
    if n_low >= least and _reaching(valid, float(low) + _CLOSE, above=True) == valid.size - n_low:
        above = float(valid.min(where=valid != low, initial=high))
        if 2 * _reaching(valid, 2.0 * above - float(low)) < valid.size:
            found.append((float(low), n_low))
    if n_high >= least and high >= 255.0:
        if _reaching(valid, 0.5 * float(high)) == n_high:
            found.append((float(high), n_high))
    return found


def _reaching(valid: NDArray[Any], limit: float, above: bool = False) -> int:
    """Return how many pixels reach a limit, or are above it."""
    if valid.dtype.kind in "iu":
        # Compared in their own type, without making floats of them.
        whole = math.floor(limit) + 1 if above else math.ceil(limit)
        info = np.iinfo(valid.dtype.name)
        return 0 if whole > info.max else int(np.count_nonzero(valid >= max(whole, info.min)))
    return int(np.count_nonzero(valid > limit if above else valid >= limit))


def as_gaps(values: Iterable[tuple[float, int]]) -> list[str]:
    """Say of each of `like_gaps` what to do about it."""
    return [
        f"{count:,} are {value:.10g} and none is near: if those are gaps, name them in detect.mask"
        for value, count in values
    ]
