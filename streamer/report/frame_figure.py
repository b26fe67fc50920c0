"""Frames with what was found on them, and patches with where their peak was placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from streamer.frames.display import display
from streamer.frames.flags import POOR_FIT
from streamer.report.material import Refit, Shot
from streamer.report.style import COLOURS, FAINT, INK, MARK, NOTHING, STYLE

__all__ = ["PatchExample", "Picture", "choose_examples", "draw_frames", "draw_patches"]

_FIT = "#ff9d3c"


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame as it is shown."""

    shot: Shot
    pixels: NDArray[Any] | None
    """(rows, cols), None where they cannot be had."""
    mask: NDArray[np.bool_] | None
    title: str


@dataclass(frozen=True, slots=True)
class PatchExample:
    """A patch with two answers.

    Each is (row, col, row_sigma, col_sigma) in pixels of the patch, from the centre of its middle.
    """

    title: str
    counts: NDArray[np.float32]
    valid: NDArray[np.bool_]
    placed: tuple[float, float, float, float]
    fitted: tuple[float, float, float, float]


def draw_frames(pictures: Sequence[Picture], main: Mapping[int, int]) -> Figure:
    """Draw frames with their peaks.

    Parameters
    ----------
    main
        By tracks of the main reflections, which of these it is of: their peaks have the colours of
        the figure of the drift.
    """
    columns = min(len(pictures), 3 if len(pictures) != 4 else 2)
    lines = -(-len(pictures) // columns)
    shape = _shape(pictures)
    with mpl.rc_context(STYLE):
        width = 10.5 / columns
        figure = Figure(
            figsize=(10.5, 0.45 + lines * (width * shape[0] / shape[1] + 0.25)),
            layout="constrained",
        )
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axes, picture in zip(grid.ravel(), pictures, strict=False):
            _draw_picture(axes, picture, shape, main)
        for axes in grid.ravel()[len(pictures) :]:
            axes.axis("off")
        for axes in grid[:, 0]:
            axes.set_ylabel("row / px")
        for axes in grid[-1]:
            axes.set_xlabel("column / px")
        keys = [
            Line2D([], [], ls="none", marker="o", ms=7, mfc="none", mec="#14a697", mew=1.1),
            Line2D([], [], ls="none", marker="o", ms=8, mfc="none", mec=COLOURS[0], mew=1.8),
            Line2D([], [], ls="none", marker="x", ms=5, color=FAINT, mew=1.1),
        ]
        words = ("peak", "peak of a main reflection, in its colour", "flagged: not one clean peak")
        figure.legend(keys, words, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_picture(
    axes: Axes, picture: Picture, shape: tuple[int, int], main: Mapping[int, int]
) -> None:
    if picture.pixels is not None:
        shown = display(picture.pixels, picture.mask)
        levels = np.ma.masked_equal(shown.pixels, 0)
        extent = (
            -0.5,
            shown.pixels.shape[1] * shown.binning - 0.5,
            shown.pixels.shape[0] * shown.binning - 0.5,
            -0.5,
        )
        axes.imshow(
            levels, cmap="magma", vmin=1, vmax=255, extent=extent, interpolation="none", zorder=0
        )
        axes.set_facecolor(NOTHING)
    else:
        axes.set_facecolor("#221a33")
        axes.set_aspect("equal")
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
    peaks = picture.shot.peaks
    poor = (peaks["flags"] & POOR_FIT) != 0 if len(peaks["flags"]) else np.empty(0, bool)
    is_main = np.isin(peaks["track"], list(main))
    plain = ~poor & ~is_main
    axes.scatter(
        peaks["col"][plain], peaks["row"][plain], s=34, facecolors="none", edgecolors=MARK, lw=0.8
    )
    axes.scatter(
        peaks["col"][poor], peaks["row"][poor], s=16, marker="x", color=FAINT, lw=0.9, alpha=0.9
    )
    for track, i in main.items():
        here = peaks["track"] == track
        axes.scatter(
            peaks["col"][here], peaks["row"][here], s=60, facecolors="none",
            edgecolors=COLOURS[i % len(COLOURS)], lw=1.6,
        )  # fmt: skip
    axes.set_title(picture.title, loc="left", fontsize=8.5)
    axes.tick_params(labelsize=7.5)
    axes.locator_params(nbins=5)


def _shape(pictures: Sequence[Picture]) -> tuple[int, int]:
    shapes = [one.pixels.shape for one in pictures if one.pixels is not None]
    if shapes:
        return int(shapes[0][0]), int(shapes[0][1])
    rows = [one.shot.peaks["row"].max(initial=0.0) for one in pictures]
    cols = [one.shot.peaks["col"].max(initial=0.0) for one in pictures]
    return int(max([64.0, *rows])) + 12, int(max([64.0, *cols])) + 12


def choose_examples(shot: Shot, refit: Refit, most: int) -> list[PatchExample]:
    """Return patches of one frame from the strongest to the faintest, clean ones first."""
    peaks = shot.peaks
    usable = np.isfinite(refit.row + refit.col) & np.isfinite(refit.row_sigma)
    clean = np.flatnonzero(usable & (peaks["flags"] == 0) & (refit.flags == 0))
    if not len(clean):
        clean = np.flatnonzero(usable & ((peaks["flags"] & POOR_FIT) == 0))
    clean = clean[np.argsort(-peaks["score"][clean], kind="stable")]
    places = np.linspace(0, max(0, len(clean) - 1), min(most, len(clean)))
    found = []
    for i in clean[np.round(places).astype(int)].tolist():
        title = f"frame {shot.frame}, {peaks['intensity'][i]:,.0f} counts"
        answers = {name: getattr(refit, name) for name in _ANSWER}
        found.append(
            PatchExample(
                title,
                refit.counts[i],
                refit.valid[i],
                _within(peaks, i, peaks, i, refit.binning),
                _within(peaks, i, answers, i, refit.binning),
            )
        )
    return found


_ANSWER = ("row", "col", "row_sigma", "col_sigma")


def _within(
    peaks: dict[str, NDArray[Any]], peak: int, answers: dict[str, NDArray[Any]], i: int, n: int
) -> tuple[float, float, float, float]:
    """Return an answer in pixels of the patch, from its middle."""
    row, col = (
        (float(answers[axis][i]) + 0.5) / n - 0.5 - int(peaks[f"peak_{axis}"][peak]) // n
        for axis in ("row", "col")
    )
    return row, col, float(answers["row_sigma"][i]) / n, float(answers["col_sigma"][i]) / n


def draw_patches(examples: Sequence[PatchExample], method: str) -> Figure:
    """Draw patches, and under each the two answers much enlarged with their standard errors."""
    columns = max(1, len(examples))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.75 * columns + 0.4, 4.55), layout="constrained")
        grid = figure.subplots(2, columns, squeeze=False)
        for column, one in zip(grid.T, examples, strict=False):
            _draw_patch(column[0], one)
            _draw_zoom(column[1], one)
        grid[0, 0].set_ylabel("row / px")
        grid[1, 0].set_ylabel("row / px")
        keys = [
            Line2D([], [], ls="none", marker="+", ms=10, color=COLOURS[0], mew=1.7),
            Line2D([], [], ls="none", marker="x", ms=8, color=COLOURS[1], mew=1.7),
        ]
        figure.legend(
            keys, (method, "Gaussian fit"), loc="outside lower center", ncols=2, frameon=False
        )
    return figure


def _draw_patch(axes: Axes, one: PatchExample) -> None:
    half = len(one.counts) // 2
    shown = np.ma.masked_array(np.sqrt(np.maximum(one.counts, 0.0)), ~one.valid)
    extent = (-half - 0.5, half + 0.5, half + 0.5, -half - 0.5)
    axes.imshow(shown, cmap="magma", extent=extent, interpolation="none")
    axes.set_facecolor(NOTHING)
    axes.plot(one.placed[1], one.placed[0], "+", ms=10, color=MARK, mew=1.5)
    axes.plot(one.fitted[1], one.fitted[0], "x", ms=7, color=_FIT, mew=1.3)
    axes.set_title(one.title.replace(", ", "\n"), fontsize=7.5)
    axes.set_xticks([-4, 0, 4])
    axes.set_yticks([-4, 0, 4])
    axes.tick_params(labelsize=7)


def _draw_zoom(axes: Axes, one: PatchExample) -> None:
    sigmas = [s for answer in (one.placed, one.fitted) for s in answer[2:] if np.isfinite(s)]
    apart = max(abs(one.placed[0] - one.fitted[0]), abs(one.placed[1] - one.fitted[1]))
    middle = [0.5 * (one.placed[k] + one.fitted[k]) for k in (0, 1)]
    reach = 0.7 * apart + 2.2 * max([0.004, *sigmas])
    for (row, col, row_sigma, col_sigma), colour, mark in (
        (one.placed, COLOURS[0], "+"),
        (one.fitted, COLOURS[1], "x"),
    ):
        if np.isfinite(row_sigma + col_sigma):
            axes.add_patch(
                Ellipse(
                    (col, row), 2 * col_sigma, 2 * row_sigma, facecolor=colour, alpha=0.18, lw=0
                )
            )
        axes.plot(col, row, mark, ms=9, color=colour, mew=1.7)
    axes.set_xlim(middle[1] - reach, middle[1] + reach)
    axes.set_ylim(middle[0] + reach, middle[0] - reach)
    axes.set_aspect("equal")
    axes.grid(color=FAINT, alpha=0.3)
    axes.locator_params(nbins=3)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("column / px", fontsize=8)
    distance = np.hypot(one.placed[0] - one.fitted[0], one.placed[1] - one.fitted[1])
    axes.set_title(f"{1e3 * distance:.0f} mpx apart", fontsize=7.5, color=INK)
