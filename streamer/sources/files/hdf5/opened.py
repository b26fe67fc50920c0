"""Datasets of other files, of which a recording may name thousands: few are open at a time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import h5py

from streamer.frames.events import Pixels
from streamer.sources.files.hdf5.chunks import FrameStack, open_stack
from streamer.sources.files.hdf5.files import open_file
from streamer.sources.files.hdf5.nexus import lookup

__all__ = ["OpenStacks"]

_MOST_OPEN = 32


class OpenStacks:
    """Opens datasets when their frames are read, and closes those that were not read for longest.

    Parameters
    ----------
    growing
        Open files as well that are being written.
    """

    def __init__(self, *, growing: bool) -> None:
        self._growing = growing
        self._open: OrderedDict[_Place, FrameStack] = OrderedDict()
        self._newest: tuple[_Place, FrameStack] | None = None

    def stack(self, dataset: h5py.Dataset) -> FrameStack:
        """Return the frames of a dataset, which need not be kept open."""
        path = Path(dataset.file.filename)
        return _Stack(self, _Place(path, dataset.name, dataset.shape, dataset.dtype.str))

    def open(self, place: _Place) -> FrameStack | str:
        """Return the frames as they are read, or why they cannot be had."""
        if self._newest is not None and self._newest[0] is place:
            return self._newest[1]
        found = self._open.get(place) or place.opened(growing=self._growing)
        if isinstance(found, str):
            return found
        self._open[place] = found
        self._newest = place, found
        self._open.move_to_end(place)
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a dataset is to be found, and what it was like."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def opened(self, *, growing: bool) -> FrameStack | str:
        """Open it; its file may have grown since, or be gone."""
        try:
            dataset = lookup(open_file(self.path, growing=growing), self.name)
            if not isinstance(dataset, h5py.Dataset) or not self._fits(dataset):
                return f"file {self.path.name} was changed while it was read"
            return open_stack(dataset)
        except FileNotFoundError:
            return f"file {self.path.name} is missing"
        except (OSError, RuntimeError, ValueError) as error:
            return f"file {self.path.name} cannot be read ({error})"

    def _fits(self, dataset: h5py.Dataset) -> bool:
        shape = dataset.shape or ()
        same = dataset.dtype.str == self.dtype and shape[1:] == self.shape[1:]
        return same and shape[:1] >= self.shape[:1]


@dataclass(frozen=True, slots=True)
class _Stack:
    """The frames of a dataset that is opened for them."""

    among: OpenStacks
    place: _Place

    def coded(self, index: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        stack = self.among.open(self.place)
        return stack if isinstance(stack, str) else stack.coded(index)
