"""The tracks of runs whose folder has no tracks table: what their peaks tell of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.dashboard.archive import Archive

__all__ = ["tracks_of"]


def tracks_of(archive: Archive, confirm_frames: int, reference_frames: int) -> pa.Table:
    """Return the columns of `streamer.results.schema.TRACKS` that need few observations.

    Parameters
    ----------
    confirm_frames
        Observations that a track must have.
    reference_frames
        Observations at either end that are averaged.
    """
    peaks, frames = archive.peaks, archive.frames
    order = archive.by_track()
    numbers = peaks["track"][order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    starts = starts[numbers[starts] >= 0]
    stops = np.append(starts[1:], len(order)) if len(starts) else starts
    kept = stops - starts >= max(confirm_frames, 1)
    starts, stops = starts[kept], stops[kept]
    count = stops - starts
    offsets = np.arange(reference_frames)
    inside = offsets < count[:, None]
    heads = order[np.where(inside, starts[:, None] + offsets, starts[:, None])]
    tails = order[np.where(inside, stops[:, None] - 1 - offsets, starts[:, None])]
    first, last = (peaks["frame_row"][order[at]] for at in (starts, stops - 1))
    columns: dict[str, NDArray[Any]] = {
        "series": np.array(archive.series, np.str_)[frames["series"][first]],
        "track": numbers[starts],
        "first_frame": frames["frame"][first],
        "last_frame": frames["frame"][last],
        "first_time_ns": frames["time_ns"][first],
        "last_time_ns": frames["time_ns"][last],
        "n_frames": count,
    }
    for prefix, rows in (("", tails), ("ref_", heads)):
        for name in ("row", "col", "d"):
            mean, sigma = _means(peaks[name][rows], peaks[f"{name}_sigma"][rows], inside)
            columns |= {prefix + name: mean, f"{prefix}{name}_sigma": sigma}
    for name in ("row", "col"):
        columns[f"drift_{name}"] = columns[name] - columns[f"ref_{name}"]
        sigmas = columns[f"{name}_sigma"], columns[f"ref_{name}_sigma"]
        columns[f"drift_{name}_sigma"] = np.hypot(*sigmas)
    row, col = columns["drift_row"], columns["drift_col"]
    with np.errstate(invalid="ignore", divide="ignore"):
        drift = np.hypot(row, col)
        sigma = np.hypot(row * columns["drift_row_sigma"], col * columns["drift_col_sigma"]) / drift
        columns |= {"drift": drift, "drift_sigma": sigma, "significance": drift / sigma}
    return pa.table(columns)


def _means(
    values: NDArray[np.float64], sigma: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means along each row, weighted where all standard deviations are known."""
    known: NDArray[np.bool_] = np.all((sigma > 0) | ~inside, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(known[:, None], 1.0 / sigma.astype(float) ** 2, 1.0)
    weight = np.where(inside, weight, 0.0)
    total = weight.sum(axis=1)
    mean = np.sum(np.where(inside, values, 0.0) * weight, axis=1) / total
    return mean, np.where(known, 1.0 / np.sqrt(total), np.nan)
