"""Shift, rotation and scale that take the spots of a frame from one place to another."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streamer.results.schema import MOTION, Columns

__all__ = ["FEWEST", "Similarity", "fit", "fit_frame"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

FEWEST = 3
"""Spots that tell a motion."""
_HUBER, _TUKEY = 2.0, 5.0
"""Distances in standard deviations from which on a spot counts for less, and for nothing."""
_ROUNDS = 3
"""Of either weights: the first find the bulk of the spots, the second leave out the others."""
_MEDIAN = 1.1774
"""Median length of a pair of normal deviates."""


class Similarity(NamedTuple):
    """Shifts, rotations and scales, of n frames; NaN where they are not told."""

    about: Floats
    """(2,), the place that stays where it is but for the shift."""
    shift: Floats
    """(n, 2), of that place in pixels."""
    turn: Floats
    """(n, 2), scale times cosine less 1, and scale times sine of the angle."""
    middle: Floats
    """(n, 2), weighted mean place of the spots, where shift and turn are told independently."""
    variance: Floats
    """(n, 2), of the shift there and of the turn."""

    @property
    def told(self) -> NDArray[np.bool_]:
        """True for frames whose motion is known."""
        return np.isfinite(self.shift[:, 0])

    def columns(self) -> Columns:
        """Return the columns `MOTION` of the frames table."""
        a, b = 1.0 + self.turn[:, 0], self.turn[:, 1]
        scale = np.hypot(a, b)
        lever = self.about - self.middle
        of_middle, of_turn = self.variance.T
        # Errors of the turn move the place that it is about, which may be far from all spots.
        shift_sigma = np.sqrt(of_middle + (lever**2).sum(axis=1) * of_turn)
        turn_sigma = np.sqrt(of_turn)
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = lever * turn_sigma[:, None] / shift_sigma[:, None]
        told = self.told
        n = len(told)
        values = {
            "motion_row": self.shift[:, 0],
            "motion_row_sigma": shift_sigma,
            "motion_col": self.shift[:, 1],
            "motion_col_sigma": shift_sigma,
            "motion_angle": np.degrees(np.arctan2(b, a)),
            "motion_angle_sigma": np.degrees(turn_sigma / scale),
            "motion_scale": scale - 1.0,
            "motion_scale_sigma": turn_sigma,
            "motion_about_row": np.full(n, self.about[0]),
            "motion_about_col": np.full(n, self.about[1]),
            "motion_row_angle_correlation": correlation[:, 1],
            "motion_col_angle_correlation": -correlation[:, 0],
        }
        return {name: np.where(told, values[name], np.nan) for name in MOTION}


def fit(
    places: Floats, now: Floats, sigma: Floats, frame: Places, n: int, about: Floats
) -> Similarity:
    """Return what takes places to where they are now, frame by frame, whatever a few spots do.

    Standard deviations grow with the scatter of the spots; where theirs are not known they come
    from it alone.

    Parameters
    ----------
    places, now
        (m, 2), in pixels.
    sigma
        (m,), standard deviations of their differences along an axis; NaN where unknown. Such spots
        do not count on a frame where others' are known.
    frame
        (m,), from 0 to `n` - 1, sorted.
    about
        (2,), the place that the pattern turns and grows about.
    """
    told = np.full((n, 8), np.nan)
    bounds = np.searchsorted(frame, np.arange(n + 1))
    for i, (start, stop) in enumerate(itertools.pairwise(bounds.tolist())):
        one = slice(start, stop)
        fit_frame(places[one], now[one], sigma[one], about, told[i])
    return Similarity(about, *np.split(told, 4, axis=1))


@njit(cache=True, nogil=True, error_model="numpy")
def fit_frame(places: Floats, now: Floats, sigma: Floats, about: Floats, told: Floats) -> None:
    """Find what takes the places of one frame to where they are now, as `fit` does.

    Parameters
    ----------
    told
        (8,), for shift, turn, middle and variance; left as it is where they are not told.
    """
    is_known = False
    for i in range(len(sigma)):
        is_known |= np.isfinite(sigma[i]) and sigma[i] > 0
    m = len(sigma)
    # What is used of the spots, one after the other: places, how they moved, and one over sigma.
    at_row, at_col, by_row, by_col = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    sure = np.empty(m)
    n = 0
    for i in range(m):
        has_sigma = np.isfinite(sigma[i]) and sigma[i] > 0
        if has_sigma or not is_known:
            at_row[n], at_col[n] = places[i, 0], places[i, 1]
            by_row[n], by_col[n] = now[i, 0] - places[i, 0], now[i, 1] - places[i, 1]
            sure[n] = 1.0 / sigma[i] if has_sigma else 1.0
            n += 1
    if n < FEWEST:
        return
    weight, share, left = np.ones(n), np.empty(n), np.empty(n)
    scatter = a = b = 0.0
    row = col = down = right = 0.0
    for turn in range(2 * _ROUNDS + 1):
        mass = row = col = down = right = 0.0
        for k in range(n):
            w = share[k] = weight[k] * sure[k] * sure[k]
            mass += w
            row += w * at_row[k]
            col += w * at_col[k]
            down += w * by_row[k]
            right += w * by_col[k]
        row, col, down, right = row / mass, col / mass, down / mass, right / mass
        spread = a = b = 0.0
        for k in range(n):
            w = share[k]
            dr, dc = at_row[k] - row, at_col[k] - col
            yr, yc = by_row[k] - down, by_col[k] - right
            spread += w * (dr * dr + dc * dc)
            a += w * (dr * yr + dc * yc)
            b += w * (dc * yr - dr * yc)
        a, b = a / spread, b / spread
        for k in range(n):
            dr, dc = at_row[k] - row, at_col[k] - col
            yr, yc = by_row[k] - down - a * dr - b * dc, by_col[k] - right - a * dc + b * dr
            left[k] = np.sqrt(yr * yr + yc * yc) * sure[k]
        if turn <= _ROUNDS:
            scatter = np.median(left) / _MEDIAN * np.sqrt(n / max(n - 2.0, 0.5))
            scatter = max(scatter, 1.0) if is_known else scatter
        if turn == 2 * _ROUNDS:
            break
        each = 1.0 / scatter if scatter > 0 else 0.0
        for k in range(n):
            far = left[k] * each
            if turn < _ROUNDS:
                weight[k] = _HUBER / max(far, _HUBER)
            else:
                weight[k] = max(0.0, 1.0 - (far / _TUKEY) ** 2) ** 2
    # Huber's covariance of an M-estimate, for lengths in two dimensions.
    slope = factor = mass = spread = 0.0
    for k in range(n):
        far = left[k] / scatter if scatter > 0 else 0.0
        if far < _TUKEY:
            slope += weight[k] - 2.0 * (far / _TUKEY) ** 2 * np.sqrt(weight[k])
        factor += (weight[k] * left[k]) ** 2
        mass += sure[k] * sure[k]
        spread += ((at_row[k] - row) ** 2 + (at_col[k] - col) ** 2) * sure[k] * sure[k]
    factor /= (2.0 * n - 4.0) * max(slope / n, 0.2) ** 2
    factor = max(factor, 1.0) if is_known else factor
    # The spread is one in pixels squared.
    if not (spread > 1e-6 * mass and np.isfinite(a + b + factor)):
        return
    told[0] = down + a * (about[0] - row) + b * (about[1] - col)
    told[1] = right + a * (about[1] - col) - b * (about[0] - row)
    told[2], told[3], told[4], told[5] = a, b, row, col
    told[6], told[7] = factor / mass, factor / spread
