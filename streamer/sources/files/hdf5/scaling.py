"""Numbers that were packed into others: what they stand for is said beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from streamer.errors import UserError
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Pixels
from streamer.frames.pixels import as_bytes
from streamer.sources.files.hdf5.nexus import lookup

__all__ = ["Scaling", "scaling_in", "scaling_of"]

_FACTORS = ("scale_factor", "scaling_factor")
_OFFSETS = ("add_offset", "offset")  # the latter of fields alone: as an attribute it is a vector
_FILLS = ("_FillValue", "missing_value")


@dataclass(frozen=True, slots=True)
class Scaling:
    """Counts are ``factor*number + offset``, as netCDF and NeXus have it."""

    factor: float
    offset: float
    fill: float | None
    """The number of pixels that hold nothing."""

    def in_words(self) -> str:
        """Say what is done."""
        said = f"its numbers are multiplied by {self.factor:g}"
        return said + (f" and {self.offset:g} is added" if self.offset else "") + ", as it says"

    def __call__(self, pixels: Pixels) -> Pixels | str:
        """Return what packed pixels stand for, or why that cannot be had.

        Numbers that mark gaps, the fill value and the largest of an unsigned type, are none then.
        """
        try:
            packed = decode(*pixels)
        except DecodeError as error:
            return f"cannot be decoded: {error}"
        counts = packed.astype(np.float32) * np.float32(self.factor) + np.float32(self.offset)
        if packed.dtype.kind == "u":
            counts[packed == np.iinfo(packed.dtype).max] = np.nan
        if self.fill is not None:
            counts[packed == self.fill] = np.nan
        return Pixels(as_bytes(counts), "raw", counts.dtype.str, pixels.shape)


def scaling_in(attributes: Any, where: str) -> Scaling | None:
    """Return how the numbers of an array are to be read by its attributes, as `scaling_of`."""
    factor = _number(attributes, _FACTORS, where)
    offset = _number(attributes, _OFFSETS[:1], where)
    return _scaling(factor, offset, attributes, where)


def scaling_of(dataset: h5py.Dataset) -> Scaling | None:
    """Return how the numbers of a dataset are to be read; None where they are what they are.

    It is said by attributes, or, as NeXus has it, by fields beside it in a group of class NXdata.

    Raises
    ------
    UserError
        What is said is not one number.
    """
    where = f"{dataset.file.filename}::{dataset.name}"
    factor = _said(dataset, where, _FACTORS)
    offset = _said(dataset, where, _OFFSETS)
    return _scaling(factor, offset, dataset.attrs, where)


def _scaling(
    factor: float | None, offset: float | None, attributes: Any, where: str
) -> Scaling | None:
    factor, offset = 1.0 if factor is None else factor, offset or 0.0
    if (factor, offset) == (1.0, 0.0):
        return None
    return Scaling(factor, offset, _number(attributes, _FILLS, where))


def _said(dataset: h5py.Dataset, where: str, names: tuple[str, ...]) -> float | None:
    attributes = names[:1] if names is _OFFSETS else names
    found = _number(dataset.attrs, attributes, where)
    parent = dataset.parent
    if found is not None or parent.attrs.get("NX_class") not in ("NXdata", b"NXdata"):
        return found
    own = dataset.name.rpartition("/")[2]
    fields = {}
    for name in (f"{own}_{names[1]}", names[1]):
        item = lookup(parent, name)
        if isinstance(item, h5py.Dataset) and item.size == 1:
            fields[name] = item[()]
    return _number(fields, tuple(fields), where)


def _number(said: Any, names: tuple[str, ...], where: str) -> float | None:
    for name in names:
        if name not in said:
            continue
        value = np.asarray(said[name])
        if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value.item()):
            raise UserError(
                f"{where} has {name} {value}: its numbers are read with one factor and one offset"
                " only; save them as counts"
            )
        return float(value.item())
    return None
