"""Chains of NeXus transformations (NXtransformations): what each depends on, to the laboratory."""

from __future__ import annotations

import math
import posixpath
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from streamer.frames.units import factor
from streamer.sources.files.hdf5.files import lies_in_file

__all__ = ["TransformationError", "module_vectors", "turned"]

Floats = NDArray[np.float64]

_LONGEST_CHAIN = 64
_MOST_VALUES = 1 << 20
_UNIT_LENGTH = 1e-3
_SAME_PX = 0.01


class TransformationError(Exception):
    """A chain does not lead to the laboratory; the text says why."""


class _Place(NamedTuple):
    """What a chain makes of a point: it is turned, then moved."""

    turn: Floats
    move_m: Floats


def module_vectors(detector: h5py.Group) -> dict[str, Any] | None:
    """Return where the pixels of a detector lie, from its modules; None when they do not say.

    Raises
    ------
    TransformationError
        They cannot be followed, or lie in several planes.
    """
    found = []
    for name in detector:
        module = detector.get(name)
        if (
            isinstance(module, h5py.Group)
            and _text(module.attrs.get("NX_class")) == "NXdetector_module"
            and isinstance(module.get("fast_pixel_direction"), h5py.Dataset)
            and isinstance(module.get("slow_pixel_direction"), h5py.Dataset)
        ):
            found.append((module.name, *_vectors(module)))
    if not found:
        return None
    name, origin, fast, slow = found[0]
    for other, *vectors in found[1:]:
        apart = np.concatenate(
            [vectors[0] - origin, 1e4 * (vectors[1] - fast), 1e4 * (vectors[2] - slow)]
        )
        if np.max(np.abs(apart)) > _SAME_PX * np.linalg.norm(fast):
            raise TransformationError(
                f"{name} and {other} do not lie in one plane of pixels, which is not supported"
            )
    return {
        "origin_m": origin.tolist(),
        "fast_m": fast.tolist(),
        "slow_m": slow.tolist(),
        "said": f"{name} and what it depends on",
    }


def turned(detector: h5py.Group) -> tuple[float, float, str]:
    """Return by how many degrees a detector is turned, how far along the beam it is, who says so.

    Raises
    ------
    TransformationError
        What it depends on cannot be followed.
    """
    first = detector.get("depends_on")
    if not isinstance(first, h5py.Dataset):
        return 0.0, 0.0, ""
    name = _text(first[()])
    place = _chain(detector, name)
    # More exact for small angles than the cosine of the trace.
    angle = math.degrees(
        2 * math.asin(min(float(np.linalg.norm(place.turn - np.eye(3))) / 8**0.5, 1.0))
    )
    return angle, float(place.move_m[2]), posixpath.join(str(detector.name), name)


def _vectors(module: h5py.Group) -> tuple[Floats, Floats, Floats]:
    """Return the centre of the first pixel of the image, and the steps along fast and slow axes."""
    steps = []
    for name in ("fast_pixel_direction", "slow_pixel_direction"):
        direction = module[name]
        place = _chain(module, _depends_on(direction))
        steps.append(place.turn @ (_unit(direction) * _value(direction, "length")))
    offset = module.get("module_offset")
    if isinstance(offset, h5py.Dataset):
        origin = _chain(module, str(offset.name)).move_m
    else:
        origin = _chain(module, _depends_on(module["fast_pixel_direction"])).move_m
    start = module.get("data_origin")
    if isinstance(start, h5py.Dataset) and start.size in (2, 3):
        row, col = np.asarray(start[()], np.float64).ravel()[-2:]
        origin = origin - col * steps[0] - row * steps[1]
    return origin, steps[0], steps[1]


def _chain(group: h5py.Group, path: str) -> _Place:
    """Return what a transformation makes of a point, with all that it depends on."""
    place = _Place(np.eye(3), np.zeros(3))
    for _ in range(_LONGEST_CHAIN):
        if path in (".", ""):
            return place
        # A path is absolute, or below the group in which it stands.
        item = group.get(path)
        if not isinstance(item, h5py.Dataset):
            raise TransformationError(
                f"{group.name} depends on {path}, which is not there or no transformation"
            )
        step = _step(item)
        place = _Place(step.turn @ place.turn, step.turn @ place.move_m + step.move_m)
        group, path = item.parent, _depends_on(item)
    raise TransformationError(f"what {group.name} depends on never ends")


def _step(item: h5py.Dataset) -> _Place:
    kind = _text(item.attrs.get("transformation_type")).lower()
    offset = np.zeros(3)
    if "offset" in item.attrs:
        offset = _three(item, "offset")
        unit = _text(item.attrs.get("offset_units", item.attrs.get("units", "")))
        scale = factor(unit, "length") if unit else None
        if np.any(offset) and scale is None:
            raise TransformationError(f"the offset of {item.name} has no unit of length")
        offset = offset * (scale or 0.0)
    if kind == "translation":
        length = _value(item, "length")
        return _Place(np.eye(3), offset + (_unit(item) * length if length else 0.0))
    if kind == "rotation":
        return _Place(_rotation(_unit(item), _value(item, "angle")), offset)
    raise TransformationError(f"{item.name} is neither a translation nor a rotation")


def _rotation(axis: Floats, angle: float) -> Floats:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn: Floats = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
    return turn


def _value(item: h5py.Dataset, quantity: Any) -> float:
    """Return the one value of a transformation, in metres or radians."""
    if item.shape is None or item.dtype.kind not in "iuf" or not 0 < item.size <= _MOST_VALUES:
        raise TransformationError(f"{item.name} is no number")
    if not lies_in_file(item):
        raise TransformationError(f"{item.name} is cut off")
    values = np.asarray(item[()], np.float64).ravel()
    if not np.all(np.isfinite(values)):
        raise TransformationError(f"{item.name} is no number")
    if np.ptp(values) > 1e-9 * abs(values[0]):
        raise TransformationError(f"{item.name} changes during the series")
    unit = _text(item.attrs.get("units", ""))
    scale = factor(unit, quantity)
    if values[0] == 0:
        return 0.0
    if scale is None:
        raise TransformationError(f"{item.name} has {unit or 'no unit'} as unit of {quantity}")
    return float(values[0] * scale)


def _unit(item: h5py.Dataset) -> Floats:
    vector = _three(item, "vector")
    length = float(np.linalg.norm(vector))
    if abs(length - 1) > _UNIT_LENGTH:
        raise TransformationError(f"the vector of {item.name} is {length:g} long instead of 1")
    return vector / length


def _three(item: h5py.Dataset, name: str) -> Floats:
    try:
        values = np.asarray(item.attrs.get(name), np.float64).ravel()
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (3,) or not np.all(np.isfinite(values)):
        raise TransformationError(f"{item.name} has no {name}")
    return values


def _depends_on(item: h5py.Dataset) -> str:
    return _text(item.attrs.get("depends_on", "."))


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return value.strip() if isinstance(value, str) else ""
