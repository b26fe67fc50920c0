"""How far each track has drifted, observation by observation, thinned to what a plot can show."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive
from streamer.frames.geometry import Geometry
from streamer.results.curves import (
    Curve,
    Observations,
    Quantity,
    Reference,
    averaged,
    displaced,
    settled,
    shortest_stretch,
    stretch,
)
from streamer.results.schema import TABLES

__all__ = ["Drifts", "Plot", "XAxis", "units"]

Ints = NDArray[np.int64]
XAxis = Literal["time", "frame"]

_KEPT = 1000
"""Drifts that are kept to be continued."""
_COLUMNS = ("row", "col", "row_sigma", "col_sigma", "d", "d_sigma")
_NONE = Curve(np.empty(0), np.empty(0, np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Plot:
    """What is shown of a drift."""

    quantity: Quantity
    x: XAxis
    begin: float | None = None
    """In the units of `x`; None for all."""
    end: float | None = None
    points: int = 2000
    """Most points: beyond these, observations are averaged, by the inverse of their variances where
    these are known, over stretches of `x`."""
    geometry: Geometry | None = None
    reference_frames: int = 10
    """Observations that make a reference where there is none."""


class Drifts:
    """The drifts of tracks as they grow: of a drift that was asked for before, what is new is read.

    Parameters
    ----------
    archive
        Its observations.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: OrderedDict[tuple[Plot, int, Reference | None], _Drift] = OrderedDict()
        self._starts: Ints = np.empty(0, np.int64)

    def curves(
        self, plot: Plot, tracks: Iterable[int], references: Mapping[int, Reference]
    ) -> dict[int, Curve]:
        """Return the drift of each track, with a reference or without."""
        starts = self._archive.starts
        if not np.array_equal(starts[: len(self._starts)], self._starts):
            self._known.clear()  # places on the axis of frames have moved
        self._starts = starts
        drifts = {track: self._drift(plot, track, references.get(track)) for track in tracks}
        new = self._new(drifts)
        return {track: drift.grown(self._archive, new[track]) for track, drift in drifts.items()}

    def _drift(self, plot: Plot, track: int, reference: Reference | None) -> _Drift:
        # NaN is not equal to itself.
        key = (plot, track, reference and _plain(reference))
        drift = self._known.setdefault(key, _Drift(plot, track, reference))
        self._known.move_to_end(key)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return drift

    def _new(self, drifts: Mapping[int, _Drift]) -> dict[int, Ints]:
        """Return the rows of peaks that are new to each, found in one go."""
        seen = [drift.upto for drift in drifts.values() if drift.upto]
        start = min(seen, default=0)
        order = values = np.empty(0, np.int64)
        if seen:
            values = self._archive.peaks["track"][start:]
            order = np.argsort(values, kind="stable")
            values = values[order]
        found = {}
        for track, drift in drifts.items():
            if drift.upto:
                rows = order[slice(*np.searchsorted(values, [track, track + 1]))] + start
                found[track] = rows[np.searchsorted(rows, drift.upto) :]
            else:
                found[track] = self._archive.observations(track)
        return found


class _Drift:
    """The drift of one track: its curve, and the observations that may yet change the end of it."""

    def __init__(self, plot: Plot, track: int, reference: Reference | None) -> None:
        self.upto = 0
        """Rows of peaks that were looked through."""
        self._plot, self._track, self._given = plot, track, reference
        self._reference: Reference | None = None
        """Settled."""
        self._curve = _NONE
        self._closed = 0
        """Points that will not change."""
        self._open: Ints = np.empty(0, np.int64)
        """Observations behind them."""
        self._length = 0.0
        self._low, self._high = math.inf, -math.inf

    def grown(self, archive: Archive, new: Ints) -> Curve:
        """Return the curve with new observations, given by their rows."""
        if len(new):
            rows = np.concatenate([self._open, new])
            if not self._take(archive, rows, anew=not len(self._curve.x)):
                self._take(archive, archive.observations(self._track), anew=True)
        self.upto = len(archive.peaks)
        return self._curve

    def _take(self, archive: Archive, rows: Ints, *, anew: bool) -> bool:
        """Continue the curve behind its closed points, which cannot be if stretches get longer."""
        plot = self._plot
        peaks = archive.peaks.take(rows)
        seen = Observations(*(peaks[name].astype(np.float64) for name in _COLUMNS))
        reference = self._reference
        if reference is None:
            first = seen.first(plot.reference_frames)
            reference = settled(self._given, first, plot.geometry, plot.quantity)
            if len(rows) >= plot.reference_frames:
                self._reference = reference
        # What is not known of the reference is not to be had from these observations.
        y, sigma = displaced(seen, reference, plot.geometry, plot.quantity, reference_frames=0)
        x = _places(archive, peaks["frame_row"], plot.x)
        wanted = np.isfinite(y)
        wanted &= x >= (-math.inf if plot.begin is None else plot.begin)
        wanted &= x <= (math.inf if plot.end is None else plot.end)
        x, y, sigma, kept = x[wanted], y[wanted], sigma[wanted], rows[wanted]
        if len(x):
            self._low, self._high = min(self._low, x.min()), max(self._high, x.max())
        if anew:
            self._length = stretch(x, plot.points)
        elif self._length and self._length < shortest_stretch(self._low, self._high, plot.points):
            return False
        curve, starts = averaged(x, y, sigma, self._length)
        closed = 0 if anew else self._closed
        if closed + len(starts) > plot.points and not anew:
            return False
        self._curve = _joined(self._curve, closed, curve)
        if self._reference is None:
            self._open, self._closed = rows, 0
        elif not self._length or not len(x):
            self._open, self._closed = kept[:0], closed + len(starts)
        else:
            self._open, self._closed = kept[starts[-1] :], closed + len(starts) - 1
        return True


def _joined(curve: Curve, n: int, tail: Curve) -> Curve:
    if not n:
        return tail
    return Curve(
        np.concatenate([curve.x[:n], tail.x]),
        np.concatenate([curve.y[:n], tail.y]),
        np.concatenate([curve.sigma[:n], tail.sigma]),
    )


def _places(archive: Archive, frame_rows: Ints, x: XAxis) -> NDArray[np.float64]:
    if x == "time":
        return archive.frames["time_ns"][frame_rows] * 1e-9
    return archive.run_frames(frame_rows).astype(np.float64)


def _plain(reference: Reference) -> Reference:
    row, col, d = (math.inf if math.isnan(value) else value for value in reference)
    return row, col, d


def units(columns: Sequence[str]) -> dict[str, str]:
    """Return the units of columns of the tracks table, where they have one."""
    known = {column.name: column.unit for column in TABLES["tracks"].columns}
    return {name: known[name] for name in columns if known.get(name)}
