"""What a report says of reflections: which are the main ones, and how far each has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamer.frames.flags import POOR_FIT
from streamer.frames.geometry import Geometry
from streamer.results.histories import main_tracks
from streamer.results.members import PLACE, moved

__all__ = ["Reflection", "farthest_reflections", "main_reflections", "reflections_in_short"]

Floats = NDArray[np.float64]
Measured = tuple[float, float]
"""A value and its standard deviation; NaN where not known."""

_UNKNOWN = (float("nan"), float("nan"))
_WHOLE = 0.9
"""Share of the frames from its first to its last that a reflection was there for all the time."""
_SURE = 5.0
"""Standard deviations."""


@dataclass(frozen=True, slots=True)
class Reflection:
    """A reflection at the end of a run; drifts and strains from where its first spot was."""

    number: int
    tracks: tuple[int, ...]
    """Its spots, in the order in which they appeared."""
    hkl: tuple[int, int, int]
    """0 0 0 where not known."""
    frames: tuple[int, int]
    """First and last."""
    score: float
    row: Measured
    col: Measured
    rate: Measured
    """Of its last spot, px/h, or px/frame where frames have no times."""
    drift: Measured
    excursion: Measured
    """Drift where it was farthest."""
    d: Measured
    strain: Measured
    strain_excursion: Measured
    drift_reference_sigma: float
    """What the reference adds to the standard deviations of all drifts."""
    strain_reference_sigma: float

    @property
    def name(self) -> str:
        """For a line: its indices where they are known, and its number."""
        return f"{self.number}" + f" ({' '.join(map(str, self.hkl))})" * any(self.hkl)


def main_reflections(tracks: pa.Table, most: int) -> list[int]:
    """Return the numbers of the reflections that were seen on most frames.

    They are chosen as main tracks are.
    """
    if not len(tracks):
        return []
    poor = pc.bit_wise_and(tracks["flags"], pa.scalar(POOR_FIT, tracks["flags"].type))
    least = [("flags", "min"), ("first_frame", "min"), ("first_time_ns", "min")]
    greatest = [("last_frame", "max"), ("last_time_ns", "max"), ("score", "max")]
    table = tracks.set_column(tracks.column_names.index("flags"), "flags", poor)
    table = table.group_by("reflection").aggregate([*least, *greatest, ("n_frames", "sum")])
    names = {f"{name}_{how}": name for name, how in (*least, *greatest, ("n_frames", "sum"))}
    table = table.rename_columns(
        [(names | {"reflection": "track"})[name] for name in table.column_names]
    ).sort_by("track")
    # Where two spots are there a frame counts once.
    span = pc.add(pc.subtract(table["last_frame"], table["first_frame"]), 1)
    seen = pc.min_element_wise(span, table["n_frames"])
    table = table.set_column(table.column_names.index("n_frames"), "n_frames", seen)
    found: list[int] = main_tracks(table, most)["track"].to_pylist()
    return found


def farthest_reflections(
    tracks: pa.Table, geometry: Geometry | None, most: int
) -> list[Reflection]:
    """Return those reflections that went farthest, by more than chance.

    Those come first that were there from the first frame to the last; what is no peak is left out.
    """
    poor = pc.bit_wise_and(tracks["flags"], pa.scalar(POOR_FIT, tracks["flags"].type))
    tracks = tracks.filter(pc.equal(poor, 0))
    found = reflections_in_short(tracks, geometry, tracks["reflection"].unique().to_pylist())
    spans = {one.number: one.frames[1] - one.frames[0] for one in found}
    whole = _WHOLE * max(spans.values(), default=0)

    def rank(one: Reflection) -> tuple[bool, bool, float]:
        far, sigma = map(abs, one.excursion)
        return spans[one.number] >= whole, far > _SURE * sigma, float(np.nan_to_num(far))

    return sorted(found, key=rank, reverse=True)[:most]


def reflections_in_short(
    tracks: pa.Table, geometry: Geometry | None, numbers: Sequence[int]
) -> list[Reflection]:
    """Return what a table says of reflections, in the order of `numbers`."""
    of_each = tracks["reflection"].to_numpy()
    return [_in_short(tracks.filter(pa.array(of_each == one)), geometry) for one in numbers]


def _in_short(spots: pa.Table, geometry: Geometry | None) -> Reflection:
    spots = spots.sort_by("track")
    column = {name: spots[name].to_numpy() for name in spots.column_names if name != "series"}
    ends = np.lexsort((column["score"], column["last_frame"], column["last_time_ns"]))
    last = int(ends[-1])

    def of_last(name: str) -> Measured:
        return float(column[name][last]), float(column[f"{name}_sigma"][last])

    reference = [np.repeat(column[f"ref_{name}"][:1], len(spots)) for name in PLACE]
    now = moved([column[name] for name in PLACE], reference, geometry)
    begun = moved([column[f"ref_{name}"] for name in PLACE], reference, geometry)
    drift, strain = ((float(now[f"{name}"][last]), float(now[f"{name}_sigma"][last]))
                     for name in ("drift", "strain"))  # fmt: skip
    excursion, strain_excursion = _UNKNOWN, _UNKNOWN
    if len(spots) == 1:
        drift, excursion = of_last("drift"), of_last("excursion")
        strain, strain_excursion = of_last("strain"), of_last("strain_excursion")
    elif geometry is not None:
        far, farther = column["excursion"], column["strain_excursion"]
        excursion = _farthest(
            begun["drift"] + far, np.hypot(column["excursion_sigma"], begun["drift_sigma"])
        )
        strain_excursion = _farthest(
            (1.0 + begun["strain"]) * (1.0 + farther) - 1.0,
            np.hypot(column["strain_excursion_sigma"], begun["strain_sigma"]),
        )
    certain = [*reference[:2], *np.zeros((2, len(spots)))]
    common = moved(certain, reference, geometry)
    is_timed = np.isfinite(column["rate"][last])
    return Reflection(
        number=int(column["reflection"][0]),
        tracks=tuple(column["track"].tolist()),
        hkl=(int(column["h"][0]), int(column["k"][0]), int(column["l"][0])),
        frames=(int(column["first_frame"][0]), int(column["last_frame"][last])),
        score=float(column["score"].max()),
        row=of_last("row"),
        col=of_last("col"),
        rate=of_last("rate" if is_timed else "rate_per_frame"),
        drift=drift,
        excursion=excursion,
        d=of_last("d"),
        strain=strain,
        strain_excursion=strain_excursion,
        drift_reference_sigma=float(common["drift_sigma"][0]),
        strain_reference_sigma=float(common["strain_sigma"][0]),
    )


def _farthest(values: Floats, sigmas: Floats) -> Measured:
    """Return the value that is farthest from 0."""
    if np.isnan(values).all():
        return _UNKNOWN
    i = int(np.nanargmax(np.abs(values)))
    return float(values[i]), float(sigmas[i])
