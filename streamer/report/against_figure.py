"""The figures of drifts as arrows on the detector, and of spacings over voltage and capacity."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT, UNTRUSTED
from streamer.frames.lattice import Lattice
from streamer.report.material import Material
from streamer.report.style import COLOURS, FAINT, INK, STYLE
from streamer.results.derived import derived
from streamer.results.thinning import Thinning

__all__ = ["draw_over_cell", "draw_quiver"]

Floats = NDArray[np.float64]

_POINTS = 400
_SURE = 3.0
"""Standard deviations from which on a drift is drawn in full."""
_LONGEST = 0.09
"""Of the detector's side: as long is the longest arrow but a few."""
_WAYS = {"charge": "-", "discharge": "--"}


def draw_quiver(material: Material) -> Figure | None:
    """Draw how far each reflection's newest spot is from where its first one was; None for none."""
    table = material.tracks
    column = {name: table[name].to_numpy() for name in table.column_names if name != "series"}
    if not len(table):
        return None
    place = {number: i for i, number in enumerate(column["track"].tolist())}
    late = np.lexsort((column["last_frame"], column["last_time_ns"]))
    newest = {int(column["reflection"][i]): int(i) for i in late}
    now = np.array(list(newest.values()), np.int64)
    first = np.array([place.get(number, i) for number, i in newest.items()], np.int64)
    is_alone = now == first

    def moved(axis: str) -> tuple[Floats, Floats]:
        far = column[axis][now] - column[f"ref_{axis}"][first]
        sigma = np.hypot(column[f"{axis}_sigma"][now], column[f"ref_{axis}_sigma"][first])
        return (
            np.where(is_alone, column[f"drift_{axis}"][now], far),
            np.where(is_alone, column[f"drift_{axis}_sigma"][now], sigma),
        )

    (down, down_sigma), (right, right_sigma) = moved("row"), moved("col")
    is_good = (column["flags"][now] & (POOR_FIT | UNTRUSTED)) == 0
    is_good &= np.isfinite(down + right)
    if not is_good.any():
        return None
    length = np.hypot(down, right)
    is_sure = length > _SURE * np.hypot(down_sigma, right_sigma)
    row, col = column["row"][now], column["col"][now]
    rows, cols = row[is_good].max() + 12, col[is_good].max() + 12
    longest = np.quantile(length[is_good & is_sure], 0.95) if (is_good & is_sure).any() else np.nan
    factor = _round(_LONGEST * min(rows, cols) / longest) if longest > 0 else 1.0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 6.2 * min(max(rows / cols, 0.4), 1.3)), layout="constrained")
        axes = figure.subplots()
        main = {track: i for i, one in enumerate(material.main) for track in one.tracks}
        for sure, alpha in ((False, 0.4), (True, 1.0)):
            here = np.flatnonzero(is_good & (is_sure == sure))
            colours = [_colour(main.get(int(column["track"][now[i]]))) for i in here]
            axes.quiver(
                col[here], row[here], right[here], down[here], color=colours, alpha=alpha,
                angles="xy", scale_units="xy", scale=1 / factor, width=0.0035,
            )  # fmt: skip
        axes.plot(col[is_good], row[is_good], "o", ms=2.2, mew=0, color=FAINT, zorder=1)
        axes.set_xlim(-0.5, cols)
        axes.set_ylim(rows, -0.5)
        axes.set_aspect("equal")
        axes.set_xlabel("column / px")
        axes.set_ylabel("row / px")
        axes.set_title(f"drifts, {factor:g} times as long", loc="left", fontsize=8.5)
    return figure


def draw_over_cell(material: Material) -> Figure | None:
    """Draw spacings and lattice parameters, or positions, over voltage and capacity.

    Returns
    -------
    figure
        None where the cell or the times of frames are not known.
    """
    cell = {name: material.cell[name].to_numpy() for name in ("voltage_v", "capacity_ah")}
    axes_of = {
        name: label
        for name, label in (("voltage_v", "cell voltage / V"), ("capacity_ah", "capacity / mAh"))
        if np.isfinite(cell[name]).any()
    }
    if not axes_of or not material.is_timed or not material.main:
        return None
    is_placed = any(np.isfinite(one.d[0]) for one in material.main)
    quantity, label = "drift", "distance / px"
    if is_placed:  # reflections far from each other in d are to be seen in one figure
        quantity, label = "strain", "$d / d_0 - 1$ / 10$^{-3}$"
    if material.geometry is not None and not is_placed:
        label = "radial drift / px"
    panels = [(quantity, label), *_lattice(material)]
    with mpl.rc_context(STYLE):
        size = (4.3 * len(axes_of) + 0.4, 0.6 + 2.5 * len(panels))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(panels), len(axes_of), squeeze=False, sharex="col", sharey="row")
        for line, (name, words) in zip(grid, panels, strict=True):
            for axes, over in zip(line, axes_of, strict=True):
                if name == quantity:
                    _draw_spots(axes, material, name, over)
                else:
                    _draw_lattice(axes, material, name, over)
            line[0].set_ylabel(words)
        for axes, words in zip(grid[-1], axes_of.values(), strict=True):
            axes.set_xlabel(words)
    return figure


def _lattice(material: Material) -> list[tuple[str, str]]:
    lattice = Lattice.from_config(material.config.lattice)
    if lattice is None:
        return []
    tables = derived(material.folder, material.config, "lattice", ["frame"])
    if not any(len(table) for table in tables):
        return []
    return [(name, f"{name} / {'Å' if name in 'abc' else 'deg'}") for name in lattice.free[:1]]


def _draw_spots(axes: Axes, material: Material, quantity: str, over: str) -> None:
    for i, one in enumerate(material.main):
        drawn: dict[str, tuple[list[Floats], list[Floats]]] = {}
        for way, x, y in _by_way(material, "reflections", quantity, over, ("track", one.tracks)):
            drawn.setdefault(way, ([], []))
            drawn[way][0].append(x)
            drawn[way][1].append(y)
        for way, (xs, ys) in drawn.items():
            label = one.name if way == next(iter(drawn)) else None
            scale = 1e3 if quantity == "strain" else 1.0
            _line(axes, _apart(xs), scale * _apart(ys), i, way, label)
    axes.legend(loc="best", frameon=False, fontsize=7, ncols=2)


def _apart(parts: list[Floats]) -> Floats:
    """Return lines one after the other, which are not joined."""
    return np.concatenate([np.append(part, np.nan) for part in parts])


def _draw_lattice(axes: Axes, material: Material, name: str, over: str) -> None:
    for phase in (0, 1):
        for way, x, y in _by_way(material, "lattice", name, over, ("phase", (phase,))):
            _line(axes, x, y, phase, way, None)


def _line(axes: Axes, x: Floats, y: Floats, i: int, way: str, label: str | None) -> None:
    colour = COLOURS[i % len(COLOURS)]
    axes.plot(x, y, color=colour, lw=0.9, ls=_WAYS.get(way, ":"), label=label)


def _by_way(
    material: Material, table: str, name: str, over: str, which: tuple[str, tuple[int, ...]]
) -> list[tuple[str, Floats, Floats]]:
    """Return voltage or capacity and a quantity, thinned, of each half-cycle and what it is."""
    key, wanted = which
    times, values = [np.empty(0, np.int64)], [np.empty(0)]
    for part in derived(material.folder, material.config, table, ["time_ns", key, name]):
        here = np.isin(part[key].to_numpy(), wanted) & (part["time_ns"].to_numpy() != 0)
        times.append(part["time_ns"].to_numpy()[here])
        values.append(part[name].to_numpy()[here])
    time, value = np.concatenate(times), np.concatenate(values)
    cell_time = material.cell["time_ns"].to_numpy()
    scale = 1e3 if over == "capacity_ah" else 1.0
    x = scale * np.interp(time, cell_time, material.cell[over].to_numpy(), np.nan, np.nan)
    place = np.clip(np.searchsorted(cell_time, time, side="right") - 1, 0, len(cell_time) - 1)
    half = material.cell["half_cycle"].to_numpy()[place]
    kinds = material.cell["kind"].to_pylist()
    found = []
    for number in np.unique(half).tolist():
        here = (half == number) & np.isfinite(x) & np.isfinite(value) & (number >= 0)
        if not here.any():
            continue
        curves = []
        for y in (x, value):
            thinning = Thinning(_POINTS)
            thinning.add(time[here] * 1e-9, y[here], np.full(here.sum(), np.nan))
            curves.append(thinning.curve().y.astype(np.float64))
        found.append((kinds[int(place[here][0])], curves[0], curves[1]))
    return found


def _colour(i: int | None) -> str:
    return INK if i is None else COLOURS[i % len(COLOURS)]


def _round(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten that is not above a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * (5 if value >= 5 * power else 2 if value >= 2 * power else 1))
