from __future__ import annotations

import dataclasses
import re

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.config import Config
from streamer.errors import UserError
from streamer.export.formats import FORMATS, export_run
from streamer.frames.geometry import Geometry
from streamer.results import open_run, rows
from streamer.results.curves import displaced, references
from streamer.results.derived import DERIVED
from streamer.results.histories import histories
from streamer.results.rows import batches, count_rows
from streamer.results.schema import SHAPES, TABLES
from tests.unit.runs import BEGIN, GEOMETRY, make_run

SCHEMAS = {name: one.schema for name, one in TABLES.items()}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "today")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Exports see several batches of one part, and batches of several parts."""
    monkeypatch.setattr(rows.batches, "__defaults__", (None, 50))
    monkeypatch.setattr("streamer.results.histories._MOST", 60)


def table(run, name):
    if name in DERIVED:
        return getattr(open_run(run.path), name)
    if name == "thresholds":
        return open_run(run.path).thresholds
    return {"tracks": run.read_tracks, "cell": run.read_cell}.get(name, lambda: run.read(name))()


def read_flt(path):
    """Read a column file by its definition: titles behind a hash, then numbers."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#")
    titles = lines[0][1:].split()
    values = np.array([[float(word) for word in line.split()] for line in lines[1:]])
    assert values.shape[1] == len(titles)
    return dict(zip(titles, values.T, strict=True))


def test_batches_are_the_rows_in_their_order(run):
    tables = list(batches(run, "peaks"))
    assert len(tables) > 2
    assert sum(map(len, tables)) == count_rows(run, "peaks") == 280
    whole = run.read("peaks")
    joined = np.concatenate([one["row"].to_numpy() for one in tables])
    np.testing.assert_array_equal(joined, whole["row"].to_numpy())


def test_what_was_not_committed_is_not_exported(run):
    part = run.parts("peaks")[-1]
    part.rename(part.with_name("part-00000099.parquet"))
    run.parts("frames")[-1].unlink()
    assert count_rows(run, "peaks") == sum(map(len, batches(run, "peaks"))) == 210


def test_histories_are_the_sightings_of_each_track(run):
    peaks = run.read("peaks").to_pandas()
    found = list(histories(run, run.read_tracks()))
    assert [one.track for one in found] == list(range(10))
    for one in found:
        mine = peaks[peaks["track"] == one.track]
        np.testing.assert_array_equal(one.seen.row, mine["row"])
        np.testing.assert_array_equal(one.time_ns, mine["time_ns"])


def test_parquet_reads_back_equal(run):
    out = export_run(run.path, "parquet")
    assert out == run.path / "export" / "parquet"
    for name, schema in SCHEMAS.items():
        read = pq.read_table(out / f"{name}.parquet")
        assert read.schema.equals(schema)
        assert read.field("series" if "series" in schema.names else "time_ns").metadata
        pd.testing.assert_frame_equal(read.to_pandas(), table(run, name).to_pandas())
    assert pq.read_schema(out / "peaks.parquet").field("d").metadata[b"unit"] == b"angstrom"


def test_csv_reads_back_equal_to_the_last_digit(run, tmp_path):
    out = export_run(run.path, "csv", tmp_path / "tables")
    for name, schema in SCHEMAS.items():
        read = pd.read_csv(out / f"{name}.csv")
        wanted = table(run, name).to_pandas()
        for column in schema.names:
            if column.endswith("time_ns"):
                since = read[column.replace("time_ns", "elapsed_s")]
                np.testing.assert_array_equal((since * 1e9).round() + BEGIN, wanted[column])
            elif wanted[column].dtype.kind in "if":
                np.testing.assert_array_equal(read[column], wanted[column])
            else:
                assert read[column].fillna("").tolist() == wanted[column].tolist()
    assert "nan" not in (out / "peaks.csv").read_text().lower()
    legend = (out / "README.txt").read_text()
    assert re.search(r"^d_sigma +angstrom +standard deviation of d$", legend, re.MULTILINE)
    assert re.search(r"^last_time +- +UTC of the last frame$", legend, re.MULTILINE)
    assert "begun 2023-11-14" in legend
    assert f"since {BEGIN} ns after 1970" in legend


def test_spreadsheets_read_all_numbers_and_times_of_a_csv(run):
    out = export_run(run.path, "csv")
    for path in out.glob("*.csv"):
        titles, *rows = path.read_text().splitlines()
        assert "_ns" not in titles
        # They keep 15 digits of a number, and round what has more in front of the point.
        assert not re.search(r"(?<![\d.])\d{16,}", "".join(rows)), path
    frames = pd.read_csv(out / "frames.csv", parse_dates=["time"])
    assert frames["time"].iloc[0] == pd.Timestamp("2023-11-14 22:13:20.123")
    assert '"2023-11-14 22:13:20.123",0,"done"' in (out / "frames.csv").read_text()
    assert frames["elapsed_s"].iloc[1] == 0.02


def test_a_frame_without_a_time_has_none_in_a_csv(tmp_path):
    run = make_run(tmp_path / "today", timed=False, cell=False)
    frames = pd.read_csv(export_run(run.path, "csv") / "frames.csv")
    assert frames[["time", "elapsed_s"]].isna().all(axis=None)


def test_times_that_lie_decades_apart_are_no_obstacle_to_a_csv(tmp_path):
    """As where a detector's clock was set between two frames."""
    run = make_run(tmp_path / "today", cell=False)
    path = run.parts("frames")[0]
    frames = pq.read_table(path)
    times = frames["time_ns"].to_numpy().copy()
    times[0] = 5 * 10**9
    place = frames.column_names.index("time_ns")
    pq.write_table(frames.set_column(place, "time_ns", pa.array(times)), path)
    written = pd.read_csv(export_run(run.path, "csv") / "frames.csv")
    assert written["time"].iloc[0] == "1970-01-01 00:00:05.000"
    assert written["elapsed_s"].iloc[0] == 0
    np.testing.assert_allclose(written["elapsed_s"].iloc[1:15], (times[1:] - times[0]) / 1e9)


def test_flt_has_the_peaks_in_the_terms_of_imaged11(run):
    out = export_run(run.path, "flt")
    assert out.name == "today.flt"
    columns, peaks = read_flt(out), run.read("peaks").to_pandas()
    for theirs, ours in (
        ("sc", "row"), ("s_raw", "row"), ("fc", "col"), ("f_raw", "col"), ("track", "track"),
        ("sum_intensity", "intensity"), ("frame", "frame"), ("flags", "flags"), ("score", "score"),
        ("tth", "two_theta"), ("IMax_s", "peak_row"), ("IMax_f", "peak_col"),
        ("sc_sigma", "row_sigma"),
    ):  # fmt: skip
        np.testing.assert_array_equal(columns[theirs], peaks[ours], err_msg=theirs)
    np.testing.assert_array_equal(columns["omega"], 0.0)
    np.testing.assert_array_equal(columns["spot3d_id"], np.arange(len(peaks)))
    np.testing.assert_array_equal(columns["series"], peaks["series"] == "second")
    np.testing.assert_allclose(columns["timestamp"], peaks["time_ns"] * 1e-9, rtol=0, atol=1e-6)
    np.testing.assert_allclose(columns["ds"], 1.0 / peaks["d"], rtol=1e-15)
    # eta from the geometry alone: from up, the rows' axis, towards the columns' axis.
    row, col = GEOMETRY.beam
    eta = np.degrees(np.arctan2(peaks["col"] - col, peaks["row"] - row))
    np.testing.assert_allclose(columns["eta"], eta, atol=1e-9)


def test_where_the_detector_is_lies_beside_a_flt(run, tmp_path):
    out = export_run(run.path, "flt")
    read = Geometry.from_poni(out.with_suffix(".poni"))
    assert read.wavelength_a == pytest.approx(0.62, rel=1e-12)
    same = {"source": GEOMETRY.source, "wavelength_a": 0.62}
    assert dataclasses.replace(read, **same) == GEOMETRY
    says = dict(line.split() for line in out.with_suffix(".par").read_text().splitlines())
    assert float(says["distance"]) == pytest.approx(90_000.0)  # µm
    assert (float(says["z_center"]), float(says["y_center"])) == pytest.approx((20.0, 24.0))
    assert float(says["wavelength"]) == 0.62
    (out.parent / "again.par").write_text("mine")
    with pytest.raises(UserError, match=r"again\.par is there already"):
        export_run(run.path, "flt", out.parent / "again.flt")
    blind = make_run(tmp_path / "blind", geometry=False)
    assert list(export_run(blind.path, "flt").parent.iterdir()) == [
        blind.path / "export" / "blind.flt"
    ]


def test_no_poni_is_written_that_would_need_the_size_of_the_detector(tmp_path):
    flipped = Geometry(0.09, 0.002, -0.0025, pixel1_m=75e-6, pixel2_m=-75e-6)
    out = export_run(make_run(tmp_path / "today", place=flipped).path, "flt")
    assert out.with_suffix(".par").exists()
    assert not out.with_suffix(".poni").exists()


def test_nexus_holds_peaks_drifts_cell_and_geometry(run):
    peaks, tracks = run.read("peaks").to_pandas(), run.read_tracks().to_pandas()
    with h5py.File(export_run(run.path, "nexus")) as file:
        group = file["entry/peaks/reflections"]
        assert group.attrs["NX_class"] == "NXreflections"
        beside = file["entry/peaks"]
        for theirs, ours in (
            ("observed_px_x", "col"), ("observed_px_y", "row"), ("d_errors", "d_sigma"),
            ("observed_px_x_errors", "col_sigma"), ("observed_px_y_errors", "row_sigma"),
            ("observed_frame", "frame"), ("int_sum", "intensity"), ("polar_angle", "two_theta"),
            ("azimuthal_angle", "chi"), ("d", "d"),
        ):  # fmt: skip
            np.testing.assert_array_equal(group[theirs], peaks[ours], err_msg=theirs)
        for theirs, ours in (
            ("time_ns", "time_ns"), ("track", "track"), ("quality", "flags"), ("score", "score"),
        ):  # fmt: skip
            np.testing.assert_array_equal(beside[theirs], peaks[ours], err_msg=theirs)
        assert all(group[name].attrs["description"] for name in group)
        assert "centre of a pixel" in group["observed_px_x"].attrs["description"]
        assert "flags" not in group
        assert group["observed_px_y"].attrs["units"] == "pixels"
        units = {name: beside[name].attrs.get("units") for name in ("q", "track")}
        assert units == {"q": "1/angstrom", "track": None}
        names = group["experiments"].asstr()[()]
        assert names[group["id"][()]].tolist() == peaks["series"].tolist()
        table = file["entry/tracks/table"]
        for name in tracks.columns.drop("series"):
            np.testing.assert_array_equal(table[name], tracks[name], err_msg=name)
        assert table["rate_sigma"].attrs["units"] == "pixels/h"
        detector = file["entry/instrument/detector"]
        assert detector["beam_center_y"][()] == pytest.approx(20.0)
        assert detector["distance"].attrs["units"] == "m"
        assert file["entry/instrument/beam/incident_wavelength"][()] == 0.62
        voltage = file["entry/cell/voltage"]
        assert voltage.attrs["NX_class"] == "NXlog"
        np.testing.assert_array_equal(voltage["value"], run.read_cell()["voltage_v"])
        assert voltage["time"].attrs["start"] == "2023-11-14T22:13:20.123456+00:00"


def test_the_drift_in_a_nexus_file_is_that_of_each_sighting(run):
    tracks = run.read_tracks()
    known = references(tracks)
    with h5py.File(export_run(run.path, "nexus")) as file:
        for one in histories(run, tracks):
            group = file[f"entry/tracks/track_{one.track}"]
            np.testing.assert_array_equal(group["frame"], one.frame)
            np.testing.assert_allclose(group["time"], (one.time_ns - BEGIN) * 1e-9)
            for name, quantity in (("drift", "radial"), ("strain", "strain"), ("d", "d")):
                value, error = displaced(one.seen, known[one.track], GEOMETRY, quantity)
                np.testing.assert_array_equal(group[name], value)
                np.testing.assert_array_equal(group[f"{name}_errors"], error)
        main = file["entry/drift"]
        signals = [main.attrs["signal"], *main.attrs["auxiliary_signals"]]
        assert "track_3" not in signals  # no peak
        assert len(signals) == 8
        for name in signals:
            whole, own = main[name][()], file[f"entry/tracks/{name}/drift"][()]
            np.testing.assert_array_equal(whole[np.isfinite(whole)], own)
            assert f"{name}_errors" in main


def test_shapes_are_in_a_nexus_file_with_units_and_errors(run):
    peaks = run.read("peaks").to_pandas()
    with h5py.File(export_run(run.path, "nexus")) as file:
        beside = file["entry/peaks"]
        for field, column, units in (
            ("int_sum", "intensity", "counts"), ("background_mean", "background", "counts/pixel"),
            ("centre_px_x", "centre_col", "pixels"), ("centre_px_y", "centre_row", "pixels"),
            ("fwhm_major", "fwhm_major", "pixels"), ("fwhm_minor", "fwhm_minor", "pixels"),
            ("angle", "angle", "deg"), ("eta", "eta", None), ("asymmetry", "asymmetry", None),
            ("fwhm_radial", "fwhm_radial", "deg"), ("fwhm_azimuthal", "fwhm_azimuthal", "deg"),
        ):  # fmt: skip
            group = beside["reflections"] if field in beside["reflections"] else beside
            for name, ours in ((field, column), (f"{field}_errors", f"{column}_sigma")):
                np.testing.assert_array_equal(group[name], peaks[ours], err_msg=name)
                assert group[name].attrs.get("units") == units
        for track in (0, 7):
            own, mine = file[f"entry/tracks/track_{track}"], peaks[peaks["track"] == track]
            for name in ("intensity", "background", "fwhm_radial", "asymmetry"):
                np.testing.assert_array_equal(own[name], mine[name])
                np.testing.assert_array_equal(own[f"{name}_errors"], mine[f"{name}_sigma"])
            assert own["fwhm_radial"].attrs["units"] == "deg"


def test_widths_are_the_moments_that_imaged11_would_make_of_a_gaussian(run):
    peaks = run.read("peaks").to_pandas()
    major, minor, angle = (peaks[name].iloc[0] for name in ("fwhm_major", "fwhm_minor", "angle"))
    row, col = np.mgrid[-40:41, -40:41] / 8.0
    turned = np.radians(angle)
    along = col * np.cos(turned) + row * np.sin(turned)
    across = row * np.cos(turned) - col * np.sin(turned)
    pixels = np.exp(-4 * np.log(2) * ((along / major) ** 2 + (across / minor) ** 2))

    def mean(values):
        return np.sum(pixels * values) / np.sum(pixels)

    columns = read_flt(export_run(run.path, "flt"))
    slow, fast = (np.sqrt(mean(one**2) + 1.0) for one in (row, col))
    np.testing.assert_allclose(columns["sigs"], slow, rtol=1e-6)
    np.testing.assert_allclose(columns["sigf"], fast, rtol=1e-6)
    np.testing.assert_allclose(columns["covsf"], mean(row * col) / (slow * fast), rtol=1e-6)
    for name in ("fwhm_major", "background_sigma", "asymmetry", "centre_row", "fwhm_radial"):
        np.testing.assert_array_equal(columns[name], peaks[name])
    np.testing.assert_array_equal(columns["lorentzian"], peaks["eta"])
    assert len(columns) == len(set(columns))


def test_a_round_spot_is_as_wide_along_both_axes_in_a_flt(run):
    """It has no direction, which is no reason not to say how wide it is."""
    (path, *_) = run.parts("peaks")
    table = pq.read_table(path)
    wide = {"fwhm_major": 2.4, "fwhm_minor": 2.2, "angle": np.nan}
    for name, value in wide.items():
        column = pa.array(np.full(len(table), value))
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path)
    columns = read_flt(export_run(run.path, "flt"))
    peaks = {name: columns[name][: len(table)] for name in ("sigs", "sigf", "covsf")}
    expected = np.sqrt((2.4**2 + 2.2**2) / 2 / (8 * np.log(2)) + 1)
    np.testing.assert_allclose(peaks["sigs"], expected)
    np.testing.assert_allclose(peaks["sigf"], expected)
    np.testing.assert_array_equal(peaks["covsf"], 0.0)


def test_what_an_older_run_has_not_measured_is_not_known_in_an_export(run):
    for part in run.parts("peaks"):
        table = pq.read_table(part)
        pq.write_table(table.drop_columns([*SHAPES]), part)
    columns = read_flt(export_run(run.path, "flt"))
    assert np.isnan(columns["sigs"]).all()
    assert np.isfinite(columns["sum_intensity"]).all()
    with h5py.File(export_run(run.path, "nexus")) as file:
        assert np.isnan(file["entry/peaks/fwhm_major"][()]).all()
        own = file["entry/tracks/track_0"]
        assert "intensity" in own
        assert "fwhm_major" not in own
    read = pd.read_csv(export_run(run.path, "csv") / "peaks.csv")
    assert read["fwhm_major"].isna().all()


def test_the_default_plot_of_a_nexus_file_is_the_drift(run):
    with h5py.File(export_run(run.path, "nexus")) as file:
        group = file
        while "default" in group.attrs:
            group = group[group.attrs["default"]]
        assert group.name == "/entry/drift"
        assert group.attrs["NX_class"] == "NXdata"
        assert list(group.attrs["axes"]) == ["time"]


def test_without_times_a_nexus_file_is_plotted_against_frames(tmp_path):
    run = make_run(tmp_path / "today", timed=False)
    with h5py.File(export_run(run.path, "nexus")) as file:
        drift = file["entry/drift"]
        assert list(drift.attrs["axes"]) == ["frame"]
        assert "time" not in drift
        assert 0 <= drift["frame"][()].min() < drift["frame"][()].max() < 30
        for name in (drift.attrs["signal"], *drift.attrs["auxiliary_signals"]):
            own = file[f"entry/tracks/{name}"]
            assert "time" not in own
            whole = drift[name][()]
            np.testing.assert_array_equal(whole[np.isfinite(whole)], own["drift"])


def test_sample_users_and_proposal_stand_where_nexus_has_them(run):
    meta = {"sample": "NMC811", "user": "Ada L., Max", "proposal": 20261234, "crate": 7}
    (run.path / "config.yaml").write_text(
        Config.model_validate({"meta": {**meta, "comment": "second cell", "dry": True}}).to_yaml()
    )
    with h5py.File(export_run(run.path, "nexus")) as file:
        entry = file["entry"]
        assert entry["sample"].attrs["NX_class"] == "NXsample"
        texts = ("sample/name", "user/name", "user_1/name", "experiment_identifier")
        found = [entry[name].asstr()[()] for name in (*texts, "experiment_description")]
        assert found == ["NMC811", "Ada L.", "Max", "20261234", "second cell"]
        assert (entry["meta/crate"][()], entry["meta/dry"][()]) == (7, True)
        assert entry["user_1"].attrs["NX_class"] == "NXuser"


def test_silx_plots_it(run):
    pytest.importorskip("silx", reason="silx is not installed")
    from silx.io import nxdata
    from silx.io import open as silx_open

    with silx_open(str(export_run(run.path, "nexus"))) as file:
        default = nxdata.get_default(file)
        assert default.is_valid
        assert default.is_curve
        assert default.errors is not None
        assert len(default.auxiliary_signals) == 7
        np.testing.assert_array_equal(default.axes[0], file["/entry/drift/time"][()])


@pytest.mark.parametrize("format_", FORMATS)
def test_a_run_of_which_little_is_known_can_be_exported(tmp_path, format_):
    run = make_run(tmp_path / "run", geometry=False, cell=False)
    assert export_run(run.path, format_).exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_a_run_without_a_frame_can_be_exported(tmp_path, format_):
    run = make_run(tmp_path / "run", cell=False)
    for part in (*run.parts("frames"), *run.parts("peaks"), run.path / "tracks.parquet"):
        part.unlink()
    assert export_run(run.path, format_).exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_there_is_not_overwritten(run, format_):
    out = export_run(run.path, format_)
    with pytest.raises(UserError, match=r"is there already: choose another --out"):
        export_run(run.path, format_)
    names = {path.name for path in out.parent.iterdir()}
    assert names - {"today.par", "today.poni"} == {out.name}


def test_mistakes_are_one_line_and_leave_nothing(run, tmp_path):
    with pytest.raises(UserError, match="write one of nexus, csv, flt, parquet"):
        export_run(run.path, "xlsx")
    with pytest.raises(UserError, match=r"no run\.json"):
        export_run(tmp_path, "csv")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        export_run(run.path, "flt", tmp_path / "file" / "x.flt")
    run.parts("peaks")[2].write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        export_run(run.path, "csv", tmp_path / "out" / "csv")
    assert not list((tmp_path / "out").iterdir())


def test_a_run_whose_parts_are_gone_has_no_export_that_looks_whole(tmp_path):
    run = make_run(tmp_path / "today")
    for path in run.parts("frames"):
        path.unlink()
    with pytest.raises(UserError, match="has tracks and no peaks of them: are files of its frames"):
        export_run(run.path, "nexus")


@pytest.mark.parametrize("format_", ["csv", "nexus"])
def test_another_table_in_the_place_of_the_tracks_is_told(tmp_path, format_):
    run = make_run(tmp_path / "today")
    pq.write_table(pa.table({"x": [1]}), run.path / "tracks.parquet")
    with pytest.raises(UserError, match=r"tracks\.parquet is no table of tracks"):
        export_run(run.path, format_)
