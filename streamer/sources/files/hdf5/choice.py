"""Which of the datasets of an HDF5 file are its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import h5py

from streamer.errors import UserError
from streamer.frames.pixels import is_pixels
from streamer.sources.files.hdf5.layout import link_numbers
from streamer.sources.files.hdf5.nexus import lookup
from streamer.sources.files.naming import is_calibration
from streamer.sources.files.plain import in_words, unlike_frames

__all__ = ["Choice", "choose_frames"]

_SMALLEST = 8
"""Rows and columns of what is taken for frames unless it is named: tables have fewer."""
_MOST_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken for the frames, and what was not."""

    path: str
    """Of a dataset, or of a group of links to data files."""
    left_out: list[str] = field(default_factory=list)
    """Other datasets that could be frames."""


def choose_frames(file: h5py.File) -> Choice:
    """Find the frames of a file.

    They are what NeXus says is to be shown (``default`` and ``signal``), else where Eiger files
    have them, else the only stack of images that is no dark frame or flat field, or the only one of
    these whose name is ``data``.

    Raises
    ------
    UserError
        There are none, or the user has to choose.
    """
    name = file.filename
    path = _signal(file) or _of_eiger(file)
    # Behind links to other files there are as many datasets as data files.
    datasets = _datasets(file, through_links=path is None)
    images = {path: item for path, item in datasets.items() if _is_candidate(item)}
    stacks = {path: item for path, item in images.items() if item.ndim > 2}
    if path is not None:
        item = lookup(file, path)
        if isinstance(item, h5py.Dataset) and (why := unlike_frames(item.shape)):
            raise UserError(f"{name}::{path} {why}, or write {name}::{path} to take it as it is")
        return Choice(path, _others(stacks, path, item))
    candidates = stacks or images
    meant = [path for path in candidates if not is_calibration(path)] or list(stacks)
    fit = [path for path in meant if not unlike_frames(candidates[path].shape)]
    if not meant:
        raise UserError(f"{name} has no stack of frames: {_listed(datasets)}")
    if not fit:
        why = unlike_frames(candidates[meant[0]].shape)
        raise UserError(
            f"{name}::{meant[0]} {why}, or write {name}::{meant[0]} to take it as it is"
        )
    named = [path for path in fit if path.rpartition("/")[2] == "data"]
    best = fit if len(fit) == 1 else named
    if len(best) != 1:
        several = ", ".join(f"{path} ({_words(candidates[path])})" for path in (named or fit)[:8])
        what = "stacks of frames" if stacks else "images"
        raise UserError(
            f"{name} has several {what} ({several}): choose one, such as {name}::{fit[0]}"
        )
    return Choice(best[0], _others(candidates, best[0], candidates[best[0]]))


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
    name = _text(groups[-1], "signal")
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


def _is_candidate(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is so like images that it is taken for some without being named."""
    if not _is_image(dataset):
        return False
    is_odd = dataset.ndim > 2 and unlike_frames(dataset.shape) != ""  # is refused with a reason
    return is_odd or min(dataset.shape[-2:]) >= _SMALLEST


def _others(
    candidates: dict[str, h5py.Dataset], path: str, chosen: h5py.Dataset | h5py.Group | None
) -> list[str]:
    def is_chosen(other: str, item: h5py.Dataset) -> bool:
        if isinstance(chosen, h5py.Group):
            return other.startswith(path)
        return other == path or item == chosen

    return [
        f"{other} ({_words(item)})"
        for other, item in candidates.items()
        if not is_chosen(other, item)
    ]


def _words(dataset: h5py.Dataset) -> str:
    return in_words(dataset.shape, dataset.dtype)


def _listed(datasets: dict[str, h5py.Dataset]) -> str:
    """Say what a file has instead of frames."""
    if not datasets:
        return "it has no dataset that can be read"
    words = [f"{path} ({_words(item)})" for path, item in list(datasets.items())[:6]]
    more = f" and {len(datasets) - len(words)} more" if len(datasets) > len(words) else ""
    return f"it has {', '.join(words)}{more}"
