"""HDF5 recordings: Eiger master files, NeXus files and plain stacks."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import DecodeError, decode
from streamer.frames.events import Pixels, Series, Taken
from streamer.frames.pixels import is_pixels
from streamer.sources.files.hdf5.choice import Choice, choose_frames
from streamer.sources.files.hdf5.files import (
    is_being_written,
    is_truncated,
    open_file,
    waits_for_ever,
)
from streamer.sources.files.hdf5.layout import (
    Layout,
    link_numbers,
    of_dataset,
    of_links,
    open_named,
)
from streamer.sources.files.hdf5.nexus import announced, describe, lookup
from streamer.sources.files.hdf5.scaling import scaling_of
from streamer.sources.files.hdf5.sparse import open_other
from streamer.sources.files.plain import one_line
from streamer.sources.files.recording import RecordingReader

__all__ = ["open_hdf5"]

_PATIENCE_S = 10.0
_JUNGFRAU = re.compile(r"(?i)jungfrau|jngfr|\bJF\d+T\d+V\d+")
_MOST_ADC = (1 << 14) - 1
"""Of the 16 bits of a pixel of a JUNGFRAU two are its gain."""


def open_hdf5(path: Path, inner: str | None, config: SourceConfig) -> RecordingReader:
    """Open the frames of an HDF5 file.

    Parameters
    ----------
    inner
        Path of a dataset, or of a group with links to data files; None looks for the frames, see
        `choose_frames`.

    Raises
    ------
    UserError
        The file cannot be read, or it does not say plainly where its frames are.
    """
    try:
        file = open_file(path, growing=config.follow)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {_why(error)}") from None
    try:
        if (pipe := waits_for_ever(file)) is not None:
            raise UserError(f"{path} has a link to {pipe}, which is no file: remove that first")
        return open_other(file, inner, config) or _Hdf5Reader(file, inner, config)
    except UserError:
        file.close()
        raise
    except Exception as error:  # of any type: h5py trusts what a damaged file says
        file.close()
        raise UserError(f"{path} is damaged ({one_line(error)}): copy it again") from None
    except BaseException:
        file.close()
        raise


class _Hdf5Reader(RecordingReader):
    """The frames of one HDF5 file and of those it refers to."""

    def __init__(self, file: h5py.File, inner: str | None, config: SourceConfig) -> None:
        choice = Choice(inner or "")
        if inner is None:
            choice = choose_frames(file, growing=config.follow)
        item_path = choice.path
        entry = item_path.strip("/").split("/")[0]
        item = _follow(file, item_path, growing=config.follow)
        if is_truncated(file) and (isinstance(item, h5py.Group) or item.is_virtual):
            raise UserError(f"{file.filename} is truncated, and other files with it; copy it again")
        n_announced, n_files = announced(file, entry), 1
        if isinstance(item, h5py.Group):
            n_files = len(link_numbers(item))
            layout, shape, end_reason = of_links(item, n_announced, growing=config.follow)
        else:
            layout, shape, end_reason = _of_dataset(file, item_path, item, config, n_announced)
        about = describe(file, entry, config.channel_of(()), shape)
        data = item
        if isinstance(item, h5py.Group):  # its data files are alike
            data = lookup(item, link_numbers(item)[0][1])
        if isinstance(data, h5py.Dataset) and (scaling := scaling_of(data)) is not None:
            if data.is_virtual:
                raise UserError(
                    f"{file.filename}::{item_path} is a virtual dataset, and says that"
                    f" {scaling.in_words()}: give a data file instead"
                )
            about.metadata.setdefault("warnings", []).append(scaling.in_words())
        if is_being_written(file) and not config.follow:
            end_reason = f"abort: its writer did not close it; {len(layout)} frames are there"
            about.metadata.setdefault("warnings", []).append(
                "its writer did not close the file: what it wrote last may lack"
            )
        self.end_reason = end_reason
        if not np.any(layout.where >= 0):
            reason = layout.coded(0) if len(layout) else "its data files are empty"
            raise UserError(f"{file.filename} has no frame that can be read: {reason}")
        if is_truncated(file) and isinstance(reason := layout.coded(0), str):
            raise UserError(
                f"{file.filename} is truncated and cannot be read ({reason}): copy it again"
            )
        _check_gains(f"{file.filename}::{item_path}", layout, about.metadata)
        frame_time_s = config.frame_time_s or about.frame_time_s
        if config.follow:
            self.complete = self._is_complete(file, item, layout, n_announced)
            self.patience_s = max(_PATIENCE_S, 3 * (frame_time_s or 0.0) * len(layout) / n_files)
        self.series = Series(
            name=Path(file.filename).stem.removesuffix("_master"),
            n_frames=len(layout) if self.complete else n_announced,
            frame_time_s=frame_time_s,
            pixel_mask=about.pixel_mask,
            flatfield=about.flatfield,
            saturation=about.saturation,
            metadata=about.metadata,
            taken=Taken(source=f"{file.filename}::{item_path}", left_out=choice.left_out),
        )
        self._layout, self._n_frames = layout, len(layout)
        self._start_ns = about.start_ns
        self._offsets_ns = about.offsets_ns
        if self._offsets_ns is None and frame_time_s is not None:
            self._offsets_ns = np.rint(np.arange(len(layout)) * (frame_time_s * 1e9)).astype(
                np.int64
            )
        self._file = file

    def __len__(self) -> int:
        return self._n_frames

    def coded(self, frame: int) -> Pixels | str:
        """Return the pixels of a frame, or the reason why they cannot be had."""
        return self._layout.coded(frame)

    def time_ns(self, frame: int) -> int | None:
        """Return the start of the exposure as Unix time in ns, None when not known."""
        offsets = self._offsets_ns
        if self._start_ns is None or offsets is None or frame >= len(offsets):
            return None
        return self._start_ns + int(offsets[frame])

    def close(self) -> None:
        """Release the files."""
        self._layout = Layout.empty(0, "")
        self._file.close()

    @staticmethod
    def _is_complete(
        file: h5py.File,
        item: h5py.Group | h5py.Dataset,
        layout: Layout,
        n_announced: int | None,
    ) -> bool:
        """Tell whether nothing will be added to files that may be being written."""
        if is_being_written(file) or not layout.settled:
            return False
        if isinstance(item, h5py.Dataset) and not item.is_virtual:
            return True  # its writer has closed it, whatever was announced
        return bool(np.all(layout.where >= 0)) and len(layout) >= (n_announced or 0)


def _follow(file: h5py.File, path: str, *, growing: bool) -> h5py.Group | h5py.Dataset:
    item = lookup(file, path)
    if isinstance(item, h5py.Dataset) or (isinstance(item, h5py.Group) and link_numbers(item)):
        return item
    if isinstance(item, h5py.Group):
        names = [f"{path.rstrip('/')}/{name}" for name in item]
        raise UserError(
            f"{file.filename}::{path} is a group without frames: choose a dataset"
            + (f", such as one of {', '.join(names[:8])}" if names else "")
        )
    link = None
    with contextlib.suppress(KeyError, RuntimeError, ValueError):
        link = file.get(path, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        other = open_named(file, link.filename, growing)
        item = other if isinstance(other, str) else lookup(other, link.path)
        if isinstance(item, h5py.Dataset):
            return item
        raise UserError(
            f"{file.filename} keeps its frames in {link.filename}, which cannot be read: put it"
            " beside it"
        )
    raise UserError(f"{file.filename} has no {path}: leave it out to have the frames looked for")


def _of_dataset(
    file: h5py.File,
    path: str,
    dataset: h5py.Dataset,
    config: SourceConfig,
    n_announced: int | None,
) -> tuple[Layout, tuple[int, int], str]:
    where = f"{file.filename}::{path}"
    if not is_pixels(dataset.dtype):
        raise UserError(f"{where} holds {dataset.dtype}: frames are integers or floats")
    if dataset.shape is None or not 2 <= dataset.ndim <= 5:
        raise UserError(f"{where} has shape {dataset.shape}: a stack of frames has 3 axes")
    if dataset.size == 0:
        raise UserError(f"{where} has no frames (shape {dataset.shape})")
    _check_filters(where, dataset)
    layout = of_dataset(dataset, growing=config.follow)
    channel = _channel(file, path, dataset, config)
    if channel is not None:
        layout = layout.select(slice(channel, None, dataset.shape[1]))
    end_reason = "end"
    if dataset.ndim > 2 and n_announced is not None and len(layout) < n_announced:
        end_reason = f"abort: {len(layout)} of {n_announced} frames were recorded"
    return layout, (int(dataset.shape[-2]), int(dataset.shape[-1])), end_reason


def _channel(file: h5py.File, path: str, dataset: h5py.Dataset, config: SourceConfig) -> int | None:
    """Return the place of a channel on the second axis; None where that has no channels."""
    names = lookup(file, f"{path.rpartition('/')[0]}/channel")
    if (
        dataset.ndim != 4
        or not isinstance(names, h5py.Dataset)
        or names.shape != dataset.shape[1:2]
        or names.dtype.kind not in "SO"
    ):
        return None
    known = [name.decode() if isinstance(name, bytes) else str(name) for name in names[()]]
    channel = config.channel_of(known)
    if channel not in known:
        raise UserError(
            f"{file.filename} has no channel {channel}: set source.channel to {' or '.join(known)}"
        )
    return known.index(channel)


def _check_gains(where: str, layout: Layout, metadata: dict[str, Any]) -> None:
    """Check that pixels are counts, not what a JUNGFRAU reads out with its gain in two bits.

    Raises
    ------
    UserError
        They have the gain in them.
    """
    named = f"{where} {metadata.get('detector_description', '')}"
    if not _JUNGFRAU.search(named):
        return
    first = layout.coded(int(np.flatnonzero(layout.where >= 0)[0]))
    if isinstance(first, str) or np.dtype(first.dtype).str[1:] != "u2":
        return
    try:
        pixels = decode(*first)
    except DecodeError:
        return  # which is told of each frame
    if int(pixels.max()) > _MOST_ADC:
        raise UserError(
            f"{where} holds pixels as a JUNGFRAU reads them out, with the gain in the upper two"
            " bits: convert them to photons or keV with its pedestals and gains first"
        )
    told = "pixels of 16 bits of a JUNGFRAU may be as it reads them out, not counts"
    metadata["warnings"] = [*metadata.get("warnings", ()), told]


def _check_filters(where: str, dataset: h5py.Dataset) -> None:
    """Check that the chunks of a dataset can be decoded.

    Raises
    ------
    UserError
        They cannot; the text names the filter.
    """
    create = dataset.id.get_create_plist()
    for number in range(create.get_nfilters()):
        code, _, _, name = create.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            words = name.decode("utf-8", "replace").strip("\0")
            raise UserError(
                f"{where} is compressed by filter {code}"
                + (f" ({words})" if words else "")
                + " of HDF5, which is not installed: save it with bitshuffle or gzip, or set"
                " HDF5_PLUGIN_PATH to the folder of that filter"
            )


def _why(error: OSError) -> str:
    """Say in plain words why HDF5 could not open a file."""
    text = str(error)
    if "truncated" in text:
        return "it is truncated; copy it again"
    if "lock" in text or "already open for write" in text:
        return (
            "another program is writing it: follow it with --follow, or wait until it is done; what"
            " a program left that died can be read a few seconds after"
        )
    return error.strerror or text.rpartition("(")[2].rstrip(")")
