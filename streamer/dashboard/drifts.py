"""How far each track has drifted, observation by observation, thinned to what a plot can show.

What else was measured of its peaks grows in the same way.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive
from streamer.frames.geometry import Geometry
from streamer.results.curves import GrowingCurve, Observations, Quantity, Reference
from streamer.results.motion import still
from streamer.results.schema import MOTION, TABLES
from streamer.results.shapes import MEASURED, MeasuredCurve, Shape, columns_of
from streamer.results.thinning import Curve

__all__ = ["Common", "Drifts", "Parameter", "Plot", "XAxis", "places", "units"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
XAxis = Literal["time", "frame"]
Common = Literal["motion_shift", "motion_angle", "motion_scale"]
"""What all spots did together, see `streamer.dashboard.common`."""
Parameter = Literal[
    "lattice_a", "lattice_b", "lattice_c", "lattice_alpha", "lattice_beta", "lattice_gamma"
]
"""Of the lattice of each phase, see `streamer.dashboard.lattice`."""

_KEPT = 1000
"""Drifts that are kept to be continued."""
_COLUMNS = ("row", "col", "row_sigma", "col_sigma", "d", "d_sigma")


@dataclass(frozen=True, slots=True)
class Plot:
    """What is shown of a drift, or of what else is measured."""

    quantity: Quantity | Shape | Common | Parameter
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
    still: bool = False
    """Take out what all spots did together."""


class Drifts:
    """The drifts of tracks as they grow: of a drift that was asked for before, what is new is read.

    Parameters
    ----------
    archive
        Its observations.
    """

    def __init__(self, archive: Archive) -> None:
        self.is_whole = True
        """False if what was asked for last lacks observations that there was no time to read."""
        self._archive = archive
        self._known: OrderedDict[tuple[Plot, int, Reference | None], _Drift] = OrderedDict()
        self._starts: Ints = np.empty(0, np.int64)

    def curves(
        self,
        plot: Plot,
        tracks: Iterable[int],
        references: Mapping[int, Reference],
        *,
        limit_s: float = math.inf,
    ) -> dict[int, Curve]:
        """Return the drift of each track, with a reference or without.

        Parameters
        ----------
        limit_s
            About how long to read observations that are not held in memory; what there was no time
            for is read the next time.
        """
        starts = self._archive.starts
        if not np.array_equal(starts[: len(self._starts)], self._starts):
            self._known.clear()  # places on the axis of frames have moved
        self._starts = starts
        if plot.quantity in MEASURED:
            references = {}
        drifts = {track: self._drift(plot, track, references.get(track)) for track in tracks}
        first = _first_held(self._archive, plot)
        self._read(plot, drifts, first, time.monotonic() + limit_s)
        held = {track: drift for track, drift in drifts.items() if drift.upto >= first}
        self.is_whole = len(held) == len(drifts)
        if held and first < len(self._archive.peaks):
            self._take_held(plot, held)
        return {track: drift.curve for track, drift in drifts.items()}

    def _drift(self, plot: Plot, track: int, reference: Reference | None) -> _Drift:
        # NaN is not equal to itself.
        key = (plot, track, reference and _plain(reference))
        drift = self._known.get(key)
        if drift is None:
            drift = self._known[key] = _Drift(plot, reference)
        self._known.move_to_end(key)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return drift

    def _read(self, plot: Plot, drifts: Mapping[int, _Drift], first: int, until: float) -> None:
        """Take in observations before the first that are held, until it is time."""
        archive, names = self._archive, _columns(plot)
        behind = {track: drift for track, drift in drifts.items() if drift.upto < first}
        shown = _peaks_between(archive, plot, first) if behind else slice(0, 0)
        while True:
            for drift in behind.values():
                drift.skip(shown, first)
            behind = {track: drift for track, drift in behind.items() if drift.upto < first}
            if not behind:
                return
            start = min(drift.upto for drift in behind.values())
            piece = archive.stored.piece(start, ["track", *names])
            cut = piece.table.slice(start - piece.first, first - start)
            columns = {name: cut[name].to_numpy() for name in cut.column_names}
            _add(archive, plot, behind, start, columns["track"], columns)
            if time.monotonic() >= until:
                return

    def _take_held(self, plot: Plot, drifts: Mapping[int, _Drift]) -> None:
        """Take in what is new of the observations that are held."""
        archive = self._archive
        start = min(drift.upto for drift in drifts.values())
        after = archive.peaks["track"][start - archive.peaks.first :]
        _add(archive, plot, drifts, start, after, None)


class _Drift:
    """The drift of one track."""

    def __init__(self, plot: Plot, reference: Reference | None) -> None:
        self.upto = 0
        """Rows of peaks that were looked through."""
        self._growing = _growing(plot, reference)
        self._curve: Curve | None = None

    @property
    def curve(self) -> Curve:
        """As far as it is known."""
        if self._curve is None:
            self._curve = self._growing.curve()
        return self._curve

    def skip(self, shown: slice, first: int) -> None:
        """Look through none of the rows before one that are not shown, if they are of no use."""
        growing = self._growing
        if isinstance(growing, MeasuredCurve) or growing.is_settled:
            self.upto = max(self.upto, shown.start)
            if self.upto >= shown.stop:
                self.upto = max(self.upto, first)

    def add(self, x: Floats, seen: Sequence[Floats]) -> None:
        """Take observations, the columns of the plot, and where they are drawn."""
        if isinstance(self._growing, MeasuredCurve):
            self._growing.add(x, *seen)
        else:
            self._growing.add(x, Observations(*seen))
        self._curve = None


def _growing(plot: Plot, reference: Reference | None) -> GrowingCurve | MeasuredCurve:
    begin = -math.inf if plot.begin is None else plot.begin
    end = math.inf if plot.end is None else plot.end
    if plot.quantity in MEASURED:
        return MeasuredCurve(plot.points, begin, end)
    return GrowingCurve(
        cast("Quantity", plot.quantity),
        reference,
        plot.geometry,
        points=plot.points,
        reference_frames=plot.reference_frames,
        begin=begin,
        end=end,
    )


def _columns(plot: Plot) -> Sequence[str]:
    """Return the columns of the table of peaks that a plot is made of."""
    return columns_of(plot.quantity) if plot.quantity in MEASURED else _COLUMNS


def _first_held(archive: Archive, plot: Plot) -> int:
    """Return the first row of the peaks of which there is all in memory that a plot is made of."""
    # Shapes would take as much room again, and few look at all of them.
    return len(archive.peaks) if plot.quantity in MEASURED else archive.peaks.first


def _add(
    archive: Archive,
    plot: Plot,
    drifts: Mapping[int, _Drift],
    start: int,
    tracks: Ints,
    columns: Mapping[str, NDArray[Any]] | None,
) -> None:
    """Add what there is of each drift among peaks that follow each other.

    Parameters
    ----------
    start
        Row of the first.
    tracks
        Their tracks.
    columns
        What was seen of them; None where they are held.
    """
    index = np.flatnonzero(np.isin(tracks, np.fromiter(drifts, np.int64, len(drifts))))
    index = index[np.argsort(tracks[index], kind="stable")]
    values, stop = tracks[index], start + len(tracks)
    for track, drift in drifts.items():
        mine = index[slice(*np.searchsorted(values, [track, track + 1]))]
        mine = mine[np.searchsorted(mine, drift.upto - start) :]
        if len(mine):
            if columns is None:
                rows = archive.peaks.take(start + mine)
                frame_rows = rows["frame_row"]
                seen = [rows[name].astype(np.float64) for name in _COLUMNS]
            else:
                frame_rows = archive.frame_rows(start + mine)
                seen = [columns[name][mine] for name in _columns(plot)]
            if plot.still and plot.quantity not in MEASURED:
                seen = _without_motion(archive, frame_rows, seen, plot.geometry)
            drift.add(places(archive, frame_rows, plot.x), seen)
        drift.upto = max(drift.upto, stop)


def _without_motion(
    archive: Archive, frame_rows: Ints, seen: list[Floats], geometry: Geometry | None
) -> list[Floats]:
    """Return observations with what all spots did together taken out."""
    motion = {name: archive.frames[name][frame_rows] for name in MOTION}
    placed = still(dict(zip(_COLUMNS, seen, strict=True)), motion)
    d, d_sigma = seen[4:]
    if geometry is not None:
        found = geometry.locate(*placed.values())
        d, d_sigma = found.d, found.d_sigma
    return [*placed.values(), d, d_sigma]


def _peaks_between(archive: Archive, plot: Plot, first: int) -> slice:
    """Return the rows of the peaks that are not held between which those lie that are shown."""
    if plot.begin is None and plot.end is None:
        return slice(0, first)
    x = places(archive, slice(None), plot.x)
    shown = np.ones(len(x), np.bool_)
    if plot.begin is not None:
        shown &= x >= plot.begin
    if plot.end is not None:
        shown &= x <= plot.end
    rows = np.flatnonzero(shown)
    if not len(rows):
        return slice(0, 0)
    return slice(archive.peaks_of(int(rows[0])).start, archive.peaks_of(int(rows[-1])).stop)


def places(archive: Archive, frame_rows: Ints | slice, x: XAxis) -> Floats:
    """Return where frames, given by their rows, are on an axis."""
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
