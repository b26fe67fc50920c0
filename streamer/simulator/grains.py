"""The grains of a cathode particle, and the Bragg spots they give as the cell is cycled.

Each spot is one reflection of one grain. As the cell charges, the lattice shrinks and the spot
moves outwards by Bragg's law; in the two-phase region a child of it, the same reflection of the
delithiated phase, rises several pixels farther out while the spot itself fades. Grains rotate a
little, strain broadens the spots while the two phases push against one another, and each grain
runs slightly ahead of the cell or lags behind it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

from streamer.errors import UserError
from streamer.simulator.cell import CellState, lattice, phase_fraction
from streamer.simulator.panel import Geometry, module_gaps

__all__ = ["Grains"]

Floats = NDArray[np.float64]

_REFLECTIONS = np.array([(2, 2, 0), (3, 1, 1), (4, 0, 0), (3, 3, 1), (5, 1, 1), (4, 4, 0)])
_SEPARATION = 17.0
"""Pixels between the paths of two spots; wander takes up to 0.85 of them."""
_MARGIN = 9.0
"""Pixels between most paths and the gaps and edges: a patch around the spot is then whole."""
_ATTEMPTS = 20_000
"""Places tried before the frame counts as full."""


class Grains(NamedTuple):
    """What stays the same about each spot: arrays of one value per spot."""

    spacing: Floats
    """Of the lattice planes, as a share of the lattice parameter."""
    azimuth: Floats
    """Direction from the beam, in radians from the column axis towards growing rows."""
    amplitude: Floats
    """Counts at the centre, above background, when all is of one phase."""
    child_ratio: Floats
    """Amplitude of the delithiated phase to that of the lithiated one."""
    sigma_major: Floats
    sigma_minor: Floats
    """Widths in pixels without strain."""
    angle: Floats
    """Of the major axis to the column axis, in radians, towards growing rows."""
    eta: Floats
    """Lorentzian share of the profile."""
    lead: Floats
    """How far the grain runs ahead of the cell, in state of charge, when half charged."""
    turns: Floats
    """(6, spots), oscillations per cycle of the grain's rotation."""
    starts: Floats
    """(6, spots), where in an oscillation the cycle starts."""

    @classmethod
    def make(cls, geometry: Geometry, n_spots: int, rng: np.random.Generator) -> Grains:
        """Draw grains whose spots stay apart from one another.

        Most spots also stay away from gaps and edges; up to three come near one.

        Raises
        ------
        UserError
            So many spots do not fit on the detector.
        """
        spacing, azimuth = _place(geometry, n_spots, rng)
        amplitude = 250.0 * 18.0 ** rng.permutation((np.arange(n_spots) + 0.5) / n_spots)
        sigma_major = rng.uniform(1.1, 2.1, n_spots)
        lorentzian = rng.integers(0, 2, n_spots).astype(np.float64)
        return cls(
            spacing=spacing,
            azimuth=azimuth,
            amplitude=amplitude,
            child_ratio=rng.uniform(0.7, 1.0, n_spots),
            sigma_major=sigma_major,
            sigma_minor=np.maximum(sigma_major * rng.uniform(0.65, 1.0, n_spots), 0.9),
            angle=azimuth + rng.normal(0.0, 0.5, n_spots),
            # Strong spots are nearly Gaussian, so that outskirts end before the next spot.
            eta=lorentzian * np.minimum(rng.uniform(0.15, 0.5, n_spots), 200.0 / amplitude),
            lead=rng.normal(0.0, 0.012, n_spots),
            turns=rng.uniform(0.5, 2.5, (6, n_spots)),
            starts=rng.uniform(0.0, 1.0, (6, n_spots)),
        )

    def spots(self, cycles: Floats, cell: CellState, geometry: Geometry) -> Floats:
        """Return all spots at some moments.

        Parameters
        ----------
        cycles
            (n,), the moments in cycles.
        cell
            State of the cell at these moments.
        geometry
            Of the detector.

        Returns
        -------
        spots
            (n, 2 * spots, 7): for the spots of the lithiated phase and then, in the same order,
            their children: row, column, amplitude, sigma_major, sigma_minor, angle, eta.
        """
        soc = cell.soc[:, None]
        # The lead vanishes at both ends: a cycle returns every grain to where it was.
        soc = np.clip(soc + 4.0 * self.lead * soc * (1.0 - soc), 0.0, 1.0)
        polarisation = cell.polarisation[:, None]
        delithiated = phase_fraction(soc, polarisation)
        waves = np.sin(2.0 * math.pi * (self.turns * cycles[:, None, None] + self.starts))
        wander = 0.2 * waves[:, 0:2] + 0.1 * waves[:, 2:4]
        amplitude = self.amplitude * (1.0 + 0.1 * waves[:, 4] + 0.05 * waves[:, 5])
        strain = 1.0 + 0.7 * delithiated * (1.0 - delithiated)
        phases = []
        for a, share in zip(
            lattice(soc, polarisation),
            (1.0 - delithiated, self.child_ratio * delithiated),
            strict=True,
        ):
            radius = geometry.radius(a * self.spacing)
            row, col = _polar(geometry, radius, self.azimuth)
            columns = (
                row + wander[:, 0],
                col + wander[:, 1],
                amplitude * share,
                self.sigma_major * strain,
                self.sigma_minor * strain,
                self.angle,
                self.eta,
            )
            phases.append(np.stack(np.broadcast_arrays(*columns), axis=-1))
        return np.concatenate(phases, axis=1)


def _polar(geometry: Geometry, radius: Floats, azimuth: Floats) -> tuple[Floats, Floats]:
    row, col = geometry.beam
    return row + radius * np.sin(azimuth), col + radius * np.cos(azimuth)


def _place(geometry: Geometry, n_spots: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw plane spacings and azimuths, spot by spot, keeping those that fit with the others."""
    rows, cols = geometry.shape
    # Distance of each pixel, framed by the first one outside, to the nearest gap or edge.
    room = distance_transform_edt(np.pad(~module_gaps(geometry.shape), 1))
    spacings = 1.0 / np.sqrt((_REFLECTIONS**2).sum(axis=1))
    n_near = min(3, n_spots // 8)
    paths = np.empty((0, 2))
    chosen: list[tuple[float, float]] = []
    # All that a spot and its child pass through, from one end of the charge to the other.
    charge = np.linspace(0.0, 1.0, 12)
    for _ in range(_ATTEMPTS):
        if len(chosen) == n_spots:
            break
        spacing, azimuth = rng.choice(spacings), rng.uniform(-math.pi, math.pi, 1)
        radius = geometry.radius(np.concatenate(lattice(charge, np.zeros(12))) * spacing)
        path = np.stack(_polar(geometry, radius, azimuth), axis=-1)
        pixels = np.rint(path).astype(int) + 1
        if (pixels < 1).any() or (pixels > (rows, cols)).any():
            continue
        nearest = room[pixels[:, 0], pixels[:, 1]].min()
        fits = 1.0 <= nearest <= 6.0 if len(chosen) < n_near else nearest >= _MARGIN
        if fits and (cdist(path, paths) >= _SEPARATION).all():
            chosen.append((float(spacing), float(azimuth[0])))
            paths = np.concatenate([paths, path])
    if len(chosen) < n_spots:
        raise UserError(
            f"simulate.spots={n_spots} do not fit on {rows} x {cols} pixels: "
            f"{len(chosen)} do; ask for fewer or for a larger detector"
        )
    spacing, azimuth = np.array(chosen).T
    return spacing, azimuth
