"""From coded pixels to a frame that peaks can be looked for in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.events import Series
from workers.detect.image import Image, Saturation, image_of

__all__ = ["Correction", "bin_mask", "binned"]


@dataclass(frozen=True, slots=True)
class Correction:
    """What is done to each frame of a series before anything else.

    Pixels are masked that the source's mask or the user's mask names, and those with which
    detectors mark gaps: the largest value of an unsigned type, what is not finite, and negative
    integers where they are of a few kinds only. Where a pedestal was subtracted they are of many,
    and are noise around zero as negative floats are.
    """

    bad: NDArray[np.bool_] | None = None
    """(rows, cols), pixels never used."""
    dark: NDArray[np.float32] | None = None
    """(rows, cols), counts to subtract."""
    flatfield: NDArray[np.float32] | None = None
    """(rows, cols), factor to multiply by after that; the source has not done it."""
    binning: int = 1
    """Pixels summed along each axis."""
    saturation: float = np.inf
    """Counts from which a pixel is saturated, as the detector sent it."""

    @classmethod
    def for_series(
        cls,
        series: Series,
        user_mask: NDArray[np.bool_] | None,
        dark: NDArray[np.float32] | None,
        binning: int,
        saturation: float | None,
    ) -> Correction:
        """Combine what the source and the user say of a series' pixels."""
        masks = [mask for mask in (series.pixel_mask, user_mask) if mask is not None]
        bad = None
        if masks and all(mask.shape == masks[0].shape for mask in masks):
            bad = np.logical_or.reduce(masks)
        elif masks:
            shapes = " and ".join(str(mask.shape) for mask in masks)
            raise ValueError(f"masks of different shapes, {shapes}")
        limit = saturation if saturation is not None else series.saturation
        limit = np.inf if limit is None else float(limit)
        return cls(bad, dark, series.flatfield, binning, limit)

    def sharing(self, others: Iterable[Correction | str]) -> Correction:
        """Return it with the mask of one of others, where that is the same: series are alike."""
        for other in others:
            if isinstance(other, Correction) and self.bad is not None and other.bad is not None:
                if np.array_equal(self.bad, other.bad):
                    return replace(self, bad=other.bad)
        return self

    @property
    def is_mask(self) -> bool:
        """True where counts stay as they are."""
        return self.dark is None and self.flatfield is None and self.binning == 1

    def __call__(self, frame: NDArray[np.generic]) -> tuple[Image, Saturation]:
        """Return the corrected frame, which shares the memory of one that needs no correction.

        Raises
        ------
        ValueError
            The mask, dark or flat field is not of the frame's shape, or the frame is smaller than
            one binned pixel.
        """
        images = (("mask", self.bad), ("dark", self.dark), ("flat field", self.flatfield))
        for name, array in images:
            if array is not None and array.shape != frame.shape:
                raise ValueError(f"a {name} of {array.shape} for a frame of {frame.shape}")
        if min(frame.shape) < self.binning:
            raise ValueError(
                f"a frame of {frame.shape} is smaller than {self.binning} pixels binned"
            )
        if frame.dtype == np.float16:
            frame = frame.astype(np.float32)
        least = self.saturation if math.isfinite(self.saturation) else math.inf
        if frame.dtype == np.float32:
            least = float(np.float32(least))
        saturation = Saturation(frame, least, self.binning)
        image = self._marked(frame)
        if self.is_mask:
            return image, saturation
        frame, masked = image.pixels, image.masked
        if self.dark is not None:
            # Noise below the dark level is no defect: it stays, masked pixels do not.
            frame = frame.astype(np.float32) - self.dark
        if self.flatfield is not None:
            frame = frame.astype(np.float32) * self.flatfield
        if self.binning > 1:
            frame = binned(frame, self.binning)
            masked = bin_mask(masked, self.binning)
        return image_of(frame, masked), saturation

    def _marked(self, frame: NDArray[np.generic]) -> Image:
        """Return a frame with what tells its masked pixels."""
        image, kind = image_of(frame, self.bad), frame.dtype.kind
        if kind == "f":
            unknown = ~np.isfinite(frame)
            if not unknown.any():
                return image
            return image_of(np.where(unknown, frame.dtype.type(0), frame), image.masked | unknown)
        of_type = frame.dtype.type
        if kind == "u":
            return image._replace(highest=of_type(int(image.highest) - 1))
        below_zero = int(image.lowest) + 1 if _is_noise_below_zero(frame) else 0
        return image._replace(lowest=of_type(below_zero))


_STRIDE = 61
"""Every so many pixels are looked at for noise below zero; no row is as long."""
_MARKS = 3
"""Different negative values with which a detector marks pixels, at most."""


@njit(cache=True, nogil=True)
def _is_noise_below_zero(frame):  # type: ignore[no-untyped-def]
    """Tell whether negative values are of more kinds than those that mark gaps."""
    rows, cols = frame.shape
    seen = np.empty(_MARKS, frame.dtype)
    n_seen = 0
    for i in range(0, rows * cols, _STRIDE):
        value = frame[i // cols, i % cols]
        if value < 0 and not (seen[:n_seen] == value).any():
            if n_seen == _MARKS:
                return True
            seen[n_seen] = value
            n_seen += 1
    return False


def binned(frame: NDArray[np.generic], n: int) -> NDArray[np.generic]:
    """Sum blocks of `n` x `n` pixels; rows and columns that fill no block are left out.

    Whatever the pixels hold, the sum's type holds it: 32-bit integers where they are enough, then
    64-bit ones, then float64. Floats stay what they are, half floats become float32.
    """
    rows, cols = frame.shape[0] // n, frame.shape[1] // n
    blocks = frame[: rows * n, : cols * n].reshape(rows, n, cols, n)
    summed: NDArray[np.generic] = blocks.sum(axis=(1, 3), dtype=_sum_type(frame.dtype, n * n))
    return summed


def _sum_type(pixels: np.dtype[np.generic], count: int) -> np.dtype[np.generic]:
    if pixels.kind == "f":
        return np.result_type(pixels, np.float32)
    limits = np.iinfo(pixels.name)
    most = count * max(-int(limits.min), int(limits.max))
    integers = (np.dtype(name) for name in ("int32", "int64") if most <= np.iinfo(name).max)
    return next(integers, np.dtype(np.float64))


def bin_mask(masked: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """Mask each block that has a masked pixel."""
    rows, cols = masked.shape[0] // n, masked.shape[1] // n
    blocks = masked[: rows * n, : cols * n].reshape(rows, n, cols, n)
    return np.asarray(blocks.any(axis=(1, 3)), np.bool_)
