"""Records of peaks, taken apart into columns of their table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.frames.peaks import SHAPE
from streamer.results.schema import Columns

__all__ = ["taken_apart"]

Records = NDArray[np.void]

_WHOLE = ("peak_row", "peak_col", "flags")
_FLOATS = (
    "score", "row", "col", "row_sigma", "col_sigma",
    *(f"{name}{part}" for name in SHAPE for part in ("", "_sigma")),
)  # fmt: skip


def taken_apart(peaks: Sequence[Records], positions: Sequence[Records]) -> Columns:
    """Return the columns of PEAK[n] and POSITION[n] of frames that follow each other.

    Where no shape was fitted the intensity is the sum over the patch, of which no error is known.
    """
    bounds = [0, *accumulate(map(len, peaks))]
    # One piece of memory for all of them: the system gives large pieces sooner than many.
    whole = np.empty((len(_WHOLE), bounds[-1]), np.int32)
    floats = np.empty((len(_FLOATS), bounds[-1]))
    for found, placed, start in zip(peaks, positions, bounds[:-1], strict=True):
        _take_apart(found, placed, start, whole, floats)
    return dict(zip((*_WHOLE, *_FLOATS), (*whole, *floats), strict=True))


@njit(cache=True, nogil=True, error_model="numpy")
def _take_apart(
    peaks: Records,
    positions: Records,
    start: int,
    whole: NDArray[np.int32],
    floats: NDArray[np.float64],
) -> None:
    """Fill in columns (quantities, n) from `start` on, a record at a time: each is read once."""
    for i in range(len(peaks)):
        peak, place, k = peaks[i], positions[i], start + i
        whole[0, k], whole[1, k], whole[2, k] = peak.row, peak.col, place.flags
        floats[0, k] = peak.score
        floats[1, k], floats[2, k] = place.row, place.col
        floats[3, k], floats[4, k] = place.row_sigma, place.col_sigma
        is_fitted = np.isfinite(place.intensity)
        floats[5, k] = place.intensity if is_fitted else peak.intensity
        floats[6, k] = place.intensity_sigma
        floats[7, k], floats[8, k] = place.background, place.background_sigma
        floats[9, k], floats[10, k] = place.fwhm_major, place.fwhm_major_sigma
        floats[11, k], floats[12, k] = place.fwhm_minor, place.fwhm_minor_sigma
        floats[13, k], floats[14, k] = place.angle, place.angle_sigma
        floats[15, k], floats[16, k] = place.eta, place.eta_sigma
        floats[17, k], floats[18, k] = place.asymmetry, place.asymmetry_sigma
        floats[19, k], floats[20, k] = place.centre_row, place.centre_row_sigma
        floats[21, k], floats[22, k] = place.centre_col, place.centre_col_sigma
