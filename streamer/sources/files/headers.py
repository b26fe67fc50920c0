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

__all__ = ["HeaderMetadata", "of_keys", "of_marccd", "of_pilatus"]

_NUMBER = r"[:=\s(]+([-+0-9.eE]+)"
_PILATUS = {
    "count_time": rf"Exposure_time{_NUMBER}",
    "frame_time": rf"Exposure_period{_NUMBER}",
    "saturation": rf"Count_cutoff{_NUMBER}",
    "incident_wavelength": rf"Wavelength{_NUMBER}",
    "incident_energy": rf"Energy{_NUMBER}",
    "detector_distance": rf"Detector_distance{_NUMBER}",
    "threshold_energy": rf"Threshold_setting{_NUMBER}",
    "beam_center_x": rf"Beam_xy{_NUMBER}",
    "beam_center_y": r"Beam_xy[:=\s(]+[-+0-9.eE]+[,\s]+([-+0-9.eE]+)",
    "pixel_size_x": rf"Pixel_size{_NUMBER}",
    "pixel_size_y": r"Pixel_size.*? x ([-+0-9.eE]+)",
    "sensor_thickness": rf"sensor, thickness{_NUMBER}",
}
_PILATUS_TEXTS = {
    "detector_description": r"Detector: *([^,\r\n]+)",
    "detector_serial_number": r"S/N *([^\s,]+)",
    "sensor_material": r"# *(\w+) sensor, thickness",
}
_DATE = re.compile(r"\d{4}[-/](?:\d\d|[A-Z][a-z]{2})[-/]\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?")

# Keys of EDF headers and the like in lower case, with the factor to our unit.
_KEYS = {
    "count_time": (
        ("count_time", 1.0),
        ("acq_expo_time", 1.0),
        ("exposuretime", 1.0),
        ("exposure_time", 1.0),
        ("expo_time", 1.0),
    ),
    "latency": (("acq_latency_time", 1.0), ("latency_time", 1.0)),
    "frame_time": (("frame_time", 1.0), ("exposure_period", 1.0), ("acq_period", 1.0)),
    "incident_wavelength": (("wavelength", 1e10),),
    "detector_distance": (("sampledistance", 1.0),),
    "beam_center_x": (("center_1", 1.0),),
    "beam_center_y": (("center_2", 1.0),),
    "pixel_size_x": (("psize_1", 1.0),),
    "pixel_size_y": (("psize_2", 1.0),),
    "time": (("time_of_day", 1.0),),
}

_MARCCD = {
    "detector_distance": (640, 1e-6),
    "beam_center_x": (644, 1e-3),
    "beam_center_y": (648, 1e-3),
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
    values = {key: _float(_found(pattern, text)) for key, pattern in _PILATUS.items()}
    texts = {key: _found(pattern, text) for key, pattern in _PILATUS_TEXTS.items()}
    date = _DATE.search(text)
    return _dated(_facts(values, None if date is None else _date_ns(date[0]), texts))


def of_keys(header: Mapping[str, Any]) -> HeaderMetadata:
    """Read the keys of an EDF header, or of one like it."""
    lower = {str(key).lower(): value for key, value in header.items()}
    values: dict[str, float | None] = {}
    for name, keys in _KEYS.items():
        found = [(_float(lower[key]), factor) for key, factor in keys if key in lower]
        values[name] = next((value * factor for value, factor in found if value), None)
    latency, start = values.pop("latency"), values.pop("time")
    if values["frame_time"] is None and values["count_time"] and latency is not None:
        values["frame_time"] = values["count_time"] + latency
    return _facts(values, None if start is None else unix_ns(start * 1e9), {})


def of_marccd(header: bytes) -> HeaderMetadata:
    """Read the 3072 bytes that a MarCCD writes behind the first 1024 of a TIFF file."""
    order = next(
        (o for o in "<>" if header[_MARCCD_SIZE_AT:][:4] == struct.pack(f"{o}I", 3072)), ""
    )
    if not order or len(header) < 3072:
        return HeaderMetadata()

    def number(offset: int) -> int:
        return int(struct.unpack_from(f"{order}i", header, offset)[0])

    values = {key: positive(number(at) * factor) for key, (at, factor) in _MARCCD.items()}
    values["saturation"] = positive(float(number(_MARCCD_SATURATION_AT)))
    stamp = header[_MARCCD_DATE_AT:][:32].split(b"\0")[0].decode("ascii", "replace").strip()
    start_ns = None
    if re.fullmatch(r"\d{12}\.\d\d", stamp):
        try:
            start_ns = time_of(datetime.strptime(stamp, "%m%d%H%M%Y.%S"))  # noqa: DTZ007
        except ValueError:
            start_ns = None
    return _dated(_facts(values, start_ns, {}))


def _dated(known: HeaderMetadata) -> HeaderMetadata:
    """Say of a date that it named no zone."""
    if known.start_ns is not None:
        known.metadata["warnings"] = [ZONELESS]
    return known


def _facts(
    values: dict[str, float | None], start_ns: int | None, texts: Mapping[str, str | None]
) -> HeaderMetadata:
    frame_time_s, saturation = values.pop("frame_time", None), values.pop("saturation", None)
    metadata = {key: value for key, value in (values | dict(texts)).items() if value is not None}
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
