"""Files that belong together, told by their names: numbered series, their holes, what is beside."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import UserError

__all__ = [
    "FileSeries",
    "is_calibration",
    "is_hidden",
    "matching",
    "n_fields",
    "natural_order",
    "series_of",
]

_PACKED = (".gz", ".bz2")
_CALIBRATION = re.compile(
    r"(?<![a-z])(?:dark[a-z]*|(?:data_?)?white|flat(?:field)?s?|bright(?:field)?|empty|background"
    r"|bkgd?|bgd?|pedestals?|gains?(?:_?map)?|(?:pixel_?)?masks?|refhst|ff|errors?|sigma"
    r"|variance|weights?)(?![a-z])"
)
_TEMPLATE = re.compile(r"#+|%(?:0?(\d+)|\.(\d+)|\d+\.(\d+))?d")
_FEWEST_IN_STEPS = 4
_MOST_MISSING = 20
"""Numbers missing for each that is there, from which on they do not count frames."""
_MOST_HOLES = 100_000
"""Files that may yet come between those that are there."""


@dataclass(frozen=True, slots=True)
class FileSeries:
    """Files whose names differ in one number."""

    name: str
    """What they are called, ``#`` for each digit of the number."""
    paths: list[Path]
    """In the order of the number, with those between them that are not there."""
    n_there: int
    numbers: str
    """The numbers in words, where they are no plain count."""


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that counts numbers as numbers: frame_9 comes before frame_10."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", str(path))
        if part
    ]


def is_hidden(path: Path) -> bool:
    """Tell whether a file is what systems and editors leave beside files, such as ``._a.tif``."""
    return path.name.startswith(".") or path.name.endswith("~")


def is_calibration(name: str) -> bool:
    """Tell whether a name is that of a dark frame, flat field, mask or the like."""
    return _CALIBRATION.search(name.lower()) is not None


def matching(template: Path) -> list[Path] | None:
    """Return the files that a template such as ``a_%04d.cbf`` or ``a_####.cbf`` stands for.

    ``####`` stands for a number of four digits at least, as ``%04d`` does; None for a name that is
    no template.
    """
    if not _TEMPLATE.search(template.name):
        return None
    pattern, at = "", 0
    for match in _TEMPLATE.finditer(template.name):
        hashes = len(match[0]) if match[0].startswith("#") else 0
        width = next((int(text) for text in match.groups() if text), hashes or 1)
        pattern += re.escape(template.name[at : match.start()]) + rf"\d{{{width},}}"
        at = match.end()
    pattern += re.escape(template.name[at:])
    try:
        beside = list(template.parent.iterdir())
    except OSError:
        return []
    return sorted((p for p in beside if re.fullmatch(pattern, p.name)), key=natural_order)


def n_fields(template: Path) -> int:
    """Return how many numbers a template leaves open."""
    return len(_TEMPLATE.findall(template.name))


def series_of(paths: Sequence[Path], *, growing: bool = False) -> list[FileSeries]:
    """Tell apart the series among files, by all of their names but one number.

    That number is the one that differs from file to file; where several do, the one that counts
    most closely; where none does, the last one. Files without numbers are one series.

    Parameters
    ----------
    growing
        More files may come, between these as well, and none may change its place for that.

    Raises
    ------
    UserError
        Files that may come are too many to wait for.
    """
    groups: dict[tuple[Path, tuple[str, ...]], list[_Name]] = {}
    for path in paths:
        name = _Name.of(path)
        groups.setdefault((path.parent, name.texts), []).append(name)
    if len(paths) > 1 and all(len(group) == 1 for group in groups.values()):
        return [FileSeries(_common(paths), list(paths), len(paths), "")]
    found: list[FileSeries] = []
    for group in groups.values():
        found += _series(group, growing)
    return found


@dataclass(frozen=True, slots=True)
class _Name:
    path: Path
    texts: tuple[str, ...]
    """Before, between and behind the numbers."""
    digits: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> _Name:
        stem, ending = path.name, ""
        while (suffix := Path(stem).suffix) and not suffix[1:].isdecimal():
            if ending and ending.lower() not in _PACKED:
                break
            stem, ending = stem.removesuffix(suffix), suffix + ending
        parts = re.split(r"(\d+)", stem)
        return cls(path, (*parts[::2], ending), tuple(parts[1::2]))

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(int, self.digits))

    def with_digits(self, digits: Iterable[str]) -> str:
        between = [*digits, ""]
        text = "".join(a + b for a, b in zip(self.texts[:-1], between, strict=True))
        return text + self.texts[-1]


def _series(group: list[_Name], growing: bool) -> list[FileSeries]:
    table = np.array([name.numbers for name in group], dtype=object)
    varying = [i for i in range(table.shape[1]) if len(set(table[:, i])) > 1]
    if not varying:
        return [_alone(group)]
    unique = [i for i in varying if len(set(table[:, i])) == len(group)]
    if unique:
        spans = [max(table[:, i]) - min(table[:, i]) for i in unique]
        closest = min(range(len(unique)), key=lambda k: (spans[k], -unique[k]))
        return [_counted(group, unique[closest], growing)]
    at = varying[-1]
    parts: dict[tuple[int, ...], list[_Name]] = {}
    for name in group:
        others = (*name.numbers[:at], *name.numbers[at + 1 :])
        parts.setdefault(others, []).append(name)
    return [_counted(part, at, growing) for part in parts.values()]


def _alone(group: list[_Name]) -> FileSeries:
    """Return a file as a series, or those that differ in zeros before their numbers alone."""
    paths, digits = [name.path for name in group], group[0].digits
    return FileSeries(paths[0].name, paths, len(paths), digits[-1] if digits else "")


def _counted(group: list[_Name], at: int, growing: bool) -> FileSeries:
    """Put files in the order of one of their numbers, and those that are missing among them."""
    first = group[0]
    by_number = {name.numbers[at]: name for name in group}
    numbers = sorted(by_number)
    width = min(len(name.digits[at]) for name in group)
    varies = [len({name.digits[i] for name in group}) > 1 for i in range(len(first.digits))]

    def named(number: str) -> str:
        digits = ("*" if v else d for v, d in zip(varies, first.digits, strict=True))
        return first.with_digits(number if i == at else d for i, d in enumerate(digits))

    name = named("#" * width)
    has_steps = len(numbers) >= _FEWEST_IN_STEPS and not growing
    step = math.gcd(*np.diff(numbers).tolist()) if has_steps else 1
    n_missing = (numbers[-1] - numbers[0]) // step + 1 - len(numbers)
    if growing and n_missing > _MOST_HOLES:
        raise UserError(
            f"{first.path.parent} cannot be followed: its {len(numbers)} files have numbers from"
            f" {numbers[0]} to {numbers[-1]}, move away those that do not belong to the others"
        )
    is_count = growing or n_missing <= _MOST_MISSING * len(numbers)
    if len(numbers) < len(group) or not is_count:
        ordered = sorted((one.path for one in group), key=natural_order)
        return FileSeries(name, ordered, len(group), "with numbers that do not count them")
    folder = first.path.parent
    paths = [
        by_number[number].path if number in by_number else folder / named(f"{number:0{width}d}")
        for number in range(numbers[0], numbers[-1] + 1, step)
    ]
    words = f"{numbers[0]} to {numbers[-1]}" + (f" in steps of {step}" if step > 1 else "")
    return FileSeries(name, paths, len(group), words)


def _common(paths: Sequence[Path]) -> str:
    endings = sorted({path.suffix for path in paths})
    return paths[0].name if len(paths) == 1 else f"*{endings[0]}"
