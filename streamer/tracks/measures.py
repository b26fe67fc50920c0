"""The columns of the tracks table, from what is kept of tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.frames.lattice import Lattice
from streamer.results.reflections import KIN, reflections
from streamer.results.schema import Columns
from streamer.tracks import estimates as drifts
from streamer.tracks import shapes
from streamer.tracks.booking import FLAG_BITS, OBSERVATION, Tracks
from streamer.tracks.shapes import Windows

__all__ = ["AT_ONCE", "measured", "together"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AT_ONCE = 2048
"""Tracks that are measured at once, and what that takes stays in the cache."""
_COPIED = (
    "parent", "merged_into", "first_frame", "last_frame", "n_frames",
    "first_time_ns", "last_time_ns",
)  # fmt: skip


def measured(
    tracks: Tracks,
    geometry: Geometry | None,
    instrument_fwhm_deg: float | None = None,
    *,
    chosen: bool = False,
) -> Columns:
    """Return the columns of the tracks table that tracks have by themselves.

    Parameters
    ----------
    tracks
        Those of a `TrackCatalogue` that were seen often enough.
    chosen
        Whether the reference is around a frame that was chosen, and not what came first.
    """
    account = tracks.account
    half = np.clip(account["n_newest"] // 2, 1, len(tracks.newest))
    observations = np.stack([tracks.first, tracks.newest]).transpose(2, 0, 1, 3)
    peaks = np.stack([tracks.first_shape, tracks.newest_shape]).transpose(2, 0, 1, 3)
    windows = _windows(account, observations, half, chosen)
    means = drifts.means(observations, windows.taken, windows.together)
    ref, now, _ = means
    start, end = means.moved()
    end = drifts.Estimate(end.value, end.variance + account["step"])
    moved = drifts.Estimate(end.value - start.value, end.variance + start.variance)
    along, is_known = drifts.directions(geometry, ref.value, moved.value)
    drift, drift_sigma = drifts.project(moved, along)
    slope = drifts.project(drifts.slope(account["line"]), along)
    is_timed = account["first_time_ns"] != 0
    per_hour, per_frame = (
        [np.where(known, one, np.nan) for one in slope] for known in (is_timed, ~is_timed)
    )
    far, is_now = _farthest(account, now)
    gone = _chosen(
        is_now, moved, drifts.Estimate(far.value - ref.value, far.variance + ref.variance)
    )
    excursion = drifts.project(gone, drifts.directions(geometry, ref.value, gone.value)[0])
    strain = drifts.lattice(geometry, now, ref) | {
        "strain_sigma": drifts.lattice(geometry, end, start)["strain_sigma"]
    }
    farthest = drifts.lattice(geometry, far, ref)
    often = 2 * account["flags"] > account["n_frames"][:, None]
    columns: Columns = {
        "track": tracks.number,
        "series": account["series"],
        **{name: account[name] for name in _COPIED},
        **_rows_and_cols("", now),
        **_rows_and_cols("ref_", ref),
        **_rows_and_cols("drift_", moved),
        "drift": drift,
        "drift_sigma": drift_sigma,
        "significance": drifts.significance(moved, along, is_known),
        "rate": per_hour[0],
        "rate_sigma": per_hour[1],
        "rate_per_frame": per_frame[0],
        "rate_per_frame_sigma": per_frame[1],
        "excursion": excursion[0],
        "excursion_sigma": excursion[1],
        **strain,
        **{
            name.replace("strain", "strain_excursion"): np.where(
                is_now, strain[name], farthest[name]
            )
            for name in ("strain", "strain_sigma")
        },
        "score": account["score"] / account["n_frames"],
        "flags": often @ (1 << np.arange(FLAG_BITS)),
        **shapes.means(peaks, windows),
    }
    return columns | shapes.crystals(columns, geometry, instrument_fwhm_deg)


def together(
    pieces: Sequence[Columns], geometry: Geometry | None, crystal: Lattice | None
) -> Columns:
    """Return all columns but the names of series, of tracks that follow each other."""
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    kin = pa.table({name: columns[name] for name in KIN})
    columns["reflection"] = reflections(kin, geometry)
    hkl = np.zeros((len(kin), 3), np.int32)
    if crystal is not None:  # as its first spot has them
        first = np.searchsorted(columns["track"], columns["reflection"])
        hkl[:] = crystal.index(columns["ref_d"]).hkl[first]
    return columns | dict(zip("hkl", hkl.T, strict=True))


def _farthest(account: NDArray[np.void], now: drifts.Estimate) -> tuple[drifts.Estimate, Bools]:
    """Return where tracks stood farthest from where they began, and whether that is `now`."""
    is_now = np.hypot(*(now.value - account["origin"]).T) >= account["far_distance"]
    value, variance = np.moveaxis(account["far"], 1, 0)
    return _chosen(is_now, now, drifts.Estimate(value, variance)), is_now


def _chosen(which: Bools, one: drifts.Estimate, other: drifts.Estimate) -> drifts.Estimate:
    pairs = zip(one, other, strict=True)
    return drifts.Estimate(*(np.where(which[:, None], *pair) for pair in pairs))


def _windows(account: NDArray[np.void], observations: Floats, half: Ints, chosen: bool) -> Windows:
    """Return which observations count for the reference and for where tracks stand now."""
    first, newest = observations[:, 0], observations[:, 1]
    most = np.full(len(account), newest.shape[1]) if chosen else half
    taken = [
        drifts.window(first, account["n_first"], most, newest=chosen),
        drifts.window(newest, account["n_newest"], half, newest=True),
    ]
    hours = observations[..., OBSERVATION.index("hours")]
    # What follows the reference at once is of one line with it.
    together = (account["n_newest"] <= 2 * half + 1) & (not chosen)
    return Windows(hours, np.stack(taken, axis=1), together)


def _rows_and_cols(prefix: str, estimate: drifts.Estimate) -> Columns:
    sigma = np.sqrt(estimate.variance)
    return {
        f"{prefix}row": estimate.value[:, 0],
        f"{prefix}col": estimate.value[:, 1],
        f"{prefix}row_sigma": sigma[:, 0],
        f"{prefix}col_sigma": sigma[:, 1],
    }
