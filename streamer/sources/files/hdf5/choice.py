"""Which of the datasets of an HDF5 file are its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import h5py
import numpy as np

from streamer.errors import UserError
from streamer.frames.pixels import is_pixels
from streamer.sources.files.choice import choose_array, others
from streamer.sources.files.hdf5.layout import link_numbers
from streamer.sources.files.hdf5.nexus import lookup
from streamer.sources.files.plain import unlike_frames

__all__ = ["Choice", "choose_frames"]

_MOST_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken for the frames, and what was not."""

    path: str
    """Of a dataset, or of a group of links to data files."""
    left_out: list[str] = field(default_factory=list)
    """Other datasets that could be frames."""


def choose_frames(file: h5py.File, *, growing: bool = False) -> Choice:
    """Find the frames of a file; of one that is looked into again and again, not what is beside.

    They are what NeXus says is to be shown (``default`` and ``signal``), else where Eiger files
    have them, else what `choose_array` says.

    Raises
    ------
    UserError
        There are none, or the user has to choose.
    """
    name = file.filename
    path = _signal(file) or _of_eiger(file)
    if path is not None and growing:
        return Choice(path)
    # Behind links to other files there are as many datasets as data files.
    datasets = _datasets(file, through_links=path is None)
    arrays = {path: (item.shape, item.dtype) for path, item in datasets.items()}
    if path is None:
        path = choose_array(name, arrays)
        return Choice(path, others(arrays, path))
    item = lookup(file, path)
    if isinstance(item, h5py.Dataset) and (why := unlike_frames(item.shape)):
        raise UserError(f"{name}::{path} {why}, or write {name}::{path} to take it as it is")
    for other in [other for other in arrays if _is_chosen(other, datasets[other], path, item)]:
        del arrays[other]
    return Choice(path, others(arrays, path))


def _is_chosen(
    path: str, dataset: h5py.Dataset, chosen: str, item: h5py.Dataset | h5py.Group | None
) -> bool:
    if isinstance(item, h5py.Group):
        return path.startswith(chosen)
    return path == chosen or dataset == item


def _signal(file: h5py.File) -> str | None:
    """Return the path of what NeXus says is to be shown, where that is images."""
    groups: list[h5py.Group] = []
    group: h5py.Group = file
    for _ in range(_MOST_DEPTH):
        groups.append(group)
        following = _next(group)
        if following is None:
            break
        group = following
    name = _text(groups[-1], "signal") or _marked(groups[-1])
    item = lookup(groups[-1], name) if name else None
    if isinstance(item, h5py.Dataset) and _is_image(item) and item.ndim > 2:
        return f"{groups[-1].name.rstrip('/')}/{name}"
    return None


def _next(group: h5py.Group) -> h5py.Group | None:
    """Return the group that a group has for its default: the one named, or the only of its kind."""
    name = _text(group, "default")
    item = lookup(group, name) if name else None
    if isinstance(item, h5py.Group):
        return item
    wanted = {"": "NXentry", "NXroot": "NXentry", "NXentry": "NXdata"}
    kind = wanted.get(_text(group, "NX_class")) if not _text(group, "signal") else None
    if kind is None or (kind == "NXentry" and group.name != "/"):
        return None
    below = (lookup(group, name) for name in group)
    found = [one for one in below if isinstance(one, h5py.Group) and _text(one, "NX_class") == kind]
    return found[0] if len(found) == 1 else None


def _marked(group: h5py.Group) -> str:
    """Return which dataset says of itself that it is the signal, as NeXus had it before 2014."""
    if _text(group, "NX_class") != "NXdata":
        return ""
    here = [name for name in _names(group) if not isinstance(_link(group, name), h5py.ExternalLink)]
    found = [name for name in here if _is_marked(lookup(group, name))]
    return found[0] if len(found) == 1 else ""


def _is_marked(item: object) -> bool:
    if not isinstance(item, h5py.Dataset):
        return False
    try:
        return np.asarray(item.attrs.get("signal")).ravel().tolist() in ([1], ["1"], [b"1"])
    except (OSError, RuntimeError, TypeError, ValueError):
        return False


def _text(group: h5py.Group, name: str) -> str:
    """Return an attribute of a group, empty where it has none that is text."""
    try:
        value = group.attrs.get(name, "")
    except (OSError, RuntimeError, TypeError, ValueError):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _of_eiger(file: h5py.File) -> str | None:
    """Return where Eiger files have their frames, or the links to them."""
    for name in ("/entry/data", "/entry"):
        group = lookup(file, name)
        if not isinstance(group, h5py.Group):
            continue
        if name == "/entry/data" and "data" in group:
            item = lookup(group, "data")
            if item is None or (isinstance(item, h5py.Dataset) and _is_image(item)):
                return "/entry/data/data"
        if link_numbers(group):
            return name
    return None


def _datasets(file: h5py.File, *, through_links: bool) -> dict[str, h5py.Dataset]:
    """Return the datasets of a file by path, each once; those of other files too if asked for."""
    found: dict[str, h5py.Dataset] = {}
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        prefix, group = waiting.pop()
        for name in _names(group):
            if not through_links and isinstance(_link(group, name), h5py.ExternalLink):
                continue
            item = lookup(group, name)
            if item is None:
                continue
            info = h5py.h5o.get_info(item.id)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            if isinstance(item, h5py.Group):
                waiting.append((f"{prefix}/{name}", item))
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                found[f"{prefix}/{name}"] = item
    return dict(sorted(found.items()))


def _names(group: h5py.Group) -> list[str]:
    try:
        return list(group)
    except (OSError, RuntimeError, ValueError):
        return []  # of a damaged file what is left is looked through


def _link(group: h5py.Group, name: str) -> object:
    try:
        return group.get(name, getlink=True)
    except (KeyError, OSError, RuntimeError, ValueError):
        return None


def _is_image(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset has the axes and the type of images."""
    return (
        dataset.shape is not None
        and 2 <= dataset.ndim <= 5
        and dataset.size > 0
        and is_pixels(dataset.dtype)
    )
