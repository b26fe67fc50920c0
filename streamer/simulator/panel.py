"""The detector panel: its place behind the sample, its module gaps and its faulty pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_DATA", "Geometry", "Panel", "module_gaps"]

NO_DATA = 65535
"""Value of a pixel between modules."""

_GAP, _DEAD, _NOISY = 1, 2, 16
"""Bits of the pixel mask as in NXmx."""
_N_HOT, _N_DEAD = 10, 20


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the detector stands: flat, perpendicular to the beam, which hits it off centre."""

    shape: tuple[int, int]
    """(rows, cols)."""
    wavelength: float = 0.6199
    """Of the beam, in angstroms: 20 keV."""
    pixel_size: float = 75e-6
    """Edge of a pixel in metres."""

    @property
    def beam(self) -> tuple[float, float]:
        """Row and column where the direct beam would hit."""
        rows, cols = self.shape
        return 0.93 * rows, 0.07 * cols

    @property
    def distance(self) -> float:
        """From the sample in metres: whatever the size, the same rings cross the detector."""
        return 2.3 * min(self.shape) * self.pixel_size

    def radius(self, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius in pixels of the ring of lattice planes `spacing` angstroms apart: Bragg's law."""
        two_theta = 2.0 * np.arcsin(self.wavelength / (2.0 * spacing))
        radius: NDArray[np.float64] = self.distance / self.pixel_size * np.tan(two_theta)
        return radius

    def background(self) -> NDArray[np.float32]:
        """(rows, cols), counts per pixel that do not come from spots.

        Air and electrolyte scattering falls off with the radius; the beam stop and the arm that
        holds it throw a shadow.
        """
        row, col = np.indices(self.shape)
        radii = np.hypot(row - self.beam[0], col - self.beam[1])
        scale = min(self.shape) / 512.0
        scattering = 3.0 + 11.0 / (1.0 + (radii / (95.0 * scale)) ** 2)
        scattering += 1.2 * np.exp(-(((radii - 240.0 * scale) / (70.0 * scale)) ** 2))
        arm = np.where(row > self.beam[0], np.abs(col - self.beam[1]) - 5.0 * scale, np.inf)
        inside = np.minimum(radii - 20.0 * scale, arm)
        shadow = 1.0 / (1.0 + np.exp(-inside / (1.5 * scale)))
        return np.asarray(scattering * (0.04 + 0.96 * shadow), np.float32)


def module_gaps(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(rows, cols), True between the four modules."""
    gaps = np.zeros(shape, bool)
    for axis, (share, width) in enumerate(((0.45, 12), (0.56, 8))):
        start = round(share * shape[axis])
        stop = start + math.ceil(width * shape[axis] / 512)
        np.moveaxis(gaps, axis, 0)[start:stop] = True
    return gaps


@dataclass(frozen=True, slots=True)
class Panel:
    """The pixels that do not count photons, and what they show instead."""

    mask_bits: NDArray[np.uint32]
    """(rows, cols), what the detector says: 0 for a good pixel, bit 0 gap, 1 dead, 4 noisy."""
    stuck: NDArray[np.intp]
    """Flat indices of the pixels that always show the same value."""
    values: NDArray[np.uint16]
    """Those values."""

    @classmethod
    def make(cls, allowed: NDArray[np.bool_], rng: np.random.Generator) -> Panel:
        """Draw hot pixels among those `allowed`, (rows, cols), and dead pixels anywhere.

        Half of the hot pixels are not in the mask, like those that turn hot during a beamtime.
        """
        gaps = module_gaps(allowed.shape)
        between = np.flatnonzero(gaps)
        dead = rng.choice(np.flatnonzero(~gaps), _N_DEAD, replace=False)
        candidates = np.setdiff1d(np.flatnonzero(allowed & ~gaps), dead)
        hot = rng.choice(candidates, min(_N_HOT, candidates.size), replace=False)
        bits = np.zeros(allowed.shape, np.uint32)
        bits[gaps] = _GAP
        bits.flat[dead] = _DEAD
        bits.flat[hot[::2]] = _NOISY
        values = np.concatenate(
            [
                np.full(between.size, NO_DATA),
                np.zeros(dead.size, np.intp),
                rng.integers(20_000, 60_000, hot.size),
            ]
        )
        return cls(bits, np.concatenate([between, dead, hot]), values.astype(np.uint16))

    def stamp(self, counts: NDArray[np.uint16]) -> None:
        """Put the values of the faulty pixels into `counts`, (rows, cols)."""
        counts.flat[self.stuck] = self.values
