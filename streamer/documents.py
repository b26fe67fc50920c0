"""What people hand in: opened and read without trust in what it is and says."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import yaml

__all__ = ["open_regular", "parse_yaml", "read_regular"]

_DEEPEST = 16
_MOST_VALUES = 100_000


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; where a pipe or a device has its name, nobody waits for it.

    Raises
    ------
    OSError
        It is no file, or cannot be opened.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return file


def read_regular(path: Path) -> str:
    """Return the text of a file, which is in UTF-8.

    Raises
    ------
    OSError
        It is no file, or cannot be read.
    UnicodeDecodeError
        It is not a text.
    """
    with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
        return file.read()


def parse_yaml(text: str) -> Any:
    """Return what a text holds.

    Raises
    ------
    ValueError
        It is not YAML, or nests or repeats values beyond all need; the text is to go behind what it
        was read from.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" (line {line + 1})" if line is not None else ""
        raise ValueError(f"is not valid YAML{where}") from None
    except (ValueError, ArithmeticError, RecursionError) as error:  # of a date, number, nesting
        reason = str(error) if isinstance(error, ValueError) else "a value beyond all bounds"
        raise ValueError(f"is not valid YAML ({' '.join(reason.split())})") from None
    if _count(content, _DEEPEST, _MOST_VALUES) < 0:
        raise ValueError("nests or repeats its values beyond all need")
    return content


def _count(content: Any, depth: int, left: int) -> int:
    """Return how many more values there may be; below 0 when these are too many or too deep.

    What an alias repeats counts each time, and what holds itself never ends.
    """
    left -= 1
    if not isinstance(content, dict | list | set | tuple):
        return left
    if not depth:
        return -1
    for inner in [*content, *content.values()] if isinstance(content, dict) else content:
        if left < 0:
            break
        left = _count(inner, depth - 1, left)
    return left
