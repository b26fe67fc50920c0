"""How far each track has drifted, sighting by sighting, thinned to what a plot can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from streamer.curves import (
    QUANTITIES,
    Curve,
    Quantity,
    Reference,
    Sightings,
    available,
    displaced,
    references,
    thinned,
)
from streamer.dashboard.archive import Archive
from streamer.geometry import Geometry

__all__ = [
    "QUANTITIES",
    "Curve",
    "Quantity",
    "XAxis",
    "available",
    "drift_curve",
    "references",
    "thinned",
    "units",
]

XAxis = Literal["time", "frame"]


def drift_curve(
    archive: Archive,
    track: int,
    reference: Reference | None,
    geometry: Geometry | None,
    quantity: Quantity,
    x: XAxis,
    *,
    begin: float | None = None,
    end: float | None = None,
    points: int = 2000,
    reference_frames: int = 10,
) -> Curve:
    """Return a track's drift.

    Parameters
    ----------
    reference
        Row, column and spacing to compare with; None takes the first sightings.
    begin, end
        In the units of `x`, None for all.
    points
        Most points; between them sightings are averaged, by the inverse of their variances where
        these are known.
    reference_frames
        Sightings that make a reference where there is none.
    """
    peaks, frames = archive.peaks.take(archive.sightings(track)), archive.frames
    where = peaks["frame_row"]
    xs = frames["time_ns"][where] * 1e-9 if x == "time" else frames["frame"][where].astype(float)
    columns = ("row", "col", "row_sigma", "col_sigma", "d", "d_sigma")
    seen = Sightings(*(peaks[name].astype(np.float64) for name in columns))
    y, sigma = displaced(seen, reference, geometry, quantity, reference_frames=reference_frames)
    wanted = np.isfinite(y)
    wanted &= xs >= (-math.inf if begin is None else begin)
    wanted &= xs <= (math.inf if end is None else end)
    return thinned(xs[wanted], y[wanted], sigma[wanted], points)


def units(columns: Sequence[str]) -> dict[str, str]:
    """Return the units of columns of the tracks table, where they have one."""
    lengths = ("row", "col", "drift")
    known = {"d": "angstrom", "strain": "1", "rate": "px/h"}
    found = {}
    for column in columns:
        base = column.removeprefix("ref_").removesuffix("_sigma")
        if base in known:
            found[column] = known[base]
        elif base in lengths or base.startswith("drift_"):
            found[column] = "px"
        elif column.endswith("_time_ns"):
            found[column] = "ns"
    return found
