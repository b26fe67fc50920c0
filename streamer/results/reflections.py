"""Which tracks are spots of the same reflection, and of which phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.frames.geometry import Geometry

__all__ = ["KIN", "phases", "reflections", "unit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PLACE = ("row", "col", "row_sigma", "col_sigma")
KIN = (
    "track", "parent", "merged_into", "n_frames", "flags", "first_frame", "last_frame",
    "first_time_ns", "last_time_ns", *_PLACE, *(f"ref_{name}" for name in _PLACE),
)  # fmt: skip
"""Columns of the table of tracks that tell which belong together."""


def reflections(tracks: pa.Table, geometry: Geometry | None = None) -> Ints:
    """Return the reflection of each track, (n,), as the lowest number of the tracks that are in it.

    Tracks belong together where one split from the other or ended beside it, and so does all that
    hangs together by such steps; also through a track that was seen too rarely to have a row. With
    a geometry also what `adopted` finds.

    Parameters
    ----------
    tracks
        Columns `track`, `parent` and `merged_into` of the table of tracks; with a geometry those
        that `adopted` takes too.
    """
    if geometry is not None and len(tracks):
        place = tracks.column_names.index("parent")
        tracks = tracks.set_column(place, "parent", pa.array(adopted(tracks, geometry)))
    number, parent, merged = (
        tracks[name].to_numpy() for name in ("track", "parent", "merged_into")
    )
    child = np.concatenate([number[kin >= 0] for kin in (parent, merged)])
    into = np.concatenate([kin[kin >= 0] for kin in (parent, merged)])
    nodes = np.unique(np.concatenate([child, into]))
    one, other = np.searchsorted(nodes, child), np.searchsorted(nodes, into)
    lowest = np.arange(len(nodes))
    while True:  # each round halves the longest way to the lowest
        before = lowest
        low = np.minimum(lowest[one], lowest[other])
        lowest = lowest.copy()
        for ends in (one, other):
            np.minimum.at(lowest, lowest[ends], low)
            np.minimum.at(lowest, ends, low)
        lowest = lowest[lowest]
        if (lowest == before).all():
            break
    found: Ints = number.copy()
    related = np.isin(number, nodes)
    own = lowest[np.searchsorted(nodes, number[related])]
    named = np.full(len(nodes), np.iinfo(np.int64).max)
    np.minimum.at(named, own, number[related])
    found[related] = named[own]
    return found


def unit(geometry: Geometry) -> Geometry:
    """Return a geometry with some wavelength: in ratios of spacings it cancels."""
    return geometry if geometry.wavelength_a > 0 else replace(geometry, wavelength_a=1.0)


_FEWEST = 3
"""Spots that are known to have split, to tell how far splits are."""
_ALIKE = 0.2
"""Share of that distance, in strain, by which another split may differ."""
_ASIDE = 0.25
"""How far a spot may be off the line away from the beam, in lengths of the way along it."""
_PAUSE = 0.02
"""Share of the run that may lie between the end of a spot and its successor."""
_SEEN = 20
"""Frames that a spot without a parent must have been seen on."""
_MOST = 2000
"""Spots without a parent that one is looked for, those that were seen most often."""


def adopted(tracks: pa.Table, geometry: Geometry) -> Ints:
    """Return the parent of each track, (n,), -1 for none, also where it stood too far to be known.

    A crystal that goes from one phase to another strains all its reflections by the same. Where
    enough spots are known to have split, one that appears by itself is taken to come from the spot
    that stands as far as these from it in strain, towards the beam or away from it, and is there or
    was just before; where there are two of them, from none.

    Parameters
    ----------
    tracks
        Columns `KIN` of the table of tracks.
    """
    number, seen = (tracks[name].to_numpy() for name in ("track", "n_frames"))
    parent: Ints = tracks["parent"].to_numpy().copy()
    lives = _lives(tracks, unit(geometry))
    with np.errstate(invalid="ignore", divide="ignore"):
        began, ended = np.log(lives.ref), np.log(lives.now)
    at = np.minimum(np.searchsorted(number, parent), len(number) - 1)
    has = (parent >= 0) & (number[at] == parent)
    gaps = np.abs(began - ended[at])[has]
    gaps = gaps[gaps > _SURE * np.hypot(lives.sigma, lives.sigma[at])[has]]
    if len(gaps) < _FEWEST:
        return parent
    typical = float(np.median(gaps))
    good = (tracks["flags"].to_numpy() & POOR_FIT) == 0
    orphans = np.flatnonzero(
        (parent < 0) & good & (seen >= _SEEN) & (lives.first > lives.first.min())
    )
    orphans = orphans[np.argsort(-seen[orphans], kind="stable")][:_MOST]
    row, col, ref_row, ref_col = (
        tracks[name].to_numpy() for name in ("row", "col", "ref_row", "ref_col")
    )
    away = geometry.radial(row, col)
    pause = _PAUSE * float(lives.last.max() - lives.first.min())
    for i in orphans.tolist():
        off_row, off_col = ref_row[i] - row, ref_col[i] - col
        along = np.abs(off_row * away[:, 0] + off_col * away[:, 1])
        aside = np.abs(off_row * away[:, 1] - off_col * away[:, 0])
        is_kin = good & (np.abs(np.abs(began[i] - ended) - typical) <= _ALIKE * typical)
        is_kin &= (aside <= _ASIDE * along) & (lives.first < lives.first[i])
        is_kin &= lives.last >= lives.first[i] - pause
        if is_kin.sum() == 1:
            parent[i] = number[is_kin][0]
    return parent


def phases(tracks: pa.Table, geometry: Geometry | None) -> Ints:
    """Return the phase of the lattice that each track is a spot of, (n,).

    The phase in which a reflection is first seen is 0. Spots of one reflection that are there at
    the same time with different spacings are of two phases, and the larger spacing is always of the
    same one. What comes after is of the phase whose spacing is nearer. -1 is what cannot be told:
    without a geometry, where more than two spots stand together, and where a reflection has one
    spot alone while others have two phases.

    Parameters
    ----------
    tracks
        Table of tracks.
    """
    found = np.full(len(tracks), -1, np.int64)
    if geometry is None or not len(tracks):
        return found
    lives = _lives(tracks, unit(geometry))
    groups = list(_groups(tracks["reflection"].to_numpy()))
    apart = [gap for rows in groups for gap in lives.gaps(rows)]
    typical = float(np.median(np.abs(apart))) if apart else 0.0
    for rows in groups:
        found[rows] = lives.parted(rows, typical)
    sole = [rows for rows in groups if (found[rows] == 0).all()]
    alone = np.concatenate([np.empty(0, np.int64), *sole])
    if (found == 1).any():  # what was there before all others parted is of the first phase
        found[alone[lives.last[alone] >= lives.first[found == 1].min()]] = -1
    return found


_SURE = 3.0
"""Standard deviations by which spacings differ that are different."""
_PART = 0.25
"""Share of the typical difference of two phases that is a difference of phases."""


class _Lives(NamedTuple):
    """When tracks were there, and with which spacing; arrays (n,)."""

    first: Ints
    last: Ints
    ref: Floats
    now: Floats
    sigma: Floats
    """Of either spacing, relative."""

    def spacing(self, track: int, at: float) -> float:
        """Return the spacing of a track at some moment of it."""
        ends = (float(self.first[track]), float(self.last[track]))
        return float(np.interp(at, ends, (self.ref[track], self.now[track])))

    def gap(self, one: int, other: int) -> float:
        """Return by how much the spacing of one is larger, relative; 0 where nobody can tell.

        NaN where the two were never there together.
        """
        start = max(self.first[one], self.first[other])
        stop = min(self.last[one], self.last[other])
        if stop < start:
            return float("nan")
        middle = 0.5 * (float(start) + float(stop))
        gap = self.spacing(one, middle) / self.spacing(other, middle) - 1.0
        return gap if abs(gap) > _SURE * np.hypot(self.sigma[one], self.sigma[other]) else 0.0

    def gaps(self, rows: Ints) -> Iterator[float]:
        """Yield the differences in spacing of those of a reflection that follow each other."""
        for one, other in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
            gap = self.gap(one, other)
            if gap:  # NaN passes
                yield from () if np.isnan(gap) else (gap,)

    def parted(self, rows: Ints, typical: float) -> Ints:
        """Return the phases of the tracks of a reflection, which are in the order of births."""
        found = np.full(len(rows), -1, np.int64)
        found[0], larger = 0, -1
        for i, row in enumerate(rows.tolist()):
            said: set[int] = set()
            for phase, other in zip(found[:i].tolist(), rows[:i].tolist(), strict=True):
                gap = self.gap(row, other)
                if phase < 0 or np.isnan(gap):
                    continue
                if abs(gap) <= _PART * typical:
                    said.add(phase)
                    continue
                if larger < 0:
                    larger = phase if gap < 0 else 1 - phase
                # Of two that stand together the one with the larger spacing is of that phase.
                is_ordered = (phase == larger) == (gap < 0)
                said.add(1 - phase if is_ordered else -1)
            if not said and i:
                said = {self._nearest(row, rows[:i], found[:i], typical)}
            if len(said) == 1:
                found[i] = said.pop()
        return found

    def _nearest(self, row: int, rows: Ints, found: Ints, typical: float) -> int:
        """Return the phase of a track that was there when no other of its reflection was."""
        known = rows[found >= 0]
        off = np.minimum(
            *(np.abs(ends[known] / self.ref[row] - 1.0) for ends in (self.ref, self.now))
        )
        nearest = int(np.argmin(off))
        if (found == 1).any() or not typical or off[nearest] < 0.5 * typical:
            return int(found[found >= 0][nearest])
        return 1


def _lives(tracks: pa.Table, geometry: Geometry) -> _Lives:
    what = "time_ns" if tracks["first_time_ns"].to_numpy().all() else "frame"
    first, last = (tracks[f"{end}_{what}"].to_numpy() for end in ("first", "last"))
    ref, now = (
        geometry.locate(*(tracks[f"{prefix}{name}"].to_numpy() for name in _PLACE))
        for prefix in ("ref_", "")
    )
    sigma = np.nan_to_num(np.fmax(ref.d_sigma / ref.d, now.d_sigma / now.d))
    return _Lives(first, last, ref.d, now.d, sigma)


def _groups(reflection: Ints) -> Iterator[Ints]:
    """Yield the rows of each reflection, in the order of their births."""
    order = np.argsort(reflection, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(reflection[order])) + 1)
