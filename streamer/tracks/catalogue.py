"""What is known of each track: where it stands, how far it has drifted and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.frames.geometry import Geometry
from streamer.frames.lattice import Lattice
from streamer.results.schema import TRACKS, Columns
from streamer.tracks import estimates as drifts
from streamer.tracks.measures import FLAG_BITS, measured
from streamer.tracks.shapes import SHAPES, sightings

__all__ = ["TrackCatalogue"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_KEPT = (
    "frame", "time_ns", "score", "flags", "row", "col", "row_sigma", "col_sigma",
)  # fmt: skip
_FORGET = 2000
"""Frames with peaks after which a track that was seen too rarely will not come back."""
_HOUR_NS = 3.6e12


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
        observations = ("f8", (reference_frames, len(drifts.OBSERVATION)))
        shapes = ("f4", (reference_frames, 2 * len(SHAPES)))
        self._tracks = np.zeros(
            0,
            np.dtype(
                [
                    *((name, "i8") for name in ("track", "parent", "merged_into", "series")),
                    *((name, "i8") for name in ("first_frame", "last_frame")),
                    *((name, "i8") for name in ("first_time_ns", "last_time_ns", "n_frames")),
                    ("last_seen", "i8"),
                    ("score", "f8"),
                    ("flags", "i8", (FLAG_BITS,)),
                    ("origin", "f8", (2,)),
                    ("line", "f8", (2, 8)),
                    ("step", "f8", (2,)),
                    *((name, "i8") for name in ("n_good", "n_first", "n_newest")),
                    ("first", *observations),
                    ("newest", *observations),
                    ("first_shape", *shapes),
                    ("newest_shape", *shapes),
                    ("far", "f8", (2, 2)),
                    ("far_distance", "f8"),
                ]
            ),
        )
        self._n = 0
        self._frames = 0
        self._names: list[str] = []
        self._table = TRACKS.empty_table()

    @property
    def n_confirmed(self) -> int:
        """Tracks that were seen often enough."""
        return int((self._tracks["n_frames"][: self._n] >= self._confirm).sum())

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {"tracks": self._tracks[: self._n], "frames": self._frames, "names": self._names}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._tracks = state["tracks"].astype(self._tracks.dtype)
        self._n, self._frames, self._names = len(self._tracks), state["frames"], state["names"]

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
        known = peaks["track"] >= 0
        peaks = {name: column[known] for name, column in peaks.items()}
        if len(peaks["track"]):
            self._enter(series, peaks)
        for name, kin in (("parent", parents or {}), ("merged_into", merged or {})):
            slots, found = self._find(np.fromiter(kin.keys(), np.int64, len(kin)))
            self._tracks[name][slots[found]] = np.fromiter(kin.values(), np.int64, len(kin))[found]
        if steps:
            slots, found = self._find(np.fromiter(steps.keys(), np.int64, len(steps)))
            self._tracks["step"][slots[found]] = np.array(list(steps.values()))[found]
        self._forget()

    def measure(self, geometry: Geometry | None, crystal: Lattice | None = None) -> pa.Table:
        """Return the table of all tracks that were seen often enough, with schema `TRACKS`.

        `drift` is along the line away from the direct beam where `geometry` is known, else the
        length of the drift; `rate` is along the same line, and so is `rate_per_frame`, which stands
        for it where frames have no times. Reflections have the indices that they have in `crystal`.
        """
        tracks = self._tracks[: self._n]
        tracks = tracks[tracks["n_frames"] >= self._confirm]
        columns = measured(tracks, geometry, self._instrument_fwhm_deg, chosen=self._stop >= 0)
        hkl = np.zeros((len(tracks), 3), np.int32)
        if crystal is not None:  # as its first spot has them
            first = np.searchsorted(columns["track"], columns["reflection"])
            hkl[:] = crystal.index(columns["ref_d"]).hkl[first]
        columns |= dict(zip("hkl", hkl.T, strict=True))
        columns["series"] = np.array(self._names, np.object_)[tracks["series"]]
        self._table = pa.table({name: pa.array(columns[name]) for name in TRACKS.names}, TRACKS)
        return self._table

    def top(self, n: int) -> list[tuple[int, float, float, float]]:
        """Return rank (from 1), drift, its sigma and the strain of the most significant drifts.

        They are those of the last call of `measure`; tracks of what is no peak are left out.
        """
        significance = self._table["significance"].to_numpy()
        is_peak = (self._table["flags"].to_numpy() & POOR_FIT) == 0
        rows = np.flatnonzero(np.isfinite(significance) & is_peak)
        rows = rows[np.argsort(-significance[rows], kind="stable")][:n]
        names = ("drift", "drift_sigma", "strain")
        columns = [self._table[name].to_numpy()[rows].tolist() for name in names]
        return list(zip(range(1, len(rows) + 1), *columns, strict=True))

    def _enter(self, series: Sequence[str], peaks: Columns) -> None:
        names = {name: i for i, name in enumerate(self._names)}
        for name in series:
            names.setdefault(name, len(names))
        self._names = list(names)
        number = np.array([names[name] for name in series], np.int64)[peaks["series"]]
        changes = (np.diff(peaks["frame"]) != 0) | (np.diff(number) != 0)
        seen = self._frames + np.concatenate([[0], np.cumsum(changes)])
        self._frames = int(seen[-1]) + 1
        slot = self._slots(number, peaks)
        # Rows of one track after one another, in the order of frames.
        order = np.argsort(slot, kind="stable")
        slot, number, seen = slot[order], number[order], seen[order]
        row = {name: np.asarray(peaks[name])[order] for name in _KEPT}
        shapes = sightings(peaks)[order]
        starts, counts = _runs(slot)
        catalogue, one, last = self._tracks, slot[starts], starts + counts - 1
        for name in ("last_frame", "last_time_ns"):
            catalogue[name][one] = row[name.removeprefix("last_")][last]
        catalogue["last_seen"][one] = seen[last]
        catalogue["n_frames"][one] += counts
        catalogue["score"][one] += np.add.reduceat(row["score"], starts)
        bits = (row["flags"][:, None] >> np.arange(FLAG_BITS)) & 1
        catalogue["flags"][one] += np.add.reduceat(bits, starts, axis=0)
        poor = (row["flags"] & POOR_FIT) != 0
        hours = (row["time_ns"] - catalogue["first_time_ns"][slot]) / _HOUR_NS
        # Frames without times are told apart by their numbers.
        is_timed = (row["time_ns"] != 0) & (catalogue["first_time_ns"][slot] != 0)
        hours = np.where(is_timed, hours, row["frame"] - catalogue["first_frame"][slot])
        where = [row[name] for name in ("row", "col", "row_sigma", "col_sigma")]
        observations = np.stack([*where, hours], axis=1)
        # The reference is what came first, or what came until the frame that was chosen.
        until = (row["frame"] < self._stop) & (number == catalogue["series"][slot])
        used = self._worth(slot, poor) & np.isfinite(observations[:, :2]).all(axis=1)
        self._place(slot[used], observations[used], shapes[used], until[used])

    def _worth(self, slot: NDArray[np.intp], poor: Bools) -> Bools:
        """Tell which observations count: those that look like a peak, or all until one does.

        With a track's first that does, all before it are dropped.
        """
        catalogue = self._tracks
        good = np.bincount(slot[~poor], minlength=len(catalogue))
        first = (good > 0) & (catalogue["n_good"] == 0)
        for name in ("n_newest", "n_first", "line", "far_distance"):
            catalogue[name][first] = 0
        catalogue["n_good"] += good
        return np.asarray(~poor | (catalogue["n_good"][slot] == 0))

    def _place(
        self,
        slot: NDArray[np.intp],
        observations: Floats,
        shapes: NDArray[np.float32],
        until: Bools,
    ) -> None:
        """Put observations, sorted by track, into rings and lines."""
        if not len(slot):
            return
        catalogue = self._tracks
        starts, counts = _runs(slot)
        place = np.arange(len(slot)) - np.repeat(starts, counts) + catalogue["n_newest"][slot]
        early = until | (place < self._window)
        self._renew(slot, place, observations)
        _put(catalogue["newest_shape"], slot, place, shapes)
        for more, values in (("", observations), ("_shape", shapes)):
            _put(catalogue[f"first{more}"], slot[early], place[early], values[early])
        catalogue["n_newest"][slot[starts]] += counts
        catalogue["n_first"] += np.bincount(slot[early], minlength=len(catalogue))
        for axis in (0, 1):
            x = observations[:, axis] - catalogue["origin"][slot, axis]
            terms = drifts.line_terms(x, observations[:, 2 + axis], observations[:, 4])
            for i, term in enumerate(terms):
                catalogue["line"][:, axis, i] += np.bincount(slot, term, len(catalogue))

    def _renew(self, slot: NDArray[np.intp], place: Ints, observations: Floats) -> None:
        """Put observations into the rings of the newest, and note where full ones are farthest."""
        catalogue, size = self._tracks, self._window
        lap = place // size - catalogue["n_newest"][slot] // size
        order = np.argsort(lap, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(lap[order])) + 1):
            _put(catalogue["newest"], slot[rows], place[rows], observations[rows])
            last = rows[place[rows] % size == size - 1]
            full = slot[last]
            if not len(full):
                continue
            rings = catalogue["newest"][full]
            whole = np.ones((len(full), 2, size), np.bool_)
            alone = np.zeros(len(full), np.bool_)
            at = drifts.means(np.stack([rings, rings], axis=1), whole, alone).second
            distance = np.hypot(*(at.value - catalogue["origin"][full]).T)
            farther = distance > catalogue["far_distance"][full]
            catalogue["far_distance"][full[farther]] = distance[farther]
            catalogue["far"][full[farther]] = np.stack(at, axis=1)[farther]

    def _slots(self, number: Ints, peaks: Columns) -> NDArray[np.intp]:
        """Return where in the catalogue each peak's track is; tracks that begin are entered."""
        track = np.asarray(peaks["track"], np.int64)
        names, first = np.unique(track, return_index=True)
        new = ~self._find(names)[1]
        names, first = names[new], first[new]
        if self._n + len(names) > len(self._tracks):
            more = np.zeros(max(256, len(self._tracks) + len(names)), self._tracks.dtype)
            self._tracks = np.concatenate([self._tracks, more])
        born = self._tracks[self._n : self._n + len(names)]
        born["track"], born["parent"], born["merged_into"] = names, -1, -1
        born["series"] = number[first]
        born["first_frame"], born["first_time_ns"] = peaks["frame"][first], peaks["time_ns"][first]
        where = np.stack([peaks["row"][first], peaks["col"][first]], axis=1)
        born["origin"] = np.nan_to_num(where)
        self._n += len(names)
        return self._find(track)[0]

    def _find(self, tracks: Ints) -> tuple[NDArray[np.intp], Bools]:
        """Return where tracks are in the catalogue, whose numbers grow, and whether they are."""
        known = self._tracks["track"][: self._n]
        slots = np.searchsorted(known, tracks)
        found = slots < self._n
        found[found] = known[slots[found]] == tracks[found]
        return slots, found

    def _forget(self) -> None:
        """Let go of what was seen too rarely and will not come back, when it is much."""
        catalogue = self._tracks[: self._n]
        keep = (catalogue["n_frames"] >= self._confirm) | (
            catalogue["last_seen"] > self._frames - _FORGET
        )
        if 2 * keep.sum() < self._n:
            self._tracks = catalogue[keep].copy()
            self._n = len(self._tracks)


def _runs(slot: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where the runs of equal numbers start, and their lengths."""
    starts = np.flatnonzero(np.concatenate([[True], slot[1:] != slot[:-1]]))
    return starts, np.diff(np.append(starts, len(slot)))


def _put(
    ring: NDArray[Any], slot: NDArray[np.intp], place: Ints, values: NDArray[np.floating]
) -> None:
    """Write values at their places of rings; of those with the same place the last stays."""
    size = ring.shape[1]
    left = np.ones(len(slot), np.bool_)
    left[:-size] = slot[:-size] != slot[size:]  # sorted by slot: others would be overwritten
    ring[slot[left], place[left] % size] = values[left]
