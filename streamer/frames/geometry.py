"""Where the detector stands: from a pixel to scattering angle, momentum transfer and spacing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamer.errors import UserError

if TYPE_CHECKING:
    from streamer.config import GeometryConfig

__all__ = ["Geometry", "Location"]

Floats = NDArray[np.float64]

_SENSIBLE = {
    "distance_m": (1e-4, 1e3),
    "pixel1_m": (1e-7, 1e-2),
    "pixel2_m": (1e-7, 1e-2),
    "wavelength_a": (1e-4, 1e3),
}
"""Ranges outside which a value is in another unit or no value at all."""
_POSITIONS = ("poni1_m", "poni2_m", "rot1", "rot2", "rot3")


Measured = tuple[ArrayLike, ArrayLike]
"""Values and their standard deviations."""


class Location(NamedTuple):
    """What the places of peaks say about the lattice; arrays of their shape."""

    two_theta: Floats
    """Scattering angle in degrees."""
    chi: Floats
    """Azimuth around the beam in degrees, from pyFAI's second axis towards its first."""
    q: Floats
    """Momentum transfer in 1/angstrom."""
    d: Floats
    """Spacing of the lattice planes in angstroms."""
    d_sigma: Floats
    """Standard deviation of `d`."""
    two_theta_sigma: Floats
    """Standard deviation of `two_theta` in degrees."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The place of a flat detector, in the parameters of pyFAI.

    Rows are its first axis (slow), columns its second (fast). An image whose rows or columns run
    against the axis has a negative pixel size.
    """

    distance_m: float
    """From the sample to the point of normal incidence."""
    poni1_m: float
    """That point along the rows' axis, from the outer edge of row 0."""
    poni2_m: float
    """The same along the columns' axis."""
    rot1: float = 0.0
    """Rotations about the axes 1, 2 and 3, the first two left-handed, in radians."""
    rot2: float = 0.0
    rot3: float = 0.0
    pixel1_m: float = math.nan
    """Height of a pixel."""
    pixel2_m: float = math.nan
    """Width of a pixel."""
    wavelength_a: float = math.nan
    """In angstroms; NaN when unknown: then only angles are known."""
    source: str = ""
    """Where all this was said."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        UserError
            A value makes no sense.
        """
        for name, (low, high) in _SENSIBLE.items():
            value = getattr(self, name)
            if name == "wavelength_a" and math.isnan(value):
                continue
            if not low <= abs(value) <= high or (value < 0 and not name.startswith("pixel")):
                raise UserError(
                    f"{self.source or 'geometry'}: {name} = {value:g} makes no sense, "
                    f"it should lie between {low:g} and {high:g}"
                )
        for name in _POSITIONS:
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"{self.source or 'geometry'}: {name} is not a number")

    @classmethod
    def from_config(cls, config: GeometryConfig) -> Geometry | None:
        """Return what a user gave; None when it was nothing.

        Raises
        ------
        UserError
            Something is missing, makes no sense or cannot be read.
        """
        given = config.given
        if config.poni is not None:
            more = sorted(given.keys() - {"poni"})
            if more:
                raise UserError(
                    f"geometry.poni says all: remove {', '.join('geometry.' + key for key in more)}"
                )
            return cls.from_poni(config.poni)
        if not given:
            return None
        needed = ("distance_m", "beam_row", "beam_col", "pixel_m")
        missing = [f"geometry.{key}" for key in needed if getattr(config, key) is None]
        if missing:
            raise UserError(f"give {', '.join(missing)} too, or a .poni file as geometry.poni")
        return cls.from_beam(
            (config.beam_row or 0.0, config.beam_col or 0.0),
            distance_m=config.distance_m or math.nan,
            pixel_m=(config.pixel_m or math.nan,) * 2,
            wavelength_a=config.wavelength_a or math.nan,
            rotations=(config.rot1, config.rot2, config.rot3),
            source="configuration",
        )

    @classmethod
    def from_beam(
        cls,
        beam: tuple[float, float],
        *,
        distance_m: float,
        pixel_m: tuple[float, float],
        wavelength_a: float = math.nan,
        rotations: tuple[float, float, float] = (0.0, 0.0, 0.0),
        source: str = "",
    ) -> Geometry:
        """Return the geometry of a detector that the direct beam would hit at `beam`.

        Parameters
        ----------
        beam
            (row, col) in pixels, an integer being the centre of a pixel.
        distance_m
            From the sample to the detector plane, at right angles to the plane.
        pixel_m
            Height and width of a pixel.
        """
        at = cls(distance_m, 0.0, 0.0, *rotations, *pixel_m, wavelength_a, source)
        y, x = at._foot
        if not math.isfinite(y + x):
            raise UserError(f"{source}: with these rotations the beam never meets the detector")
        return cls(
            distance_m,
            (beam[0] + 0.5) * pixel_m[0] - y,
            (beam[1] + 0.5) * pixel_m[1] - x,
            *rotations,
            *pixel_m,
            wavelength_a,
            source,
        )

    @classmethod
    def from_poni(cls, path: Path) -> Geometry:
        """Read pyFAI's calibration file, of versions 1 to 3.

        Raises
        ------
        UserError
            It cannot be read, is incomplete or of a detector that is not flat.
        """
        from streamer.frames.poni import read_poni

        return cls(**read_poni(path))

    @property
    def beam(self) -> tuple[float, float]:
        """(row, col) where the direct beam meets the detector plane; NaN where it never does."""
        y, x = self._foot
        row = (self.poni1_m + y) / self.pixel1_m - 0.5
        return row, (self.poni2_m + x) / self.pixel2_m - 0.5

    @property
    def beam_distance_m(self) -> float:
        """From the sample to there, along the beam; NaN where it never meets the detector."""
        z = float(self.rotation[2, 2])
        return self.distance_m / z if abs(z) >= 1e-9 else math.nan

    @property
    def axes(self) -> tuple[Floats, Floats]:
        """Directions of the detector's first and second axis in pyFAI's laboratory, each (3,)."""
        return self.rotation[:, 0], self.rotation[:, 1]

    def locate(
        self,
        row: ArrayLike,
        col: ArrayLike,
        row_sigma: ArrayLike = math.nan,
        col_sigma: ArrayLike = math.nan,
    ) -> Location:
        """Return angles and spacings of places on the detector.

        Parameters
        ----------
        row, col
            In pixels, an integer being the centre of a pixel.
        row_sigma, col_sigma
            Their standard deviations; errors of the two do not go together.

        Notes
        -----
        The rotations are those of pyFAI (G. Ashiotis et al., J. Appl. Cryst. 48, 510, 2015, and
        "Detector geometry" in its documentation), for a flat detector: the place on the axes 1, 2
        and the normal is turned by R3 R2 R1, and `two_theta` and `chi` are the polar angles of the
        result. The standard deviations are to first order.
        """
        y = (np.asarray(row, np.float64) + 0.5) * self.pixel1_m - self.poni1_m
        x = (np.asarray(col, np.float64) + 0.5) * self.pixel2_m - self.poni2_m
        turn = self.rotation
        t1, t2, t3 = (
            turn[i, 0] * y + turn[i, 1] * x + turn[i, 2] * self.distance_m for i in range(3)
        )
        across = np.hypot(t1, t2)
        two_theta = np.arctan2(across, t3)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.zeros(())
            for axis, pixel, sigma in (
                (0, self.pixel1_m, row_sigma),
                (1, self.pixel2_m, col_sigma),
            ):
                a1, a2, a3 = turn[:, axis]
                slope = (t3 * (t1 * a1 + t2 * a2) / across - across * a3) / (across**2 + t3**2)
                variance = variance + (slope * pixel * np.asarray(sigma, np.float64)) ** 2
            sigma = np.sqrt(variance)
            sine = np.sin(two_theta / 2.0)
            d = self.wavelength_a / (2.0 * sine)
            return Location(
                two_theta=np.degrees(two_theta),
                chi=np.degrees(np.arctan2(t1, t2)),
                q=4.0 * math.pi / self.wavelength_a * sine,
                d=d,
                d_sigma=d / (2.0 * np.tan(two_theta / 2.0)) * sigma,
                two_theta_sigma=np.degrees(sigma),
            )

    def widths(
        self, row: ArrayLike, col: ArrayLike, major: Measured, minor: Measured, angle: Measured
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the widths of spots along two-theta and chi, each followed by its sigma; degrees.

        They are those of the spot's projections: what a curve of counts against two-theta, summed
        over chi, would have. To first order in the size of the spot.

        Parameters
        ----------
        row, col
            In pixels, an integer being the centre of a pixel.
        major, minor
            Widths along the axes of the spot in pixels, and their standard deviations.
        angle
            Of the major axis to the columns' axis, towards growing rows, in degrees, and its
            standard deviation. Errors of the three do not go together.
        """
        y = (np.asarray(row, np.float64) + 0.5) * self.pixel1_m - self.poni1_m
        x = (np.asarray(col, np.float64) + 0.5) * self.pixel2_m - self.poni2_m
        turn = self.rotation
        t1, t2, t3 = (
            turn[i, 0] * y + turn[i, 1] * x + turn[i, 2] * self.distance_m for i in range(3)
        )
        slopes = []
        with np.errstate(divide="ignore", invalid="ignore"):
            across = np.hypot(t1, t2)
            for axis, pixel in ((0, self.pixel1_m), (1, self.pixel2_m)):
                a1, a2, a3 = turn[:, axis] * pixel
                polar = (t3 * (t1 * a1 + t2 * a2) / across - across * a3) / (across**2 + t3**2)
                slopes.append((polar, (t2 * a1 - t1 * a2) / across**2))
            cosine, sine = np.cos(np.radians(angle[0])), np.sin(np.radians(angle[0]))
            found = []
            for by_row, by_col in zip(*slopes, strict=True):
                along = by_col * cosine + by_row * sine
                beside = by_row * cosine - by_col * sine
                square = (along * major[0]) ** 2 + (beside * minor[0]) ** 2
                turned = along * beside * (np.square(major[0]) - np.square(minor[0]))
                variance = (
                    (along**2 * major[0] * major[1]) ** 2
                    + (beside**2 * minor[0] * minor[1]) ** 2
                    + (turned * np.radians(angle[1])) ** 2
                ) / square
                found += [np.degrees(np.sqrt(square)), np.degrees(np.sqrt(variance))]
        return found[0], found[1], found[2], found[3]

    def radial(self, row: ArrayLike, col: ArrayLike) -> Floats:
        """Return the directions away from the direct beam.

        Returns
        -------
        directions
            (..., 2), unit vectors along rows and columns, in pixels; NaN where the beam is, or
            when it never meets the detector.
        """
        away = np.stack(np.broadcast_arrays(row, col), axis=-1) - np.array(self.beam)
        with np.errstate(invalid="ignore"):
            directions: Floats = away / np.linalg.norm(away, axis=-1, keepdims=True)
        return directions

    @property
    def rotation(self) -> Floats:
        """(3, 3), from (axis 1, axis 2, normal) of the detector to those of the laboratory."""
        c1, c2, c3 = math.cos(self.rot1), math.cos(self.rot2), math.cos(self.rot3)
        s1, s2, s3 = math.sin(self.rot1), math.sin(self.rot2), math.sin(self.rot3)
        return np.array(
            [
                [c2 * c3, c3 * s1 * s2 - c1 * s3, -(c1 * c3 * s2 + s1 * s3)],
                [c2 * s3, c1 * c3 + s1 * s2 * s3, c3 * s1 - c1 * s2 * s3],
                [s2, -c2 * s1, c1 * c2],
            ]
        )

    @property
    def _foot(self) -> tuple[float, float]:
        """Where the beam meets the plane, in metres from the point of normal incidence."""
        y, x, z = self.rotation[2]
        if abs(z) < 1e-9:
            return math.nan, math.nan
        return float(self.distance_m * y / z), float(self.distance_m * x / z)
