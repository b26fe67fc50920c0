"""Where a fit begins: what the moments of the counts say of a peak."""

from __future__ import annotations

import math

from numba import njit

from workers.place.fit.elementary import FAST, exponential
from workers.place.fit.likelihood import LANES, Lanes, Workspace, n_blocks

__all__ = ["begin", "begin_at"]

_WINDOW2 = 4.0
"""Squared width in pixels of the window in which moments are taken."""
_FURTHEST = 1.5
"""Distance in pixels from the middle, along each axis, beyond which moments put no peak."""
_FLATTEST, _SHARPEST = 0.1, 2.5
"""Limits of the precision along the axes: widths of 3.2 and 0.6 px."""
_ROUND = 0.44
"""Precision where moments tell none: 1.5 px."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def begin(work: Workspace, m: int, level: float, gain: float, variance: float) -> None:
    """Write a Gaussian to `best` whose place and shape are from the moments about the middle.

    Parameters
    ----------
    level
        The background, such as the border's level; what is lowest where it is NaN.
    """
    if not math.isfinite(level):
        level = work.lanes.counts.reshape(-1)[:m].min() if m > 0 else 0.0
    lanes = work.lanes
    total, down, right, square = 0.0, 0.0, 0.0, 0.0
    for block in range(n_blocks(m)):
        _weigh(lanes, block, level, 0.0, 0.0)
        rows, cols, weights = lanes.rows[block], lanes.cols[block], lanes.weights[block]
        for k in range(LANES):
            total += weights[k]
            down += weights[k] * rows[k]
            right += weights[k] * cols[k]
            square += 0.5 * weights[k] * (rows[k] * rows[k] + cols[k] * cols[k])
    row, col = 0.0, 0.0
    if total > 0.0:
        # The product of two Gaussians, peak and window, is narrower and nearer to the middle.
        seen = square / total - 0.5 * (down * down + right * right) / total**2
        width2 = seen / (1.0 - seen / _WINDOW2) if seen < 0.6 * _WINDOW2 else 6.0
        back = (1.0 + min(max(width2, 0.8), 6.0) / _WINDOW2) / total
        row = min(max(back * down, -_FURTHEST), _FURTHEST)
        col = min(max(back * right, -_FURTHEST), _FURTHEST)
    begin_at(work, m, level, row, col, gain, variance)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def begin_at(
    work: Workspace, m: int, level: float, row: float, col: float, gain: float, variance: float
) -> None:
    """Write a Gaussian at a place to `best` whose shape is from the moments about that place."""
    if not math.isfinite(level):
        level = work.lanes.counts.reshape(-1)[:m].min() if m > 0 else 0.0
    lanes = work.lanes
    total, down, right, rr, rc, cc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for block in range(n_blocks(m)):
        _weigh(lanes, block, level, row, col)
        rows, cols, weights = lanes.rows[block], lanes.cols[block], lanes.weights[block]
        for k in range(LANES):
            dy, dx = rows[k] - row, cols[k] - col
            total += weights[k]
            down += weights[k] * dy
            right += weights[k] * dx
            rr += weights[k] * dy * dy
            rc += weights[k] * dy * dx
            cc += weights[k] * dx * dx
    a, b, c, amplitude = _ROUND, 0.0, _ROUND, 0.0
    if total > 0.0:
        down, right = down / total, right / total
        rr, rc, cc = rr / total - down * down, rc / total - down * right, cc / total - right * right
        det = rr * cc - rc * rc
        if det > 0.0 and rr > 0.0:
            # Precisions of peak and window add up.
            a, b, c = rr / det - 1.0 / _WINDOW2, -rc / det, cc / det - 1.0 / _WINDOW2
        mean, root = 0.5 * (a + c), math.hypot(0.5 * (a - c), b)
        high = min(max(mean + root, _FLATTEST), _SHARPEST)
        low = min(max(mean - root, _FLATTEST), _SHARPEST)
        stretch = 0.5 * (high - low) / root if root > 0.0 else 0.0
        half, mean = 0.5 * stretch * (a - c), 0.5 * (high + low)
        a, b, c = mean + half, stretch * b, mean - half
        both = (a + 1.0 / _WINDOW2) * (c + 1.0 / _WINDOW2) - b * b
        amplitude = total * math.sqrt(both) / (2.0 * math.pi)
    best = work.best
    error = math.sqrt(gain * max(level, 0.1 * gain) + variance)
    best[0], best[1], best[2] = max(amplitude, error), row, col
    best[3], best[4], best[5], best[6] = a, b, c, level


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _weigh(lanes: Lanes, block: int, level: float, row: float, col: float) -> None:
    """Write what a block has above a level, in a window about a place, to `weights`."""
    rows, cols, counts = lanes.rows[block], lanes.cols[block], lanes.counts[block]
    weights, live = lanes.weights[block], lanes.live[block]
    for k in range(LANES):
        dy, dx = rows[k] - row, cols[k] - col
        share = live[k] * exponential(-0.5 / _WINDOW2 * (dy * dy + dx * dx))
        weights[k] = share * (counts[k] - level)
