"""Figures that compare position methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from streamer.report.style import FAINT, INK, STYLE

__all__ = ["Example", "draw_cases", "draw_errors_by_frame", "draw_examples"]

_COLOURS = {
    "braggnn": "#0072b2",
    "published": "#56b4e9",
    "gaussian": "#d55e00",
    "pseudovoigt": "#009e73",
    "centroid": "#a2629b",
}
"""Of each method in every figure; told apart with any colour vision (Okabe and Ito)."""
_MARKERS = {"braggnn": "o", "published": "s", "gaussian": "D", "pseudovoigt": "^", "centroid": "v"}
_PATCH_MARK = "#37d4c3"
_STROKES = ((0.9, 1.4), (0.55, 1.0), (0.3, 0.8))
"""Opacity and width of the lines of the three percentiles."""
_WORST_RATIO = 30.0
"""What is worse is drawn at the margin."""
_LEAST_SHOWN_PX = 1e-3
_LEAST_ZOOM_PX = 0.06


@dataclass(frozen=True, slots=True)
class Example:
    """A patch and where methods place its peak."""

    title: str
    counts: NDArray[np.float32]
    """(size, size)."""
    valid: NDArray[np.bool_]
    """Same shape."""
    placed: Mapping[str, tuple[float, float]]
    """By name of the method, (row, col) in pixels from the centre of the middle pixel; ``truth``
    may be among them."""


def draw_cases(
    path: Path,
    cases: Sequence[str],
    ratios: Mapping[str, Sequence[float]],
    times: Mapping[str, Sequence[float]],
) -> None:
    """Draw how far each method is from the statistical limit in each case, and what it costs.

    Parameters
    ----------
    path
        PNG to write.
    cases
        Names of the populations of peaks, from top to bottom.
    ratios
        By method, root mean square error over the Cramér-Rao bound in each case.
    times
        By method, microseconds for a peak in each case.
    """
    lines = np.arange(len(cases))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 1.6 + 0.36 * len(cases)), layout="constrained")
        error, cost = figure.subplots(1, 2, sharey=True, width_ratios=[1.7, 1])
        for axes, values in ((error, ratios), (cost, times)):
            for number, (method, row) in enumerate(values.items()):
                shift = 0.13 * (number - 0.5 * (len(values) - 1))
                shown = np.minimum(row, _WORST_RATIO) if axes is error else np.asarray(row)
                axes.plot(
                    shown, lines + shift, _MARKERS.get(method, "o"), ms=5.5, color=_colour(method),
                    mec="white", mew=0.5, label=method, zorder=3,
                )  # fmt: skip
            axes.set_xscale("log")
            axes.grid(axis="x", color=FAINT, alpha=0.3)
            for line in lines[::2]:
                axes.axhspan(line - 0.5, line + 0.5, color=FAINT, alpha=0.12, lw=0)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.xaxis.set_minor_formatter(NullFormatter())
        error.axvline(1.0, color=INK, lw=1.0, zorder=2)
        error.set_yticks(lines, cases)
        error.set_ylim(len(cases) - 0.5, -0.5)
        error.set_xlim(0.9, 1.1 * _WORST_RATIO)
        _plain_ticks(error, (1, 1.5, 2, 3, 5, 10, 20))
        error.set_xlabel("root mean square error / Cramér-Rao bound of one Gaussian peak")
        error.set_title("Precision on simulated peaks (1 is the limit)", loc="left")
        cost.set_xlabel("time for a peak on one core / µs")
        cost.set_title("Cost", loc="left")
        cost.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        cost.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        handles, labels = error.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
        figure.savefig(path)


def draw_errors_by_frame(
    path: Path,
    title: str,
    errors: Mapping[str, Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]],
) -> None:
    """Draw how the error goes with the frame: a column for each pair, a row for each method.

    Parameters
    ----------
    path
        PNG to write.
    title
        What is held against what.
    errors
        By pair of thresholds, then by method: (k,) frame numbers and (k, 3) 50th, 75th and 95th
        percentiles of the distance in pixels.
    """
    methods = list(next(iter(errors.values())))
    known = [curves for by_method in errors.values() for _, curves in by_method.values()]
    values = np.concatenate([curves.ravel() for curves in known])
    values = values[np.isfinite(values) & (values > 0)]
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(1.5 + 4.6 * len(errors), 1.3 + 1.75 * len(methods)), layout="constrained"
        )
        grid = figure.subplots(len(methods), len(errors), sharex=True, sharey=True, squeeze=False)
        for column, (pair, by_method) in zip(grid.T, errors.items(), strict=True):
            column[0].set_title(pair, loc="left")
            column[-1].set_xlabel("frame")
            for axes, method in zip(column, methods, strict=True):
                _percentile_curves(axes, method, *by_method[method])
        for axes, method in zip(grid[:, 0], methods, strict=True):
            axes.set_ylabel(f"{method}\nerror / px")
            axes.yaxis.label.set_color(_colour(method))
        if len(values):
            low, high = np.percentile(values, (0.5, 99.8))
            grid[0, 0].set_yscale("log")
            grid[0, 0].set_ylim(max(0.7 * low, _LEAST_SHOWN_PX), 1.5 * high)
            if high < 100.0 * low:
                grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            grid[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        keys = [grid[0, 0].plot([], [], color=INK, alpha=a, lw=2 * w)[0] for a, w in _STROKES]
        words = ("median", "75th percentile", "95th percentile")
        figure.legend(keys, words, loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        figure.savefig(path)


def draw_examples(path: Path, rows: Mapping[str, Sequence[Example]], centre: str) -> None:
    """Draw patches, and beside each where the methods place its peak, much enlarged.

    Parameters
    ----------
    path
        PNG to write.
    rows
        By kind, such as ``sharp``, its examples; a row for each kind. Some may have none.
    centre
        The method in the middle of what is enlarged.
    """
    rows = {kind: examples for kind, examples in rows.items() if examples}
    if not rows:
        return
    columns = max(len(examples) for examples in rows.values())
    names: dict[str, None] = {}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.4 + 5.0 * columns, 0.6 + 2.75 * len(rows)), layout="constrained")
        panels = figure.subfigures(len(rows), columns, squeeze=False)
        for line, (kind, examples) in zip(panels, rows.items(), strict=True):
            for panel, example in zip(line, examples, strict=False):
                patch, zoom = panel.subplots(1, 2)
                _draw_patch(patch, example, example.placed[centre])
                _draw_zoom(zoom, example, example.placed[centre])
                panel.suptitle(f"{kind}: {example.title}", fontsize=8)
                names.update(dict.fromkeys(example.placed))
        handles = [_mark(zoom, name, np.nan, np.nan) for name in names]
        handles.append(zoom.plot([], [], "+", ms=11, color=_PATCH_MARK, mew=1.6)[0])
        labels = [*names, f"{centre}, in the patch"]
        figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)
        figure.savefig(path)


def _percentile_curves(
    axes: Axes, method: str, frame: NDArray[np.int64], curves: NDArray[np.float64]
) -> None:
    colour = _colour(method)
    axes.grid(axis="y", color=FAINT, alpha=0.3)
    if not len(frame):
        axes.text(0.5, 0.5, "no such peaks", transform=axes.transAxes, ha="center", color=FAINT)
        return
    # What agrees to the last digit has no place on a logarithmic axis.
    curves = np.maximum(curves, 1e-2 * _LEAST_SHOWN_PX)
    axes.fill_between(frame, curves[:, 0], curves[:, 2], color=colour, alpha=0.10, lw=0)
    for curve, (alpha, width) in zip(curves.T, _STROKES, strict=True):
        axes.plot(frame, curve, color=colour, alpha=alpha, lw=width)


def _draw_patch(axes: Axes, example: Example, centre: tuple[float, float]) -> None:
    half = len(example.counts) // 2
    shown = np.where(example.valid, example.counts, np.nan)
    extent = (-half - 0.5, half + 0.5, half + 0.5, -half - 0.5)
    axes.imshow(np.sqrt(np.maximum(shown, 0.0)), cmap="magma", extent=extent)
    axes.set_facecolor("#4a5560")
    axes.plot(centre[1], centre[0], "+", ms=11, color=_PATCH_MARK, mew=1.6)
    ticks = range(-half + 1, half, 2)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("column / px", fontsize=8)
    axes.set_ylabel("row / px", fontsize=8)


def _draw_zoom(axes: Axes, example: Example, centre: tuple[float, float]) -> None:
    row, col = centre
    apart = [max(abs(y - row), abs(x - col)) for y, x in example.placed.values()]
    reach = max(_LEAST_ZOOM_PX, 1.25 * max(apart))
    for name, (y, x) in example.placed.items():
        _mark(axes, name, y, x)
    axes.set_xlim(col - reach, col + reach)
    axes.set_ylim(row + reach, row - reach)
    axes.set_aspect("equal")
    axes.grid(color=FAINT, alpha=0.3)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("column / px", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)


def _mark(axes: Axes, name: str, row: float, col: float) -> Any:
    if name == "truth":
        return axes.plot(col, row, "x", ms=10, color=INK, mew=1.6, ls="none", zorder=5)[0]
    return axes.plot(
        col, row, _MARKERS.get(name, "o"), ms=7, color=_colour(name), alpha=0.85, mec="white",
        mew=0.6, ls="none", zorder=3,
    )[0]  # fmt: skip


def _plain_ticks(axes: Axes, ticks: Sequence[float]) -> None:
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _colour(method: str) -> str:
    return _COLOURS.get(method, INK)
