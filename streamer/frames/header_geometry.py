"""Where the detector stands, as the header of a series says."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from streamer.errors import UserError
from streamer.frames.geometry import Geometry

__all__ = ["geometry_of"]

logger = logging.getLogger(__name__)

_HC = 12398.419843320026
"""Planck's constant times the speed of light in eV angstrom."""


def geometry_of(metadata: Mapping[str, Any]) -> Geometry | None:
    """Return what the header of a series says, in the names and units of DECTRIS streams.

    None when it does not say enough, or the zeros that a detector sends when nobody told it:
    beam centre, distance and pixel size are needed.
    """
    row, col = _number(metadata, "beam_center_y"), _number(metadata, "beam_center_x")
    heights = _number(metadata, "pixel_size_y", "y_pixel_size")
    widths = _number(metadata, "pixel_size_x", "x_pixel_size")
    distance = _number(metadata, "detector_distance")
    if not distance:
        distance = _number({"z": _last(metadata.get("detector_translation"))}, "z")
    wavelength = _number(metadata, "incident_wavelength", "wavelength")
    if not wavelength:
        energy = _number(metadata, "incident_energy", "photon_energy")
        wavelength = _HC / energy if energy and energy > 0 else None
    if row is None or col is None or not (row or col):
        return None
    if not distance or not heights or not widths:
        return None
    try:
        return Geometry.from_beam(
            (row, col),
            distance_m=distance,
            pixel_m=(heights, widths),
            wavelength_a=wavelength or math.nan,
            source="header of the series",
        )
    except UserError as error:
        logger.warning("no geometry: %s", error)
        return None


def _number(metadata: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of some values that is a number."""
    for name in names:
        value = metadata.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def _last(values: Any) -> Any:
    return values[-1] if isinstance(values, list | tuple) and len(values) == 3 else None
