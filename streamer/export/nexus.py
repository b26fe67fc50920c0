"""A run as a NeXus file: peaks, drifts, tracks, the cell and the detector's place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.config import MetaConfig
from streamer.errors import UserError
from streamer.frames.geometry import Geometry
from streamer.frames.nexus import put_field, put_group
from streamer.results.curves import QUANTITIES, Quantity, displaced, references
from streamer.results.folder import RunFolder
from streamer.results.histories import History, histories, main_tracks
from streamer.results.motion import to_remove
from streamer.results.rows import batches, count_rows
from streamer.results.schema import FLAGS, PIXELS, TABLES, Table
from streamer.results.threshold_files import thresholds_table
from streamer.results.thresholds import read_changes

__all__ = ["write_nexus"]

_MAIN = 8
_MOST_GROUPS = 2000
"""Tracks with a group of their own: each takes some thousandths of a second to make and to list."""
_CHUNK = 1 << 16
_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

_PEAKS = TABLES["peaks"]
_SHAPES = (
    "fwhm_major", "fwhm_minor", "angle", "eta", "asymmetry", "fwhm_radial", "fwhm_azimuthal",
)  # fmt: skip
_CURVES = ("intensity", "background", *_SHAPES)
"""What the groups of tracks have beside drifts."""


def _measured(name: str, column: str) -> dict[str, tuple[str, str, str]]:
    """Return a field and that of its standard deviation, as in `_FIELDS`."""
    return {name: (column, "f8", ""), f"{name}_errors": (f"{column}_sigma", "f8", "")}


_FIELDS: dict[str, tuple[str, str, str]] = {
    "observed_px_x": ("col", "f8", f"sub-pixel column (fast axis); {PIXELS}"),
    "observed_px_x_errors": ("col_sigma", "f8", "standard deviation of observed_px_x"),
    "observed_px_y": ("row", "f8", f"sub-pixel row (slow axis); {PIXELS}"),
    "observed_px_y_errors": ("row_sigma", "f8", "standard deviation of observed_px_y"),
    "observed_frame": ("frame", "f8", ""),
    "int_sum": ("intensity", "f8", ""),
    "int_sum_errors": ("intensity_sigma", "f8", ""),
    **_measured("background_mean", "background"),
    **_measured("centre_px_x", "centre_col"),
    **_measured("centre_px_y", "centre_row"),
    **{name: field for one in _SHAPES for name, field in _measured(one, one).items()},
    "polar_angle": ("two_theta", "f8", "scattering angle two theta"),
    "azimuthal_angle": ("chi", "f8", f"{_PEAKS['chi'].meaning} (pyFAI's chi)"),
    "d": ("d", "f8", ""),
    "d_errors": ("d_sigma", "f8", ""),
    "q": ("q", "f8", ""),
    "peak_px_x": ("peak_col", "i4", "column of the highest pixel"),
    "peak_px_y": ("peak_row", "i4", "row of the highest pixel"),
    "time_ns": ("time_ns", "i8", f"{_PEAKS['time_ns'].meaning}, exact"),
    "timestamp": ("time_ns", "f8", "time_ns in seconds, rounded to a microsecond"),
    "track": ("track", "i8", "track that the peak belongs to, -1 for none"),
    "score": ("score", "f8", ""),
    "quality": ("flags", "i4", f"{FLAGS}; these are not DIALS flags"),
}
"""By name: our column, type and description, where it is not our own."""
_KNOWN = (
    "observed_px_x", "observed_px_y", "observed_frame", "int_sum", "background_mean", "polar_angle",
    "azimuthal_angle", "d",
)  # fmt: skip
"""Those of them that NXreflections knows; each may have errors. All others lie beside it."""


def write_nexus(folder: RunFolder, out: Path) -> None:
    """Write a NeXus file whose default plot is the drift of the main tracks.

    Peaks are an NXreflections of what is known; indices and predictions, which the class wants too,
    are not. What it has no name for is beside it, in the same order. It is written batch by batch.
    """
    tracks, geometry = folder.read_tracks(), folder.read_geometry()
    summary = folder.read_summary()
    with h5py.File(out, "w") as file:
        file.attrs.update(NX_class="NXroot", default="entry", creator="braggstream")
        entry = put_group(file, "entry", "NXentry")
        _head(entry, folder, summary)
        instrument = put_group(entry, "instrument", "NXinstrument")
        if geometry is not None:
            _geometry(instrument, geometry)
        begin_ns = _write_peaks(entry, folder)
        _write_cell(entry, folder.read_cell())
        _write_thresholds(entry, thresholds_table(read_changes(folder.path)))
        if tracks.num_rows:
            entry.attrs["default"] = "drift"
            _write_drift(entry, folder, tracks, geometry, begin_ns)
            _write_tracks(entry, folder, tracks, geometry, begin_ns)


def _head(entry: h5py.Group, folder: RunFolder, summary: Mapping[str, Any]) -> None:
    entry["title"] = f"Bragg peaks of {summary['source']}"
    entry["entry_identifier"] = folder.path.resolve().name
    entry["start_time"] = summary["started"]
    if summary.get("ended"):
        entry["end_time"] = summary["ended"]
    entry["program_name"] = summary["software"]["name"]
    entry["program_name"].attrs["version"] = summary["software"]["version"]
    settings = folder.path / "config.yaml"
    if settings.exists():
        entry["program_name"].attrs["configuration"] = settings.read_text(encoding="utf-8")
        _meta(entry, folder.read_config().meta)


def _meta(entry: h5py.Group, meta: MetaConfig) -> None:
    """Write what was said of sample, proposal and users where NeXus has a place for it."""
    said = dict(meta.said)
    if sample := said.pop("sample", ""):
        put_field(put_group(entry, "sample", "NXsample"), "name", sample)
    if users := str(said.pop("user", "")):
        for number, user in enumerate(users.split(",")):
            group = put_group(entry, f"user_{number}" if number else "user", "NXuser")
            put_field(group, "name", user.strip())
    for key, name in (("proposal", "experiment_identifier"), ("comment", "experiment_description")):
        if key in said:
            put_field(entry, name, said.pop(key))
    if said:
        more = put_group(entry, "meta", "NXcollection")
        for key, value in said.items():
            put_field(more, key.replace("/", "_"), value)


def _geometry(instrument: h5py.Group, geometry: Geometry) -> None:
    detector = put_group(instrument, "detector", "NXdetector")
    put_field(detector, "description", f"place of the detector from {geometry.source}")
    row, col = geometry.beam
    _put(detector, "distance", geometry.distance_m, "m", "sample to the point of normal incidence")
    _put(detector, "x_pixel_size", abs(geometry.pixel2_m), "m", "width of a pixel")
    _put(detector, "y_pixel_size", abs(geometry.pixel1_m), "m", "height of a pixel")
    where = f"where the direct beam meets the detector plane; {PIXELS}"
    _put(detector, "beam_center_x", col, "pixels", f"column {where}")
    _put(detector, "beam_center_y", row, "pixels", f"row {where}")
    poni = put_group(detector, "poni", "NXcollection")
    poni.attrs["description"] = "parameters with pyFAI's meaning; axis 1 is that of the rows"
    for name, unit in (
        *((name, "m") for name in ("distance_m", "poni1_m", "poni2_m", "pixel1_m", "pixel2_m")),
        *((name, "rad") for name in ("rot1", "rot2", "rot3")),
    ):
        _put(poni, name, getattr(geometry, name), unit)
    if not math.isnan(geometry.wavelength_a):
        beam = put_group(instrument, "beam", "NXbeam")
        _put(beam, "incident_wavelength", geometry.wavelength_a, "angstrom")


def _write_peaks(entry: h5py.Group, folder: RunFolder) -> int:
    """Write all peaks and return the time of the first frame."""
    n = count_rows(folder, "peaks")
    # An entry may have no NXreflections of its own, but any in a collection.
    peaks = put_group(entry, "peaks", "NXcollection")
    reflections = put_group(peaks, "reflections", "NXreflections")
    reflections.attrs["description"] = (
        "peaks found on each frame; without indexing, so that indices and predicted fields of the "
        "class are not there"
    )
    peaks.attrs["description"] = "what is known of the peaks in reflections beside, in their order"
    within = {
        name: reflections if name.removesuffix("_errors") in _KNOWN else peaks for name in _FIELDS
    }
    more = {"chunks": (min(n, _CHUNK),), **_PACKED} if n else {}
    for name, (column, dtype, description) in _FIELDS.items():
        field = within[name].create_dataset(name, (n,), dtype, **more)
        field.attrs["description"] = description or _PEAKS[column].meaning
        if units := "s" if name == "timestamp" else _units(_PEAKS, column):
            field.attrs["units"] = units
    reflections["observed_frame"].attrs["units"] = ""
    number = reflections.create_dataset("id", (n,), "i4", **more)
    number.attrs["description"] = "series of the peak: its place in experiments"
    names: list[str] = []
    start = 0
    for table in batches(folder, "peaks"):
        stop = start + len(table)
        for name, (column, dtype, _) in _FIELDS.items():
            values = table[column].to_numpy()
            if name == "timestamp":
                values = values * 1e-9
            within[name][name][start:stop] = values.astype(dtype, copy=False)
        series = table["series"].combine_chunks().dictionary_encode()
        names += [one for one in series.dictionary.to_pylist() if one not in names]
        places = np.array([names.index(one) for one in series.dictionary.to_pylist()], np.int32)
        number[start:stop] = places[series.indices.to_numpy()]
        start = stop
    reflections["experiments"] = np.array(names, h5py.string_dtype())
    reflections["experiments"].attrs["description"] = "names of the series"
    for table in batches(folder, "frames", ["time_ns"], rows=1):
        return int(table["time_ns"][0].as_py())
    return 0


def _write_cell(entry: h5py.Group, cell: pa.Table) -> None:
    if not cell.num_rows:
        return
    group = put_group(entry, "cell", "NXcollection")
    times = cell["time_ns"].to_numpy()
    logs = {"voltage": "voltage_v", "current": "current_a", "capacity": "capacity_ah"}
    for name, column in logs.items():
        log = put_group(group, name, "NXlog")
        says = TABLES["cell"][column]
        _put(log, "value", cell[column].to_numpy(), says.unit, says.meaning)
        _put_time(log, times, int(times[0]))
    half = put_group(group, "half_cycle", "NXlog")
    half["value"] = cell["half_cycle"].to_numpy()
    half["value"].attrs.update(description=TABLES["cell"]["half_cycle"].meaning, units="")
    _put_time(half, times, int(times[0]))


def _write_thresholds(entry: h5py.Group, changes: pa.Table) -> None:
    if not changes.num_rows:
        return
    group = put_group(entry, "thresholds", "NXcollection")
    for name in ("frame", "time_ns", "minval", "minscore"):
        says = TABLES["thresholds"][name]
        _put(group, name, changes[name].to_numpy(), says.unit, says.meaning)
    group["series"] = np.array(changes["series"].to_pylist(), h5py.string_dtype())


def _write_drift(
    entry: h5py.Group,
    folder: RunFolder,
    tracks: pa.Table,
    geometry: Geometry | None,
    begin_ns: int,
) -> None:
    """Write the drift of the main tracks against one axis; NaN where a track was not seen.

    Raises
    ------
    UserError
        No peak of them is left.
    """
    chosen = main_tracks(tracks, _MAIN)
    known = references(chosen)
    motion = to_remove(folder, folder.read_config(), geometry)
    main = {one.track: one for one in histories(folder, chosen, motion)}
    if not main:
        raise UserError(
            f"{folder.path} has tracks and no peaks of them: are files of its frames/ or peaks/"
            " gone?"
        )
    quantity: Quantity = "radial" if geometry is not None else "distance"
    is_timed = all(one.time_ns.all() for one in main.values())
    along = {track: one.time_ns if is_timed else one.frame for track, one in main.items()}
    places = np.unique(np.concatenate(list(along.values())))
    group = put_group(entry, "drift", "NXdata")
    names = [f"track_{track}" for track in chosen["track"].to_pylist() if track in main]
    group.attrs.update(signal=names[0], axes=["time" if is_timed else "frame"])
    if names[1:]:
        group.attrs["auxiliary_signals"] = names[1:]
    without = "" if motion is None else ", without the motion that all spots share"
    group["title"] = f"{QUANTITIES[quantity][0]} of the main tracks{without}"
    if is_timed:
        _put_time(group, places, begin_ns)
    else:
        group["frame"] = places
    for name in names:
        history = main[int(name.removeprefix("track_"))]
        place = np.searchsorted(places, along[history.track])
        drift = displaced(history.seen, known[history.track], geometry, quantity)
        for field, values in zip((name, f"{name}_errors"), drift, strict=True):
            spread = np.full(len(places), np.nan)
            spread[place] = values
            _put(group, field, spread, "pixels")


def _write_tracks(
    entry: h5py.Group,
    folder: RunFolder,
    tracks: pa.Table,
    geometry: Geometry | None,
    begin_ns: int,
) -> None:
    group = put_group(entry, "tracks", "NXcollection")
    table = put_group(group, "table", "NXcollection")
    table.attrs["description"] = "a value for each track"
    for name in tracks.column_names:
        values = tracks[name].to_numpy()
        if name == "series":
            values = np.array(tracks[name].to_pylist(), h5py.string_dtype())
        says = TABLES["tracks"]
        _put(table, name, values, _units(says, name), says[name].meaning)
    known = references(tracks)
    longest = np.argsort(-tracks["n_frames"].to_numpy(), kind="stable")
    shown = tracks.take(longest[:_MOST_GROUPS])
    group.attrs["left_out"] = len(tracks) - len(shown)
    motion = to_remove(folder, folder.read_config(), geometry)
    more = [f"{name}{sigma}" for name in _CURVES for sigma in ("", "_sigma")]
    for history in histories(folder, shown, motion, more):
        one = put_group(group, f"track_{history.track}", "NXdata")
        _write_history(one, history, known, geometry, begin_ns)


def _write_history(
    group: h5py.Group,
    history: History,
    known: Mapping[int, tuple[float, float, float]],
    geometry: Geometry | None,
    begin_ns: int,
) -> None:
    is_timed = bool(history.time_ns.all())
    group.attrs.update(signal="drift", axes=["time" if is_timed else "frame"])
    if is_timed:
        _put_time(group, history.time_ns, begin_ns)
    group["frame"] = history.frame
    kinds: Sequence[tuple[str, Quantity, str]] = [
        ("drift", "radial" if geometry is not None else "distance", "pixels"),
        ("row", "row", "pixels"),
        ("col", "col", "pixels"),
    ]
    if geometry is not None:
        kinds = [*kinds, ("d", "d", "angstrom"), ("strain", "strain", "")]
    for name, quantity, unit in kinds:
        value, error = displaced(history.seen, known[history.track], geometry, quantity)
        _put(group, name, value, unit, QUANTITIES[quantity][0])
        _put(group, f"{name}_errors", error, unit)
    for name in _CURVES:
        if np.isfinite(history.more[name]).any():
            units = _units(_PEAKS, name)
            _put(group, name, history.more[name], units, _PEAKS[name].meaning)
            _put(group, f"{name}_errors", history.more[f"{name}_sigma"], units)


def _put_time(group: h5py.Group, time_ns: NDArray[np.int64], begin_ns: int) -> None:
    """Write times in seconds since a moment, which is kept with them."""
    _put(group, "time", (time_ns - begin_ns) * 1e-9, "s")
    moment = datetime.fromtimestamp(begin_ns // 1000 / 1e6, UTC)
    group["time"].attrs["start"] = moment.isoformat(timespec="microseconds")


def _put(group: h5py.Group, name: str, value: Any, units: str, description: str = "") -> None:
    put_field(group, name, value, units)
    if description:
        group[name].attrs["description"] = description


def _units(table: Table, column: str) -> str:
    """Return the unit of a column as NeXus writes it."""
    return table[column].unit.replace("/px", "/pixel").replace("px", "pixels")
