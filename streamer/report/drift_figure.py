"""The figure of the drift: main reflections and the cell's voltage over time, or frame numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streamer.cell.cycles import spans
from streamer.report.material import Material
from streamer.report.style import COLOURS, FAINT, HALF_CYCLES, INK, STYLE
from streamer.results.derived import derived
from streamer.results.thinning import Curve, Thinning

__all__ = ["Clock", "draw_cell", "draw_drift", "draw_motion", "limit"]

_POINTS = 500
_SPOT_POINTS = 200
"""Of each spot of a reflection."""
_SHARES = (0.0, 0.1, 0.3, 0.6, 1.0 + 1e-9)
"""Shares of the intensity from one size of points to the next."""
_SIZES = (1.0, 1.6, 2.2, 2.8)
"""Of points, in points of print."""
_CELL = ("time_ns", "voltage_v", "capacity_ah")
_LABEL_GAP = 0.055
"""Least distance between labels in heights of the axes."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time since the first frame, in a unit that suits the run, or numbers of frames."""

    begin_ns: int
    unit: str
    seconds: float

    @classmethod
    def of(cls, material: Material) -> Clock:
        """Return the clock of a run."""
        if not material.is_timed:
            return cls(0, "frame", 1.0)
        times = material.frames["time_ns"].to_numpy()
        times = times[times != 0]
        span = (times.max() - times.min()) * 1e-9 if len(times) else 0.0
        for unit, seconds, most in (("s", 1.0, 180.0), ("min", 60.0, 180.0), ("h", 3600.0, 72.0)):
            if span <= most * seconds:
                return cls(material.begin_ns, unit, seconds)
        return cls(material.begin_ns, "days", 86400.0)

    @property
    def label(self) -> str:
        """For an axis."""
        if not self.begin_ns:
            return "frame"
        begin = datetime.fromtimestamp(self.begin_ns * 1e-9, UTC)
        return f"time since {begin:%Y-%m-%d %H:%M:%S} UTC / {self.unit}"

    def of_frames(
        self, time_ns: NDArray[np.int64], frame: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return where frames are on the axis; NaN where one has no time and others do."""
        if not self.begin_ns:
            return frame.astype(np.float64)
        return np.where(time_ns != 0, self(time_ns), np.nan)

    def __call__(self, time_ns: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """Return times in its unit."""
        return np.asarray(np.asarray(time_ns) - self.begin_ns) * (1e-9 / self.seconds)


def draw_drift(material: Material) -> Figure:
    """Draw drift, strain where the geometry is known, and voltage where the cell is."""
    quantities = ["drift"] if material.geometry is None else ["drift", "strain"]
    has_cell = material.cell.num_rows > 0 and material.is_timed
    clock = Clock.of(material)
    curves = _curves(material, quantities, clock)
    heights = [2.6] * len(quantities) + [1.3] * has_cell
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.7 + sum(heights)), layout="constrained")
        grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        panels = grid[:, 0].tolist()
        for axes, quantity in zip(panels, quantities, strict=False):
            _draw_quantity(axes, quantity, material, curves)
        if has_cell:
            draw_cell(panels, material, clock)
        limit(panels, material, clock)
        figure.align_ylabels(panels)
    return figure


def draw_cell(panels: list[Axes], material: Material, clock: Clock) -> None:
    """Draw voltage and capacity into the last panel, and shade the half-cycles in all."""
    step = 1 + material.cell.num_rows // 5000
    cell = {name: material.cell[name].to_numpy()[::step] for name in _CELL}
    panels[-1].plot(clock(cell["time_ns"]), cell["voltage_v"], color=INK, lw=1.1)
    panels[-1].set_ylabel("cell voltage / V")
    if np.isfinite(cell["capacity_ah"]).any():
        axes = panels[-1].twinx()
        axes.plot(clock(cell["time_ns"]), 1e3 * cell["capacity_ah"], color=FAINT, lw=1.0, ls="--")
        axes.set_ylabel("capacity / mAh (dashed)", color=FAINT)
        axes.spines["right"].set_visible(True)
    _shade(panels, material, clock)


def limit(panels: list[Axes], material: Material, clock: Clock) -> None:
    """Have panels show all frames of the run and no more."""
    places = _places(material, clock)
    if len(places) > 1:
        panels[0].set_xlim(places.min(), places.max())
    panels[-1].set_xlabel(clock.label)


def draw_motion(material: Material) -> Figure | None:
    """Draw what all spots of the frames did together; None where no frame tells it."""
    clock = Clock.of(material)
    places = _axis(material, clock)
    told = np.flatnonzero(
        np.isfinite(places) & np.isfinite(material.frames["motion_row"].to_numpy())
    )
    if not len(told):
        return None
    told = told[np.argsort(places[told], kind="stable")]

    def curve(name: str) -> Curve:
        thinning = Thinning(_POINTS)
        y, sigma = (material.frames[f"motion_{name}{more}"].to_numpy() for more in ("", "_sigma"))
        thinning.add(places[told], y[told], sigma[told])
        return thinning.curve()

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.2), layout="constrained")
        panels = figure.subplots(3, 1, sharex=True, height_ratios=[1.6, 1, 1]).tolist()
        rows = (("row", "col"), ("angle",), ("scale",))
        labels = ("shift / px", "rotation / deg", "scale / 10$^{-3}$")
        for axes, names, label in zip(panels, rows, labels, strict=True):
            ends = []
            for i, name in enumerate(names):
                scale = 1e3 if name == "scale" else 1.0
                ends += _draw_curve(axes, curve(name), COLOURS[i], scale, name)
            axes.axhline(0.0, color=FAINT, lw=0.6, zorder=1)
            axes.set_ylabel(label)
            if len(ends) > 1:
                _label_ends(axes, ends)
        panels[-1].set_xlabel(clock.label)
        figure.align_ylabels(panels)
    return figure


def _curves(
    material: Material, quantities: Sequence[str], clock: Clock
) -> dict[tuple[str, int], tuple[Curve, Curve]]:
    """Return curves of the spots of the main reflections, by quantity and track, and of shares."""
    of_track = {track: one for one in material.main for track in one.tracks}
    growing = {
        (quantity, track): (Thinning(_SPOT_POINTS), Thinning(_SPOT_POINTS))
        for quantity in quantities
        for track in of_track
    }
    known = [name for quantity in quantities for name in (quantity, f"{quantity}_sigma")]
    columns = ["track", "time_ns", "frame", "share", *known]
    wanted = np.array(sorted(of_track), np.int64)
    for table in derived(material.folder, material.config, "reflections", columns):
        rows = {name: table[name].to_numpy() for name in columns}
        for track in np.intersect1d(wanted, rows["track"]).tolist():
            here = rows["track"] == track
            x = clock.of_frames(rows["time_ns"][here], rows["frame"][here])
            for quantity in quantities:
                y, sigma = (rows[name][here] for name in (quantity, f"{quantity}_sigma"))
                # The error of the reference is common to all, and no mean makes it smaller.
                common = getattr(of_track[track], f"{quantity}_reference_sigma")
                alone = np.sqrt(np.maximum(sigma**2 - common**2, 0.0))
                told = np.isfinite(x) & np.isfinite(y)
                values, shares = growing[quantity, track]
                values.add(x[told], y[told], alone[told])
                shares.add(x[told], rows["share"][here][told], np.full(told.sum(), np.nan))
    return {key: (values.curve(), shares.curve()) for key, (values, shares) in growing.items()}


def _draw_quantity(
    axes: Axes,
    quantity: str,
    material: Material,
    curves: Mapping[tuple[str, int], tuple[Curve, Curve]],
) -> None:
    scale = 1e3 if quantity == "strain" else 1.0
    ends: list[tuple[float, float, str, str]] = []
    for i, one in enumerate(material.main):
        colour = COLOURS[i % len(COLOURS)]
        mine: list[tuple[float, float, str, str]] = []
        for track in one.tracks:
            curve, shares = curves[quantity, track]
            mine += _draw_curve(axes, curve, colour, scale, one.name, width=0.4)
            size = np.digitize(shares.y, _SHARES[1:-1])
            for step, points in enumerate(_SIZES):
                here = size == step
                if here.any():
                    axes.plot(
                        curve.x[here], scale * curve.y[here], ls="none", marker="o", ms=points,
                        mew=0, color=colour, zorder=4,
                    )  # fmt: skip
        ends += sorted(mine)[-1:]
    axes.axhline(0.0, color=FAINT, lw=0.6, zorder=1)
    kind = "radial drift" if material.geometry is not None else "distance"
    axes.set_ylabel("strain / 10$^{-3}$" if quantity == "strain" else f"{kind} / px")
    _label_ends(axes, ends)


def _draw_curve(
    axes: Axes, curve: Curve, colour: str, scale: float, name: str, width: float = 1.0
) -> list[tuple[float, float, str, str]]:
    """Draw a curve with its band and return its end, for `_label_ends`; nothing if it is empty."""
    if not len(curve.x):
        return []
    x, height = curve.x, scale * curve.y
    band = scale * np.nan_to_num(curve.sigma)
    axes.fill_between(x, height - band, height + band, color=colour, alpha=0.22, lw=0, zorder=2)
    axes.plot(x, height, color=colour, lw=width, zorder=3)
    return [(float(x[-1]), float(np.median(height[-9:])), name, colour)]


def _places(material: Material, clock: Clock) -> NDArray[np.float64]:
    """Return where the frames of a run are on the axis."""
    places = _axis(material, clock)
    return places[np.isfinite(places)]


def _axis(material: Material, clock: Clock) -> NDArray[np.float64]:
    """Return where each frame is on the axis; NaN where it has no time and others do."""
    names = ("time_ns", "frame")
    return clock.of_frames(*(material.frames[name].to_numpy() for name in names))


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Name each line beside the axes, where it ends, without names that cover each other."""
    if not ends:
        return
    low, high = axes.get_ylim()
    places = np.array([(y - low) / (high - low) for _, y, _, _ in ends])
    order = np.argsort(places, kind="stable")
    shifted = places[order].copy()
    for i in range(1, len(shifted)):
        shifted[i] = max(shifted[i], shifted[i - 1] + _LABEL_GAP)
    over = shifted[-1] - 1.0
    if over > 0:
        shifted[-1] = 1.0
        for i in range(len(shifted) - 2, -1, -1):
            shifted[i] = min(shifted[i], shifted[i + 1] - _LABEL_GAP)
    for place, i in zip(shifted, order.tolist(), strict=True):
        _, _, name, colour = ends[i]
        axes.annotate(
            name, (1.0, place), xycoords="axes fraction", xytext=(5, 0), va="center",
            textcoords="offset points", color=colour, fontsize=8, annotation_clip=False,
        )  # fmt: skip


def _shade(panels: list[Axes], material: Material, clock: Clock) -> None:
    """Shade and name the half-cycles."""
    found = spans(material.cell)
    places = _places(material, clock)
    low, high = places.min(), places.max()
    for one in found:
        start, stop = (float(clock(at)) for at in (one.start_ns, one.stop_ns))
        start, stop = max(start, low), min(stop, high)
        if stop <= start:
            continue
        for axes in panels:
            axes.axvspan(start, stop, color=HALF_CYCLES[one.kind], alpha=0.13, lw=0, zorder=0)
        if len(found) <= 12:
            panels[0].annotate(
                f"{one.kind} {one.number}{'?' * one.is_guess}", (0.5 * (start + stop), 1.0),
                xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                ha="center", va="bottom", fontsize=8, color=INK, annotation_clip=False,
            )  # fmt: skip
