"""Which currents are none: what an instrument measures while the cell rests."""

from __future__ import annotations

import numpy as np

from streamer.cell.base import Floats

__all__ = ["rest_below"]

_SMALL = 0.01
"""Rest is looked for below this share of the largest current: C/50 may stand beside 5C."""
_ACCURACY = 1.2e-3
"""What an instrument may show at rest, as a share of the largest current that it drives."""
_FINEST = 1e-6
_GAP = 2.5
"""Ratio between neighbouring currents that parts those of a rest from others."""
_NOISY = 0.1
"""Currents above this share of the largest are no noise."""
_FEWEST = 5
_NOISE_REACH = 2.0
"""Largest noise, in units of what 90 % of it stay below; 3.3 sigma where it is normal."""


def rest_below(current: Floats) -> float:
    """Return the size of a current below which the cell rests.

    An offset and the noise of an instrument are small and apart from the smallest current that is
    driven: of the gaps between the sizes of the currents the uppermost below which an instrument's
    accuracy lies is taken. Noise that is larger shows by its sign, which changes from one reading
    to the next and back.

    Parameters
    ----------
    current
        (n,) in A, 0 where not known.
    """
    size = np.abs(current)
    largest = float(size.max(initial=0.0))
    if not largest:
        return 0.0
    return max(_gap_below(size, largest), _noise(current, size, largest))


def _gap_below(size: Floats, largest: float) -> float:
    """Return the middle of the uppermost gap that ends where an instrument's offset may lie."""
    small = np.unique(np.maximum(size[size < _SMALL * largest], _FINEST * largest))
    levels = np.concatenate([[_FINEST * largest], small, [_SMALL * largest]])
    lower, upper = levels[:-1], levels[1:]
    gaps = np.flatnonzero((upper > _GAP * lower) & (lower <= _ACCURACY * largest))
    if not len(gaps):
        return _ACCURACY * largest
    return float(np.sqrt(lower[gaps[-1]] * upper[gaps[-1]]))


def _noise(current: Floats, size: Floats, largest: float) -> float:
    """Return how large noise around zero gets; 0 where there is none."""
    sign = np.sign(current)
    alone = (sign[1:-1] * sign[:-2] < 0) & (sign[1:-1] * sign[2:] < 0)
    noise = size[1:-1][alone & (size[1:-1] < _NOISY * largest)]
    if len(noise) < _FEWEST:
        return 0.0
    return min(_NOISE_REACH * float(np.quantile(noise, 0.9)), _NOISY * largest)
