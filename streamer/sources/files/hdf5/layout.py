"""Where each frame of an HDF5 recording lies: behind which link, in which file, at which place.

HDF5 reads what a virtual dataset cannot find as zeros, and a link that leads nowhere looks like one
that does. Here both are found out beforehand, so that a frame is either there or known not to be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError
from streamer.frames.events import Pixels
from streamer.frames.pixels import MAX_FRAME_BYTES, is_pixels
from streamer.sources.files.hdf5.chunks import Decoded, FrameStack, file_name, open_stack
from streamer.sources.files.hdf5.files import is_being_written, is_truncated, open_file
from streamer.sources.files.hdf5.nexus import lookup
from streamer.sources.files.hdf5.opened import OpenStacks
from streamer.sources.files.hdf5.virtual import MOST_FRAMES, selected, virtual_sources

__all__ = ["Layout", "link_numbers", "of_dataset", "of_links", "open_named"]

_MOST_PIXELS = MAX_FRAME_BYTES // 4
_Indices = NDArray[np.int64]


@dataclass(slots=True)
class Layout:
    """A table of frames; each is frame `index` of stack `where`, or lost when `where` < 0."""

    stacks: list[FrameStack]
    reasons: list[str]
    where: NDArray[np.int32]
    """(frames,); -1 - n when lost for reason n."""
    index: _Indices
    """(frames,)."""
    settled: bool = True
    """False when a file is being written, truncated, or not there."""

    @classmethod
    def empty(cls, n_frames: int, reason: str) -> Layout:
        """Return a table of frames that are all lost."""
        return cls([], [reason], np.full(n_frames, -1, np.int32), np.zeros(n_frames, np.int64))

    def __len__(self) -> int:
        return len(self.where)

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        where = int(self.where[frame])
        if where < 0:
            return self.reasons[-1 - where]
        return self.stacks[where].coded(int(self.index[frame]))

    def lose(self, frames: _Indices | slice, reason: str) -> None:
        """Enter frames as lost."""
        self.where[frames] = -1 - len(self.reasons)
        self.reasons.append(reason)

    def put(self, frames: _Indices | slice, part: Layout, of_part: _Indices | slice) -> None:
        """Enter the frames `of_part` of another table as `frames` of this one."""
        where = part.where[of_part]
        shift = np.where(where < 0, -len(self.reasons), len(self.stacks))
        self.where[frames] = where + shift
        self.index[frames] = part.index[of_part]
        self.stacks += part.stacks
        self.reasons += part.reasons
        self.settled &= part.settled

    def select(self, frames: _Indices | slice) -> Layout:
        """Return the table of some of the frames."""
        return Layout(
            self.stacks, self.reasons, self.where[frames], self.index[frames], self.settled
        )


def of_dataset(
    dataset: h5py.Dataset, *, growing: bool = False, opened: OpenStacks | None = None
) -> Layout:
    """Find the frames of a dataset, numbered through all axes but the last two.

    Parameters
    ----------
    growing
        Read files as well that are being written.
    opened
        Opens the dataset when its frames are read, so that it need not be kept open until then.

    Raises
    ------
    UserError
        It is a virtual dataset of a kind that cannot be followed.
    """
    n_frames = math.prod(dataset.shape[:-2])
    _check_size(dataset, n_frames, dataset.shape[-2:])
    if not dataset.is_virtual:
        frames = np.arange(n_frames, dtype=np.int64)
        settled = not (is_being_written(dataset.file) or is_truncated(dataset.file))
        stack = open_stack(dataset) if opened is None else opened.stack(dataset)
        return Layout([stack], [], np.zeros(n_frames, np.int32), frames, settled)
    sources = virtual_sources(dataset)
    n_frames = max([n_frames, *(int(source.frames.max(initial=-1)) + 1 for source in sources)])
    layout = Layout.empty(n_frames, f"no file that {file_name(dataset)} names holds it")
    tiled = np.zeros(n_frames, bool)
    lost: list[tuple[_Indices, str]] = []
    opened = opened or OpenStacks(growing=growing)
    for source in sources:
        frames, whole = source.frames, source.is_whole
        found = _source(dataset, source.file, source.path, growing)
        if isinstance(found, str):
            layout.settled = False
            lost.append((frames, found))
            continue
        of_source, whole_source = selected(dataset, source.space, found.shape)
        # HDF5 gives zeros for what lies beyond the end of a source.
        n_there = min(len(frames), int(np.count_nonzero(of_source >= 0)))
        if n_there < len(frames):
            lost.append((frames[n_there:], f"{file_name(found)} ends before it"))
        part = of_dataset(found, growing=growing, opened=opened).select(of_source[:n_there])
        if whole and whole_source and dataset.shape[-2:] == found.shape[-2:]:
            layout.put(frames[:n_there], part, slice(None))
        elif not part.settled:
            # HDF5 would open the source as one that is complete, and give zeros when it cannot.
            layout.settled = False
            lost.append((frames[:n_there], f"{file_name(found)} is not complete"))
        else:
            tiled[frames[:n_there]] = True
            lost += [
                (frames[:n_there][part.where == -1 - n], r) for n, r in enumerate(part.reasons)
            ]
    if tiled.any():
        frames = np.flatnonzero(tiled)
        whole_frames = Layout(
            [Decoded(dataset)], [], np.zeros(n_frames, np.int32), np.arange(n_frames)
        )
        layout.put(frames, whole_frames, frames)
    for frames, reason in lost:
        layout.lose(frames, reason)
    return layout


def link_numbers(group: h5py.Group) -> list[tuple[int, str]]:
    """Return number and name of the members ``data_000001`` and so on, in order of the number."""
    return sorted(
        (int(match[1]), name)
        for name in group
        if (match := re.fullmatch(r"data_(\d+)", name)) and not _is_group(group, name)
    )


def _is_group(group: h5py.Group, name: str) -> bool:
    """Tell whether a member is a group; one of another file is not opened for that."""
    link = group.get(name, getlink=True)
    return not isinstance(link, h5py.ExternalLink) and isinstance(lookup(group, name), h5py.Group)


def of_links(
    group: h5py.Group, n_announced: int | None, *, growing: bool = False
) -> tuple[Layout, tuple[int, int], str]:
    """Find the frames of a group with one link for each data file.

    Parameters
    ----------
    n_announced
        Frames that the detector was told to take; None when not known. It tells how many frames a
        missing last file held.
    growing
        Read files as well that are being written.

    Returns
    -------
    layout
        Table of the frames.
    shape
        (rows, cols).
    end_reason
        How the series ended.

    Raises
    ------
    UserError
        None of the files is there.
    """
    numbers = link_numbers(group)
    opened = OpenStacks(growing=growing)
    files = [_DataFile.of(_linked(group, name, growing), growing, opened) for _, name in numbers]
    there = [file for file in files if not isinstance(file, str)]
    if not there:
        raise UserError(
            f"{file_name(group)} names {len(files)} data files and none can be read"
            f" ({files[0]}): put them beside it"
        )
    per_file = _frames_per_file(files, n_announced)
    shape = there[0].shape
    starts = [(number - numbers[0][0]) * per_file for number, _ in numbers]
    last = files[-1]
    n_frames = starts[-1] + (0 if isinstance(last, str) else len(last))
    end_reason = "end"
    if isinstance(last, str):
        if n_announced is None:
            end_reason = f"end: {last}, the number of its frames is not known"
        else:
            n_frames = max(n_announced, starts[-1])
    elif n_announced is not None and n_frames < n_announced:
        end_reason = f"abort: {n_frames} of {n_announced} frames were recorded"
    _check_size(group, n_frames, shape)
    layout = Layout.empty(n_frames, f"in none of the data files of {file_name(group)}")
    for start, file in zip(starts, files, strict=True):
        if isinstance(file, str):
            layout.settled = False
            stop = n_frames if file is last else start + per_file
            layout.lose(slice(start, stop), file)
        elif file.shape != shape:
            layout.lose(slice(start, start + len(file)), f"{file.name} has another shape")
        else:
            layout.put(slice(start, start + len(file)), file.layout, slice(None))
            if file is not last and len(file) < per_file:
                layout.lose(slice(start + len(file), start + per_file), f"{file.name} ends early")
    return layout, shape, end_reason


def _check_size(where: h5py.Dataset | h5py.Group, n_frames: int, shape: tuple[int, ...]) -> None:
    """Check what is declared before memory is taken for it.

    Raises
    ------
    UserError
        It is more than can be.
    """
    if n_frames > MOST_FRAMES or math.prod(shape) > _MOST_PIXELS:
        raise UserError(
            f"{file_name(where)} declares {n_frames} frames of {' x '.join(map(str, shape))}"
            " pixels, more than can be: is it damaged?"
        )


@dataclass(frozen=True, slots=True)
class _DataFile:
    """What is to be known of a data file, which is closed again."""

    name: str
    shape: tuple[int, int]
    """(rows, cols)."""
    first_image: Any
    """Number of its first frame, counted from 1, as it says; None where it does not."""
    layout: Layout

    @classmethod
    def of(cls, dataset: h5py.Dataset | str, growing: bool, opened: OpenStacks) -> _DataFile | str:
        """Look at its dataset; what is a reason why it cannot be had stays one."""
        if isinstance(dataset, str):
            return dataset
        return cls(
            file_name(dataset),
            (int(dataset.shape[-2]), int(dataset.shape[-1])),
            dataset.attrs.get("image_nr_low"),
            of_dataset(dataset, growing=growing, opened=opened),
        )

    def __len__(self) -> int:
        return len(self.layout)


def _frames_per_file(files: list[_DataFile | str], n_announced: int | None) -> int:
    """All files but the last hold equally many frames."""
    lengths = [len(file) for file in files[:-1] if not isinstance(file, str)]
    if lengths:
        return max(lengths)
    last, n_before = files[-1], len(files) - 1
    if n_before == 0 or isinstance(last, str):
        return len(last)
    if last.first_image is not None and int(last.first_image) > n_before:
        return (int(last.first_image) - 1) // n_before
    return max(len(last), ((n_announced or 0) - len(last)) // n_before)


def _linked(group: h5py.Group, name: str, growing: bool) -> h5py.Dataset | str:
    """Open a link to a data file, or say why that cannot be done."""
    dataset = lookup(group, name)
    if isinstance(dataset, h5py.Dataset) and dataset.ndim == 3 and is_pixels(dataset.dtype):
        return dataset
    if dataset is not None:
        return f"{file_name(dataset)} holds no frames"
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.ExternalLink):
        return f"{name} leads nowhere"
    found = open_named(group, link.filename, growing)
    if isinstance(found, str):
        return found
    # HDF5 follows links only to files that are complete.
    dataset = lookup(found, link.path)
    if isinstance(dataset, h5py.Dataset) and dataset.ndim == 3 and is_pixels(dataset.dtype):
        return dataset
    if is_truncated(found):
        return f"file {link.filename} cannot be read (it is truncated)"
    return f"file {link.filename} has no {link.path}"


def _source(dataset: h5py.Dataset, name: str, path: str, growing: bool) -> h5py.Dataset | str:
    """Open a source of a virtual dataset, or say why that cannot be done."""
    file = dataset.file if name == "." else open_named(dataset, name, growing)
    if isinstance(file, str):
        return file
    found = lookup(file, path)
    if not isinstance(found, h5py.Dataset) or found.ndim < 2 or not is_pixels(found.dtype):
        return f"file {name} has no frames at {path}"
    return found


def open_named(base: h5py.Group | h5py.Dataset, name: str, growing: bool) -> h5py.File | str:
    """Open a file that another one names, looked for where HDF5 does, or say why that fails.

    It is also looked for beside the file that a symbolic link leads to, and, where its name is one
    of Windows, by what stands behind the last backslash.
    """
    here = Path(base.file.filename)
    last = re.split(r"[\\/]", name)[-1]
    folders = dict.fromkeys((here.parent, here.resolve().parent))
    for path in (folder / one for folder in folders for one in (name, last) if one):
        if path.is_file():
            try:
                return open_file(path, growing=growing)
            except OSError as error:
                return f"file {name} cannot be read ({error})"
    return f"file {last or name} is missing"
