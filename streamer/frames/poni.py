"""The calibration files of pyFAI."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamer.documents import read_regular
from streamer.errors import UserError
from streamer.frames.detectors import known_detector

__all__ = ["read_poni"]

_NOT_BINNED: tuple[Any, ...] = (None, 1, [1, 1])
_NO_FILE = (None, "", "None", "none")


def read_poni(path: Path) -> dict[str, Any]:
    """Return the parameters of a `streamer.frames.geometry.Geometry` from a file of version 1 to 3.

    Raises
    ------
    UserError
        It cannot be read, is incomplete, or of a detector that is not flat.
    """
    try:
        lines = read_regular(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UserError(f"cannot read {path}: {reason}") from None
    says: dict[str, str] = {}
    for line in lines:  # of entries that follow on each other the last holds
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            says[key.strip().lower()] = value.strip()
    try:
        return _parameters(says) | {"source": str(path)}
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _parameters(says: Mapping[str, str]) -> dict[str, Any]:
    detector = _detector(says)
    poni = [_number(says, "Poni1"), _number(says, "Poni2")]
    pixel = [_number(detector, "pixel1"), _number(detector, "pixel2")]
    orientation = detector.get("orientation") or 3
    if orientation not in (1, 2, 3, 4):
        raise ValueError(f"orientation {orientation!r} of its detector is not supported")
    # Rows run against the axis in orientations 1 and 2, columns in 1 and 4.
    for axis, against in enumerate(((1, 2), (1, 4))):
        if orientation in against:
            shape = detector.get("max_shape")
            if not isinstance(shape, list) or len(shape) != 2:
                raise ValueError(f"orientation {orientation} needs max_shape in Detector_config")
            poni[axis] -= _float(shape[axis], "max_shape") * pixel[axis]
            pixel[axis] = -pixel[axis]
    known = says.get("wavelength", "None") != "None"
    return {
        "distance_m": _number(says, "Distance"),
        "poni1_m": poni[0],
        "poni2_m": poni[1],
        "rot1": _number(says, "Rot1"),
        "rot2": _number(says, "Rot2"),
        "rot3": _number(says, "Rot3"),
        "pixel1_m": pixel[0],
        "pixel2_m": pixel[1],
        "wavelength_a": 1e10 * _number(says, "Wavelength") if known else math.nan,
    }


def _detector(says: Mapping[str, str]) -> dict[str, Any]:
    """Return the detector's configuration, with the pixel sizes of whatever version."""
    try:
        detector = json.loads(says.get("detector_config", "{}"))
    except (ValueError, RecursionError):
        detector = None
    if not isinstance(detector, dict):
        raise ValueError("its Detector_config is not a JSON object")
    for number in "12":
        size = says.get(f"pixelsize{number}", says.get(f"pixel{number}"))
        if size is not None:
            detector.setdefault(f"pixel{number}", size)
    name = says.get("detector", "unknown")
    known = known_detector(name)
    if known is not None:
        sizes = {detector.setdefault(f"pixel{number}", known.pixel_m) for number in "12"}
        if sizes == {known.pixel_m} and detector.get("max_shape") is None:
            detector["max_shape"] = list(known.shape)
    if detector.get("binning") not in _NOT_BINNED:
        raise ValueError(f"its detector ({name}) is binned: write pixel1, pixel2 and max_shape")
    spline = detector.get("splineFile") or says.get("splinefile")
    if detector.get("radius") or spline not in _NO_FILE:
        raise ValueError(f"its detector ({name}) is not flat or is distorted: not supported")
    if says.get("parallax", "").lower() == "true":
        raise ValueError("it asks for parallax correction, which is not supported")
    if "pixel1" not in detector or "pixel2" not in detector:
        raise ValueError(
            f"it names its detector ({name}) without pixel sizes: add "
            'Detector_config: {"pixel1": METRES, "pixel2": METRES}'
        )
    return detector


def _number(source: Mapping[str, Any], key: str) -> float:
    value = source.get(key.lower())
    if value is None:
        raise ValueError(f"{key} is missing")
    return _float(value, key)


def _float(value: Any, key: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{key} = {reprlib.repr(value)} is not a number") from None
