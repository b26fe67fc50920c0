"""What all spots of the frames did together, as curves that grow."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive
from streamer.dashboard.drifts import Common, Plot, places
from streamer.results.schema import TABLES
from streamer.results.shapes import MeasuredCurve
from streamer.results.thinning import Curve

__all__ = ["COMMON", "CommonMotion", "Together"]

_KEPT = 100
"""Plots that are kept to be continued."""


@dataclass(frozen=True, slots=True)
class Together:
    """A quantity that all spots share."""

    label: str
    lines: dict[str, str]
    """Columns of the table of frames, and how their lines are called."""

    @property
    def unit(self) -> str:
        """The same for all lines; 1 for ratios."""
        return TABLES["frames"][next(iter(self.lines))].unit or "1"

    @property
    def names(self) -> dict[int, str]:
        """What lines are called by their numbers, which are below those of tracks."""
        return {-1 - i: name for i, name in enumerate(self.lines.values())}


COMMON: dict[Common, Together] = {
    "motion_shift": Together(
        "Common shift of all spots",
        {"motion_row": "rows", "motion_col": "columns"},
    ),
    "motion_angle": Together("Common rotation of all spots", {"motion_angle": "rotation"}),
    "motion_scale": Together("Common change of scale", {"motion_scale": "scale"}),
}


class CommonMotion:
    """The common motion as it grows: of what was asked for before, new frames are looked at.

    Parameters
    ----------
    archive
        Its frames.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: OrderedDict[Plot, _Growing] = OrderedDict()
        self._starts: NDArray[np.int64] = np.empty(0, np.int64)

    def curves(self, quantity: Common, plot: Plot) -> dict[int, Curve]:
        """Return its lines, by the numbers in `Together.names`."""
        starts = self._archive.starts
        if not np.array_equal(starts[: len(self._starts)], self._starts):
            self._known.clear()  # places on the axis of frames have moved
        self._starts = starts
        growing = self._known.get(plot)
        if growing is None:
            growing = self._known[plot] = _Growing(COMMON[quantity], plot)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(plot)
        growing.follow(self._archive)
        return dict(zip(COMMON[quantity].names, growing.curves, strict=True))


class _Growing:
    """The lines of one plot."""

    def __init__(self, together: Together, plot: Plot) -> None:
        self.curves: list[Curve] = []
        self._plot, self._upto = plot, 0
        begin = -math.inf if plot.begin is None else plot.begin
        end = math.inf if plot.end is None else plot.end
        self._lines = {name: MeasuredCurve(plot.points, begin, end) for name in together.lines}

    def follow(self, archive: Archive) -> None:
        """Take in new frames."""
        rows = slice(self._upto, len(archive.frames))
        if rows.start == rows.stop and self.curves:
            return  # as they were: the same curves are not compared
        x = places(archive, rows, self._plot.x)
        for name, line in self._lines.items():
            y, sigma = (archive.frames[f"{name}{more}"][rows] for more in ("", "_sigma"))
            line.add(x, y.astype(np.float64), sigma.astype(np.float64))
        self._upto = rows.stop
        self.curves = [line.curve() for line in self._lines.values()]
