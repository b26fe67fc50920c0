"""The place of the detector, as the page needs it: angles under the cursor, rings, the beam."""

from __future__ import annotations

import math
from collections.abc import Hashable

from streamer.config import LatticeConfig
from streamer.dashboard.messages import encode
from streamer.dashboard.view import RunView
from streamer.errors import UserError
from streamer.frames.lattice import Lattice

__all__ = ["geometry", "geometry_version"]

_MOST_RINGS = 24


def geometry_version(run: RunView) -> Hashable:
    """Return what changes with the content of ``geometry``."""
    return run.tables.geometry or "unknown"


def geometry(run: RunView) -> bytes:
    """Tell the place of the detector."""
    known = run.tables.geometry
    place = None
    if known is not None:
        names = ("distance_m", "poni1_m", "poni2_m", "pixel1_m", "pixel2_m", "wavelength_a")
        place = {name: getattr(known, name) for name in names}
        place["rotation"] = known.rotation.reshape(-1).tolist()
    header = {
        "place": place,
        "beam": known.beam if known is not None and math.isfinite(sum(known.beam)) else None,
        "rings": _rings(run.config.lattice),
    }
    return encode("geometry", header)


def _rings(config: LatticeConfig) -> list[dict[str, float | str]]:
    """Return the largest spacings of the lattice that the configuration knows."""
    try:
        lattice = Lattice.from_config(config)
    except UserError:  # a run does not begin with such a one
        return []
    if lattice is None:
        return []
    return [
        {"d": d, "words": " ".join(f"{index}" for index in hkl)}
        for hkl, d in lattice.largest(_MOST_RINGS)
    ]
