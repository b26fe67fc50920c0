"""What a run was given beside its frames, kept in its folder: later nodes read the same.

A mask, a dark frame or a checkpoint may be moved or replaced while a run goes on.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamer.config import Config

__all__ = ["CHECKPOINT", "as_kept", "kept_file", "kept_image"]

logger = logging.getLogger(__name__)

_FOLDER = "inputs"
CHECKPOINT = "checkpoint.pt"
_T = TypeVar("_T", bound=np.generic)


def kept_image(
    out: Path, name: str, path: Path, load: Callable[[Path], NDArray[_T]]
) -> NDArray[_T]:
    """Return an image as the first node of a run read it.

    Parameters
    ----------
    out
        Run folder.
    name
        What it is, such as ``mask``.
    load
        Reads it from `path`.

    Raises
    ------
    UserError
        Nobody has kept it, and it cannot be read.
    """
    copy = out / _FOLDER / f"{name}.npy"
    try:
        kept: NDArray[Any] = np.load(copy, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        image = load(path)
        _keep(copy, lambda partial: np.save(partial, image, allow_pickle=False))
        return image
    return kept


def kept_file(out: Path, name: str, path: Path) -> Path:
    """Return where a file is as the first node of a run read it; `path` where nobody kept it."""
    copy = out / _FOLDER / name
    if not copy.is_file() and path.is_file():
        _keep(copy, lambda partial: shutil.copyfile(path, partial))
    return copy if copy.is_file() else path


def as_kept(config: Config, out: Path) -> Config:
    """Return a configuration that names what a run has kept instead of what it was given."""

    def kept(given: Path | None, name: str) -> Path | None:
        copy = out / _FOLDER / name
        return copy if given is not None and copy.is_file() else given

    detect, positions = config.detect, config.positions
    images = {"mask": kept(detect.mask, "mask.npy"), "dark": kept(detect.dark, "dark.npy")}
    checkpoint = kept(positions.checkpoint, CHECKPOINT)
    changed = {
        "detect": detect.model_copy(update=images),
        "positions": positions.model_copy(update={"checkpoint": checkpoint}),
    }
    return config.model_copy(update=changed)


def _keep(copy: Path, write: Callable[[Path], object]) -> None:
    """Write a copy that is there when it is complete; the run goes on, too, if that fails."""
    partial = copy.with_name(f".{os.getpid()}{copy.name}")
    try:
        copy.parent.mkdir(exist_ok=True)
        write(partial)
        os.replace(partial, copy)
    except OSError as error:
        logger.warning("%s is not kept: %s", copy, error.strerror or error)
