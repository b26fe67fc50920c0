"""How far position methods stand from a reference on the peaks of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamer.frames.flags import NEIGHBOUR, POOR_FIT, UNTRUSTED
from streamer.report.truth import compare
from workers.compare.candidates import REFERENCE
from workers.detect.survey import Observations
from workers.place.base import TRAINED_PX

__all__ = ["PERCENTILES", "SIGMAS", "Agreement", "agreements", "clean_peaks", "true_positions"]

PERCENTILES = (50, 75, 95)
SIGMAS = 2.0
"""Combined standard deviations within which two positions agree."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Distances in pixels of one method's positions from the reference's."""

    method: str
    reference: str
    """Name of a method, or ``truth``."""
    population: str
    """``clean`` or ``all``."""
    n: int
    percentiles: NDArray[np.float64]
    """(3,), the `PERCENTILES`; NaN without a peak."""
    outliers: float
    """Share of peaks that are more than 1 px apart; NaN without a peak."""
    within: float
    """Share of peaks that are no further apart than `SIGMAS` combined standard deviations; NaN
    where none has one. The distance is ``hypot(row / s_row, col / s_col)`` with the variances of
    method and reference added along each axis, so 0.86 of independent Gaussian errors are within 2
    of them. Errors of two methods on the same counts are alike: more should be."""
    frame: NDArray[np.int64]
    """(k,), frames with such peaks."""
    n_of_frame: NDArray[np.int64]
    """(k,), how many."""
    percentiles_of_frame: NDArray[np.float64]
    """(k, 3)."""


def clean_peaks(
    peaks: NDArray[np.void], reference: NDArray[np.void], binning: int = 1
) -> NDArray[np.bool_]:
    """Return which peaks nothing is wrong with, so that every method should place them well.

    Parameters
    ----------
    peaks
        (n,) of `streamer.frames.peaks.PEAK`: none of their flags is set.
    reference
        (n,) of `streamer.frames.peaks.POSITION` by the Gaussian fit: it converged, explains
        the counts with one peak, and its centre is within `TRAINED_PX` of the patch's middle along
        each axis, where networks are trained to find it. Of a long or faint spot the highest
        pixel, around which the patch is cut, may be further off: on stills of a protein crystal of
        12 % of what is clean otherwise, mostly along the spot's long axis. Networks fall short
        there, and do not always flag it: see the population of all peaks for what that costs.
    binning
        Detector pixels per patch pixel along each axis.
    """
    bad = NEIGHBOUR | POOR_FIT | UNTRUSTED
    sound = np.isfinite(reference["row_sigma"]) & ((reference["flags"] & bad) == 0)
    for axis in ("row", "col"):
        middle = (peaks[axis] // binning + 0.5) * binning - 0.5
        sound &= np.abs(reference[axis] - middle) <= TRAINED_PX * binning
    return np.asarray((peaks["flags"] == 0) & sound)


def true_positions(observations: Observations, truth: pa.Table) -> NDArray[np.float64]:
    """Return (n, 2), where the spot of each peak stands; NaN where none is near the peak's pixel.

    The match is by the pixel in which the peak was found, so it is the same for all methods.
    """
    frames = pa.array(np.unique(observations.frame))
    seen = truth.filter(pc.is_in(truth["frame"], value_set=frames))
    peaks = observations.peaks
    table = pa.table(
        {
            "frame": observations.frame,
            **{name: peaks[name].astype(np.float64) for name in ("row", "col")},
            "flags": peaks["flags"],
        }
    )
    match = compare(seen, table)
    positions = np.full((len(observations), 2), np.nan)
    for axis, name in enumerate(("row", "col")):
        positions[match.peak_row, axis] = seen[name].to_numpy()[match.true_row]
    return positions


def agreements(
    observations: Observations,
    placed: Mapping[str, NDArray[np.void]],
    truth: NDArray[np.float64] | None,
    binning: int = 1,
) -> list[Agreement]:
    """Hold every method against the Gaussian fit and, where it is known, the truth.

    Parameters
    ----------
    observations
        n peaks.
    placed
        By name of the method, (n,) of `streamer.frames.peaks.POSITION`; the reference is
        among them.
    truth
        What `true_positions` returned.
    binning
        See `clean_peaks`.
    """
    reference = placed[REFERENCE]
    fitted = _where(reference)
    # Where the fit did not converge it says nothing.
    fitted[~np.isfinite(reference["row_sigma"])] = np.nan
    targets = {REFERENCE: (fitted, _variance(reference))}
    if truth is not None:
        targets["truth"] = (truth, np.zeros(truth.shape))
    populations = {
        "clean": clean_peaks(observations.peaks, reference, binning),
        "all": np.ones(len(observations), np.bool_),
    }
    return [
        _agreement(
            name,
            target,
            population,
            observations.frame,
            _where(positions) - where,
            _variance(positions) + variance,
            members,
        )
        for target, (where, variance) in targets.items()
        for population, members in populations.items()
        for name, positions in placed.items()
        if name != target
    ]


def _agreement(
    method: str,
    reference: str,
    population: str,
    frame: NDArray[np.int64],
    error: NDArray[np.float64],
    variance: NDArray[np.float64],
    members: NDArray[np.bool_],
) -> Agreement:
    distance = np.hypot(error[:, 0], error[:, 1])
    known = members & np.isfinite(distance)
    in_sigmas = np.hypot(*(error[known] / np.sqrt(variance[known])).T)
    in_sigmas = in_sigmas[np.isfinite(in_sigmas)]
    distance, frame = distance[known], frame[known]
    numbers, first, counts = np.unique(frame, return_index=True, return_counts=True)
    of_frame = [_percentiles(part) for part in np.split(distance, first[1:])] if len(frame) else []
    return Agreement(
        method,
        reference,
        population,
        len(distance),
        _percentiles(distance),
        float(np.mean(distance > 1.0)) if len(distance) else np.nan,
        float(np.mean(in_sigmas <= SIGMAS)) if len(in_sigmas) else np.nan,
        numbers,
        counts,
        np.array(of_frame).reshape(-1, len(PERCENTILES)),
    )


def _percentiles(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(distance):
        return np.full(len(PERCENTILES), np.nan)
    return np.asarray(np.percentile(distance, PERCENTILES))


def _where(positions: NDArray[np.void]) -> NDArray[np.float64]:
    return np.stack([positions["row"], positions["col"]], axis=1)


def _variance(positions: NDArray[np.void]) -> NDArray[np.float64]:
    return np.stack([positions["row_sigma"], positions["col_sigma"]], axis=1) ** 2
