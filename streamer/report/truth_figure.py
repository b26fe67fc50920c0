"""The figure of a run's drift with the truth under it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamer.report.reflections import Reflection
from streamer.report.style import INK, STYLE
from streamer.report.truth import Comparison

__all__ = ["draw_drift"]

_FIRST = 10
"""Observations that the drift counts from."""
_GAP = 10
"""Frames for which a spot may go unseen without its line being broken."""


def draw_drift(
    path: Path,
    peaks: pa.Table,
    reflections: Sequence[Reflection],
    truth: pa.Table,
    comparison: Comparison,
    beam: tuple[float, float],
) -> None:
    """Draw how far reflections have gone from the beam, the truth under them, and the voltage.

    Parameters
    ----------
    path
        PNG to write.
    peaks, reflections
        A run, and of its reflections those to draw.
    truth, comparison
        What was true, and how it matches the peaks.
    beam
        (row, col) of the direct beam in pixels; the drift is along the line from there.
    """
    track = peaks["track"].to_numpy()
    frame, where = peaks["frame"].to_numpy(), _where(peaks)
    true_frame, true_where = truth["frame"].to_numpy(), _where(truth)
    spot = truth["spot"].to_numpy()
    true_of = dict(zip(comparison.peak_row.tolist(), comparison.true_row.tolist(), strict=True))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 6), layout="constrained")
        drift, cell = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
        for one, colour in zip(reflections, colours, strict=False):
            rows = np.flatnonzero(np.isin(track, one.tracks))
            radius = np.hypot(*(where[rows] - beam).T)
            begin = np.median(radius[track[rows] == one.tracks[0]][:_FIRST])
            drift.plot(frame[rows], radius - begin, ".", ms=2.2, color=colour, zorder=3)
            known = np.array([true_of[row] for row in rows.tolist() if row in true_of], int)
            for line in _unbroken(known, true_frame, spot):
                drift.plot(
                    true_frame[line],
                    np.hypot(*(true_where[line] - beam).T) - begin,
                    color=colour,
                    alpha=0.35,
                    lw=4,
                    zorder=1,
                )
        drift.plot([], [], ".", color=INK, label="found (each colour one reflection)")
        drift.plot([], [], color=INK, alpha=0.35, lw=4, label="truth")
        drift.set_ylabel("drift away from the beam / px")
        drift.legend(frameon=False, loc="best")
        drift.set_title("Reflections that went farthest in a charge and a discharge", loc="left")
        drift.set_xlim(true_frame.min(), true_frame.max())
        first = np.unique(true_frame, return_index=True)[1]
        cell.plot(true_frame[first], truth["voltage_v"].to_numpy()[first], color=INK)
        cell.set_ylabel("cell voltage / V")
        cell.set_xlabel("frame")
        figure.savefig(path)


def _where(table: pa.Table) -> NDArray[np.float64]:
    return np.stack([table["row"].to_numpy(), table["col"].to_numpy()], axis=1)


def _unbroken(
    rows: NDArray[np.int64], frame: NDArray[np.int64], spot: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Part rows of the truth by spots, and where one was not seen for a while."""
    rows = rows[np.lexsort((frame[rows], spot[rows]))]
    breaks = (np.diff(spot[rows]) != 0) | (np.diff(frame[rows]) > _GAP)
    return np.split(rows, np.flatnonzero(breaks) + 1)
