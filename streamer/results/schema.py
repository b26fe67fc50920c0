"""The tables of a run folder: what their columns are called, hold, are measured in and mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.frames import flags
from streamer.results.columns import Column, Table, with_sigma, with_sigmas

__all__ = [
    "CELL",
    "FLAGS",
    "FRAMES",
    "LATTICE",
    "MOTION",
    "PEAKS",
    "PIXELS",
    "REFLECTIONS",
    "SHAPES",
    "TABLES",
    "THRESHOLDS",
    "TRACKS",
    "UNIX_TIME",
    "Column",
    "Columns",
    "Table",
    "completed",
]

PIXELS = "pixel indices from 0, an integer is the centre of a pixel"
FLAGS = (
    f"sum of {flags.EDGE} patch leaves the frame, {flags.MASKED} masked pixels in it, "
    f"{flags.NEIGHBOUR} another peak in it, {flags.SATURATED} saturated, "
    f"{flags.POOR_FIT} does not look like one peak, {flags.UNTRUSTED} position out of its trusted "
    "range"
)
"""Bits of the column ``flags``."""


_TEXT, _INT32, _INT64, _FLOAT64 = pa.string(), pa.int32(), pa.int64(), pa.float64()
UNIX_TIME = "Unix time (UTC)"
_NEWEST = "weighted mean over the newest observations"
_REFERENCE = "weighted mean over the first observations, or around the chosen frame"

_SERIES = Column("series", _TEXT, "", "name of the series")
_FRAME = Column("frame", _INT64, "", "number of the frame in its series, from 0")
_TIME = Column("time_ns", _INT64, "ns", f"start of the exposure, {UNIX_TIME}; 0 where not known")
_ALL = "all spots together, counted from where each was first; NaN where fewer than 3 tell"
_ABOUT = (
    "the pattern turns and grows about: the direct beam, or the middle of the first spots where no "
    "geometry is known"
)
_APPARENT = (
    "if what `fwhm_radial` has beyond `geometry.instrument_fwhm_deg`, beta, came from nothing but"
)
_FARTHEST = (
    "where the track was farthest from where it began; mean of `tracks.reference_frames` "
    "observations"
)
_FROM_FIRST = (
    "from the reference position of the reflection's first spot, whose error counts in sigma"
)
_FITTED = (
    "weighted least squares; what the crystal system makes equal is equal, what it fixes has a "
    "sigma of 0"
)
_SLOPE = "slope of a straight line through all observations"


def _of_tracks(*quantities: tuple[str, str, str]) -> tuple[Column, ...]:
    """Return the columns of quantities whose newest and reference means are in the table."""
    columns: list[Column] = []
    for name, unit, meaning in quantities:
        columns += with_sigma(name, unit, f"{meaning}; {_NEWEST}")
        columns += with_sigma(f"ref_{name}", unit, f"{name} that it began with: {_REFERENCE}")
    return tuple(columns)


# A column is added here and to what fills it: `streamer.sink.tables` for frames and peaks,
# `streamer.tracks.catalogue` for tracks, `streamer.results.members` and `lattices` for reflections
# and the lattice, `streamer.cell.log` for the cell. Files, exports and the reference pages follow
# from here.
TABLES: dict[str, Table] = {
    "frames": Table(
        "frame number of each series, or for several that follow each other and never came",
        (
            _SERIES,
            _FRAME,
            _TIME,
            Column("state", _TEXT, "", "done, failed, missing or shed"),
            Column("reason", _TEXT, "", "why a frame is not done"),
            Column("n_peaks", _INT32, "", "peaks found on the frame"),
            Column(
                "latency_ms", _FLOAT64, "ms", "from the arrival of the frame to its result on disk"
            ),
            Column(
                "count",
                _INT64,
                "",
                "how many frame numbers, from `frame` on, the row stands for: 1 but for what never "
                "came or was shed in a row",
            ),
            *with_sigma("motion_row", "px", f"shift of {_ALL} along the rows"),
            *with_sigma("motion_col", "px", f"shift of {_ALL} along the columns"),
            *with_sigma(
                "motion_angle",
                "deg",
                f"rotation of {_ALL}, from the columns' axis towards the rows' axis",
            ),
            *with_sigma("motion_scale", "", f"size of the pattern of {_ALL}, less 1"),
            Column("motion_about_row", _FLOAT64, "px", f"row of what {_ABOUT}"),
            Column("motion_about_col", _FLOAT64, "px", f"column of what {_ABOUT}"),
            *(
                Column(
                    f"motion_{axis}_angle_correlation",
                    _FLOAT64,
                    "",
                    f"correlation of the errors of motion_{axis} and motion_angle",
                )
                for axis in ("row", "col")
            ),
        ),
    ),
    "peaks": Table(
        "peak",
        (
            _SERIES,
            _FRAME,
            _TIME,
            Column("peak_row", _INT32, "px", f"row of the peak's highest pixel; {PIXELS}"),
            Column("peak_col", _INT32, "px", f"column of the peak's highest pixel; {PIXELS}"),
            Column("score", _FLOAT64, "counts", "persistence of the peak"),
            *with_sigma(
                "intensity",
                "counts",
                "integrated, above the fitted background; where no shape was fitted the sum over "
                "the patch above the median of its border, and no standard deviation",
            ),
            *with_sigmas(
                ("row", "px", f"sub-pixel row; {PIXELS}"),
                ("col", "px", f"sub-pixel column; {PIXELS}"),
            ),
            Column("flags", _INT32, "", FLAGS),
            Column("track", _INT64, "", "number of the track, -1 for none"),
            Column("two_theta", _FLOAT64, "deg", "scattering angle"),
            Column(
                "chi",
                _FLOAT64,
                "deg",
                "azimuth around the beam, from the columns' axis towards the rows' axis",
            ),
            Column("q", _FLOAT64, "1/angstrom", "momentum transfer, 4 pi sin(theta) / wavelength"),
            *with_sigma("d", "angstrom", "lattice spacing"),
            *with_sigma("background", "counts/px", "below the peak, as fitted"),
            *with_sigma("fwhm_major", "px", "full width at half maximum along the major axis"),
            *with_sigma("fwhm_minor", "px", "full width at half maximum along the minor axis"),
            *with_sigma(
                "angle", "deg", "of the major axis, from the columns' axis towards growing rows"
            ),
            *with_sigma("eta", "", "Lorentzian share of the profile, 0 Gaussian, 1 Lorentzian"),
            *with_sigma(
                "asymmetry",
                "",
                "difference of the half widths on both sides along the major axis over their sum, "
                "positive where the tail points along `angle`",
            ),
            *with_sigma("centre_row", "px", f"row of the centre of mass; {PIXELS}"),
            *with_sigma("centre_col", "px", f"column of the centre of mass; {PIXELS}"),
            *with_sigma("fwhm_radial", "deg", "full width at half maximum in two_theta"),
            *with_sigma("fwhm_azimuthal", "deg", "full width at half maximum in chi"),
        ),
    ),
    "tracks": Table(
        "track that was seen on `tracks.confirm_frames` frames or more (with `tracks.common_motion:"
        " remove`, places, drifts and strains are without the shift and rotation of all spots)",
        (
            Column("series", _TEXT, "", "name of the series in which the track begins"),
            Column("track", _INT64, "", "number of the track"),
            Column(
                "reflection",
                _INT64,
                "",
                "lowest number of the tracks that it hangs together with: the same for a spot and "
                "what it split into, by `parent` and `merged_into`, and by standing where others "
                "that split have their second spot",
            ),
            Column("parent", _INT64, "", "track that this one split from, -1 for none"),
            Column("merged_into", _INT64, "", "track that this one ended beside, -1 for none"),
            Column("first_frame", _INT64, "", "first frame of the track"),
            Column("last_frame", _INT64, "", "last frame of the track"),
            Column("first_time_ns", _INT64, "ns", f"{UNIX_TIME} of the first frame"),
            Column("last_time_ns", _INT64, "ns", f"{UNIX_TIME} of the last frame"),
            Column("n_frames", _INT64, "", "frames the track was seen on"),
            *with_sigmas(
                ("row", "px", f"sub-pixel row; {PIXELS}; {_NEWEST}"),
                ("col", "px", f"sub-pixel column; {PIXELS}; {_NEWEST}"),
            ),
            *with_sigmas(
                ("ref_row", "px", f"row that the drift counts from: {_REFERENCE}"),
                ("ref_col", "px", f"column that the drift counts from: {_REFERENCE}"),
            ),
            *with_sigmas(
                ("drift_row", "px", "row - ref_row"), ("drift_col", "px", "col - ref_col")
            ),
            *with_sigma(
                "drift",
                "px",
                "drift away from the direct beam; its length where no geometry is known",
            ),
            *with_sigma("excursion", "px", f"drift {_FARTHEST}"),
            Column(
                "significance",
                _FLOAT64,
                "",
                "|drift| / drift_sigma; where no geometry is known, of how many standard "
                "deviations a normal error is as rare as a drift so long in any direction",
            ),
            *with_sigma(
                "rate",
                "px/h",
                f"{_SLOPE}, along the drift; NaN where frames have no times",
            ),
            *with_sigma(
                "rate_per_frame",
                "px/frame",
                f"{_SLOPE}, along the drift, where frames have no times",
            ),
            *with_sigma("d", "angstrom", f"lattice spacing; {_NEWEST}"),
            *with_sigma("ref_d", "angstrom", f"spacing that the strain counts from: {_REFERENCE}"),
            *(
                Column(
                    index,
                    _INT32,
                    "",
                    f"index of the lattice planes along {axis}, the same for all tracks of a "
                    "reflection; 0 0 0 where not known or not certain",
                )
                for index, axis in (("h", "a*"), ("k", "b*"), ("l", "c*"))
            ),
            *with_sigma("strain", "", "d / ref_d - 1"),
            *with_sigma("strain_excursion", "", f"strain {_FARTHEST}"),
            Column("score", _FLOAT64, "counts", "mean persistence of its peaks"),
            Column("flags", _INT32, "", f"bits that more than half of its peaks carry: {FLAGS}"),
            *_of_tracks(
                ("intensity", "counts", "integrated, as of its peaks"),
                ("fwhm_major", "px", "full width at half maximum along the major axis"),
                ("fwhm_minor", "px", "full width at half maximum along the minor axis"),
                ("fwhm_radial", "deg", "full width at half maximum in two_theta"),
                ("fwhm_azimuthal", "deg", "full width at half maximum in chi"),
                ("eta", "", "Lorentzian share of the profile"),
                ("asymmetry", "", "along the major axis, as of its peaks"),
            ),
            *with_sigma(
                "size_nm",
                "nm",
                f"{_APPARENT} a small size: apparent size, 0.9 wavelength / (beta cos theta)",
            ),
            *with_sigma(
                "microstrain",
                "",
                f"{_APPARENT} strains that differ within the crystal: beta / (4 tan theta)",
            ),
        ),
    ),
    "reflections": Table(
        "reflection, frame and spot of it that was seen there (with `tracks.common_motion: remove`,"
        " without the shift and rotation of all spots); written when the run has ended",
        (
            _SERIES,
            _FRAME,
            _TIME,
            Column("reflection", _INT64, "", "number of the reflection, as in `tracks`"),
            Column("track", _INT64, "", "number of the spot's track"),
            Column(
                "phase",
                _INT32,
                "",
                "of the lattice: 0 is that in which reflections were first seen, 1 the other, -1 "
                "cannot be told",
            ),
            Column("flags", _INT32, "", FLAGS),
            *with_sigma(
                "drift",
                "px",
                f"{_FROM_FIRST}, away from the direct beam; its length where no geometry is known",
            ),
            *with_sigma("d", "angstrom", "lattice spacing"),
            *with_sigma("strain", "", f"relative difference in spacing {_FROM_FIRST}"),
            *with_sigma("intensity", "counts", "as in `peaks`"),
            *with_sigma(
                "share",
                "",
                "of the intensity of all spots of the reflection that were found on the frame",
            ),
        ),
    ),
    "lattice": Table(
        "frame and phase whose spacings tell all that the crystal system leaves free, where "
        "`lattice.a` is given; written when the run has ended",
        (
            _SERIES,
            _FRAME,
            _TIME,
            Column("phase", _INT32, "", "as in `reflections`"),
            *with_sigma("a", "angstrom", f"edge of the unit cell; {_FITTED}"),
            *with_sigma("b", "angstrom", "edge of the unit cell"),
            *with_sigma("c", "angstrom", "edge of the unit cell"),
            *with_sigma("alpha", "deg", "angle between b and c"),
            *with_sigma("beta", "deg", "angle between a and c"),
            *with_sigma("gamma", "deg", "angle between a and b"),
            *with_sigma("volume", "angstrom^3", "of the unit cell"),
            Column("n_reflections", _INT32, "", "spacings that tell it"),
            Column(
                "chi2",
                _FLOAT64,
                "",
                "sum of squares over variances, by the errors of spacings alone",
            ),
            Column(
                "scatter",
                _FLOAT64,
                "",
                "by how much grains differ beyond these errors, relative standard deviation of "
                "spacings; it counts in sigmas",
            ),
        ),
    ),
    "cell": Table(
        "reading of the cell, where `cell.file` is given",
        (
            Column("time_ns", _INT64, "ns", f"time of the reading, {UNIX_TIME}"),
            Column("voltage_v", _FLOAT64, "V", "between the cell's terminals"),
            Column("current_a", _FLOAT64, "A", "through the cell, positive while charging"),
            Column("capacity_ah", _FLOAT64, "Ah", "as the cycler counts it"),
            Column("half_cycle", _INT32, "", "charges and discharges counted from 0, -1 at rest"),
            Column("kind", _TEXT, "", "charge, discharge or rest"),
            Column(
                "kind_from",
                _TEXT,
                "",
                "what tells the kind: cycler (its own state), current, or guess (by the slope of"
                " the voltage, where nothing else is known)",
            ),
        ),
    ),
    "thresholds": Table(
        "change of the thresholds while the run went on; none where they are as configured",
        (
            Column("series", _TEXT, "", "series of the first frame; empty before it has come"),
            Column("frame", _INT64, "", "first frame that it holds for; -1 before it has come"),
            Column("time_ns", _INT64, "ns", f"when it was asked for, {UNIX_TIME}"),
            Column("minval", _FLOAT64, "counts", "as `detect.minval`; NaN stands for auto"),
            Column("minscore", _FLOAT64, "counts", "as `detect.minscore`; NaN stands for auto"),
        ),
    ),
}
"""By name. What is not known, as spacings without the detector's place, is NaN."""

FRAMES, PEAKS, TRACKS, REFLECTIONS, LATTICE, CELL, THRESHOLDS = (
    table.schema for table in TABLES.values()
)

MOTION = tuple(name for name in FRAMES.names if name.startswith("motion_"))
"""Columns of the frames table that tell of the common motion; older runs have none of them."""
SHAPES = ("intensity_sigma", *PEAKS.names[PEAKS.names.index("background") :])
"""Columns of the peaks table that tell of shapes; older runs have none of them."""
_ADDED = {
    *MOTION,
    *SHAPES,
    *(name for name in TRACKS.names if "excursion" in name),
    *TRACKS.names[TRACKS.names.index("flags") + 1 :],
}
_INDICES = ("h", "k", "l")


def completed(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return columns of a table, NaN for measures that an older run was made without."""
    for name in names:
        if name in _ADDED and name not in table.column_names:
            table = table.append_column(name, pa.array(np.full(len(table), np.nan)))
        if name in _INDICES and name not in table.column_names:
            table = table.append_column(name, pa.array(np.zeros(len(table), np.int32)))
    return table.select(list(names))


Columns = dict[str, NDArray[Any]]
