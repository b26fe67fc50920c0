"""What the headers of image files say about the exposure.

Names and units are those of the live stream: m, s, eV, angstrom and pixels.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streamer.frames.metadata import ZONELESS, positive, time_of, unix_ns
from streamer.frames.units import Quantity, factor

__all__ = ["HeaderMetadata", "of_keys", "of_marccd", "of_pilatus"]

_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
_UNIT = r"[ \t_\[)]*((?!x\b)[A-Za-zµμÅ°]*)"
_AFTER = r"[:=\s(]+"
_VALUE = f"{_AFTER}{_NUMBER}{_UNIT}"
_BOTH = rf"{_AFTER}[-+0-9.eE]+[,\s]+"
# What is said, in which quantity, and how: the number and its unit.
_PILATUS: dict[str, tuple[Quantity, str]] = {
    "count_time": ("time", rf"Exposure_time{_VALUE}"),
    "frame_time": ("time", rf"Exposure_period{_VALUE}"),
    "incident_wavelength": ("wavelength", rf"Wavelength{_VALUE}"),
    "incident_energy": ("energy", rf"Energy{_VALUE}"),
    "detector_distance": ("length", rf"Detector_distance{_VALUE}"),
    "two_theta_start": ("angle", rf"Detector_2theta{_VALUE}"),
    "threshold_energy": ("energy", rf"Threshold_setting{_VALUE}"),
    "pixel_size_x": ("length", rf"Pixel_size{_VALUE}"),
    "pixel_size_y": ("length", rf"Pixel_size.*? x {_NUMBER}{_UNIT}"),
    "beam_center_x": ("pixels", rf"Beam_xy{_AFTER}{_NUMBER}[,\s]+[-+0-9.eE]+{_UNIT}"),
    "beam_center_y": ("pixels", rf"Beam_xy{_BOTH}{_NUMBER}{_UNIT}"),
    "sensor_thickness": ("length", rf"sensor, thickness{_VALUE}"),
}
_PILATUS_SATURATION = f"Count_cutoff{_AFTER}{_NUMBER}"
_PILATUS_TEXTS = {
    "detector_description": r"Detector: *([^,\r\n]+)",
    "detector_serial_number": r"S/N *([^\s,]+)",
    "sensor_material": r"# *(\w+) sensor, thickness",
}
_DATE = re.compile(r"\d{4}[-/](?:\d\d|[A-Z][a-z]{2})[-/]\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?")

# Keys of EDF headers and the like in lower case.
_KEYS: dict[str, tuple[Quantity, tuple[str, ...]]] = {
    "count_time": (
        "time",
        ("count_time", "acq_expo_time", "exposuretime", "exposure_time", "expo_time"),
    ),
    "latency": ("time", ("acq_latency_time", "latency_time")),
    "frame_time": ("time", ("frame_time", "exposure_period", "acq_period")),
    "incident_wavelength": ("wavelength", ("wavelength",)),
    "detector_distance": ("length", ("sampledistance",)),
    "pixel_size_x": ("length", ("psize_1",)),
    "pixel_size_y": ("length", ("psize_2",)),
    "beam_center_x": ("pixels", ("center_1",)),
    "beam_center_y": ("pixels", ("center_2",)),
    "time": ("time", ("time_of_day",)),
}

_MARCCD = {
    "detector_distance": (640, 1e-6),
    "beam_center_x": (644, 1e-3),
    "beam_center_y": (648, 1e-3),
    "two_theta_start": (668, 1e-3),
    "count_time": (656, 1e-3),
    "pixel_size_x": (772, 1e-9),
    "pixel_size_y": (776, 1e-9),
    "incident_wavelength": (908, 1e-5),
}
_MARCCD_SIZE_AT, _MARCCD_SATURATION_AT, _MARCCD_DATE_AT = 36, 104, 1344


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMetadata:
    """What a header says; None where it does not."""

    frame_time_s: float | None = None
    start_ns: int | None = None
    """Start of the exposure of the first frame, Unix time in ns."""
    saturation: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def time_of_frame(self, frame: int) -> int | None:
        """Return the start of the exposure of a frame of the same file."""
        if self.start_ns is None or (frame and self.frame_time_s is None):
            return None
        return self.start_ns + round(frame * (self.frame_time_s or 0.0) * 1e9)


def of_pilatus(text: str) -> HeaderMetadata:
    """Read the comments that a Pilatus writes into CBF and TIFF files."""
    said = _Said()
    for name, (quantity, pattern) in _PILATUS.items():
        if match := re.search(pattern, text):
            said.take(name, match[1], match[2], quantity)
    texts = {key: _found(pattern, text) for key, pattern in _PILATUS_TEXTS.items()}
    said.values["saturation"] = _float(_found(_PILATUS_SATURATION, text))
    date = _DATE.search(text)
    start_ns = None if date is None else _date_ns(date[0])
    if start_ns is not None:
        said.warnings.append(ZONELESS)
    return _facts(said.values, start_ns, texts, said.warnings)


def of_keys(header: Mapping[str, Any], wavelength_in: str = "m") -> HeaderMetadata:
    """Read the keys of an EDF header, or of one like it.

    Parameters
    ----------
    wavelength_in
        Unit of a wavelength that has none.
    """
    lower = {str(key).lower(): value for key, value in header.items()}
    said = _Said()
    for name, (quantity, keys) in _KEYS.items():
        for key in keys:
            match = re.match(rf"\s*{_NUMBER}{_UNIT}", str(lower.get(key, "")))
            if match is None or not _float(match[1]):
                continue
            said.take(name, match[1], match[2], quantity, wavelength_in, key)
            break
    values = said.values
    latency, start = values.pop("latency", None), values.pop("time", None)
    count_time = values.get("count_time")
    if values.get("frame_time") is None and count_time and latency is not None:
        values["frame_time"] = count_time + latency
    return _facts(values, None if start is None else unix_ns(start * 1e9), {}, said.warnings)


def of_marccd(header: bytes) -> HeaderMetadata:
    """Read the 3072 bytes that a MarCCD writes behind the first 1024 of a TIFF file."""
    order = next(
        (o for o in "<>" if header[_MARCCD_SIZE_AT:][:4] == struct.pack(f"{o}I", 3072)), ""
    )
    if not order or len(header) < 3072:
        return HeaderMetadata()

    def number(offset: int) -> int:
        return int(struct.unpack_from(f"{order}i", header, offset)[0])

    values = {key: positive(number(at) * scale) for key, (at, scale) in _MARCCD.items()}
    values["saturation"] = positive(float(number(_MARCCD_SATURATION_AT)))
    stamp = header[_MARCCD_DATE_AT:][:32].split(b"\0")[0].decode("ascii", "replace").strip()
    start_ns = None
    if re.fullmatch(r"\d{12}\.\d\d", stamp):
        try:
            start_ns = time_of(datetime.strptime(stamp, "%m%d%H%M%Y.%S"))  # noqa: DTZ007
        except ValueError:
            start_ns = None
    return _facts(values, start_ns, {}, [] if start_ns is None else [ZONELESS])


@dataclass(slots=True)
class _Said:
    """Takes numbers with their units."""

    values: dict[str, float | None] = field(default_factory=dict)
    """In our units."""
    warnings: list[str] = field(default_factory=list)

    def take(
        self,
        name: str,
        number: str,
        unit: str,
        quantity: Quantity,
        wavelength_in: str = "angstrom",
        key: str = "",
    ) -> None:
        """Take a number in the unit that stands behind it, or in what is usual where none does."""
        value = _float(number)
        if quantity == "wavelength":
            unit = unit or wavelength_in
        elif quantity == "angle":
            unit = unit or "degree"
        scale = factor(unit, quantity) if unit else 1.0
        length, size = factor(unit, "length"), self.values.get(f"pixel_size_{name[-1]}")
        if scale is None and quantity == "pixels" and length and size:
            scale = length / size
        if value is not None and scale is None:
            self.warnings.append(
                f"{key or name} in the header is in {unit}, which is not understood: not used"
            )
        elif value is not None and scale is not None:
            value *= scale
            self.values[name] = math.degrees(value) if quantity == "angle" else value


def _facts(
    values: dict[str, float | None],
    start_ns: int | None,
    texts: Mapping[str, str | None],
    warnings: list[str],
) -> HeaderMetadata:
    frame_time_s, saturation = values.pop("frame_time", None), values.pop("saturation", None)
    metadata: dict[str, Any] = {
        key: value for key, value in (values | dict(texts)).items() if value is not None
    }
    if warnings:
        metadata["warnings"] = warnings
    return HeaderMetadata(
        frame_time_s=positive(frame_time_s),
        start_ns=start_ns,
        saturation=positive(saturation),
        metadata=metadata,
    )


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return None if match is None else match[1].strip()


def _float(value: object) -> float | None:
    """Return the number that a value begins with."""
    try:
        number = float(str(value).split()[0])
    except (ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None


def _date_ns(text: str) -> int | None:
    iso = text.replace("T", " ")
    for form in ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y/%b/%d %H:%M:%S"):
        for fraction in (".%f", ""):
            try:
                return time_of(datetime.strptime(iso, form + fraction))  # noqa: DTZ007
            except ValueError:
                continue
    return None
