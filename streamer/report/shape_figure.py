"""The figure of peaks themselves: intensities and widths of the main tracks over the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from streamer.report.drift_figure import Clock
from streamer.report.material import Material
from streamer.report.style import COLOURS, STYLE
from streamer.results.rows import batches
from streamer.results.shapes import MeasuredCurve, Shape, columns_of
from streamer.results.thinning import Curve

__all__ = ["draw_shapes"]

_POINTS = 300
_WIDTHS: tuple[tuple[Shape, Shape], ...] = (
    ("fwhm_radial", "fwhm_azimuthal"),
    ("fwhm_major", "fwhm_minor"),
)
"""In angles, or in pixels where these are not known."""
_WORDS: dict[Shape, str] = {
    "intensity": "intensity / counts",
    "fwhm_radial": "FWHM in 2$\\theta$ / deg",
    "fwhm_azimuthal": "FWHM in azimuth / deg",
    "fwhm_major": "FWHM, major axis / px",
    "fwhm_minor": "FWHM, minor axis / px",
}
_FAR = 8.0
"""Ratio of intensities from which on they are on a logarithmic axis."""

Curves = Mapping[int, Curve]


def draw_shapes(material: Material, groups: Mapping[str, Sequence[int]]) -> Figure | None:
    """Draw what was measured of the peaks of tracks; None where nothing was.

    Parameters
    ----------
    groups
        Tracks that have a name and a colour together.
    """
    tracks = [track for group in groups.values() for track in group]
    clock = Clock.of(material)
    curves = _curves(material, clock, tracks)
    widths = next((pair for pair in _WIDTHS if _is_known(curves[pair[0]])), ())
    shown = [name for name in ("intensity", *widths) if _is_known(curves[name])]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.9 + 1.9 * len(shown)), layout="constrained")
        grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
        panels = grid[:, 0].tolist()
        for axes, name in zip(panels, shown, strict=True):
            for i, group in enumerate(groups.values()):
                for track in group:
                    _draw(axes, curves[name][track], COLOURS[i % len(COLOURS)])
            axes.set_ylabel(_WORDS[name])
            if name == "intensity":
                _scale(axes, curves[name])
        panels[-1].set_xlabel(clock.label)
        names = [
            Line2D([], [], color=COLOURS[i % len(COLOURS)], label=name)
            for i, name in enumerate(groups)
        ]
        figure.legend(handles=names, loc="outside upper center", ncols=8, frameon=False)
        figure.align_ylabels(panels)
    return figure


def _curves(
    material: Material, clock: Clock, tracks: Sequence[int]
) -> dict[Shape, dict[int, Curve]]:
    """Return what was measured of each track, after one reading."""
    growing = {name: {track: MeasuredCurve(_POINTS) for track in tracks} for name in _WORDS}
    measured = [column for name in _WORDS for column in columns_of(name)]
    for table in batches(material.folder, "peaks", ["track", "time_ns", "frame", *measured]):
        track = table["track"].to_numpy()
        columns = {name: table[name].to_numpy() for name in measured}
        x = clock.of_frames(table["time_ns"].to_numpy(), table["frame"].to_numpy())
        for one in tracks:
            mine = np.flatnonzero((track == one) & np.isfinite(x))
            for name, lines in growing.items():
                value, sigma = columns_of(name)
                lines[one].add(x[mine], columns[value][mine], columns[sigma][mine])
    return {
        name: {track: line.curve() for track, line in lines.items()}
        for name, lines in growing.items()
    }


def _is_known(curves: Curves) -> bool:
    return any(len(curve.x) for curve in curves.values())


def _draw(axes: Axes, curve: Curve, colour: str) -> None:
    band: NDArray[np.float32] = np.nan_to_num(curve.sigma)
    axes.fill_between(
        curve.x, curve.y - band, curve.y + band, color=colour, alpha=0.22, lw=0, zorder=2
    )
    axes.plot(curve.x, curve.y, color=colour, lw=1.0, zorder=3)


def _scale(axes: Axes, curves: Curves) -> None:
    """Have strong and faint peaks seen beside each other."""
    middles = [float(np.median(curve.y)) for curve in curves.values() if len(curve.x)]
    least = min(float((curve.y).min()) for curve in curves.values() if len(curve.x))
    if least > 0 and max(middles) > _FAR * min(middles):
        axes.set_yscale("log")
