"""What is known of the noise of the pixels that peaks are cut from, and which of them are full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.detect.background import Background, estimate
from workers.detect.correction import Correction, binned
from workers.detect.image import Image
from workers.detect.patches import Patches, with_noise_of
from workers.detect.pedestal import subtracted
from workers.detect.usable import below_zero, unusable

__all__ = ["PHOTON_COUNTER", "REACH", "Detector", "full_pixels"]

_PILE = 4
"""Pixels at the very same highest value that noise does not put there, together with more of them
than come near it."""
_LEAST_FULL = 200.0
"""Counts below which equal pixels are no wonder."""
_NEAR = 0.9
REACH = 2
"""Pixels around the highest of a peak that may be of a pile."""
_TELLING = 0.2
"""Share of the noise by which the background must be off before it is set right."""


@dataclass(frozen=True, slots=True)
class Detector:
    """How counts scatter: ``variance = gain*counts + read_noise**2``; a photon counter's."""

    gain: float = 1.0
    """Counts per photon; 0 for noise that does not grow with the counts."""
    read_noise: float = 0.0
    """Standard deviation in counts of a pixel without photons."""

    def restored(
        self,
        patches: Patches,
        image: Image,
        correction: Correction,
        rows: NDArray[np.int32],
        cols: NDArray[np.int32],
        background: Background | None,
    ) -> Patches:
        """Return patches whose counts are again as noisy as they look.

        A dark that was subtracted here is added as its mean, a flat field divided out. What the
        source subtracted before is seen from the scatter of the background, where counts may be
        negative or are no whole numbers, or where `background` is no counter's. Floats that were
        scaled to 1 become photons again.
        """
        pixels, n = image.pixels, len(rows)
        if not n or self.gain == 0.0:
            return patches
        shift, scale = np.zeros(n), np.ones(n)
        if correction.flatfield is not None or correction.dark is not None:
            size = patches.counts.shape[1]
            if correction.flatfield is not None:
                flat = _means(correction.flatfield, correction.binning, rows, cols, size)
                scale = 1.0 / np.where(flat > 0.0, flat / correction.binning**2, 1.0)
            if correction.dark is not None:
                shift = _means(correction.dark, correction.binning, rows, cols, size)
            return with_noise_of(patches, np.maximum(shift, 0.0), scale)
        if background is None:
            if pixels.dtype.kind == "u":
                return patches
            background = estimate(image.astype(pixels.dtype))
        if pixels.dtype.kind == "f" and np.max(pixels[rows, cols]) < 2.0 * self.gain:
            # One photon makes no peak: the counts were divided by something.
            return with_noise_of(patches, shift, scale * self.gain / _photon(background, self.gain))
        if background.counter:
            return patches
        expected = (background.spread**2 - self.read_noise**2) / self.gain
        lacking = float(np.median(expected - background.level))
        if abs(lacking) <= _TELLING * abs(float(np.median(expected))):
            return patches
        if lacking > 0.0 and pixels.dtype.kind != "f" and not below_zero(*image):
            return patches  # nothing was subtracted: the gain is another than was said
        lack = subtracted(image, rows, cols, self.gain, self.read_noise)
        return with_noise_of(patches, lack, scale)


PHOTON_COUNTER = Detector()


def full_pixels(image: Image, rows: NDArray[np.int32], cols: NDArray[np.int32]) -> float:
    """Return the counts from which pixels hold all they can, found from peaks; inf where none do.

    Parameters
    ----------
    rows, cols
        (n,), the highest pixels of the peaks.
    """
    if not len(rows):
        return np.inf
    heights = image.pixels[rows, cols]
    top = heights.max()
    if not np.isfinite(top) or top < _LEAST_FULL:
        return np.inf
    highest = heights == top
    n_full, n_near = _pile(
        *image.astype(image.pixels.dtype), rows[highest], cols[highest], top, _NEAR * float(top)
    )
    return float(top) if n_full >= _PILE and n_full > n_near else np.inf


@njit(cache=True, nogil=True)
def _pile(frame, bad, least, most, rows, cols, top, near):  # type: ignore[no-untyped-def]
    n_full = n_near = 0
    for k in range(len(rows)):
        for r in range(max(rows[k] - REACH, 0), min(rows[k] + REACH + 1, frame.shape[0])):
            for c in range(max(cols[k] - REACH, 0), min(cols[k] + REACH + 1, frame.shape[1])):
                if not unusable(frame, bad, least, most, r, c):
                    n_full += frame[r, c] == top
                    n_near += near <= frame[r, c] < top
    return n_full, n_near


def _photon(background: Background, gain: float) -> float:
    """Return what one photon seems to make of counts that were scaled, `gain` where none tells.

    Without a level the scatter may as well be that of the electronics.
    """
    if background.counter:
        return min(background.unit, gain)
    level, noise = float(np.median(background.level)), float(np.median(background.spread))
    return min(noise**2 / level, gain) if level > 1.5 * noise > 0.0 else gain


def _means(
    image: NDArray[np.float32], binning: int, rows: NDArray[Any], cols: NDArray[Any], size: int
) -> NDArray[np.float64]:
    """Return the mean of an image over the patches of `size` x `size` pixels, binned ones."""
    image = np.asarray(binned(image, binning) if binning > 1 else image, np.float64)
    half, means = size // 2, np.empty(len(rows))
    for k, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        part = image[max(row - half, 0) : row + half + 1, max(col - half, 0) : col + half + 1]
        means[k] = part.mean()
    return means
