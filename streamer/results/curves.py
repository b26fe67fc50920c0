"""What each observation of a track says of its drift, thinned to what a plot can show."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry

__all__ = [
    "QUANTITIES",
    "Curve",
    "Observations",
    "Quantity",
    "Reference",
    "available",
    "averaged",
    "displaced",
    "references",
    "settled",
    "shortest_stretch",
    "stretch",
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
class Observations:
    """The peaks of one track, in the order of its frames; each array (n,)."""

    row: Floats
    col: Floats
    row_sigma: Floats
    col_sigma: Floats
    d: Floats
    """Spacing in angstroms; NaN where not known."""
    d_sigma: Floats

    def first(self, n: int) -> Observations:
        """Return the first `n`."""
        columns = (self.row, self.col, self.row_sigma, self.col_sigma, self.d, self.d_sigma)
        return Observations(*(column[:n] for column in columns))


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
    seen: Observations,
    reference: Reference | None,
    geometry: Geometry | None,
    quantity: Quantity,
    *,
    reference_frames: int = 10,
) -> tuple[Floats, Floats]:
    """Return how far a track stood from its reference at each observation, and standard deviations.

    Parameters
    ----------
    reference
        None takes the first observations.
    reference_frames
        How many of these.
    """
    first = seen.first(reference_frames)
    ref_row, ref_col, ref_d = settled(reference, first, geometry, quantity)
    row, col, sigmas = seen.row, seen.col, (seen.row_sigma, seen.col_sigma)
    d, d_sigma = _spacings(seen, geometry, quantity)
    if quantity == "row":
        return row - ref_row, sigmas[0]
    if quantity == "col":
        return col - ref_col, sigmas[1]
    if quantity == "d":
        return d, d_sigma
    if quantity == "strain":
        return d / ref_d - 1.0, d_sigma / ref_d
    return _along(row - ref_row, col - ref_col, sigmas, geometry, quantity, ref_row, ref_col)


def settled(
    reference: Reference | None, first: Observations, geometry: Geometry | None, quantity: Quantity
) -> Reference:
    """Return a reference; what is not known of it is the mean of a track's first observations."""
    row, col, d = reference or (math.nan,) * 3
    if math.isnan(row):
        row = _mean(first.row, first.row_sigma)
    if math.isnan(col):
        col = _mean(first.col, first.col_sigma)
    if math.isnan(d):
        d = _mean(*_spacings(first, geometry, quantity))
    return row, col, d


def thinned(x: Floats, y: Floats, sigma: Floats, points: int) -> Curve:
    """Average over stretches of `x` of the same length, so that at most `points` are left."""
    return averaged(x, y, sigma, stretch(x, points))[0]


def stretch(x: Floats, points: int) -> float:
    """Return over what length of `x` to average, so that at most `points` are left; 0 for none.

    It is a power of two, and stretches begin at its multiples: a curve that grows changes in its
    last point alone, until all stretches become twice as long.
    """
    if len(x) <= points:
        return 0.0
    length = shortest_stretch(float(x.min()), float(x.max()), points)
    while len(_starts(x, length)) > points:
        length *= 2.0
    return length


def shortest_stretch(low: float, high: float, points: int) -> float:
    """Return the length of a stretch that cannot be too long for `points` between two values."""
    return 2.0 ** math.floor(math.log2((high - low) / points)) if high > low else 1.0


def averaged(x: Floats, y: Floats, sigma: Floats, length: float) -> tuple[Curve, NDArray[np.int64]]:
    """Average over stretches of `x` of a length, by the inverse of variances where known.

    Returns
    -------
    The curve, and the index of the first observation in each of its points.
    """
    if not length or not len(x):
        starts = np.arange(len(x))
        return Curve(x, y.astype(np.float32), sigma.astype(np.float32)), starts
    starts = _starts(x, length)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(sigma > 0, 1.0 / sigma**2, 0.0)  # NaN is not above 0
    total = np.add.reduceat(weight, starts)
    # Where none is known all weigh the same, and that of their mean is not known either.
    unknown, lengths = total == 0.0, np.diff(starts, append=len(x))
    weight[np.repeat(unknown, lengths)] = 1.0
    total = np.where(unknown, lengths, total)
    # Times are large and differ little: their offsets are averaged.
    begin = x[starts]
    x = begin + np.add.reduceat(weight * (x - np.repeat(begin, lengths)), starts) / total
    y = np.add.reduceat(weight * y, starts) / total
    sigma = np.where(unknown, math.nan, 1.0 / np.sqrt(total))
    return Curve(x, y.astype(np.float32), sigma.astype(np.float32)), starts


def _starts(x: Floats, length: float) -> NDArray[np.int64]:
    number = np.floor(x / length)
    return np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))


def _spacings(
    seen: Observations, geometry: Geometry | None, quantity: Quantity
) -> tuple[Floats, Floats]:
    """Return spacings in angstroms and their sigmas; for strain in any unit where not known."""
    if quantity != "strain" or geometry is None or np.isfinite(seen.d).any():
        return seen.d, seen.d_sigma
    # The wavelength cancels: any will do where it is not known.
    unit = geometry if geometry.wavelength_a > 0 else replace(geometry, wavelength_a=1.0)
    place = unit.locate(seen.row, seen.col, seen.row_sigma, seen.col_sigma)
    return place.d, place.d_sigma


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
