"""What is known of one peak, as a row of an array."""

from __future__ import annotations

import numpy as np

__all__ = ["PEAK", "POSITION", "SHAPE", "SINGLE"]

SHAPE = (
    "intensity",
    "background",
    "fwhm_major",
    "fwhm_minor",
    "angle",
    "eta",
    "asymmetry",
    "centre_row",
    "centre_col",
)
"""What is measured of a peak beside its position, each with its standard deviation; what the
columns mean is in `streamer.results.schema`."""

PEAK = np.dtype(
    [
        ("row", "<i4"),
        ("col", "<i4"),
        ("score", "<f8"),
        ("intensity", "<f8"),
        ("flags", "<i4"),
    ],
    align=True,
)
"""A peak as a detector worker found it; `row`, `col` in detector pixels."""


SINGLE = np.dtype(
    [(name, "<f8") for name in ("row", "col", "row_sigma", "col_sigma", "evidence")], align=True
)
"""Where a peak stands if it is the only one in its patch, and by how much twice the logarithm of
the likelihood grows when another is fitted beside it; all NaN where that was not in doubt."""


POSITION = np.dtype(
    [
        *((name, "<f8") for name in ("row", "col", "row_sigma", "col_sigma")),
        *((f"{name}{part}", "<f8") for name in SHAPE for part in ("", "_sigma")),
        ("single", SINGLE),
        ("flags", "<i4"),
    ],
    align=True,
)
"""Where a GPU worker placed it, in detector pixels; `flags` are those of both workers. What is not
known is NaN."""
