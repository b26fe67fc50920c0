"""What each observation of a track says of its drift."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.results.thinning import Curve, Thinning

__all__ = [
    "QUANTITIES",
    "GrowingCurve",
    "Observations",
    "Quantity",
    "Reference",
    "available",
    "displaced",
    "references",
    "settled",
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

    def followed_by(self, other: Observations) -> Observations:
        """Return these and those of the same track that come after them."""
        names = [one.name for one in fields(self)]
        both = ((getattr(self, name), getattr(other, name)) for name in names)
        return Observations(*(np.concatenate(columns) for columns in both))


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


class GrowingCurve:
    """The drift of a track, thinned, from observations that come a few at a time.

    Parameters
    ----------
    quantity
        What is drawn.
    reference
        None takes the first observations.
    points
        Most points.
    reference_frames
        How many observations make a reference where there is none.
    begin, end
        Least and greatest `x` of what is drawn.
    """

    def __init__(
        self,
        quantity: Quantity,
        reference: Reference | None,
        geometry: Geometry | None,
        *,
        points: int,
        reference_frames: int = 10,
        begin: float = -math.inf,
        end: float = math.inf,
    ) -> None:
        self._quantity, self._geometry = quantity, geometry
        self._given, self._reference_frames = reference, reference_frames
        self._points, self._begin, self._end = points, begin, end
        self._thinning = Thinning(points)
        self._first: tuple[Floats, Observations] | None = None
        """All so far, until they settle the reference."""
        self._reference: Reference | None = None

    @property
    def is_settled(self) -> bool:
        """True when it is known what the drift counts from, whatever comes."""
        row, col, d = self._given or (math.nan,) * 3
        unknown = (row, col, d if self._quantity == "strain" else 0.0)
        return self._reference is not None or not any(map(math.isnan, unknown))

    def add(self, x: Floats, seen: Observations) -> None:
        """Take observations and where they are drawn, (n,), in the order of the frames."""
        reference = self._reference
        if reference is None:
            if self._first is not None:
                x = np.concatenate([self._first[0], x])
                seen = self._first[1].followed_by(seen)
            first = seen.first(self._reference_frames)
            reference = settled(self._given, first, self._geometry, self._quantity)
            if len(x) >= self._reference_frames:
                self._reference, self._first = reference, None
            else:
                self._first = x, seen
            self._thinning = Thinning(self._points)
        # What is not known of the reference is not to be had from these observations.
        y, sigma = displaced(seen, reference, self._geometry, self._quantity, reference_frames=0)
        wanted = np.isfinite(y) & (x >= self._begin) & (x <= self._end)
        self._thinning.add(x[wanted], y[wanted], sigma[wanted])

    def curve(self) -> Curve:
        """Return what was added."""
        return self._thinning.curve()


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
