"""Groups and fields of NeXus files."""

from __future__ import annotations

from typing import Any

import h5py

__all__ = ["put_field", "put_group"]


def put_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """Return a group of a class, made if it is not there."""
    group = parent.require_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def put_field(group: h5py.Group, name: str, value: Any, units: str | None = None) -> None:
    """Write a value, with its units where it has any."""
    # HDF5 ends a text at its first zero, which h5py therefore refuses.
    group[name] = (
        value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
    )
    if units:
        group[name].attrs["units"] = units
