"""Figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamer.report.truth import Comparison

__all__ = ["draw_drift", "draw_frame"]

_INK, _FAINT = "#1f2933", "#9aa5b1"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
}


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
    matched_spot = dict(
        zip(comparison.peak_row.tolist(), spot[comparison.true_row].tolist(), strict=True)
    )
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 6), layout="constrained")
        drift, cell = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
        for number, colour in zip(_longest(track, tracks), colours, strict=False):
            rows = np.flatnonzero(track == number)
            spots = [matched_spot[row] for row in rows.tolist() if row in matched_spot]
            radius = np.hypot(*(where[rows] - beam).T)
            start = radius[0]
            drift.plot(frame[rows], radius - start, ".", ms=2.2, color=colour, zorder=3)
            if spots:
                of = max(set(spots), key=spots.count)
                true_rows = np.flatnonzero((spot == of) & np.isin(true_frame, frame[rows]))
                drift.plot(
                    true_frame[true_rows],
                    np.hypot(*(true_where[true_rows] - beam).T) - start,
                    color=colour,
                    alpha=0.35,
                    lw=4,
                    zorder=1,
                )
        drift.plot([], [], ".", color=_INK, label="found (each colour one track)")
        drift.plot([], [], color=_INK, alpha=0.35, lw=4, label="truth")
        drift.set_ylabel("drift away from the beam / px")
        drift.legend(frameon=False, loc="best")
        drift.set_title("Drift of the longest tracks through a charge and a discharge", loc="left")
        first = np.unique(true_frame, return_index=True)[1]
        cell.plot(true_frame[first], truth["voltage_v"].to_numpy()[first], color=_INK)
        cell.set_ylabel("cell voltage / V")
        cell.set_xlabel("frame")
        figure.savefig(path)


def draw_frame(
    path: Path,
    image: NDArray[np.generic],
    masked: NDArray[np.bool_],
    peaks: pa.Table,
    method: str,
) -> None:
    """Draw one frame with where findpeaks saw each peak and where it was placed.

    Parameters
    ----------
    path
        PNG to write.
    image, masked
        (rows, cols), counts, and which pixels are not used.
    peaks
        Rows of the run folder that belong to the frame.
    method
        Name of what placed them.
    """
    shown = np.log10(np.maximum(np.where(masked, np.nan, image.astype(np.float64)), 1.0))
    pixel = np.stack([peaks["peak_row"].to_numpy(), peaks["peak_col"].to_numpy()], axis=1)
    placed, score = _where(peaks), peaks["score"].to_numpy()
    flags = peaks["flags"].to_numpy()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(12.5, 7.2), layout="constrained")
        whole, zooms = np.ravel(figure.subfigures(1, 2, width_ratios=[1.35, 1]))
        axes = whole.subplots()
        drawn = axes.imshow(shown, cmap="magma", interpolation="nearest")
        axes.set_facecolor("#4a5560")
        axes.scatter(
            placed[:, 1], placed[:, 0], s=70, facecolors="none", edgecolors="#37d4c3", lw=0.9
        )
        axes.set_title(f"{len(placed)} peaks (masked pixels grey)", loc="left")
        axes.set_xlabel("column / px")
        axes.set_ylabel("row / px")
        whole.colorbar(drawn, ax=axes, label="log10 counts", shrink=0.8)
        panels = zooms.subplots(3, 3).ravel()
        clean = np.argsort(np.where(flags == 0, -score, 0.0))
        for axes, i in zip(panels, clean, strict=False):
            row, col = pixel[i]
            axes.imshow(shown, cmap="magma", interpolation="nearest")
            axes.set_xlim(col - 5.5, col + 5.5)
            axes.set_ylim(row + 5.5, row - 5.5)
            axes.plot(col, row, "s", ms=13, mfc="none", mec="white", mew=1.0)
            axes.plot(placed[i, 1], placed[i, 0], "+", ms=13, color="#37d4c3", mew=1.8)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{placed[i, 0]:.2f}, {placed[i, 1]:.2f}", fontsize=8)
        for axes in panels[len(clean) :]:
            axes.axis("off")
        zooms.suptitle(f"white: findpeaks' pixel    +: {method}, row and column in px", fontsize=9)
        figure.savefig(path)


def _where(table: pa.Table) -> NDArray[np.float64]:
    return np.stack([table["row"].to_numpy(), table["col"].to_numpy()], axis=1)


def _longest(track: NDArray[np.int64], count: int) -> list[int]:
    numbers, lengths = np.unique(track[track >= 0], return_counts=True)
    return [int(number) for number in numbers[np.argsort(-lengths, kind="stable")][:count]]
