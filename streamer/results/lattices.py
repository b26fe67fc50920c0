"""The lattice parameters of each phase on each frame, from the spacings of all reflections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, UNTRUSTED
from streamer.frames.lattice import PARAMETERS, Lattice
from streamer.results.schema import LATTICE

__all__ = ["LatticeFits"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDS = 30
_CONVERGED = 1e-3
"""Standard deviations of chi2 that are left to explain."""
_SINGULAR = 1e-9
"""Smallest eigenvalue of the normal equations, scaled, below which they tell nothing."""


class LatticeFits:
    """Weighted least squares of 1/d^2, which the reciprocal metric is linear in.

    Grains differ from one another by more than the errors of their spacings: each is charged a
    little differently, and turns. So spacings have, beside their own standard deviations, a common
    relative one, on each frame and for each phase as large as it takes for them to agree (J. Mandel
    and R. C. Paule, Anal. Chem. 42, 1194, 1970).

    Parameters
    ----------
    lattice
        Of which the planes are.
    tracks
        Table of tracks: the planes of a reflection are those of the spacing that it had first.
    """

    def __init__(self, lattice: Lattice, tracks: pa.Table) -> None:
        self._lattice = lattice
        first = tracks["track"].to_numpy() == tracks["reflection"].to_numpy()
        tracks = tracks.filter(pa.array(first)).sort_by("track")
        self._reflection = tracks["track"].to_numpy()
        self._terms = lattice.index(tracks["ref_d"].to_numpy()).terms

    def of(self, members: pa.Table) -> pa.Table:
        """Return the lattice parameters on whole frames, given rows of the table of reflections.

        There is no row where the spacings do not tell all that the crystal system leaves free.
        """
        members = members.filter(pa.array(self._used(members)))
        if not len(members):
            return LATTICE.empty_table()
        frame, phase, d, d_sigma = (
            members[name].to_numpy() for name in ("frame", "phase", "d", "d_sigma")
        )
        series = members["series"].combine_chunks().dictionary_encode().indices.to_numpy()
        terms = self._terms[self._place(members)]
        number = np.cumsum((np.diff(frame, prepend=-1) != 0) | (np.diff(series, prepend=-1) != 0))
        order = np.lexsort((phase, number))
        key = 2 * number[order] + phase[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1) != 0)
        columns, told = self._fit(terms[order], d[order], d_sigma[order], starts)
        rows = order[starts[told]]
        same = {name: members[name].take(pa.array(rows)) for name in ("series", "frame", "time_ns")}
        return pa.table(
            {name: (columns | same | {"phase": phase[rows]})[name] for name in LATTICE.names}
        ).cast(LATTICE)

    def _place(self, members: pa.Table) -> Ints:
        place = np.searchsorted(self._reflection, members["reflection"].to_numpy())
        return np.asarray(np.minimum(place, len(self._reflection) - 1), np.int64)

    def _used(self, members: pa.Table) -> NDArray[np.bool_]:
        if not len(self._reflection):
            return np.zeros(len(members), np.bool_)
        known = np.isfinite(self._terms[self._place(members)]).all(axis=1)
        known &= (members["flags"].to_numpy() & (POOR_FIT | UNTRUSTED)) == 0
        known &= (members["phase"].to_numpy() >= 0) & (members["d_sigma"].to_numpy() > 0)
        return np.asarray(known & np.isfinite(members["d_sigma"].to_numpy()))

    def _fit(
        self, terms: Floats, d: Floats, d_sigma: Floats, starts: NDArray[np.intp]
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
        """Fit groups of rows, which begin at `starts`; return columns, which have any."""
        p = terms.shape[1]
        n = np.diff(np.append(starts, len(d)))
        told = n >= p
        told[told] = self._is_told(terms, d, d_sigma, starts)[told]
        group = np.repeat(np.arange(len(starts)), n)
        keep = told[group]
        terms, d, d_sigma = terms[keep], d[keep], d_sigma[keep]
        n = n[told]
        starts = np.cumsum(n) - n
        group = np.repeat(np.arange(len(n)), n)
        y, own, common = d**-2.0, (2.0 * d_sigma / d**3) ** 2, (2.0 / d**2) ** 2
        scatter = np.zeros(len(n))
        first = np.zeros(0)
        for _ in range(_ROUNDS):
            weight = 1.0 / (own + common * scatter[group])
            free, covariance = _solved(terms, y, weight, starts)
            squares = weight * (y - (terms * free[group]).sum(axis=1)) ** 2
            chi2 = np.add.reduceat(squares, starts)
            first = first if len(first) else chi2
            over = chi2 - (n - p)
            if not (over > _CONVERGED * np.sqrt(2.0 * n)).any():
                break
            # Convex in the scatter: from below this never goes too far.
            slope = np.add.reduceat(squares * weight * common, starts)
            more = (over > 0) & (n > p)
            scatter[more] += over[more] / slope[more]
        values, sigmas = self._lattice.parameters(free, covariance)
        columns: dict[str, NDArray[Any]] = {}
        for i, name in enumerate((*PARAMETERS, "volume")):
            columns |= {name: values[:, i], f"{name}_sigma": sigmas[:, i]}
        columns |= {"scatter": np.sqrt(scatter), "chi2": first, "n_reflections": n}
        return columns, told

    def _is_told(
        self, terms: Floats, d: Floats, d_sigma: Floats, starts: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        normal = _normal(terms, (d**3 / d_sigma) ** 2, starts)
        size = np.sqrt(np.einsum("npp->np", normal))
        size = np.where(size > 0, size, np.inf)
        scaled = normal / (size[:, :, None] * size[:, None, :])
        return np.asarray(np.linalg.eigvalsh(scaled)[:, 0] > _SINGULAR)


def _normal(terms: Floats, weight: Floats, starts: NDArray[np.intp]) -> Floats:
    """Return the normal equations of groups of rows, (groups, p, p)."""
    products = terms[:, :, None] * terms[:, None, :] * weight[:, None, None]
    return np.asarray(np.add.reduceat(products, starts, axis=0))


def _solved(
    terms: Floats, y: Floats, weight: Floats, starts: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Return weighted least squares of groups of rows, (groups, p), and covariances."""
    covariance: Floats = np.linalg.inv(_normal(terms, weight, starts)).astype(np.float64)
    right = np.add.reduceat(terms * (y * weight)[:, None], starts, axis=0)
    return (covariance @ right[:, :, None])[..., 0], covariance
