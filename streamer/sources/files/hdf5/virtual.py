"""Which frames of which files a virtual dataset is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError
from streamer.sources.files.hdf5.chunks import file_name
from streamer.sources.files.hdf5.nexus import lookup

__all__ = ["MOST_FRAMES", "VirtualSource", "selected", "virtual_sources"]

_UNLIMITED = 1 << 62
MOST_FRAMES = 1 << 25
_MOST_SOURCES = 1 << 17
_Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VirtualSource:
    """A dataset that holds some of the frames."""

    frames: _Indices
    """Those of the virtual dataset."""
    is_whole: bool
    """Whether it holds them whole, not tiles of them."""
    file: str
    path: str
    space: h5py.h5s.SpaceID
    """What of it is taken."""


def virtual_sources(dataset: h5py.Dataset) -> list[VirtualSource]:
    """Return what a virtual dataset is made of.

    Raises
    ------
    UserError
        It is put together in a way that cannot be followed.
    """
    found: list[VirtualSource] = []
    for source in dataset.virtual_sources():
        if _is_pattern(source.file_name) or _is_pattern(source.dset_name):
            found += _numbered(dataset, source)
            continue
        frames, whole = selected(dataset, source.vspace, dataset.shape)
        found.append(
            VirtualSource(frames, whole, source.file_name, source.dset_name, source.src_space)
        )
    return found


def _is_pattern(name: str) -> bool:
    return "%b" in name.replace("%%", "")


def _numbered(dataset: h5py.Dataset, source: Any) -> Iterator[VirtualSource]:
    """Yield the sources that a pattern names: ``%b`` stands for the number of a block of frames.

    HDF5 ends with the last before the first that lacks; here all are taken that are there.
    """
    space = source.vspace
    if dataset.ndim != 3 or not space.is_regular_hyperslab():
        raise _unfollowed(dataset)
    first, *image = (
        _Axis(*axis) for axis in zip(*space.get_regular_hyperslab(), dataset.shape, strict=True)
    )
    if not all(axis.is_full for axis in image) or first.block >= _UNLIMITED:
        raise _unfollowed(dataset)
    names = _names(dataset, source)
    n_blocks = max(names, default=-1) + 1
    if n_blocks * first.block > MOST_FRAMES or n_blocks > _MOST_SOURCES:
        raise _unfollowed(dataset)
    for number in range(n_blocks):
        start = first.start + number * first.stride
        yield VirtualSource(
            np.arange(start, start + first.block, dtype=np.int64),
            True,
            _with(source.file_name, number),
            _with(source.dset_name, number),
            source.src_space,
        )


def _names(dataset: h5py.Dataset, source: Any) -> list[int]:
    """Return the numbers of the files, or else datasets, that are there."""
    if _is_pattern(source.file_name):
        beside = Path(dataset.file.filename).resolve().parent / source.file_name
        there: Iterable[str] = ()
        if beside.parent.is_dir():
            there = (path.name for path in beside.parent.iterdir())
        pattern = beside.name
    else:
        group_path, _, pattern = source.dset_name.rpartition("/")
        file: Any = dataset.file
        if source.file_name != ".":
            path = Path(dataset.file.filename).resolve().parent / source.file_name
            if not path.is_file():
                return []
            file = h5py.File(path, "r")
        group = lookup(file, group_path or "/")
        there = list(group) if isinstance(group, h5py.Group) else []
    wanted = re.compile(re.escape(pattern.replace("%%", "%")).replace("%b", "(0|[1-9][0-9]{0,8})"))
    return [int(match[1]) for name in there if (match := wanted.fullmatch(name))]


def _with(name: str, number: int) -> str:
    return "%".join(part.replace("%b", str(number)) for part in name.split("%%"))


def _unfollowed(dataset: h5py.Dataset) -> UserError:
    return UserError(
        f"{file_name(dataset)}::{dataset.name} is put together from pieces that cannot be"
        " followed: give a data file instead"
    )


def selected(
    dataset: h5py.Dataset, space: h5py.h5s.SpaceID, shape: tuple[int, ...]
) -> tuple[_Indices, bool]:
    """Return the frames that a selection touches, in order, and whether it has them whole.

    Frames beyond the end of `shape` are -1.
    """
    lead = shape[:-2]
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return np.arange(math.prod(lead), dtype=np.int64), True
    if not space.is_regular_hyperslab():
        raise _unfollowed(dataset)
    slab: tuple[tuple[int, ...], ...] = space.get_regular_hyperslab()
    axes = [_Axis(*axis) for axis in zip(*slab, shape, strict=True)]
    frames = np.zeros((1,) * len(lead), np.int64)
    beyond = np.zeros((1,) * len(lead), bool)
    for number, axis in enumerate(axes[: len(lead)]):
        along = axis.indices().reshape((-1,) + (1,) * (len(lead) - 1 - number))
        frames = frames * axis.size + along
        beyond = beyond | (along >= axis.size)
    return np.where(beyond, -1, frames).ravel(), axes[-2].is_full and axes[-1].is_full


@dataclass(frozen=True, slots=True)
class _Axis:
    """What a hyperslab takes of one axis: `count` blocks of `block`, one each `stride`."""

    start: int
    stride: int
    count: int
    block: int
    size: int

    def indices(self) -> NDArray[Any]:
        """Return the places taken; an unlimited selection ends with the axis."""
        room = max(0, self.size - self.start)
        count = self.count if self.count < _UNLIMITED else -(-room // self.stride)
        block = self.block if self.block < _UNLIMITED else room
        starts = self.start + self.stride * np.arange(count, dtype=np.int64)
        return np.asarray((starts[:, None] + np.arange(block)).ravel())

    @property
    def is_full(self) -> bool:
        """True when the whole axis is taken."""
        return len(self.indices()) == self.size and self.start == 0
