"""What is measured of peaks beside their places, as curves of their tracks."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.results.schema import TABLES
from streamer.results.thinning import Curve, Thinning

__all__ = ["MEASURED", "MeasuredCurve", "Shape", "columns_of", "measured"]

Floats = NDArray[np.float64]
Shape = Literal[
    "intensity", "fwhm_radial", "fwhm_azimuthal", "fwhm_major", "fwhm_minor", "background",
    "asymmetry",
]  # fmt: skip

_LABELS: dict[Shape, str] = {
    "intensity": "Integrated intensity",
    "fwhm_radial": "Full width at half maximum in two-theta",
    "fwhm_azimuthal": "Full width at half maximum in azimuth",
    "fwhm_major": "Full width at half maximum along the major axis",
    "fwhm_minor": "Full width at half maximum along the minor axis",
    "background": "Background",
    "asymmetry": "Asymmetry along the major axis",
}
MEASURED = {name: (label, TABLES["peaks"][name].unit) for name, label in _LABELS.items()}
"""Label and unit of each, by its column in the table of peaks."""

_ANGULAR = ("fwhm_radial", "fwhm_azimuthal")
_PLAIN = ("fwhm_major", "fwhm_minor")


def measured(known: Container[str], geometry: Geometry | None) -> list[Shape]:
    """Return what can be drawn.

    Parameters
    ----------
    known
        Columns of the table of peaks in which something is known.
    geometry
        With one, widths are those in angles; without, those in pixels.
    """
    left_out = _PLAIN if geometry is not None and _ANGULAR[0] in known else _ANGULAR
    return [name for name in MEASURED if name in known and name not in left_out]


def columns_of(shape: Shape) -> tuple[str, str]:
    """Return the columns of the table of peaks that hold it and its standard deviation."""
    return shape, f"{shape}_sigma"


class MeasuredCurve:
    """What was measured of the peaks of a track, thinned, from peaks that come a few at a time.

    Parameters
    ----------
    points
        Most points.
    begin, end
        Least and greatest `x` of what is drawn.
    """

    def __init__(self, points: int, begin: float = -math.inf, end: float = math.inf) -> None:
        self._begin, self._end = begin, end
        self._thinning = Thinning(points)

    def add(self, x: Floats, y: Floats, sigma: Floats) -> None:
        """Take values where they are drawn, (n,), in the order of the frames; NaN is left out."""
        wanted = np.isfinite(y) & (x >= self._begin) & (x <= self._end)
        self._thinning.add(x[wanted], y[wanted], sigma[wanted])

    def curve(self) -> Curve:
        """Return what was added."""
        return self._thinning.curve()
