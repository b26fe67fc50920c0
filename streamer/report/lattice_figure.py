"""The figure of the lattice: unit cell of each phase and the cell's voltage over time."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamer.frames.lattice import Lattice
from streamer.report.drift_figure import Clock, draw_cell, limit
from streamer.report.material import Material
from streamer.report.style import COLOURS, STYLE
from streamer.results.derived import derived
from streamer.results.thinning import Thinning

__all__ = ["draw_lattice"]

_POINTS = 500
_PHASES = (0, 1)


def draw_lattice(material: Material) -> Figure | None:
    """Draw what the crystal system leaves free, of each phase; None where nothing is known."""
    lattice = Lattice.from_config(material.config.lattice)
    if lattice is None:
        return None
    names, clock = [*lattice.free, "volume"], Clock.of(material)
    curves = _curves(material, names, clock)
    if curves is None:
        return None
    has_cell = material.cell.num_rows > 0 and material.is_timed
    heights = [1.9] * len(names) + [1.3] * has_cell
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.7 + sum(heights)), layout="constrained")
        grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        panels = grid[:, 0].tolist()
        for axes, name in zip(panels, names, strict=False):
            for phase in _PHASES:
                _draw(axes, curves[name, phase, ""], curves[name, phase, "_sigma"], phase)
            unit = {"volume": "Å$^3$"}.get(name, "Å" if name in "abc" else "deg")
            axes.set_ylabel(f"{name} / {unit}")
        panels[0].legend(loc="best", frameon=False)
        if has_cell:
            draw_cell(panels, material, clock)
        limit(panels, material, clock)
        figure.align_ylabels(panels)
    return figure


def _curves(
    material: Material, names: list[str], clock: Clock
) -> dict[tuple[str, int, str], Thinning] | None:
    """Return thinned values and standard deviations, by name, phase and which of both it is."""
    keys = [(name, phase, part) for name in names for phase in _PHASES for part in ("", "_sigma")]
    growing = {key: Thinning(_POINTS) for key in keys}
    columns = ["time_ns", "frame", "phase", *(f"{name}{part}" for name, _, part in keys)]
    columns = list(dict.fromkeys(columns))
    rows = 0
    for table in derived(material.folder, material.config, "lattice", columns):
        rows += len(table)
        x = clock.of_frames(table["time_ns"].to_numpy(), table["frame"].to_numpy())
        phases = table["phase"].to_numpy()
        for (name, phase, part), thinning in growing.items():
            here = (phases == phase) & np.isfinite(x)
            values: NDArray[np.float64] = table[f"{name}{part}"].to_numpy()[here]
            # Errors of frames that follow each other are not independent: no mean is more exact.
            thinning.add(x[here], values, np.full(len(values), np.nan))
    return growing if rows else None


def _draw(axes: Axes, values: Thinning, sigmas: Thinning, phase: int) -> None:
    curve, band = values.curve(), sigmas.curve().y
    axes.vlines(
        curve.x, curve.y - band, curve.y + band, color=COLOURS[phase], alpha=0.3, lw=0.8, zorder=2
    )
    axes.plot(
        curve.x, curve.y, ls="none", marker="o", ms=1.8, mew=0, color=COLOURS[phase], zorder=3,
        label=f"phase {phase}",
    )  # fmt: skip
