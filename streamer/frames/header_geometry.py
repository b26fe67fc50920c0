"""Where the detector stands, as the header of a series says."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from streamer.errors import UserError
from streamer.frames.geometry import Geometry
from streamer.frames.vectors import geometry_of_vectors

__all__ = ["NoGeometryError", "geometry_of", "in_words", "read_geometry"]

logger = logging.getLogger(__name__)

_HC = 12398.419843320026
"""Planck's constant times the speed of light in eV angstrom."""
_UNITS = {
    "beam_center": "pixels", "detector_distance": "m", "detector_translation": "m",
    "pixel_size": "m", "y_pixel_size": "m", "incident_wavelength": "angstrom",
    "wavelength": "angstrom", "incident_energy": "eV", "photon_energy": "eV",
}  # fmt: skip
_ON_AN_ARM_DEG = 1e-3
"""Smallest angle of an arm that counts."""


class NoGeometryError(Exception):
    """A header does not tell where the detector stands; the text says why."""


def geometry_of(metadata: Mapping[str, Any]) -> Geometry | None:
    """Return what the header of a series says; None when it does not say enough."""
    try:
        return read_geometry(metadata)
    except NoGeometryError as error:
        logger.info("no geometry: %s", error)
        return None


def read_geometry(metadata: Mapping[str, Any]) -> Geometry:
    """Return what the header of a series says, in the names and units of DECTRIS streams.

    Beam centre, distance and pixel size are needed, and zeros are what a detector sends when nobody
    told it. A recording may say instead how its pixels lie (`detector_vectors`), that it tells no
    geometry (`no_geometry`), and where its values are from (`geometry_from`).

    Raises
    ------
    NoGeometryError
        It does not say enough, or what makes no sense.
    """
    header = _Header(metadata)
    reason = metadata.get("no_geometry")
    if isinstance(reason, str) and reason:
        raise NoGeometryError(reason)
    wavelength = header.number("incident_wavelength", "wavelength")
    if not wavelength:
        energy = header.number("incident_energy", "photon_energy")
        wavelength = _HC / energy if energy and energy > 0 else None
    vectors = metadata.get("detector_vectors")
    try:
        if isinstance(vectors, Mapping):
            header.said.insert(0, f"pixels by {vectors.get('said', 'their directions')}")
            origin, fast, slow = (vectors[key] for key in ("origin_m", "fast_m", "slow_m"))
            return geometry_of_vectors(
                origin, fast, slow, wavelength_a=wavelength or math.nan, source=header.source
            )
        return _of_values(header, wavelength)
    except UserError as error:
        raise NoGeometryError(str(error)) from None
    except (KeyError, TypeError, ValueError, IndexError):
        raise NoGeometryError("the header's detector_vectors are no vectors") from None


def in_words(geometry: Geometry) -> str:
    """Say where a detector stands, and how that is known."""
    row, col = geometry.beam
    words = [f"{1e3 * geometry.distance_m:.5g} mm"]
    words.append(f"beam at row {row:.2f}, column {col:.2f}")
    turned = [f"{math.degrees(getattr(geometry, f'rot{n}')):.4g}" for n in (1, 2, 3)]
    if any(float(angle) for angle in turned):
        words.append(f"turned by {', '.join(turned)}°")
    height, width = (1e6 * abs(size) for size in (geometry.pixel1_m, geometry.pixel2_m))
    words.append(f"pixels {height:.4g} x {width:.4g} µm")
    known = not math.isnan(geometry.wavelength_a)
    words.append(f"wavelength {geometry.wavelength_a:.5g} Å" if known else "wavelength not known")
    return f"{', '.join(words)}; from {geometry.source}"


def _of_values(header: _Header, wavelength: float | None) -> Geometry:
    row, col = header.number("beam_center_y"), header.number("beam_center_x")
    if row is None or col is None or not (row or col):
        raise NoGeometryError("the header has no beam centre")
    distance = header.number("detector_distance") or header.last("detector_translation")
    if not distance:
        raise NoGeometryError("the header has no distance of the detector")
    height = header.number("pixel_size_y", "y_pixel_size")
    width = header.number("pixel_size_x", "x_pixel_size")
    if not height or not width:
        raise NoGeometryError("the header has no size of pixels")
    header.hold_upright()
    return Geometry.from_beam(
        (row, col),
        distance_m=distance,
        pixel_m=(height, width),
        wavelength_a=wavelength or math.nan,
        source=header.source,
    )


class _Header:
    """Takes values of a header and notes which they were."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        where = metadata.get("geometry_from")
        self._where: Mapping[str, Any] = where if isinstance(where, Mapping) else {}
        self.said: list[str] = []

    @property
    def source(self) -> str:
        """Where what was taken is said, and in which units."""
        return f"header of the series ({', '.join(dict.fromkeys(self.said))})"

    def number(self, *names: str) -> float | None:
        """Return the first of some values that is a number and not 0; else 0 or None."""
        found = None
        for name in names:
            value = _number(self._metadata.get(name))
            if value:
                self._note(name)
                return value
            found = value if found is None else found
        return found

    def last(self, name: str) -> float | None:
        """Return the last of three values."""
        values = self._metadata.get(name)
        value = (
            _number(values[-1]) if isinstance(values, list | tuple) and len(values) == 3 else None
        )
        if value:
            self._note(name)
        return value

    def hold_upright(self) -> None:
        """Refuse a detector on an arm: how it is turned decides where the beam centre is."""
        angle = _number(self._metadata.get("two_theta_start")) or 0.0
        axes = self._metadata.get("goniometer")
        arm = axes.get("two_theta") if isinstance(axes, Mapping) else None
        if isinstance(arm, Mapping):
            angle = _number(arm.get("start")) or angle
        if abs(angle) > _ON_AN_ARM_DEG:
            raise NoGeometryError(
                f"the header has the detector on an arm at two_theta = {angle:g} degrees, and not"
                " how it is turned: give a .poni file as geometry.poni"
            )

    def _note(self, name: str) -> None:
        stem = name.removesuffix("_x").removesuffix("_y")
        unit = _UNITS.get(name, _UNITS.get(stem, "m"))
        self.said.append(str(self._where.get(name, f"{stem} in {unit}")))


def _number(value: Any) -> float | None:
    """Return a value that is a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None
    return None
