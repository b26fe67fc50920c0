"""The spots of each reflection on each frame: spacings, strains and shares of the intensity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames.geometry import Geometry
from streamer.results.folder import RunFolder
from streamer.results.motion import MotionTable
from streamer.results.reflections import phases, unit
from streamer.results.rows import batches
from streamer.results.schema import REFLECTIONS

__all__ = ["PLACE", "members", "moved", "weighted_means"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PLACE = ("row", "col", "row_sigma", "col_sigma")
"""Columns of a position in pixels."""
_READ = (
    "series", "track", "frame", "time_ns", "flags", *PLACE, "d", "d_sigma", "intensity",
    "intensity_sigma",
)  # fmt: skip


def members(
    folder: RunFolder,
    tracks: pa.Table,
    geometry: Geometry | None,
    motion: MotionTable | None = None,
    *,
    most: int | None = None,
) -> Iterator[pa.Table]:
    """Yield the table of reflections, frame after frame, a bounded number of rows at a time.

    Parameters
    ----------
    tracks
        Table of tracks.
    motion
        What to take out of positions and spacings.
    most
        How many peaks of the run to look at; all by default.
    """
    tracks = tracks.append_column("phase", pa.array(phases(tracks, geometry)))
    if not len(tracks):
        return
    tracks = tracks.take(np.argsort(tracks["track"].to_numpy()))
    known = tracks["track"].to_numpy()
    rest: pa.Table | None = None
    for table in batches(folder, "peaks", _READ, most=most):
        track = table["track"].to_numpy()
        place = np.minimum(np.searchsorted(known, track), len(known) - 1)
        table = table.take(np.flatnonzero(known[place] == track))
        if rest is not None:
            table = pa.concat_tables([rest, table]).combine_chunks()
        last = _last_frame(table)  # the next rows may be of it too
        table, rest = table.slice(0, last), table.slice(last)
        if len(table):
            yield _measured(table, tracks, geometry, motion)
    if rest is not None and len(rest):
        yield _measured(rest, tracks, geometry, motion)


def weighted_means(rows: pa.Table, names: tuple[str, ...]) -> dict[str, Floats]:
    """Return means over the members on each frame, weighted by their shares, for each row.

    Parameters
    ----------
    rows
        Rows of the table of reflections, of one of them.
    names
        Columns that means are taken of; their standard deviations go with them.
    """
    frame = _frames(rows)
    share, intensity, sigma = (
        rows[name].to_numpy() for name in ("share", "intensity", "intensity_sigma")
    )
    total = np.bincount(frame, intensity)[frame]
    # Where one is alone its intensity does not matter.
    alone = np.bincount(frame)[frame] == 1
    found: dict[str, Floats] = {}
    for name in names:
        value, error = rows[name].to_numpy(), rows[f"{name}_sigma"].to_numpy()
        mean = np.asarray(np.bincount(frame, share * value)[frame], np.float64)
        lever = np.where(alone, 0.0, (value - mean) * sigma / total)
        variance = np.bincount(frame, (share * error) ** 2 + lever**2)[frame]
        found |= {f"mean_{name}": mean, f"mean_{name}_sigma": np.sqrt(variance)}
    return found


def _measured(
    peaks: pa.Table, tracks: pa.Table, geometry: Geometry | None, motion: MotionTable | None
) -> pa.Table:
    """Return the rows of whole frames, which peaks of tracks are given of."""
    if motion is not None:
        peaks = motion.remove(peaks)
    own = np.searchsorted(tracks["track"].to_numpy(), peaks["track"].to_numpy())
    reflection = tracks["reflection"].to_numpy()
    order = np.lexsort((own, reflection[own], _frames(peaks)))
    peaks, own = peaks.take(order), own[order]
    columns = {name: peaks[name] for name in ("series", "frame", "time_ns", "track", "flags")}
    columns |= {name: peaks[name] for name in ("d", "d_sigma", "intensity", "intensity_sigma")}
    columns |= {name: tracks[name].to_numpy()[own] for name in ("reflection", "phase")}
    # The reference of a reflection is that of its first spot, whose number it has.
    first = np.searchsorted(tracks["track"].to_numpy(), reflection[own])
    reference = [tracks[f"ref_{name}"].to_numpy()[first] for name in PLACE]
    columns |= moved([peaks[name].to_numpy() for name in PLACE], reference, geometry)
    columns |= _shares(
        _frames(peaks), reflection[own],
        peaks["intensity"].to_numpy(), peaks["intensity_sigma"].to_numpy(),
    )  # fmt: skip
    return pa.table({field.name: columns[field.name] for field in REFLECTIONS}).cast(REFLECTIONS)


def moved(
    place: list[Floats], reference: list[Floats], geometry: Geometry | None
) -> dict[str, Floats]:
    """Return drifts and strains from a reference, and the standard deviations of these.

    Parameters
    ----------
    place, reference
        Columns `PLACE`, (n,) each.

    Returns
    -------
    columns
        ``drift`` in px, away from the direct beam, or its length without a geometry; ``strain``,
        NaN without one; each with ``..._sigma``, of both places together.
    """
    row, col = (one - other for one, other in zip(place[:2], reference[:2], strict=True))
    sigmas = [np.hypot(*both) for both in zip(place[2:], reference[2:], strict=True)]
    length = np.hypot(row, col)
    with np.errstate(invalid="ignore", divide="ignore"):
        along = np.stack([row, col], axis=-1) / length[:, None]
    if geometry is not None:
        along = geometry.radial(*reference[:2])
    drift = length if geometry is None else along[:, 0] * row + along[:, 1] * col
    sigma = np.hypot(along[:, 0] * sigmas[0], along[:, 1] * sigmas[1])
    found = {"drift": drift, "drift_sigma": np.where(np.isnan(sigma), np.maximum(*sigmas), sigma)}
    if geometry is None:
        return found | dict.fromkeys(("strain", "strain_sigma"), np.full(len(row), np.nan))
    now, ref = (unit(geometry).locate(*one) for one in (place, reference))
    strain = now.d / ref.d - 1.0
    relative = np.hypot(now.d_sigma / now.d, ref.d_sigma / ref.d)
    return found | {"strain": strain, "strain_sigma": (1.0 + strain) * relative}


def _shares(frame: Ints, reflection: Ints, intensity: Floats, sigma: Floats) -> dict[str, Floats]:
    """Return the share that each peak has of the intensity of its reflection on its frame."""
    new = np.concatenate([[True], (np.diff(frame) != 0) | (np.diff(reflection) != 0)])
    group = np.cumsum(new) - 1
    total, variance = (np.bincount(group, one)[group] for one in (intensity, sigma**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = intensity / total
        # Of a sum, this peak's own part goes with it.
        spread = sigma**2 * (1.0 - 2.0 * share) + share**2 * variance
        error = np.sqrt(np.maximum(spread, 0.0)) / np.abs(total)
    alone = np.bincount(group)[group] == 1
    return {"share": np.where(alone, 1.0, share), "share_sigma": np.where(alone, 0.0, error)}


def _frames(rows: pa.Table) -> Ints:
    """Return the number of the frame that each row is of, counted from the first of them."""
    series = rows["series"].combine_chunks().dictionary_encode()
    if isinstance(series, pa.ChunkedArray):
        series = series.combine_chunks()
    changes = (np.diff(series.indices.to_numpy()) != 0) | (np.diff(rows["frame"].to_numpy()) != 0)
    return np.concatenate([[0], np.cumsum(changes)]).astype(np.int64)[: len(rows)]


def _last_frame(rows: pa.Table) -> int:
    """Return the row with which the last frame begins."""
    frame = _frames(rows)
    return int(np.searchsorted(frame, frame[-1])) if len(rows) else 0
