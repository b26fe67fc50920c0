"""What each sighting of a track says of its drift, thinned to what a plot can show."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.geometry import Geometry

__all__ = [
    "QUANTITIES",
    "Curve",
    "Quantity",
    "Reference",
    "Sightings",
    "available",
    "displaced",
    "references",
    "thinned",
]

Floats = NDArray[np.float64]
Quantity = Literal["radial", "distance", "row", "col", "d", "strain"]
Reference = tuple[float, float, float]
"""Row, column and spacing that a track is compared with; NaN where not known."""

QUANTITIES: dict[Quantity, tuple[str, str]] = {
    "radial": ("Radial drift, away from the direct beam", "px"),
    "distance": ("Distance from the reference position", "px"),
    "row": ("Drift along the rows", "px"),
    "col": ("Drift along the columns", "px"),
    "d": ("Lattice spacing", "angstrom"),
    "strain": ("Lattice strain", "1"),
}
"""Label and unit."""

_REFERENCE = ("ref_row", "ref_col", "ref_d")


@dataclass(frozen=True, slots=True)
class Sightings:
    """The peaks of one track, in the order of its frames; each array (n,)."""

    row: Floats
    col: Floats
    row_sigma: Floats
    col_sigma: Floats
    d: Floats
    """Spacing in angstroms; NaN where not known."""
    d_sigma: Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """A track's drift; each array (n,)."""

    x: Floats
    """Unix time in seconds, or number of the frame."""
    y: NDArray[np.float32]
    sigma: NDArray[np.float32]
    """Standard deviation of `y` alone, without that of the reference, which is common to all; NaN
    where not known."""


def available(geometry: Geometry | None) -> list[Quantity]:
    """Return what drifts can be shown as."""
    if geometry is None:
        return ["distance", "row", "col"]
    spacing: list[Quantity] = [] if math.isnan(geometry.wavelength_a) else ["d"]
    return ["radial", "row", "col", *spacing, "strain"]


def references(tracks: pa.Table) -> dict[int, Reference]:
    """Return what each track is compared with."""
    if any(name not in tracks.column_names for name in ("track", *_REFERENCE)):
        return {}
    columns = [tracks[name].to_numpy().tolist() for name in _REFERENCE]
    return dict(zip(tracks["track"].to_pylist(), zip(*columns, strict=True), strict=True))


def displaced(
    seen: Sightings,
    reference: Reference | None,
    geometry: Geometry | None,
    quantity: Quantity,
    *,
    reference_frames: int = 10,
) -> tuple[Floats, Floats]:
    """Return how far a track stood from its reference at each sighting, and standard deviations.

    Parameters
    ----------
    reference
        None takes the first sightings.
    reference_frames
        How many of these.
    """
    row, col, d, d_sigma = seen.row, seen.col, seen.d, seen.d_sigma
    sigmas = (seen.row_sigma, seen.col_sigma)
    if quantity == "strain" and geometry is not None and not np.isfinite(d).any():
        # The wavelength cancels: any will do where it is not known.
        unit = geometry if geometry.wavelength_a > 0 else replace(geometry, wavelength_a=1.0)
        place = unit.locate(row, col, *sigmas)
        d, d_sigma = place.d, place.d_sigma
    first = slice(0, reference_frames)
    ref_row, ref_col, ref_d = reference or (math.nan,) * 3
    if math.isnan(ref_row + ref_col):
        ref_row, ref_col = _mean(row[first], sigmas[0][first]), _mean(col[first], sigmas[1][first])
    if math.isnan(ref_d):
        ref_d = _mean(d[first], d_sigma[first])
    if quantity == "row":
        return row - ref_row, sigmas[0]
    if quantity == "col":
        return col - ref_col, sigmas[1]
    if quantity == "d":
        return d, d_sigma
    if quantity == "strain":
        return d / ref_d - 1.0, d_sigma / ref_d
    return _along(row - ref_row, col - ref_col, sigmas, geometry, quantity, ref_row, ref_col)


def thinned(x: Floats, y: Floats, sigma: Floats, points: int) -> Curve:
    """Average over stretches of `x` of the same length, so that at most `points` are left."""
    if len(x) > points:
        begin, width = x.min(), (x.max() - x.min()) / points
        stretch = np.minimum((x - begin) / width, points - 1).astype(np.int64)
        starts = np.flatnonzero(np.diff(stretch, prepend=-1))
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(sigma > 0, 1.0 / sigma**2, 0.0)  # NaN is not above 0
        total = np.add.reduceat(weight, starts)
        # Where none is known all weigh the same, and that of their mean is not known either.
        unknown, lengths = total == 0.0, np.diff(starts, append=len(x))
        weight[np.repeat(unknown, lengths)] = 1.0
        total = np.where(unknown, lengths, total)
        # Times are large and differ little: their offsets are averaged.
        x = begin + np.add.reduceat(weight * (x - begin), starts) / total
        y = np.add.reduceat(weight * y, starts) / total
        sigma = np.where(unknown, math.nan, 1.0 / np.sqrt(total))
    return Curve(x, y.astype(np.float32), sigma.astype(np.float32))


def _along(
    row: Floats,
    col: Floats,
    sigmas: tuple[Floats, Floats],
    geometry: Geometry | None,
    quantity: Quantity,
    ref_row: float,
    ref_col: float,
) -> tuple[Floats, Floats]:
    if quantity == "radial" and geometry is not None:
        along_row, along_col = geometry.radial(ref_row, ref_col)
        y = row * along_row + col * along_col
        return y, np.hypot(along_row * sigmas[0], along_col * sigmas[1])
    y = np.hypot(row, col)
    with np.errstate(invalid="ignore", divide="ignore"):
        # At the reference itself the direction is none: the larger of both sigmas holds.
        sigma = np.hypot(row * sigmas[0], col * sigmas[1]) / y
    return y, np.where(y > 0, sigma, np.maximum(*sigmas))


def _mean(values: Floats, sigma: Floats) -> float:
    weight = 1.0 / sigma**2 if len(sigma) and np.all(sigma > 0) else np.ones_like(values)
    return float(np.sum(weight * values) / np.sum(weight)) if len(values) else math.nan
