"""Whether standard deviations are honest on a recording itself, whose truth nobody knows.

Each photon of a patch is dealt to one of two halves by the toss of a coin. Of Poisson counts the
halves are independent Poisson counts of the same peak at half its height, so a method's two answers
differ by nothing but what its standard deviations tell of: their distance over the root of the sum
of both variances scatters with standard deviation 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.frames.flags import NEIGHBOUR
from workers.place.base import PositionMethod, Positions

__all__ = ["Halves", "HalvesFindings", "deal", "halves_of"]

_PHOTONS = 10.0
"""Fewest photons that must be in a patch on average for its halves to tell anything."""
_LEAST = 30
"""Fewest peaks of which a pull is told."""


@dataclass(frozen=True, slots=True)
class HalvesFindings:
    """How far apart a method places the two halves of peaks."""

    method: str
    population: str
    """``unflagged`` or ``neighbour``."""
    n: int
    pull: float
    """Standard deviation of (one - other) / hypot(sigma of one, sigma of other), both axes
    together; 1 when sigma is what it says, NaN of too few peaks."""
    within: float
    """Share within 1.96; 0.95 when sigma is what it says."""
    beyond: float
    """Share beyond 5."""


Halves = tuple[NDArray[np.float32], NDArray[np.float32]]


def deal(
    counts: NDArray[np.float32],
    valid: NDArray[np.bool_],
    gain: float,
    rng: np.random.Generator,
) -> Halves | str:
    """Deal the photons of patches into halves, or say why that cannot be.

    Parameters
    ----------
    counts, valid
        (n, size, size), the patches and which of their pixels count.
    gain
        Counts per photon.
    """
    photons = np.where(valid & np.isfinite(counts), counts, 0.0) / (gain or math.nan)
    whole = np.rint(photons)
    if not (np.abs(photons - whole).max(initial=0.0) < 1e-3 and whole.min(initial=0.0) >= 0.0):
        return "its counts are not photons: they are not whole, or below 0"
    if whole.sum() < _PHOTONS * len(counts):
        return "it has too few photons"
    one = rng.binomial(whole.astype(np.int64), 0.5)
    return (one * gain).astype(np.float32), ((whole - one) * gain).astype(np.float32)


def halves_of(
    method: PositionMethod,
    halves: Halves,
    valid: NDArray[np.bool_],
) -> list[HalvesFindings]:
    """Return how a method agrees with itself on the halves of peaks.

    Parameters
    ----------
    halves
        What `deal` returned.
    valid
        (n, size, size), which pixels count.
    """
    one, other = (method.place(half, valid) for half in halves)
    pulls = np.stack([_pulls(one, other, axis) for axis in ("row", "col")], axis=1)
    flags = one.flags | other.flags
    populations = {"unflagged": flags == 0, "neighbour": flags == NEIGHBOUR}
    return [
        _findings(method.name, name, pulls[members & np.isfinite(pulls).all(axis=1)])
        for name, members in populations.items()
    ]


def _pulls(one: Positions, other: Positions, axis: str) -> NDArray[np.float64]:
    name = f"{axis}_sigma"
    apart = getattr(one, axis) - getattr(other, axis)
    pulls: NDArray[np.float64] = apart / np.hypot(getattr(one, name), getattr(other, name))
    return pulls


def _findings(method: str, population: str, pulls: NDArray[np.float64]) -> HalvesFindings:
    n = len(pulls)
    if n < _LEAST:
        return HalvesFindings(method, population, n, math.nan, math.nan, math.nan)
    far = np.abs(pulls)
    return HalvesFindings(
        method,
        population,
        n,
        float(np.sqrt(np.mean(pulls**2))),
        float(np.mean(far <= 1.96)),
        float(np.mean(far > 5.0)),
    )
