"""The centre of mass of a spot of any shape, with its standard deviation."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, UNTRUSTED
from streamer.frames.peaks import SHAPE
from workers.place.base import Positions
from workers.place.fit.methods import Noise
from workers.place.mirror import leave_lone_out, mirror
from workers.place.ring import N_PAIRS, level_of, lowest_within, ring_width, sectors_of, slope_of
from workers.place.window import TRUSTED, centre, edges, window

__all__ = ["Moments"]

_FAINTEST = 4.0
"""Standard deviations by which the counts must be above the background."""
_HIDDEN = 0.5
"""Share of a spot's motion that the edges of the window may hide."""
_FALLING = 0.12
"""Counts, as a share of the spot's, by which the ground may go on falling within the window. It
does where half the window is less than 2.2 standard deviations of a Gaussian."""
_BEYOND = 0.25
"""Share of that by which the background may be too high."""
_FILLED = 0.05
"""Counts, as a share of the spot's, that pixels may hide which are not seen; nor may they move the
centre by more than noise does."""

_MEASURED = np.dtype(
    [
        (name, "<f8")
        for quantity in ("row", "col", "intensity", "background")
        for name in (quantity, f"{quantity}_variance")
    ]
)


class Moments:
    """Centre of mass above the background, of whatever stands in a window around it.

    The window is the patch without its outermost ring, which shows the background. It stands where
    the centre of mass in it is, so that it moves with the spot and not from pixel to pixel. No
    pixel is left out for being low. Masked pixels, and hot or dead ones that are not, are taken
    from those opposite, with the error that this may be.

    Parameters
    ----------
    size
        Pixels along each axis of the patches, odd.
    noise
        Of the detector; a photon counter unless said otherwise.
    """

    name = "moments"

    def __init__(self, size: int, noise: Noise | None = None) -> None:
        self.patch_size = size
        self._noise = noise or Noise()
        self._sectors = sectors_of(size)

    def place(self, patches: NDArray[np.float32], valid: NDArray[np.bool_]) -> Positions:
        """Place one peak in each patch; see `workers.place.base.PositionMethod.place`.

        `POOR_FIT` is set where the spot does not stand out, where it is larger than the patch, be
        it that no background is seen or that the window cuts it off, and where too much of it is
        not seen; standard deviations are NaN there. `UNTRUSTED` is set far from the middle.
        """
        n = len(patches)
        measured, flags = np.zeros(n, _MEASURED), np.zeros(n, np.int32)
        _measure(
            np.ascontiguousarray(patches, np.float32),
            np.ascontiguousarray(valid, np.bool_),
            self._sectors,
            ring_width(self.patch_size),
            float(self._noise.gain),
            float(self._noise.read_noise) ** 2,
            measured,
            flags,
        )
        value = {name: measured[name].copy() for name in _MEASURED.names or ()}
        shape = np.full((n, 2 * len(SHAPE)), np.nan)
        for name, quantity in (
            ("intensity", "intensity"),
            ("background", "background"),
            ("centre_row", "row"),
            ("centre_col", "col"),
        ):
            at = 2 * SHAPE.index(name)
            shape[:, at], shape[:, at + 1] = value[quantity], np.sqrt(value[f"{quantity}_variance"])
        is_poor = (flags & POOR_FIT) != 0
        shape[is_poor] = np.nan
        return Positions(
            value["row"],
            value["col"],
            np.sqrt(value["row_variance"]),
            np.sqrt(value["col_variance"]),
            flags,
            is_poor,
            shape,
        )


@njit(cache=True, nogil=True)
def _measure(  # type: ignore[no-untyped-def]
    patches, valid, sectors, width, gain, read_variance, measured, flags
):
    n, size, _ = patches.shape
    middle, half = size // 2, 0.5 * size - width
    is_clean = np.empty(N_PAIRS, np.bool_)
    counts, variance, error = np.empty((3, size, size))
    for k in range(n):
        patch, one = patches[k], measured[k]
        usable = valid[k] & np.isfinite(patch)
        flags[k] = POOR_FIT
        one.row_variance = one.col_variance = math.nan
        level, level_variance = level_of(patch, usable, sectors, gain, read_variance, is_clean)
        within, within_variance = lowest_within(patch, usable, sectors, gain, read_variance)
        if not (math.isfinite(level) and math.isfinite(within)):
            continue
        down, across, down_variance, across_variance = slope_of(
            patch, usable, sectors, is_clean, level, gain, read_variance
        )
        for i in range(size):
            for j in range(size):
                if usable[i, j]:
                    ground = level + down * (i - middle) + across * (j - middle)
                    counts[i, j] = patch[i, j] - ground
                    variance[i, j] = gain * patch[i, j] + read_variance
        leave_lone_out(counts, variance, usable, gain * max(level, gain) + read_variance)
        twice = (0, 0)
        for _ in range(3):  # what stands in for unseen pixels depends on the centre
            mirror(counts, variance, usable, twice[0], twice[1], error)
            row, col = centre(counts, variance, half)
            before, twice = twice, (round(2.0 * row), round(2.0 * col))
            if before == twice:
                break
        one.row, one.col = row, col
        if max(abs(row), abs(col)) >= TRUSTED * size:
            flags[k] |= UNTRUSTED
        one.background, one.background_variance = level, level_variance
        if not _sum(counts, variance, error, half, one):
            continue
        area = 4.0 * half * half
        # What of the spot is on the ring raises the background: that error is one of the intensity.
        falling = max(0.0, within - level)
        one.intensity_variance += area**2 * (level_variance + (_BEYOND * falling) ** 2)
        is_larger = (
            falling > 2.0 * math.sqrt(level_variance + within_variance)
            and falling * area > _FALLING * one.intensity
        )
        # A slope that is wrong by 1 moves the centre by the second moment of the window.
        lever = area * half**2 / (3.0 * one.intensity)
        row_variance = one.row_variance + lever**2 * down_variance
        col_variance = one.col_variance + lever**2 * across_variance
        if one.intensity > _FAINTEST * math.sqrt(one.intensity_variance) and not is_larger:
            one.row_variance, one.col_variance = row_variance, col_variance
            flags[k] &= ~POOR_FIT
        else:
            one.row_variance = one.col_variance = math.nan


@njit(cache=True, nogil=True)
def _sum(counts, variance, error, half, one):  # type: ignore[no-untyped-def]
    """Fill in the intensity and all variances but those of the background and its slope.

    Returns
    -------
    is_sound
        Whether enough of the spot is in the window and seen; the centre's variances are left
        alone where not.
    """
    size = counts.shape[0]
    rows, row_places, cols, col_places = np.empty((4, size))
    high = window(one.row, half, rows, row_places)
    wide = window(one.col, half, cols, col_places)
    total = noise = row_noise = col_noise = 0.0
    wrong = row_wrong = col_wrong = filled = 0.0
    for i in range(size):
        for j in range(size):
            share = rows[i] * cols[j]
            if share == 0.0:
                continue
            total += share * counts[i, j]
            noise += share**2 * variance[i, j]
            row_noise += (share * row_places[i]) ** 2 * variance[i, j]
            col_noise += (share * col_places[j]) ** 2 * variance[i, j]
            if error[i, j] > 0.0:
                filled += share * abs(counts[i, j])
                wrong += share * error[i, j]
                row_wrong += share * error[i, j] * abs(row_places[i])
                col_wrong += share * error[i, j] * abs(col_places[j])
    one.intensity, one.intensity_variance = total, max(noise, 0.0) + wrong**2
    if not (
        total > 0.0
        and filled + wrong < _FILLED * total
        and row_wrong**2 <= row_noise
        and col_wrong**2 <= col_noise
    ):
        return False
    row_hidden = edges(counts, variance, one.row, high, cols, total)
    col_hidden = edges(counts.T, variance.T, one.col, wide, rows, total)
    if max(row_hidden, col_hidden) > _HIDDEN:
        return False
    one.row_variance = (row_noise + row_wrong**2) / (total * (1.0 - row_hidden)) ** 2
    one.col_variance = (col_noise + col_wrong**2) / (total * (1.0 - col_hidden)) ** 2
    return True
