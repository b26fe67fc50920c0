"""Whether what was found looks like peaks, and what to do where it does not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streamer.frames.contradictions import as_gaps
from streamer.frames.flags import POOR_FIT, SATURATED
from streamer.results.folder import RunFolder

__all__ = ["advice", "findings", "noise_advice", "width_advice"]

_MANY = 1000.0
"""Peaks a frame above which those that look like nothing are worth a word."""
_POOR = 0.5
_ENOUGH = 10
"""Frames before anything is said."""
_WIDE_PX = 8.2
"""Full width at half maximum, 3.5 px of standard deviation: an 11 px patch then lacks what tells
the background from the peak, and what it tells of position and shape gets worse than it need be."""
_WELL_PX = 5.9
"""That of peaks that such a patch holds well, 2.5 px of standard deviation."""
_MOSTLY = 0.5
_PLACED = ("series", "frame", "track", "flags", "row", "col", "row_sigma", "col_sigma")
_SAMPLE = 1 << 16
"""Peaks that tell of the noise of all."""
_FEWEST_STEPS = 300
"""Positions from whose scatter anything is said."""
_QUIET = 0.6
"""Scatter over standard deviations, below which these are too large: they are honest within .8 to
1.2, and no motion of the spots makes their places scatter less."""
_TO_SIGMA = 1.4826
"""From the median of the absolute values to the standard deviation."""
_COUNTS = ("frames", "peaks", "poor", "merged")


def findings(infos: Iterable[Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Put together what detector workers tell of each series.

    Parameters
    ----------
    infos
        Facts of their reports; those called ``found/SERIES`` are read.
    """
    found: dict[str, dict[str, Any]] = {}
    for info in infos:
        for key, text in info.items():
            kind, _, name = key.partition("/")
            if kind != "found":
                continue
            try:
                told = msgspec.json.decode(text, type=dict[str, Any])
            except (ValueError, RecursionError):
                continue
            one = found.setdefault(name, dict.fromkeys(_COUNTS, 0))
            for count in _COUNTS:
                one[count] += int(told.get(count) or 0)
            for name_ in ("masked", "gaps"):
                one.setdefault(name_, told.get(name_))
            brightest = [x for x in (one.get("brightest"), told.get("brightest")) if x is not None]
            one["brightest"] = max(brightest, default=None)
            ranges = one.setdefault("thresholds", {})
            for name_, (low, high) in (told.get("thresholds") or {}).items():
                if low is None or high is None:
                    continue  # without a pixel that is used there is none
                before = ranges.get(name_, [low, high])
                ranges[name_] = [min(before[0], low), max(before[1], high)]
    return found


def advice(
    found: Mapping[str, Mapping[str, Any]], minval: float | str, minscore: float | str
) -> list[str]:
    """Return a line for each series whose peaks are none or look like none, or are left out.

    Parameters
    ----------
    found
        As `findings` gives it.
    minval, minscore
        As configured.
    """
    lines = _gaps(found) + _merged(found)
    for name, one in found.items():
        frames, peaks = one["frames"], one["peaks"]
        if frames < _ENOUGH:
            continue
        if not peaks:
            brightest = one.get("brightest")
            told = "" if brightest is None else f"; the brightest pixel has {brightest:g} counts"
            if isinstance(minval, str):
                lines.append(f"series {name}: nothing stands out from the noise{told}")
            elif brightest is not None and brightest < minval:
                lines.append(
                    f"series {name}: no pixel reaches detect.minval = {minval:g}{told}: lower it "
                    "and detect.minscore, or set both to auto"
                )
            else:
                lines.append(
                    f"series {name}: no peak reaches detect.minscore = {minscore:g}{told}: lower "
                    "it, or set it to auto"
                    if not isinstance(minscore, str)
                    else f"series {name}: nothing stands out from the noise{told}"
                )
        elif peaks > _MANY * frames or (peaks > 100 * frames and one["poor"] > _POOR * peaks):
            share = one["poor"] / peaks
            lines.append(
                f"series {name}: {peaks / frames:,.0f} peaks a frame, {share:.0%} of them a pixel "
                "alone: if this is noise, raise detect.minval and detect.minscore or set both to "
                "auto"
            )
    return lines


def width_advice(tracks: pa.Table, binning: int) -> list[str]:
    """Return a line where most spots are too wide for their patches.

    Parameters
    ----------
    tracks
        As in a run folder.
    binning
        Detector pixels per patch pixel along each axis.
    """
    widths = tracks["fwhm_minor"].to_numpy() if "fwhm_minor" in tracks.column_names else np.empty(0)
    weights = tracks["n_frames"].to_numpy()[np.isfinite(widths)] if len(widths) else np.empty(0)
    widths = widths[np.isfinite(widths)]
    if not len(widths) or weights[widths > _WIDE_PX * binning].sum() <= 0.5 * weights.sum():
        return []
    typical = float(np.median(widths))
    return [
        f"most spots are {typical:.1f} px wide at half of their height or more, too wide for their "
        "patches: positions and shapes get better with detect.binning = "
        f"{math.ceil(typical / _WELL_PX)}"
    ]


def noise_advice(folder: RunFolder, gain: float) -> list[str]:
    """Return a line where the noise of most peaks of a run is not that of counted photons.

    Parameters
    ----------
    gain
        As configured.
    """
    peaks = _first_peaks(folder)
    flags = peaks["flags"].to_numpy()
    unsaturated = (flags & SATURATED) == 0
    poor = float(np.mean((flags[unsaturated] & POOR_FIT) != 0)) if unsaturated.any() else 0.0
    if len(peaks) >= _FEWEST_STEPS and poor > _MOSTLY:
        return [
            f"{poor:.0%} of the peaks do not look like one peak (flag 16), and their standard "
            "deviations may be too small: where a photon makes more than one count, set "
            "positions.gain and positions.read_noise"
        ]
    scatter = _scatter(peaks.filter(pa.array((flags == 0) & (peaks["track"].to_numpy() >= 0))))
    if not 0 < scatter < _QUIET:
        return []
    say = f"; set positions.gain = {gain * scatter**2:.2g}" if gain else ""
    return [
        f"positions scatter from frame to frame by {scatter:.2g} of their standard deviations: "
        f"these are too large, as where counts were divided by something{say}"
    ]


def _first_peaks(folder: RunFolder) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    n_rows = 0
    for part in folder.parts("peaks"):
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(_SAMPLE, columns=list(_PLACED)):
                batches.append(batch)
                n_rows += len(batch)
                if n_rows >= _SAMPLE:
                    return pa.Table.from_batches(batches)
    return pa.Table.from_batches(batches) if batches else folder.read("peaks", _PLACED)


def _scatter(peaks: pa.Table) -> float:
    """Return how much places scatter over three frames in a row, in their standard deviations.

    NaN where there are too few.
    """
    rows = peaks.sort_by([(name, "ascending") for name in ("series", "track", "frame")])
    track, frame = rows["track"].to_numpy(), rows["frame"].to_numpy()
    follows = (track[2:] == track[:-2]) & (frame[2:] - frame[:-2] == 2)
    if np.count_nonzero(follows) < _FEWEST_STEPS:
        return math.nan
    off = []
    for axis in ("row", "col"):
        place, variance = rows[axis].to_numpy(), rows[f"{axis}_sigma"].to_numpy() ** 2
        bent = place[2:] - 2 * place[1:-1] + place[:-2]
        sigma = np.sqrt(variance[2:] + 4 * variance[1:-1] + variance[:-2])
        told = follows & (sigma > 0)  # which a centroid's are not
        off.append(np.abs(bent[told] / sigma[told]))
    steps = np.concatenate(off)
    return _TO_SIGMA * float(np.median(steps)) if len(steps) >= _FEWEST_STEPS else math.nan


def _merged(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say how many peaks of all series are in no table, for they stood beside higher ones."""
    merged = sum(one["merged"] for one in found.values())
    if not merged:
        return []
    share = merged / (merged + sum(one["peaks"] for one in found.values()))
    return [
        f"{merged:,} peaks, {share:.0%} of those found, are left out: they stand within "
        "detect.merge_px of a higher one"
    ]


def _gaps(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say once of each value that looks like gaps in which series it does."""
    first: dict[float, tuple[str, int]] = {}
    series: dict[float, int] = {}
    for name, one in found.items():
        for value, count in one.get("gaps") or ():
            first.setdefault(value, (name, count))
            series[value] = series.get(value, 0) + 1
    lines = []
    for value, (name, count) in first.items():
        also = f" and {series[value] - 1:,} more" if series[value] > 1 else ""
        lines += [
            f"series {name}{also}: of its pixels {text}" for text in as_gaps([(value, count)])
        ]
    return lines
