"""What is known of each track: where it stands, how far it has drifted and how sure that is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.frames.geometry import Geometry
from streamer.frames.lattice import Lattice
from streamer.results.schema import TRACKS, Columns
from streamer.tracks.booking import REMEMBERED, Tracks, enter, find, readable
from streamer.tracks.measures import AT_ONCE, measured, together
from streamer.tracks.shapes import SHAPES, sightings

__all__ = ["TrackCatalogue"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FACTS = ("series", "frame", "time_ns", "flags")
_PLACES = ("row", "col", "row_sigma", "col_sigma", "score")
_FORGET = 2000
"""Frames with peaks after which a track that was seen too rarely will not come back."""
_ROOM = 256
_RANKED = 100
"""Drifts that are kept as the most significant ones."""


class TrackCatalogue:
    """Keeps the account of all tracks as peaks are committed.

    A track's position is the mean of its newest observations and its reference that of its first
    ones, weighted by their standard deviations; a track seen on fewer frames than both need gives
    half of them to each. What does not look like a peak counts only as long as a track has nothing
    else.

    Parameters
    ----------
    confirm_frames
        Frames on which a track must be seen to have a row in the table.
    reference_frames
        Observations in a mean.
    reference_frame
        Frame around which the reference is taken; of a track that was not there, the observations
        nearest to it.
    instrument_fwhm_deg
        Width in two-theta that the instrument gives to spots, where known.
    """

    def __init__(
        self,
        confirm_frames: int = 3,
        reference_frames: int = 10,
        reference_frame: int | None = None,
        *,
        instrument_fwhm_deg: float | None = None,
    ) -> None:
        self._confirm = confirm_frames
        self._window = reference_frames
        self._instrument_fwhm_deg = instrument_fwhm_deg
        self._stop = -1
        if reference_frame is not None:
            self._stop = reference_frame + (reference_frames + 1) // 2
        self._tracks = Tracks.none(0, reference_frames)
        self._remembered = np.zeros(REMEMBERED, np.int64)
        self._n = 0
        self._check = _ROOM
        """Tracks with which to look for what can be forgotten."""
        self._frames = 0
        self._room = np.empty(0, np.float32)
        self._names: list[str] = []
        self._ranked: list[tuple[int, float, float, float]] = []
        self._table = TRACKS.empty_table()

    @property
    def n_confirmed(self) -> int:
        """Tracks that were seen often enough."""
        return int(self._confirmed().sum())

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        tracks = self._tracks.rows(slice(self._n))
        return {"tracks": list(tracks), "frames": self._frames, "names": self._names}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._tracks = Tracks._make(np.array(column) for column in state["tracks"])
        self._n, self._frames = len(self._tracks.number), state["frames"]
        self._names = state["names"]

    def extend(
        self,
        series: Sequence[str],
        peaks: Columns,
        parents: Mapping[int, int] | None = None,
        merged: Mapping[int, int] | None = None,
        steps: Mapping[int, tuple[float, float]] | None = None,
    ) -> None:
        """Take in peaks, frame after frame.

        Parameters
        ----------
        series
            Names that ``peaks["series"]`` are indices into.
        peaks
            Columns of the peaks table; a position of NaN is an observation without a place.
        parents, merged
            Tracks that split from, and that ended beside, another track.
        steps
            Variances along rows and columns that drifts hold from now on.
        """
        self._enter(series, peaks)
        account = self._tracks.account
        for name, kin in (("parent", parents or {}), ("merged_into", merged or {})):
            slot = self._find(np.fromiter(kin.keys(), np.int64, len(kin)))
            known = slot >= 0
            account[name][slot[known]] = np.fromiter(kin.values(), np.int64, len(kin))[known]
        if steps:
            slot = self._find(np.fromiter(steps.keys(), np.int64, len(steps)))
            known = slot >= 0
            account["step"][slot[known]] = np.array(list(steps.values()))[known]
        if self._n >= self._check:
            self._forget()

    def measure(self, geometry: Geometry | None, crystal: Lattice | None = None) -> pa.Table:
        """Return the table of all tracks that were seen often enough, with schema `TRACKS`.

        `drift` is along the line away from the direct beam where `geometry` is known, else the
        length of the drift; `rate` is along the same line, and so is `rate_per_frame`, which stands
        for it where frames have no times. Reflections have the indices that they have in `crystal`.
        """
        *_, table = self.measuring(geometry, crystal)
        return table

    def measuring(
        self, geometry: Geometry | None, crystal: Lattice | None = None
    ) -> Iterator[pa.Table | None]:
        """Yield None while there is more to do, and in the end what `measure` returns.

        Peaks may be taken in meanwhile, a part at a time: each track is as it was at some moment.
        """
        pieces: list[Columns] = []
        start = 0
        while not pieces or start < self._n:
            some = self._tracks.rows(slice(start, min(start + AT_ONCE, self._n)))
            last = int(some.number[-1]) if len(some.number) else -1
            some = some.rows(some.account["n_frames"] >= self._confirm)
            pieces.append(
                measured(some, geometry, self._instrument_fwhm_deg, chosen=self._stop >= 0)
            )
            yield None
            # Some may have been forgotten meanwhile.
            start = int(np.searchsorted(self._tracks.number[: self._n], last, "right"))
        columns = together(pieces, geometry, crystal)
        yield None
        arrays = {name: pa.array(column) for name, column in columns.items()}
        names = pa.array(self._names, pa.string())
        arrays["series"] = pa.DictionaryArray.from_arrays(arrays["series"], names)
        table = pa.table({field.name: arrays[field.name].cast(field.type) for field in TRACKS})
        self._table, self._ranked = table, _ranked(table)
        yield table

    @property
    def table(self) -> pa.Table:
        """What the last call of `measure` returned."""
        return self._table

    def top(self, n: int, also: Collection[int] = ()) -> list[tuple[int, float, float, float]]:
        """Return track, drift, its sigma and the strain of the most significant drifts.

        They are those of the last call of `measure`; tracks of what is no peak are left out. Those
        of the tracks `also` follow them.
        """
        first = self._ranked[:n]
        if not also:
            return first
        numbers = {track for track, *_ in first}
        rows = np.flatnonzero(np.isin(self._table["track"].to_numpy(), list(also)))
        more = _rows(self._table, rows)
        return [*first, *(one for one in more if one[0] not in numbers)]

    def _confirmed(self) -> NDArray[np.bool_]:
        """Tell which tracks were seen often enough."""
        confirmed = self._tracks.account["n_frames"] >= self._confirm
        confirmed[self._n :] = False
        return np.asarray(confirmed)

    def _enter(self, series: Sequence[str], peaks: Columns) -> None:
        names = {name: i for i, name in enumerate(self._names)}
        for name in series:
            names.setdefault(name, len(names))
        self._names = list(names)
        number = np.array([names[name] for name in series], np.int64)
        facts = [np.asarray(peaks[name], np.int64) for name in _FACTS]
        facts[0] = number[facts[0]]
        places = [np.asarray(peaks[name], np.float64) for name in _PLACES]
        track = np.array(peaks["track"], np.int64)
        slot = self._find(track)
        if self._begin(np.flatnonzero((slot < 0) & (track >= 0)), track, facts, places):
            slot = self._find(track)
        self._frames = enter(
            self._tracks,
            slot,
            tuple(map(readable, facts)),
            tuple(map(readable, places)),
            sightings(peaks, self._room_for(2 * len(SHAPES) * len(track))),
            self._frames,
            self._stop,
        )

    def _room_for(self, n: int) -> NDArray[np.float32]:
        """Return memory that is used again: the system takes longer to give it than to fill it."""
        if len(self._room) < n:
            self._room = np.empty(n, np.float32)
        return self._room

    def _begin(self, peaks: Ints, track: Ints, facts: list[Ints], places: list[Floats]) -> bool:
        """Make room for the tracks of some peaks, if any, whose numbers are higher than all."""
        if not len(peaks):
            return False
        number, first = np.unique(track[peaks], return_index=True)
        peak = peaks[first]
        n, self._n = self._n, self._n + len(number)
        if self._n > len(self._tracks.number):
            room = Tracks.none(max(_ROOM, self._n), self._window)
            self._tracks = self._tracks.rows(slice(n)).followed_by(room)
        born = self._tracks.rows(slice(n, self._n))
        born.number[:], born.account["parent"], born.account["merged_into"] = number, -1, -1
        for name, column in zip(("series", "first_frame", "first_time_ns"), facts, strict=False):
            born.account[name] = column[peak]
        born.account["origin"] = np.nan_to_num(
            np.stack([column[peak] for column in places[:2]], axis=1)
        )
        return True

    def _find(self, tracks: Ints) -> Ints:
        """Return where tracks are, -1 for those that are not known."""
        return np.asarray(find(self._tracks.number[: self._n], tracks, self._remembered))

    def _forget(self) -> None:
        """Let go of what was seen too rarely and will not come back, when it is much."""
        recent = self._tracks.account["last_seen"] > self._frames - _FORGET
        keep = self._confirmed() | recent
        keep[self._n :] = False
        if 2 * keep.sum() < self._n:
            self._tracks = Tracks._make(map(np.ascontiguousarray, self._tracks.rows(keep)))
            self._n = len(self._tracks.number)
        self._check = max(_ROOM, self._n + self._n // 4)


def _ranked(table: pa.Table) -> list[tuple[int, float, float, float]]:
    """Return what `TrackCatalogue.top` does, of a table."""
    significance = table["significance"].to_numpy()
    is_peak = (table["flags"].to_numpy() & POOR_FIT) == 0
    rows = np.flatnonzero(np.isfinite(significance) & is_peak)
    rows = rows[np.argsort(-significance[rows], kind="stable")][:_RANKED]
    return _rows(table, rows)


def _rows(table: pa.Table, rows: NDArray[np.int64]) -> list[tuple[int, float, float, float]]:
    names = ("track", "drift", "drift_sigma", "strain")
    columns = [table[name].to_numpy()[rows].tolist() for name in names]
    return list(zip(*columns, strict=True))
