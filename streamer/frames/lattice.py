"""The lattice of a crystal: which spacings it has, and what spacings say of its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError

if TYPE_CHECKING:
    from streamer.config import LatticeConfig

__all__ = ["PARAMETERS", "Indexed", "Lattice"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
_MOST_INDICES = 50_000
"""Triples of indices that are looked at."""
_SAME = 1e-9
"""Relative difference of spacings that are the same."""


class Indexed(NamedTuple):
    """The lattice planes that spacings are of; arrays of their shape."""

    hkl: Ints
    """(n, 3), 0 0 0 where they cannot be told."""
    terms: Floats
    """(n, p), so that 1/d^2 is the sum of these times the free terms of the metric; NaN where not
    even that can be told."""
    is_ambiguous: NDArray[np.bool_]
    """True where planes are near enough, and more than one kind of them."""


@dataclass(frozen=True)
class Lattice:
    """A unit cell and its centring.

    What its parameters leave free follows from them: a cell with three equal edges and right angles
    is taken to be cubic, and to stay so.
    """

    cell: tuple[float, float, float, float, float, float]
    """Edges in angstroms, angles in degrees."""
    centring: str = "P"
    tolerance: float = 0.01
    """Greatest relative difference of a spacing from that of the planes it is taken for."""

    @classmethod
    def from_config(cls, config: LatticeConfig) -> Lattice | None:
        """Return what a user gave; None when it was nothing.

        Raises
        ------
        UserError
            Something is missing, or no cell has such parameters.
        """
        if not config.model_dump(exclude_defaults=True):
            return None
        if config.a is None:
            raise UserError("give lattice.a too, the edge of the unit cell in angstroms")
        a, b, c = config.a, config.b or config.a, config.c or config.a
        alpha, beta, gamma = config.alpha, config.beta, config.gamma
        cosines = [math.cos(math.radians(angle)) for angle in (alpha, beta, gamma)]
        if 1.0 + 2.0 * math.prod(cosines) - sum(one**2 for one in cosines) <= 1e-9:
            raise UserError(f"lattice: no cell has the angles {alpha:g}, {beta:g} and {gamma:g}")
        lattice = cls((a, b, c, alpha, beta, gamma), config.centring, config.tolerance)
        if lattice.centring == "R" and lattice.system != "hexagonal":
            raise UserError(
                "lattice.centring R is for hexagonal axes (a = b, gamma = 120): give these, or P "
                "for rhombohedral ones"
            )
        return lattice

    @cached_property
    def system(self) -> str:
        """The name of its crystal system, as the parameters have it."""
        a, b, c, *angles = self.cell
        if a == b == c and angles == [90.0] * 3:
            return "cubic"
        if a == b and angles == [90.0] * 3:
            return "tetragonal"
        if a == b and angles == [90.0, 90.0, 120.0]:
            return "hexagonal"
        if a == b == c and angles[0] == angles[1] == angles[2]:
            return "rhombohedral"
        if angles == [90.0] * 3:
            return "orthorhombic"
        return "monoclinic" if angles[0] == angles[2] == 90.0 else "triclinic"

    @property
    def free(self) -> tuple[str, ...]:
        """The names of the parameters that its crystal system leaves free."""
        return {
            "cubic": ("a",),
            "tetragonal": ("a", "c"),
            "hexagonal": ("a", "c"),
            "rhombohedral": ("a", "alpha"),
            "orthorhombic": ("a", "b", "c"),
            "monoclinic": ("a", "b", "c", "beta"),
            "triclinic": PARAMETERS,
        }[self.system]

    @cached_property
    def metric(self) -> Floats:
        """(p, 3, 3), what the reciprocal metric is a sum of, times its free terms."""
        e = np.zeros((3, 3, 3, 3))
        for i in range(3):
            for j in range(3):
                e[i, j, i, j] += 0.5
                e[i, j, j, i] += 0.5
        square = [e[i, i] for i in range(3)]
        cross = [2.0 * e[0, 1], 2.0 * e[0, 2], 2.0 * e[1, 2]]
        forms = {
            "cubic": [sum(square)],
            "tetragonal": [square[0] + square[1], square[2]],
            "hexagonal": [square[0] + square[1] + e[0, 1], square[2]],
            "rhombohedral": [sum(square), sum(cross)],
            "orthorhombic": square,
            "monoclinic": [*square, cross[1]],
            "triclinic": [*square, *cross],
        }
        return np.stack([np.asarray(form) for form in forms[self.system]])

    def index(self, d: Floats) -> Indexed:
        """Tell the lattice planes of spacings in angstroms, (n,), one kind of them each or none.

        Planes that symmetry makes one are named by the greatest indices. Where planes that it does
        not make one have the same spacing, as (5 1 1) and (3 3 3) of a cubic lattice, the indices
        cannot be told and the terms can.

        Raises
        ------
        UserError
            The cell is too large for such small spacings.
        """
        hkl = np.zeros((len(d), 3), np.int64)
        terms = np.full((len(d), len(self.metric)), np.nan)
        ambiguous = np.zeros(len(d), np.bool_)
        known = np.isfinite(d) & (d > 0)
        if not known.any():
            return Indexed(hkl, terms, ambiguous)
        # Few smallest spacings are asked for, so that planes are often at hand.
        step = 2.0 ** (
            0.25 * np.floor(4.0 * np.log2(d[known].min() * (1.0 - 2.0 * self.tolerance)))
        )
        least = max(float(step), self._smallest)
        planes, spacing, kinds, forms = _planes(self, least)
        low, high = (
            np.searchsorted(spacing, d * factor)
            for factor in (1.0 - self.tolerance, 1.0 + self.tolerance)
        )
        many = d * (1.0 - self.tolerance) < least
        one = np.flatnonzero(known & ~many & (high - low == 1))
        ambiguous[known] = many[known] | ((high - low)[known] > 1)
        same = forms[low[one]] == 1
        terms[one[same]] = self.terms(planes[low[one[same]]])
        sole = kinds[low[one]] == 1
        hkl[one[sole]] = planes[low[one[sole]]]
        ambiguous[one[~sole]] = True
        return Indexed(hkl, terms, ambiguous)

    def largest(self, most: int) -> list[tuple[tuple[int, ...], float]]:
        """Return planes of the largest spacings, and these in angstroms, the largest first."""
        least = max(max(self.cell[:3]), self._smallest)
        while True:
            planes, spacing, _, _ = _planes(self, least)
            if len(spacing) >= most or least == self._smallest:
                order = range(len(spacing) - 1, max(len(spacing) - 1 - most, -1), -1)
                return [(tuple(planes[i].tolist()), float(spacing[i])) for i in order]
            least = max(least / 1.5, self._smallest)

    @property
    def _smallest(self) -> float:
        """The spacing down to which there are not too many planes."""
        return float((8.0 * math.prod(self.cell[:3]) / _MOST_INDICES) ** (1.0 / 3.0))

    def kind(self, hkl: list[int]) -> tuple[int, ...]:
        """Return what is the same for all planes that the symmetry of the lattice makes one."""
        h, k, l = hkl  # noqa: E741 - crystallography names it so
        size = tuple(map(abs, hkl))
        if self.system == "cubic":
            return tuple(sorted(size))
        if self.system == "tetragonal":
            return (*sorted(size[:2]), size[2])
        if self.system == "hexagonal":
            return (*sorted((*size[:2], abs(h + k))), size[2])
        if self.system == "orthorhombic":
            return size
        opposite = (-h, -k, -l)
        if self.system == "rhombohedral":
            return max(tuple(sorted(hkl)), tuple(sorted(opposite)))
        if self.system == "monoclinic":
            return (size[1], *max((h, l), (-h, -l)))
        return max(tuple(hkl), opposite)

    def terms(self, hkl: Ints) -> Floats:
        """Return (n, p), what 1/d^2 of planes is linear in."""
        return np.asarray(np.einsum("ni,pij,nj->np", hkl, self.metric, hkl, optimize=True))

    def parameters(self, free: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """Return edges in angstroms, angles in degrees and the volume, and their sigmas.

        Parameters
        ----------
        free
            (n, p), the free terms of the reciprocal metric.
        covariance
            (n, p, p), of these.

        Returns
        -------
        values, sigmas
            (n, 7) each; the sigma of what the crystal system fixes is 0.
        """
        reciprocal = np.einsum("np,pij->nij", free, self.metric)
        with np.errstate(invalid="ignore", divide="ignore"):
            g = np.linalg.inv(reciprocal)
            slope = -np.einsum("nij,pjk,nkl->npil", g, self.metric, g)
            edge = np.sqrt(np.einsum("nii->ni", g))
            edge_slope = np.einsum("npii->npi", slope) / (2.0 * edge[:, None])
            values, slopes = [*edge.T], [*np.moveaxis(edge_slope, 2, 0)]
            for i, j in ((1, 2), (0, 2), (0, 1)):
                both = edge[:, i] * edge[:, j]
                cosine = g[:, i, j] / both
                change = (
                    edge_slope[..., i] / edge[:, i, None] + edge_slope[..., j] / edge[:, j, None]
                )
                bend = slope[..., i, j] / both[:, None] - cosine[:, None] * change
                values.append(np.degrees(np.arccos(cosine)))
                slopes.append(-np.degrees(bend / np.sqrt(1.0 - cosine**2)[:, None]))
            volume = np.sqrt(np.linalg.det(g))
            values.append(volume)
            slopes.append(-0.5 * volume[:, None] * np.einsum("nij,pji->np", g, self.metric))
            jacobian = np.stack(slopes, axis=1)
            variance = np.einsum("nvp,npq,nvq->nv", jacobian, covariance, jacobian)
        return np.stack(values, axis=1), np.sqrt(np.maximum(variance, 0.0))


@lru_cache(maxsize=4)
def _planes(lattice: Lattice, least: float) -> tuple[Ints, Floats, Ints, Ints]:
    """Return planes of each spacing from `least` on, and the spacings, which grow.

    And of each, how many kinds of planes have it and how many different terms these have.
    """
    cell = gemmi.UnitCell(*lattice.cell)
    most = [math.floor(edge / least) for edge in lattice.cell[:3]]
    grid = np.meshgrid(*(np.arange(-one, one + 1) for one in most), indexing="ij")
    hkl = np.stack(grid, axis=-1).reshape(-1, 3).astype(np.int32)
    operations = gemmi.symops_from_hall(f"{lattice.centring} 1")
    seen = [any(one) and not operations.is_systematically_absent(one) for one in hkl.tolist()]
    hkl = hkl[seen]
    spacing = cell.calculate_d_array(hkl)
    # The greatest indices come last.
    order = np.lexsort((*hkl.T[::-1], np.round(np.log(spacing) / _SAME)))
    order = order[spacing[order] >= least]
    planes, spacing = hkl[order].astype(np.int64), spacing[order]
    starts = np.flatnonzero(np.diff(spacing, prepend=0.0) > _SAME * spacing)
    groups = np.split(np.arange(len(planes)), starts[1:]) if len(planes) else []
    kinds = [len({lattice.kind(one) for one in planes[rows].tolist()}) for rows in groups]
    terms = np.round(lattice.terms(planes)).astype(np.int64)
    forms = [len(np.unique(terms[rows], axis=0)) for rows in groups]
    last = [rows[-1] for rows in groups]
    return planes[last], spacing[last], np.array(kinds, np.int64), np.array(forms, np.int64)
