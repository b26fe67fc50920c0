"""Curves of any length, thinned to what a plot can show while they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Thinning", "thinned"]

Floats = NDArray[np.float64]

_EMPTY = np.empty(0)


@dataclass(frozen=True, slots=True)
class Curve:
    """A track's drift; each array (n,)."""

    x: Floats
    """Unix time in seconds, or number of the frame."""
    y: NDArray[np.float32]
    sigma: NDArray[np.float32]
    """Standard deviation of `y` alone, without that of the reference, which is common to all; NaN
    where not known."""


class Thinning:
    """Averages what is added over stretches of `x` of the same length, at most `points` of them.

    Values weigh as much as the inverse of their variances, where these are known. As long as there
    are no more than `points` they stay as they are. The length is a power of two, and stretches
    begin at its multiples: what is added at the end changes the last point alone, until all
    stretches become twice as long. What is held does not grow beyond a few times `points`.

    Parameters
    ----------
    points
        Most points of the curve.
    """

    def __init__(self, points: int) -> None:
        self._points = points
        self._plain: tuple[Floats, Floats, Floats] | None = (_EMPTY, _EMPTY, _EMPTY)
        self._length = 0.0
        self._low, self._high = math.inf, -math.inf
        self._number = _EMPTY
        """Where stretches begin, in lengths."""
        self._sums = np.empty((6, 0))
        """Of weights, and of `x` from the beginning of the stretch on and of `y` times these; and
        the same with all weights 1."""

    def add(self, x: Floats, y: Floats, sigma: Floats) -> None:
        """Take values with their standard deviations; each array (n,), NaN where not known."""
        if not len(x):
            return
        self._low, self._high = min(self._low, float(x.min())), max(self._high, float(x.max()))
        if self._plain is not None:
            news = zip(self._plain, (x, y, sigma), strict=True)
            x, y, sigma = (np.concatenate(both) for both in news)
            if len(x) <= self._points:
                self._plain = x, y, sigma
                return
            self._plain, self._length = None, self._shortest()
        while self._length < self._shortest():
            self._double()
        self._join(*_summed(x, y, sigma, self._length))
        while len(self._number) > self._points:
            self._double()

    def curve(self) -> Curve:
        """Return what was added."""
        if self._plain is not None:
            x, y, sigma = self._plain
            return Curve(x, y.astype(np.float32), sigma.astype(np.float32))
        # Where no variance is known all weigh the same, and that of their mean is not known either.
        unknown = self._sums[0] == 0.0
        weight, dx, y = np.where(unknown, self._sums[3:], self._sums[:3])
        sigma = np.where(unknown, math.nan, 1.0 / np.sqrt(weight))
        x = self._number * self._length + dx / weight
        return Curve(x, (y / weight).astype(np.float32), sigma.astype(np.float32))

    def _shortest(self) -> float:
        """Return the length of a stretch that cannot be too long."""
        span = self._high - self._low
        return 2.0 ** math.floor(math.log2(span / self._points)) if span > 0 else 1.0

    def _double(self) -> None:
        """Make two stretches one."""
        number, sums = np.floor(self._number / 2.0), self._sums
        shift = (self._number - 2.0 * number) * self._length
        sums[1] += shift * sums[0]
        sums[4] += shift * sums[3]
        self._number, self._sums = _EMPTY, sums[:, :0]
        self._length *= 2.0
        self._join(number, sums)

    def _join(self, number: Floats, sums: Floats) -> None:
        """Add sums to those of the same stretches."""
        number = np.concatenate([self._number, number])
        sums = np.concatenate([self._sums, sums], axis=1)
        if (number[1:] <= number[:-1]).any():
            order = np.argsort(number, kind="stable")
            number, sums = number[order], sums[:, order]
            starts = _starts(number)
            number, sums = number[starts], np.add.reduceat(sums, starts, axis=1)
        self._number, self._sums = number, sums


def thinned(x: Floats, y: Floats, sigma: Floats, points: int) -> Curve:
    """Return values, (n,) each, averaged by `Thinning` to at most `points`."""
    thinning = Thinning(points)
    thinning.add(x, y, sigma)
    return thinning.curve()


def _summed(x: Floats, y: Floats, sigma: Floats, length: float) -> tuple[Floats, Floats]:
    """Return the stretches in which values fall one after the other, and their sums."""
    number = np.floor(x / length)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(sigma > 0, 1.0 / sigma**2, 0.0)  # NaN is not above 0
    dx = x - number * length  # times are large and differ little
    terms = np.stack([weight, weight * dx, weight * y, np.ones_like(x), dx, y])
    starts = _starts(number)
    return number[starts], np.add.reduceat(terms, starts, axis=1)


def _starts(number: Floats) -> NDArray[np.intp]:
    return np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
