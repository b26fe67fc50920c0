"""What the columns of a run folder mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames import flags

__all__ = ["CELL", "COLUMNS", "FLAGS", "FRAMES", "PEAKS", "PIXELS", "TRACKS", "Column", "Columns"]

PIXELS = "pixel indices from 0, an integer is the centre of a pixel"
FLAGS = (
    f"sum of {flags.EDGE} patch leaves the frame, {flags.MASKED} masked pixels in it, "
    f"{flags.NEIGHBOUR} another peak in it, {flags.SATURATED} saturated, "
    f"{flags.POOR_FIT} does not look like one peak, {flags.UNTRUSTED} position out of its trusted "
    "range"
)
"""Bits of the column ``flags``."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's unit, empty where it has none, and its meaning."""

    unit: str
    meaning: str


_NS = "Unix time (UTC)"
_OF_TRACK = "weighted mean over the newest observations"
_OF_REFERENCE = "weighted mean over the first observations, or around the chosen frame"

COLUMNS: dict[str, Column] = {
    "series": Column("", "name of the series"),
    "frame": Column("", "number of the frame in its series, from 0"),
    "time_ns": Column("ns", f"start of the exposure or of the reading, {_NS}"),
    "state": Column("", "done, failed, missing or shed"),
    "reason": Column("", "why a frame is not done"),
    "n_peaks": Column("", "peaks found on the frame"),
    "latency_ms": Column("ms", "from the arrival of the frame to its result on disk"),
    "peak_row": Column("px", f"row of the peak's highest pixel; {PIXELS}"),
    "peak_col": Column("px", f"column of the peak's highest pixel; {PIXELS}"),
    "score": Column("counts", "persistence of the peak; of a track the mean"),
    "intensity": Column("counts", "sum over the patch above the median of its border"),
    "row": Column("px", f"sub-pixel row; {PIXELS}; of a track: {_OF_TRACK}"),
    "col": Column("px", f"sub-pixel column; {PIXELS}; of a track: {_OF_TRACK}"),
    "row_sigma": Column("px", "standard deviation of row"),
    "col_sigma": Column("px", "standard deviation of col"),
    "flags": Column("", f"{FLAGS}; of a track: bits that more than half of its peaks carry"),
    "track": Column("", "number of the track, -1 for none"),
    "two_theta": Column("deg", "scattering angle"),
    "chi": Column("deg", "azimuth around the beam, from the columns' axis towards the rows' axis"),
    "q": Column("1/angstrom", "momentum transfer, 4 pi sin(theta) / wavelength"),
    "d": Column("angstrom", f"lattice spacing; of a track: {_OF_TRACK}"),
    "d_sigma": Column("angstrom", "standard deviation of d"),
    "parent": Column("", "track that this one split from, -1 for none"),
    "merged_into": Column("", "track that this one ended beside, -1 for none"),
    "first_frame": Column("", "first frame of the track"),
    "last_frame": Column("", "last frame of the track"),
    "first_time_ns": Column("ns", f"{_NS} of the first frame"),
    "last_time_ns": Column("ns", f"{_NS} of the last frame"),
    "n_frames": Column("", "frames the track was seen on"),
    "ref_row": Column("px", f"row that the drift counts from: {_OF_REFERENCE}"),
    "ref_col": Column("px", f"column that the drift counts from: {_OF_REFERENCE}"),
    "ref_row_sigma": Column("px", "standard deviation of ref_row"),
    "ref_col_sigma": Column("px", "standard deviation of ref_col"),
    "drift_row": Column("px", "row - ref_row"),
    "drift_col": Column("px", "col - ref_col"),
    "drift_row_sigma": Column("px", "standard deviation of drift_row"),
    "drift_col_sigma": Column("px", "standard deviation of drift_col"),
    "drift": Column("px", "drift away from the direct beam; its length where no geometry is known"),
    "drift_sigma": Column("px", "standard deviation of drift"),
    "significance": Column("", "|drift| / drift_sigma"),
    "rate": Column("px/h", "slope of a straight line through all observations, along the drift"),
    "rate_sigma": Column("px/h", "standard deviation of rate"),
    "ref_d": Column("angstrom", f"spacing that the strain counts from: {_OF_REFERENCE}"),
    "ref_d_sigma": Column("angstrom", "standard deviation of ref_d"),
    "strain": Column("", "d / ref_d - 1"),
    "strain_sigma": Column("", "standard deviation of strain"),
    "voltage_v": Column("V", "between the cell's terminals"),
    "current_a": Column("A", "through the cell, positive while charging"),
    "capacity_ah": Column("Ah", "as the cycler counts it"),
    "half_cycle": Column("", "charges and discharges counted from 0, -1 at rest"),
    "kind": Column("", "charge, discharge or rest"),
}
"""By name; a name means the same in every table."""


FRAMES = pa.schema(
    [
        ("series", pa.string()),
        ("frame", pa.int64()),
        ("time_ns", pa.int64()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("n_peaks", pa.int32()),
        ("latency_ms", pa.float64()),
    ]
)
"""One row per frame; `state` is done, failed, missing or shed."""


PEAKS = pa.schema(
    [
        ("series", pa.string()),
        ("frame", pa.int64()),
        ("time_ns", pa.int64()),
        ("peak_row", pa.int32()),
        ("peak_col", pa.int32()),
        ("score", pa.float64()),
        ("intensity", pa.float64()),
        ("row", pa.float64()),
        ("col", pa.float64()),
        ("row_sigma", pa.float64()),
        ("col_sigma", pa.float64()),
        ("flags", pa.int32()),
        ("track", pa.int64()),
        ("two_theta", pa.float64()),
        ("chi", pa.float64()),
        ("q", pa.float64()),
        ("d", pa.float64()),
        ("d_sigma", pa.float64()),
    ]
)
"""One row per peak; positions in detector pixels, an integer being the centre of a pixel; angles in
degrees, `q` in 1/angstrom, `d` in angstroms, NaN where no geometry is known."""


TRACKS = pa.schema(
    [
        ("series", pa.string()),
        *((name, pa.int64()) for name in ("track", "parent", "merged_into")),
        *((name, pa.int64()) for name in ("first_frame", "last_frame")),
        *((name, pa.int64()) for name in ("first_time_ns", "last_time_ns", "n_frames")),
        *((name, pa.float64()) for name in ("row", "col", "row_sigma", "col_sigma")),
        *(
            (name, pa.float64())
            for name in ("ref_row", "ref_col", "ref_row_sigma", "ref_col_sigma")
        ),
        *((name, pa.float64()) for name in ("drift_row", "drift_col")),
        *((name, pa.float64()) for name in ("drift_row_sigma", "drift_col_sigma")),
        *((name, pa.float64()) for name in ("drift", "drift_sigma", "significance")),
        *((name, pa.float64()) for name in ("rate", "rate_sigma")),
        *((name, pa.float64()) for name in ("d", "d_sigma", "ref_d", "ref_d_sigma")),
        *((name, pa.float64()) for name in ("strain", "strain_sigma", "score")),
        ("flags", pa.int32()),
    ]
)
"""One row per track that was seen often enough; see `streamer.tracks.catalogue`."""


CELL = pa.schema(
    [
        ("time_ns", pa.int64()),
        ("voltage_v", pa.float64()),
        ("current_a", pa.float64()),
        ("capacity_ah", pa.float64()),
        ("half_cycle", pa.int32()),
        ("kind", pa.string()),
    ]
)
"""One row per reading of the cell; `half_cycle` counts charges and discharges from 0, -1 at rest;
`kind` is charge, discharge or rest."""


Columns = dict[str, NDArray[Any]]
