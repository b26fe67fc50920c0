"""Which of the arrays of a file are its frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamer.errors import UserError
from streamer.frames.pixels import is_pixels
from streamer.sources.files.naming import is_calibration
from streamer.sources.files.plain import in_words, unlike_frames

__all__ = ["Arrays", "choose_array", "listed", "others"]

Arrays = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and type of each array by its path."""

_SMALLEST = 8
"""Rows and columns of what is taken for frames unless it is named: tables have fewer."""
_MOST_NAMED = 8


def choose_array(name: str, arrays: Arrays) -> str:
    """Return the only stack of images that is no dark frame, flat field or the like.

    Where there are more, that of the name ``data``; where there is no stack, the only image.

    Raises
    ------
    UserError
        There is none, or the user has to choose.
    """
    images = {path: array for path, array in arrays.items() if _is_candidate(*array)}
    stacks = {path: array for path, array in images.items() if len(array[0]) > 2}
    candidates = stacks or images
    meant = [path for path in candidates if not is_calibration(path)] or list(stacks)
    if not meant:
        raise UserError(f"{name} has no stack of frames (frames, rows, cols): {listed(arrays)}")
    fit = [path for path in meant if not unlike_frames(candidates[path][0])]
    if not fit:
        why = unlike_frames(candidates[meant[0]][0])
        raise UserError(
            f"{name}::{meant[0]} {why}, or write {name}::{meant[0]} to take it as it is"
        )
    named = [path for path in fit if path.rpartition("/")[2] == "data"]
    best = fit if len(fit) == 1 else named
    if len(best) != 1:
        what = "stacks of frames" if stacks else "images"
        several = ", ".join(_one(path, candidates) for path in (named or fit)[:_MOST_NAMED])
        raise UserError(
            f"{name} has several {what} ({several}): choose one, such as {name}::{fit[0]}"
        )
    return best[0]


def others(arrays: Arrays, chosen: str) -> list[str]:
    """Return what else could be frames, in words."""
    n_axes = 3 if chosen not in arrays else min(3, len(arrays[chosen][0]))
    return [
        _one(path, arrays)
        for path, array in arrays.items()
        if path != chosen and len(array[0]) >= n_axes and _is_candidate(*array)
    ]


def listed(arrays: Arrays) -> str:
    """Say what a file has instead of frames."""
    if not arrays:
        return "it has no array that can be read"
    words = [_one(path, arrays) for path in list(arrays)[:_MOST_NAMED]]
    more = f" and {len(arrays) - len(words)} more" if len(arrays) > len(words) else ""
    return f"it has {', '.join(words)}{more}"


def _one(path: str, arrays: Arrays) -> str:
    return f"{path} ({in_words(*arrays[path])})"


def _is_candidate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Tell whether an array is so like images that it is taken for some without being named."""
    if not 2 <= len(shape) <= 5 or min(shape) < 1 or not is_pixels(dtype):
        return False
    is_odd = len(shape) > 2 and unlike_frames(shape) != ""  # is refused with a reason
    return is_odd or min(shape[-2:]) >= _SMALLEST
