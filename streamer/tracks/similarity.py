"""Shift, rotation and scale that take the spots of a frame from one place to another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.results.schema import MOTION, Columns

__all__ = ["FEWEST", "Similarity", "fit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
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

    def undone(self, where: Floats, frame: Places) -> Floats:
        """Return places of the spots of frames as they were before it, (m, 2)."""
        cosine, sine = 1.0 + self.turn[frame, 0], self.turn[frame, 1]
        dr, dc = (where - self.about - self.shift[frame]).T
        size = cosine**2 + sine**2
        turned = np.stack([cosine * dr - sine * dc, sine * dr + cosine * dc], axis=1)
        return np.asarray(self.about + turned / size[:, None])

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
    known = np.isfinite(sigma) & (sigma > 0)
    is_known = np.bincount(frame, known, n) > 0
    counted = known | ~is_known[frame]
    places, now, frame = places[counted], now[counted], frame[counted]
    sigma = np.where(known, sigma, 1.0)[counted]

    def total(values: Floats) -> Floats:
        return np.bincount(frame, values, n).astype(np.float64)

    count = np.bincount(frame, minlength=n)
    base = 1.0 / sigma**2
    moved = now - places
    weight = np.ones(len(sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        for turn in range(2 * _ROUNDS + 1):
            w = base * weight
            mass = total(w)
            middle = np.stack([total(w * x) / mass for x in places.T], axis=1)
            mean = np.stack([total(w * x) / mass for x in moved.T], axis=1)
            (dr, dc), (yr, yc) = (places - middle[frame]).T, (moved - mean[frame]).T
            spread = total(w * (dr**2 + dc**2))
            a, b = total(w * (dr * yr + dc * yc)) / spread, total(w * (dc * yr - dr * yc)) / spread
            left = np.hypot(yr - a[frame] * dr - b[frame] * dc, yc - a[frame] * dc + b[frame] * dr)
            if turn <= _ROUNDS:
                scatter = _median(left / sigma, frame, count) / _MEDIAN
                scatter *= np.sqrt(count / np.maximum(count - 2.0, 0.5))
                scatter = np.where(is_known, np.maximum(scatter, 1.0), scatter)
            far = np.where(scatter[frame] > 0, left / sigma / scatter[frame], 0.0)
            if turn < _ROUNDS:
                weight = np.minimum(1.0, _HUBER / np.maximum(far, _HUBER))
            elif turn < 2 * _ROUNDS:
                weight = np.maximum(0.0, 1.0 - (far / _TUKEY) ** 2) ** 2
        # Huber's covariance of an M-estimate, for lengths in two dimensions.
        bend = np.where(far < _TUKEY, weight - 2.0 * (far / _TUKEY) ** 2 * np.sqrt(weight), 0.0)
        slope = np.maximum(total(bend) / count, 0.2)
        factor = total((weight * left / sigma) ** 2) / (2.0 * count - 4.0) / slope**2
        factor = np.where(is_known, np.maximum(factor, 1.0), factor)
        mass, spread = total(base), total(base * ((places - middle[frame]) ** 2).sum(axis=1))
        apart = spread > 1e-6 * mass  # in pixels squared
        told = (count >= FEWEST) & apart & np.isfinite(a + b + factor)
        turn_of = np.stack([a, b], axis=1)
        lever = about - middle
        shift = mean + np.stack(
            [a * lever[:, 0] + b * lever[:, 1], a * lever[:, 1] - b * lever[:, 0]], axis=1
        )
        variance = factor[:, None] / np.stack([mass, spread], axis=1)
    shift[~told] = turn_of[~told] = variance[~told] = np.nan
    return Similarity(about, shift, turn_of, middle, variance)


def _median(values: Floats, frame: Places, count: Ints) -> Floats:
    """Return the median of the values of each frame, given how many these are."""
    if not len(values):
        return np.full(len(count), np.nan)
    ordered = values[np.lexsort((values, frame))]
    first = np.cumsum(count) - count
    middle = [np.minimum(first + (count - less) // 2, len(values) - 1) for less in (1, 0)]
    return np.asarray(0.5 * (ordered[middle[0]] + ordered[middle[1]]))
