"""Ports of a detector whose pixels are put together."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError
from streamer.frames.events import Pixels
from streamer.frames.pixels import as_bytes

__all__ = ["Gaps", "Layout", "Part", "put_together"]


@dataclass(slots=True)
class Part:
    """The pixels of one port of an image, or what is wrong with them."""

    row: int
    column: int
    pixels: NDArray[Any] | str


@dataclass(slots=True)
class Layout:
    """What all headers of a series say alike."""

    rows: int
    columns: int
    """Ports of the detector, along both axes."""
    shape: tuple[int, int]
    """(rows, cols) of one port."""
    dtype: np.dtype[Any]
    file_index: object
    waiting: OrderedDict[int, dict[tuple[int, int], Part]] = field(default_factory=OrderedDict)

    @property
    def n_bytes(self) -> int:
        """Bytes of the pixels of one port."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Gaps:
    """Pixels between ports, for each axis taken in turn."""

    rows: tuple[int, ...]
    cols: tuple[int, ...]

    @classmethod
    def parse(cls, text: str | None, uri: str) -> Gaps | None:
        """Read what stands behind an address; None where nothing does.

        Raises
        ------
        UserError
            These are no gaps.
        """
        if text is None:
            return None
        if re.fullmatch(r"\d{1,4}(,\d{1,4})*x\d{1,4}(,\d{1,4})*", text, re.ASCII) is None:
            raise UserError(
                f"{uri}: gaps are pixels between ports along rows and columns, such as"
                " gaps=36x8 or gaps=0x0"
            )
        rows, cols = (tuple(map(int, axis.split(","))) for axis in text.split("x"))
        return cls(rows, cols)

    def starts(self, layout: Layout) -> tuple[list[int], list[int]]:
        """Return where the ports begin along both axes, and last where the detector ends."""
        axes = []
        for n, size, gaps in (
            (layout.rows, layout.shape[0], self.rows),
            (layout.columns, layout.shape[1], self.cols),
        ):
            places = [0]
            for k in range(n):
                places.append(places[-1] + size + (gaps[k % len(gaps)] if k < n - 1 else 0))
            axes.append(places)
        return axes[0], axes[1]


def put_together(layout: Layout, parts: list[Part], gaps: Gaps | None) -> Pixels | str:
    """Return the pixels of all ports of an image, or what is wrong with those of one."""
    for part in parts:
        if isinstance(part.pixels, str):
            return part.pixels
    rows, cols = (gaps or Gaps((0,), (0,))).starts(layout)
    whole = np.zeros((rows[-1], cols[-1]), layout.dtype)
    for part in parts:
        row, col = rows[part.row], cols[part.column]
        whole[row : row + layout.shape[0], col : col + layout.shape[1]] = part.pixels
    return Pixels(as_bytes(whole), "raw", layout.dtype.str, whole.shape)
