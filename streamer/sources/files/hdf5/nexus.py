"""What a NeXus or Eiger HDF5 file says about its frames."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from streamer.frames.metadata import ZONELESS, positive, time_of
from streamer.frames.units import Quantity, factor
from streamer.sources.files.hdf5.files import lies_in_file
from streamer.sources.files.hdf5.placement import placement, unit_of

__all__ = ["Description", "announced", "describe", "lookup"]


# Below the entry; {d} is the detector group. The names are those of the live stream.
_FIELDS: dict[str, tuple[Quantity | None, tuple[str, ...]]] = {
    "count_time": ("time", ("{d}/count_time",)),
    "detector_description": (None, ("{d}/description",)),
    "detector_serial_number": (None, ("{d}/detector_number", "{d}/serial_number")),
    "sensor_material": (None, ("{d}/sensor_material",)),
    "sensor_thickness": ("length", ("{d}/sensor_thickness",)),
    "threshold_energy": (
        "energy",
        ("{d}/{c}_channel/threshold_energy", "{d}/threshold_energy"),
    ),
}
_MOST_TIMES = 1 << 25
_LONGEST_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a file says about its frames; None where it does not."""

    frame_time_s: float | None = None
    start_ns: int | None = None
    """Start of the first exposure, Unix time in ns."""
    offsets_ns: NDArray[np.int64] | None = None
    """(frames,) start of each exposure after `start_ns`."""
    pixel_mask: NDArray[np.bool_] | None = None
    """(rows, cols), True where a pixel must not be used."""
    flatfield: NDArray[np.float32] | None = None
    """(rows, cols), None also when the detector applied it already."""
    saturation: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """In m, s, eV, angstrom and pixels; plain types only."""


def describe(file: h5py.File, entry_name: str, channel: str, shape: tuple[int, int]) -> Description:
    """Read what a file says about the frames of one of its entries.

    Parameters
    ----------
    entry_name
        The entry, such as ``entry``.
    channel
        Channel of the detector, where the file has several.
    shape
        (rows, cols) of a frame: a mask or flat field of another shape is left out with a warning.
    """
    entry = lookup(file, entry_name)
    if not isinstance(entry, h5py.Group):
        return Description()
    names = {"d": _detector(entry), "c": channel}

    def find(*paths: str) -> h5py.Dataset | None:
        for path in paths:
            item = lookup(entry, path.format(**names))
            if isinstance(item, h5py.Dataset):
                return item
        return None

    metadata = _stream_header(find("{d}/detectorSpecific/stream_header"))
    warnings: list[str] = []
    for key, (quantity, paths) in _FIELDS.items():
        value = _plain(find(*paths), quantity)
        if value is not None:
            metadata[key] = value
    metadata |= placement(entry, names["d"], find, warnings)
    mask = _image(
        find("{d}/{c}_channel/pixel_mask", "{d}/pixel_mask", "{d}/detectorSpecific/pixel_mask"),
        shape,
        warnings,
    )
    flat = None
    applied = find("{d}/flatfield_applied", "{d}/flatfield_correction_applied")
    if not _number(applied):
        flat = _image(
            find("{d}/{c}_channel/flatfield", "{d}/flatfield", "{d}/detectorSpecific/flatfield"),
            shape,
            warnings,
        )
    offsets = find("data/start_time")
    offsets_ns = None
    if (
        offsets is not None
        and offsets.dtype.kind in "iuf"
        and offsets.ndim == 1
        and offsets.size <= _MOST_TIMES
    ):
        seconds = np.asarray(offsets[()], np.float64)
        if np.all(np.abs(seconds) < _LONGEST_S):  # false where one is not a number
            offsets_ns = np.rint(seconds * 1e9).astype(np.int64)
    start_ns, has_zone = _time_ns(
        find(
            "start_time",
            "{d}/detectorSpecific/data_collection_date",
            "{d}/data_collection_date",
        )
    )
    if not has_zone:
        warnings.append(ZONELESS)
    if warnings:
        metadata["warnings"] = warnings
    saturation = find("{d}/{c}_channel/saturation_value", "{d}/saturation_value")
    return Description(
        frame_time_s=positive(_number(find("{d}/frame_time"), "time")),
        start_ns=start_ns,
        offsets_ns=offsets_ns,
        pixel_mask=None if mask is None else mask != 0,
        flatfield=None if flat is None else flat.astype(np.float32),
        saturation=positive(_number(saturation)),
        metadata=metadata,
    )


def announced(file: h5py.File, entry_name: str) -> int | None:
    """Return the number of frames the detector was told to take, None when the file is silent."""
    specific = f"{entry_name}/instrument/detector/detectorSpecific"
    images, triggers, mode = (
        lookup(file, f"{specific}/{key}") for key in ("nimages", "ntrigger", "trigger_mode")
    )
    n_images, n_triggers = positive(_number(images)), positive(_number(triggers)) or 1
    if n_images is None:
        return None
    # With an enabling signal each trigger is one image.
    return int(n_triggers if _plain(mode) in ("inte", "exte") else n_images * n_triggers)


def lookup(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return what lies at a path, None when there is nothing or its link leads nowhere."""
    try:
        return group[path]
    except (KeyError, OSError, RuntimeError, ValueError):
        return None


def _detector(entry: h5py.Group) -> str:
    """Return the path of the detector group below an entry."""
    instrument = lookup(entry, "instrument")
    if isinstance(instrument, h5py.Group) and "detector" not in instrument:
        for name in instrument:
            item = lookup(instrument, name)
            kind = item.attrs.get("NX_class") if isinstance(item, h5py.Group) else None
            if kind in ("NXdetector", b"NXdetector"):
                return f"instrument/{name}"
    return "instrument/detector"


def _image(
    dataset: h5py.Dataset | None, shape: tuple[int, int], warnings: list[str]
) -> NDArray[Any] | None:
    if dataset is None:
        return None
    if dataset.shape is None or dataset.shape[-2:] != shape or dataset.size != math.prod(shape):
        warnings.append(f"{dataset.name} has shape {dataset.shape}, frames {shape}: not used")
        return None
    if not lies_in_file(dataset):
        warnings.append(f"{dataset.name} is cut off: not used")
        return None
    try:
        image: NDArray[Any] = dataset[()].reshape(shape)
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        warnings.append(f"{dataset.name} cannot be read ({error}): not used")
        return None
    return image


def _plain(
    dataset: h5py.Dataset | h5py.Group | None, quantity: Quantity | None = None
) -> float | int | str | list[float] | None:
    """Return a scalar, a short list or a text as plain Python; None when its unit is not known."""
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None or not 0 < dataset.size <= 16:
        return None
    try:
        if not lies_in_file(dataset):
            return None
        value = dataset[()]
    except (OSError, RuntimeError, TypeError, ValueError):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    array = np.asarray(value)
    if array.size == 1:
        array = array.reshape(())
    if array.dtype.kind in "SO":
        item = array.item() if array.ndim == 0 else None
        return item.decode("utf-8", "replace") if isinstance(item, bytes) else None
    if array.dtype.kind not in "biuf":
        return None
    unit = unit_of(dataset) if quantity is not None else None
    scale = 1 if unit is None or quantity is None else factor(unit, quantity)
    if scale is None:
        return None
    result: float | int | list[float] = (array if scale == 1 else array * scale).tolist()
    return result


def _stream_header(dataset: h5py.Dataset | None) -> dict[str, Any]:
    """Return what a stream said before it was recorded."""
    text = _plain(dataset)
    try:
        header = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        header = {}
    return header if isinstance(header, dict) else {}


def _number(
    dataset: h5py.Dataset | h5py.Group | None, quantity: Quantity | None = None
) -> float | None:
    value = _plain(dataset, quantity)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _time_ns(dataset: h5py.Dataset | None) -> tuple[int | None, bool]:
    """Return a date as Unix time in ns, None of what is none, and whether it names its zone."""
    text = _plain(dataset)
    if not isinstance(text, str):
        return None, True
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        return None, True
    return time_of(date), date.tzinfo is not None
