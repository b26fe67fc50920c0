"""Figures of a run."""

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

__all__ = ["draw_drift", "draw_frame"]


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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 6.2), layout="constrained")
        whole, zooms = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.2, 1])[0]
        axes = whole.subplots()
        drawn = axes.imshow(shown, cmap="magma", interpolation="nearest")
        axes.set_facecolor("#4a5560")
        axes.scatter(
            placed[:, 1], placed[:, 0], s=70, facecolors="none", edgecolors="#37d4c3", lw=0.9
        )
        axes.set_title(f"{len(placed)} peaks; masked pixels are grey", loc="left")
        axes.set_xlabel("column / px")
        axes.set_ylabel("row / px")
        whole.colorbar(drawn, ax=axes, label="log10 counts", shrink=0.8)
        panels = zooms.subplots(3, 3).ravel()
        clean = np.flatnonzero(flags == 0) if (flags == 0).any() else np.arange(len(flags))
        clean = clean[np.argsort(-score[clean], kind="stable")]
        # From the strongest to the weakest.
        shares = np.linspace(0, len(clean) - 1, min(len(panels), len(clean)))
        clean = clean[np.round(shares).astype(int)]
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
