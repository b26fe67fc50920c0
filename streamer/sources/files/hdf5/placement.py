"""Where the detector stands, as a NeXus file says: values with their units, or transformations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from streamer.frames.units import Quantity, factor
from streamer.sources.files.hdf5.files import lies_in_file
from streamer.sources.files.hdf5.transformations import TransformationError, module_vectors, turned

__all__ = ["placement", "unit_of"]

_BEAMS = ("instrument/beam", "sample/beam", "instrument/source")
_PLACES: dict[str, tuple[Quantity, str, tuple[str, ...]]] = {
    "pixel_size_x": ("length", "m", ("{d}/x_pixel_size",)),
    "pixel_size_y": ("length", "m", ("{d}/y_pixel_size",)),
    "beam_center_x": ("pixels", "pixels", ("{d}/beam_center_x",)),
    "beam_center_y": ("pixels", "pixels", ("{d}/beam_center_y",)),
    "detector_distance": ("length", "m", ("{d}/detector_distance", "{d}/distance")),
    "incident_wavelength": (
        "wavelength",
        "angstrom",
        (
            *(f"{beam}/incident_wavelength" for beam in _BEAMS),
            "instrument/monochromator/wavelength",
        ),
    ),
    "incident_energy": (
        "energy",
        "eV",
        (
            *(f"{beam}/incident_energy" for beam in _BEAMS),
            "instrument/monochromator/energy",
            "{d}/detectorSpecific/photon_energy",
            "{d}/photon_energy",
        ),
    ),
}
_HC = 12398.419843320026
_SAME = 1e-3
_UPRIGHT_DEG = 1e-3
_MOST_VALUES = 1 << 20


def placement(
    entry: h5py.Group,
    detector: str,
    find: Callable[..., h5py.Dataset | None],
    warnings: list[str],
) -> dict[str, Any]:
    """Return what a file says, as `streamer.frames.header_geometry.read_geometry` reads it.

    Parameters
    ----------
    detector
        Path of the detector below the entry.
    find
        Returns the first dataset that there is at some paths.
    warnings
        What is said and cannot be used is added.
    """
    told: dict[str, Any] = {}
    where: dict[str, str] = {}
    for name, (quantity, default, paths) in _PLACES.items():
        dataset = find(*paths)
        if dataset is None:
            continue
        value, unit = _constant(dataset), unit_of(dataset)
        scale = 1.0 if unit is None else factor(unit, quantity)
        if scale is None and quantity == "pixels" and unit is not None:
            size = told.get(f"pixel_size_{name[-1]}")
            length = factor(unit, "length")
            scale = length / size if length and size else None
        if value is None:
            warnings.append(f"{dataset.name} is not one number: not used")
        elif scale is None:
            warnings.append(f"{dataset.name} is in {unit}, which is not understood: not used")
        else:
            told[name] = value * scale
            said = f"in {unit}" if unit else f"without a unit, taken as {default}"
            where[name] = f"{str(dataset.name).removeprefix(f'{entry.name}/')} {said}"
    _compare(told, where, warnings)
    group = entry.get(detector)
    if isinstance(group, h5py.Group):
        try:
            _follow(group, told, warnings)
        except (TransformationError, OSError, RuntimeError, ValueError) as error:
            told["no_geometry"] = f"the file does not say where the detector stands: {error}"
    return told | ({"geometry_from": where} if where else {})


def unit_of(dataset: h5py.Dataset) -> str | None:
    """Return the unit of a dataset; None when it has none."""
    unit = dataset.attrs.get("units")
    if isinstance(unit, np.ndarray) and unit.size == 1:
        unit = unit.item()
    text = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else unit
    return text.strip() or None if isinstance(text, str) else None


def _constant(dataset: h5py.Dataset) -> float | None:
    """Return the value that all elements of a dataset have."""
    if dataset.shape is None or dataset.dtype.kind not in "iuf":
        return None
    if not 0 < dataset.size <= _MOST_VALUES or not lies_in_file(dataset):
        return None
    try:
        values = np.asarray(dataset[()], np.float64).ravel()
    except (OSError, RuntimeError, ValueError):
        return None
    spread = float(np.ptp(values))
    value = float(values[0])
    return value if math.isfinite(value) and spread <= 1e-9 * abs(value) else None


def _compare(told: dict[str, Any], where: dict[str, str], warnings: list[str]) -> None:
    """Hold energy and wavelength against each other."""
    wavelength, energy = told.get("incident_wavelength"), told.get("incident_energy")
    if wavelength and energy and abs(wavelength * energy / _HC - 1) > _SAME:
        warnings.append(
            f"{where['incident_wavelength']} is {wavelength:.6g} Å, and"
            f" {where['incident_energy']} is one of {_HC / energy:.6g} Å: the former is taken"
        )


def _follow(detector: h5py.Group, told: dict[str, Any], warnings: list[str]) -> None:
    """Take the transformations of a detector, where it has some.

    Raises
    ------
    TransformationError
        They cannot be followed, or the detector is turned in a way that is not all said.
    """
    arm = detector.get("goniometer/two_theta")
    vectors = module_vectors(detector)
    if vectors is not None:
        told["detector_vectors"] = vectors
        return
    if isinstance(arm, h5py.Dataset) and arm.dtype.kind in "iuf" and 0 < arm.size <= _MOST_VALUES:
        largest = float(np.max(np.abs(arm[()])))
        if largest > _UPRIGHT_DEG:
            raise TransformationError(
                f"{arm.name} is {largest:g} degrees, and nothing says how that turns it; give a"
                " .poni file as geometry.poni"
            )
    angle, distance, said = turned(detector)
    if angle > _UPRIGHT_DEG:
        raise TransformationError(
            f"{said} turns it by {angle:g} degrees, and no NXdetector_module has the directions of"
            " its pixels; give a .poni file as geometry.poni"
        )
    if distance and "detector_distance" not in told:
        told["detector_distance"] = distance
    elif distance and abs(told["detector_distance"] / distance - 1) > _SAME:
        warnings.append(
            f"{said} puts the detector at {distance:g} m, its distance is said to be"
            f" {told['detector_distance']:g} m: the latter is taken"
        )
