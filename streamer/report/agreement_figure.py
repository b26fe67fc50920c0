"""How far the positions of a run are from conventional fits, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from streamer.report.material import Refit, Shot
from streamer.report.style import COLOURS, FAINT, INK, STYLE

__all__ = ["Agreement", "draw_agreement", "measure_agreement"]

_SAME_PX = 1e-6


@dataclass(frozen=True, slots=True)
class Agreement:
    """Distances between a run's positions and fits; arrays (n,)."""

    frame: NDArray[np.int64]
    distance: NDArray[np.float64]
    """Pixels."""
    sigma: NDArray[np.float64]
    """The fits' own standard deviation, both axes together, in pixels."""
    n_left_out: int
    """Peaks that the run or the fit flags: of those neither is a reference."""
    n_same: int
    """Peaks that the run placed by such a fit itself, left out too."""

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """Median, 75th and 95th percentile of the distance in pixels."""
        low, middle, high = np.percentile(self.distance, (50, 75, 95)).tolist()
        return low, middle, high


def measure_agreement(pairs: list[tuple[Shot, Refit]]) -> Agreement:
    """Compare peaks with their fits."""
    frame, distance, sigma, left_out, n_same = [], [], [], 0, 0
    for shot, refit in pairs:
        clean = (shot.peaks["flags"] == 0) & (refit.flags == 0)
        row = shot.peaks["row"] - refit.row
        col = shot.peaks["col"] - refit.col
        clean &= np.isfinite(row + col)
        left_out += int((~clean).sum())
        same = clean & (np.hypot(row, col) < _SAME_PX)
        n_same += int(same.sum())
        clean &= ~same
        frame.append(np.full(int(clean.sum()), shot.frame))
        distance.append(np.hypot(row, col)[clean])
        sigma.append(np.hypot(refit.row_sigma, refit.col_sigma)[clean])
    empty = np.empty(0)
    return Agreement(
        np.concatenate([empty.astype(np.int64), *frame]),
        np.concatenate([empty, *distance]),
        np.concatenate([empty, *sigma]),
        left_out,
        n_same,
    )


def draw_agreement(found: Agreement, method: str) -> Figure:
    """Draw the distance of each peak, the median and the 95th percentile of each frame."""
    distance = found.distance
    frames = np.unique(found.frame)
    curves = np.array([np.percentile(distance[found.frame == one], (50, 95)) for one in frames])
    own = np.array([np.median(found.sigma[found.frame == one]) for one in frames])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.1), layout="constrained")
        by_frame, shares = figure.subplots(1, 2, sharey=True, width_ratios=[4.2, 1])
        by_frame.plot(found.frame, distance, "o", ms=2.6, color=COLOURS[0], alpha=0.3, mew=0)
        by_frame.plot(frames, curves[:, 0], color=COLOURS[0], lw=1.6, label="median")
        by_frame.plot(
            frames, curves[:, 1], color=COLOURS[0], lw=1.0, alpha=0.6, label="95th percentile"
        )
        by_frame.plot(
            frames, own, color=INK, lw=1.0, ls=(0, (4, 2)), label="the fit's own standard error"
        )
        by_frame.set_yscale("log")
        low, high = np.percentile(distance, (0.5, 99.9))
        by_frame.set_ylim(0.7 * low, max(1.6 * high, 2.0 * float(own.max())))
        by_frame.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        by_frame.set_xlabel("frame")
        by_frame.set_ylabel(f"{method} to Gaussian fit / px")
        by_frame.grid(axis="y", color=FAINT, alpha=0.3)
        by_frame.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=8
        )
        bins = np.geomspace(by_frame.get_ylim()[0], by_frame.get_ylim()[1], 40)
        shares.hist(
            distance, bins, orientation="horizontal", color=COLOURS[0], alpha=0.55, lw=0
        )  # fmt: skip
        shares.tick_params(axis="y", length=0)
        shares.set_xlabel("peaks")
        shares.grid(axis="y", color=FAINT, alpha=0.3)
    return figure
