"""The figure of a run's drift with the truth under it."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.report.style import INK, STYLE
from streamer.report.truth import Comparison

__all__ = ["draw_drift"]


def draw_drift(
    path: Path,
    peaks: pa.Table,
    truth: pa.Table,
    comparison: Comparison,
    beam: tuple[float, float],
    *,
    tracks: int = 6,
) -> None:
    """Draw how far the main tracks stand from the beam, the truth under them, and the voltage.

    Parameters
    ----------
    path
        PNG to write.
    peaks, truth, comparison
        A run, what was true, and how they match.
    beam
        (row, col) of the direct beam in pixels; the drift is along the line from there.
    tracks
        How many of the longest tracks to draw.
    """
    track = peaks["track"].to_numpy()
    frame, where = peaks["frame"].to_numpy(), _where(peaks)
    true_frame, true_where = truth["frame"].to_numpy(), _where(truth)
    spot = truth["spot"].to_numpy()
    true_of = dict(zip(comparison.peak_row.tolist(), comparison.true_row.tolist(), strict=True))
    is_peak = (peaks["flags"].to_numpy() & POOR_FIT) == 0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 6), layout="constrained")
        drift, cell = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
        for number, colour in zip(_longest(track[is_peak], tracks), colours, strict=False):
            rows = np.flatnonzero(track == number)
            radius = np.hypot(*(where[rows] - beam).T)
            drift.plot(frame[rows], radius - radius[0], ".", ms=2.2, color=colour, zorder=3)
            known = np.array([true_of[row] for row in rows.tolist() if row in true_of], int)
            # A track may go over from one spot to another: each has a line of its own.
            for one in np.unique(spot[known]):
                line = known[spot[known] == one]
                drift.plot(
                    true_frame[line],
                    np.hypot(*(true_where[line] - beam).T) - radius[0],
                    color=colour,
                    alpha=0.35,
                    lw=4,
                    zorder=1,
                )
        drift.plot([], [], ".", color=INK, label="found (each colour one track)")
        drift.plot([], [], color=INK, alpha=0.35, lw=4, label="truth")
        drift.set_ylabel("drift away from the beam / px")
        drift.legend(frameon=False, loc="best")
        drift.set_title("Drift of the longest tracks through a charge and a discharge", loc="left")
        first = np.unique(true_frame, return_index=True)[1]
        cell.plot(true_frame[first], truth["voltage_v"].to_numpy()[first], color=INK)
        cell.set_ylabel("cell voltage / V")
        cell.set_xlabel("frame")
        figure.savefig(path)


def _where(table: pa.Table) -> NDArray[np.float64]:
    return np.stack([table["row"].to_numpy(), table["col"].to_numpy()], axis=1)


def _longest(track: NDArray[np.int64], count: int) -> list[int]:
    numbers, lengths = np.unique(track[track >= 0], return_counts=True)
    return [int(number) for number in numbers[np.argsort(-lengths, kind="stable")][:count]]
