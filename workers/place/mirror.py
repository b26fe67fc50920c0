"""Pixels that are not seen or not to be believed, and what they would show by those opposite."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["leave_lone_out", "mirror"]

_ALIKE = 0.1
"""Share of the height of a pixel that one of those around it must have, and the other way round.
Where the sharpest spot that a pixel detector sees is centred on a pixel, it is 0.14."""
_SURE = 5.0
"""Standard deviations by which it must differ from them."""
_NEIGHBOURS = 5
"""Least number of usable pixels around one that is judged."""


@njit(cache=True, nogil=True)
def leave_lone_out(
    counts: NDArray[np.float64],
    variance: NDArray[np.float64],
    usable: NDArray[np.bool_],
    least: float,
) -> None:
    """Clear `usable` of hot and dead pixels: those far above or below all around them.

    Parameters
    ----------
    counts
        (size, size), above the background.
    least
        Variance of a pixel that shows the background.
    """
    size = counts.shape[0]
    seen = usable.copy()
    for i in range(size):
        for j in range(size):
            if not seen[i, j]:
                continue
            n, lowest, highest, noise = 0, math.inf, 0.0, 0.0
            for r in range(max(i - 1, 0), min(i + 2, size)):
                for c in range(max(j - 1, 0), min(j + 2, size)):
                    if seen[r, c] and not (r == i and c == j):
                        n += 1
                        highest = max(highest, counts[r, c])
                        if counts[r, c] < lowest:
                            lowest, noise = counts[r, c], variance[r, c]
            own = counts[i, j]
            is_hot = highest < _ALIKE * own and own > _SURE * math.sqrt(max(variance[i, j], least))
            is_dead = (
                lowest > 0.0
                and own < _ALIKE * lowest
                and lowest - own > _SURE * math.sqrt(max(noise, least))
            )
            usable[i, j] = n < _NEIGHBOURS or not (is_hot or is_dead)


@njit(cache=True, nogil=True)
def mirror(
    counts: NDArray[np.float64],
    variance: NDArray[np.float64],
    usable: NDArray[np.bool_],
    twice_row: int,
    twice_col: int,
    error: NDArray[np.float64],
) -> None:
    """Fill pixels that are not usable with the counts and variances of those opposite.

    Parameters
    ----------
    counts
        (size, size), above the background.
    twice_row, twice_col
        Twice the offset of the spot's centre from the middle pixel.
    error
        (size, size), becomes by how much a filled pixel may be wrong, in counts: the share of
        those around it by which the spot differs from itself turned by half a turn; infinite where
        the one opposite is not usable either.
    """
    size = counts.shape[0]
    unlike = alike = doubt = 0.0
    for i in range(size):
        for j in range(size):
            r, c = size - 1 + twice_row - i, size - 1 + twice_col - j
            if 0 <= r < size and 0 <= c < size and usable[i, j] and usable[r, c]:
                noise = variance[i, j] + variance[r, c]
                unlike += (counts[i, j] - counts[r, c]) ** 2 - noise
                alike += (counts[i, j] + counts[r, c]) ** 2 - noise
                doubt += 2.0 * noise**2
    unlike += math.sqrt(2.0 * doubt)  # each pair was met twice
    share = min(1.0, math.sqrt(max(0.0, unlike) / alike)) if alike > 0.0 else 1.0
    for i in range(size):
        for j in range(size):
            error[i, j] = 0.0
            if not usable[i, j]:
                r, c = size - 1 + twice_row - i, size - 1 + twice_col - j
                if 0 <= r < size and 0 <= c < size and usable[r, c]:
                    counts[i, j], variance[i, j] = counts[r, c], variance[r, c]
                    error[i, j] = 2.0 * share * _highest(counts, usable, r, c)
                else:
                    counts[i, j] = variance[i, j] = 0.0
                    error[i, j] = math.inf


@njit(cache=True, nogil=True)
def _highest(counts: NDArray[np.float64], usable: NDArray[np.bool_], row: int, col: int) -> float:
    """Return the most counts, above or below the background, of a pixel and those around it."""
    size = counts.shape[0]
    highest = 0.0
    for i in range(max(row - 1, 0), min(row + 2, size)):
        for j in range(max(col - 1, 0), min(col + 2, size)):
            if usable[i, j]:
                highest = max(highest, abs(counts[i, j]))
    return highest
