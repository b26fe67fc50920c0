"""What is known of one peak, as a row of an array."""

from __future__ import annotations

import numpy as np

__all__ = ["PEAK", "POSITION"]


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


POSITION = np.dtype(
    [
        ("row", "<f8"),
        ("col", "<f8"),
        ("row_sigma", "<f8"),
        ("col_sigma", "<f8"),
        ("flags", "<i4"),
    ],
    align=True,
)
"""Where a GPU worker placed it, in detector pixels; `flags` are those of both workers."""
