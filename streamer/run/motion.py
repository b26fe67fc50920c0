"""How much of the drifts of a run is a motion that all spots share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import TracksConfig
from streamer.errors import UserError
from streamer.frames.flags import POOR_FIT
from streamer.frames.geometry import Geometry
from streamer.results.folder import RunFolder
from streamer.results.motion import still
from streamer.results.schema import MOTION, Columns
from streamer.tracks.estimates import Estimate, lattice
from streamer.tracks.similarity import FEWEST

__all__ = ["SharedMotion", "motion_advice", "motion_words", "shared_motion"]

Floats = NDArray[np.float64]

_PLACED = ("row", "col", "row_sigma", "col_sigma")
_STRAINED, _STILL = 3.0, 2.0
"""Median significances of strains, or drifts, above which there are some and below which none."""
_MOSTLY = 0.5
_LEAST = 3
"""Frames at either end of a track that tell what it did with all others."""


@dataclass(frozen=True, slots=True)
class SharedMotion:
    """Drifts as measured, and with the common shift and rotation taken out."""

    n_tracks: int
    share: float
    """Of the variance of the drifts, what all spots share; from medians."""
    drift: tuple[float, float]
    """Median of drift over standard deviation, with the motion and without."""
    strain: tuple[float, float]
    """The same of strains; NaN without a geometry."""

    @property
    def is_most(self) -> bool:
        """True where what looks like drift or strain is mostly the motion."""
        strained, strain_left = self.strain
        explains = self.drift[0] > _STRAINED and self.share > _MOSTLY
        return explains or (strained > _STRAINED and strain_left < _STILL)


def motion_advice(folder: RunFolder, config: TracksConfig) -> list[str]:
    """Return a line where strains and drifts of a run are mostly a motion that all spots share.

    Raises
    ------
    UserError
        The run cannot be read.
    """
    if config.common_motion == "remove":
        tracks = folder.read_tracks()
        if len(tracks) and np.isnan(tracks["drift_row"].to_numpy()).all():
            return [
                "drifts are not known: tracks.common_motion is remove, and too few spots tell what "
                "all did together; set it to keep"
            ]
        return []
    columns = ["series", "frame", "time_ns", *MOTION]
    try:
        geometry = folder.read_geometry()
    except UserError:
        geometry = None
    frames, tracks = folder.read("frames", columns), folder.read_tracks()
    return motion_words(shared_motion(frames, tracks, geometry, config.reference_frames))


def motion_words(found: SharedMotion | None) -> list[str]:
    """Return a line where what looks like drift or strain is mostly the motion, else none."""
    if found is None or not found.is_most:
        return []
    kind = "drift" if np.isnan(found.strain[0]) else "strain"
    before, after = found.drift if kind == "drift" else found.strain
    return [
        f"{kind}s are mostly a motion that all spots share, as of a beam that drifts or a sample "
        f"that moves: it makes {found.share:.0%} of the drifts, and without it the median {kind} "
        f"is {after:.1f} standard deviations, not {before:.1f}: see motion_row, motion_col and "
        "motion_angle in frames/, and set tracks.common_motion to remove to have it taken out"
    ]


def shared_motion(
    frames: pa.Table, tracks: pa.Table, geometry: Geometry | None, window: int
) -> SharedMotion | None:
    """Tell what of the drifts of tracks is the motion of all; None where too little is known.

    Parameters
    ----------
    frames
        Columns `series`, `frame`, `time_ns` and `MOTION`.
    tracks
        As measured.
    window
        Observations that the places of a track are means of, at most.
    """
    told = frames.filter(pa.array(np.isfinite(frames["motion_row"].to_numpy())))
    poor = (tracks["flags"].to_numpy() & POOR_FIT) != 0
    tracks = tracks.filter(pa.array(~poor))
    what = "time_ns" if frames["time_ns"].to_numpy().all() else "frame"
    if what == "frame" and len(frames["series"].unique()) > 1:
        return None  # where a track goes on in another series is not known
    if len(tracks) < FEWEST or not len(told):
        return None
    told = told.sort_by(what)
    place = told[what].to_numpy()
    first = np.searchsorted(place, tracks[f"first_{what}"].to_numpy())
    last = np.searchsorted(place, tracks[f"last_{what}"].to_numpy(), "right")
    # As many as the tracks' own means are over, where all frames tell.
    count = np.minimum(np.minimum(last - first, tracks["n_frames"].to_numpy()) // 2, window)
    seen = count >= min(_LEAST, window)
    if seen.sum() < FEWEST:
        return None
    tracks, first, last, count = tracks.filter(pa.array(seen)), first[seen], last[seen], count[seen]
    now = {name: tracks[name].to_numpy() for name in _PLACED}
    ref = {name: tracks[f"ref_{name}"].to_numpy() for name in _PLACED}
    still_now = still(now, _means(told, last - count, count))
    still_ref = still(ref, _means(told, first, count))
    moved, left = (_drifts(*pair) for pair in ((now, ref), (still_now, still_ref)))
    strains = [_strains(geometry, *pair) for pair in ((now, ref), (still_now, still_ref))]
    lengths = [np.median((one.value**2).sum(axis=1)) for one in (moved, left)]
    share = 1.0 - float(lengths[1] / lengths[0]) if lengths[0] > 0 else 0.0
    drifts = [float(np.median(_significance(one))) for one in (moved, left)]
    return SharedMotion(
        len(tracks), max(0.0, share), (drifts[0], drifts[1]), (strains[0], strains[1])
    )


def _means(told: pa.Table, start: NDArray[np.intp], count: NDArray[np.intp]) -> Columns:
    """Return means of the motion over so many frames that are told, from each start on."""
    means = {}
    for name in MOTION:
        sums = np.concatenate([[0.0], np.cumsum(told[name].to_numpy())])
        means[name] = (sums[start + count] - sums[start]) / count
        if name.endswith("_sigma"):
            means[name] /= np.sqrt(count)
    return means


def _estimate(places: Columns) -> Estimate:
    value, sigma = (
        np.stack([places[f"row{more}"], places[f"col{more}"]], axis=1) for more in ("", "_sigma")
    )
    return Estimate(value, sigma**2)


def _drifts(now: Columns, ref: Columns) -> Estimate:
    one, other = _estimate(now), _estimate(ref)
    return Estimate(one.value - other.value, one.variance + other.variance)


def _significance(drifts: Estimate) -> Floats:
    """Return lengths of drifts in standard deviations."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt((drifts.value**2 / drifts.variance).mean(axis=1)))


def _strains(geometry: Geometry | None, now: Columns, ref: Columns) -> float:
    """Return the median of |strain| over its standard deviation."""
    found = lattice(geometry, _estimate(now), _estimate(ref))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.median(np.abs(found["strain"] / found["strain_sigma"])))
