from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamer.results
from streamer.errors import RunError, UserError
from streamer.results import Run, open_run
from streamer.results.curves import displaced, references
from streamer.results.folder import RunFolder
from streamer.results.histories import histories
from streamer.results.reflections import reflections
from streamer.results.schema import CELL, FRAMES, PEAKS, REFLECTIONS, TABLES, TRACKS
from tests.conftest import ROOT
from tests.unit.runs import BEGIN, GEOMETRY, STEP, make_run


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "today")


def test_the_package_exports_what_reads_a_run_and_nothing_else():
    assert streamer.results.__all__ == ["Run", "open_run"]
    for name, what in vars(Run).items():
        if not name.startswith("_"):
            assert inspect.getdoc(what), name


def test_reading_a_run_imports_nothing_heavy():
    heavy = {"torch", "numba", "findpeaks", "matplotlib", "h5py", "scipy", "pandas"}
    code = f"import sys; from streamer.results import open_run; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("set()\n", "")


def test_a_run_gives_what_is_in_its_folder(folder):
    run = open_run(str(folder.path))
    for table, schema, rows in (
        (run.frames, FRAMES, 60), (run.peaks, PEAKS, 280), (run.tracks, TRACKS, 10),
        (run.cell, CELL, 60),
    ):  # fmt: skip
        assert table.schema.equals(schema)
        assert table.num_rows == rows
    assert run.peaks.to_pandas()["row"].notna().all()
    assert run.summary["peaks"] == 280
    assert run.config.tracks.confirm_frames == 3
    assert repr(run.geometry) == repr(GEOMETRY)
    assert (run.path, repr(run)) == (folder.path, f"open_run({str(folder.path)!r})")


def test_what_is_no_run_is_named_in_one_line(tmp_path):
    for path, why in ((tmp_path / "nowhere", "no such folder"), (tmp_path, r"no run\.json")):
        with pytest.raises(UserError, match=why) as caught:
            open_run(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def a_part(folder, index, frame, n, count=1):
    """Write a part of one frame with `n` peaks, or of a gap."""

    def filled(schema, rows, **given):
        columns = {one.name: ["x"] * rows if one.type == "string" else [0] * rows for one in schema}
        return pa.table({**columns, **given}, schema=schema)

    frames = filled(FRAMES, 1, frame=[frame], n_peaks=[n], state=["done"], count=[count])
    folder.write_part(index, frames, filled(PEAKS, n, frame=[frame] * n), upto=1, next_track=0)


def test_frames_and_peaks_are_of_one_moment_until_they_are_read_anew(folder):
    run = open_run(folder.path)
    before = run.frames
    a_part(folder, 4, 100, 7)
    folder.write_summary({"state": "other"})
    assert run.peaks.num_rows == 280
    assert run.frames is before
    run.refresh()
    assert (run.frames.num_rows, run.peaks.num_rows) == (61, 287)
    assert run.summary["state"] == "other"
    assert before.num_rows == 60


def test_peaks_of_frames_that_are_not_committed_are_not_there(folder):
    a_part(folder, 4, 100, 7)
    (folder.path / "frames" / "part-00000004.parquet").unlink()
    run = open_run(folder.path)
    assert (run.frames.num_rows, run.peaks.num_rows) == (60, 280)


def test_peaks_that_were_lost_are_no_quiet_matter(folder):
    a_part(folder, 4, 100, 7)
    short = folder.read("peaks").slice(0, 3)
    path = folder.parts("peaks")[-1]
    path.unlink()
    pq.write_table(short, path)
    with pytest.raises(RunError, match="4 of 287 peaks are not there"):
        _ = open_run(folder.path).peaks


def test_the_drift_is_that_of_report_and_page(folder):
    run = open_run(folder.path)
    known = references(run.tracks)
    for history in histories(folder, run.tracks):
        for quantity in ("radial", "distance", "row", "col", "d", "strain"):
            drift = run.drift(history.track, quantity)
            assert drift.column_names == [
                "series",
                "frame",
                "time_ns",
                quantity,
                f"{quantity}_sigma",
            ]
            y, sigma = displaced(history.seen, known[history.track], GEOMETRY, quantity)
            np.testing.assert_array_equal(drift[quantity], y)
            np.testing.assert_array_equal(drift[f"{quantity}_sigma"], sigma)
    drift = run.drift(6)
    assert drift.schema.field("radial").metadata == {b"unit": b"px"}
    assert set(drift["series"].to_pylist()) == {"second"}
    assert 7 not in drift["frame"].to_pylist()
    np.testing.assert_array_equal(drift["time_ns"], BEGIN + (30 + drift["frame"].to_numpy()) * STEP)


def test_a_drift_has_the_cell_beside_it_on_request_and_nothing_where_the_cell_is_silent(folder):
    cell = folder.read_cell()
    voltage, times = cell["voltage_v"].to_numpy(), cell["time_ns"].to_numpy()
    folder.write_cell(cell.filter(pa.compute.greater(cell["time_ns"], BEGIN + 5 * STEP)))
    run = open_run(folder.path)
    drift = run.drift(2, "row", with_cell=True)
    late = drift.filter(pa.compute.greater(drift["time_ns"], run.cell["time_ns"][0].as_py()))
    expected = np.interp(late["time_ns"].to_numpy() - BEGIN, times - BEGIN, voltage)
    np.testing.assert_allclose(late["voltage_v"], expected, rtol=1e-12)
    assert np.isnan(drift["current_a"].to_numpy()[0])
    assert drift.select(run.drift(2, "row").column_names).equals(run.drift(2, "row"))


def test_a_drift_without_a_cell_says_that_nothing_is_known(tmp_path):
    run = open_run(make_run(tmp_path / "run", cell=False).path)
    assert np.isnan(run.drift(2, with_cell=True)["voltage_v"].to_numpy()).all()


def test_clean_peaks_are_those_that_no_flag_speaks_of(folder):
    run = open_run(folder.path)
    clean = run.clean_peaks
    assert 0 < len(clean) < len(run.peaks)
    assert set(clean["flags"].to_pylist()) == {0}


def test_columns_carry_their_units(folder):
    run = open_run(folder.path)
    for name in ("frames", "peaks", "tracks", "reflections", "lattice", "cell"):
        for field in getattr(run, name).schema:
            assert field.metadata[b"unit"].decode() == TABLES[name][field.name].unit
    assert run.peaks.schema.field("d").metadata[b"unit"] == b"angstrom"
    assert run.drift(2, with_cell=True).schema.field("voltage_v").metadata[b"unit"] == b"V"


def test_a_drift_that_cannot_be_had_says_why(tmp_path):
    run = open_run(make_run(tmp_path / "run", geometry=False).path)
    assert run.drift(1).column_names[3] == "distance"
    with pytest.raises(UserError, match=r"'strain' without .*: take one of distance, row, col$"):
        run.drift(1, "strain")
    with pytest.raises(UserError, match="'speed': take one of"):
        run.drift(1, "speed")
    for track in (-1, 77):
        with pytest.raises(UserError, match=f"no peak has track {track}"):
            run.drift(track)


def test_a_track_that_was_seen_too_rarely_drifts_from_its_first_observations(folder):
    folder.write_tracks(folder.read_tracks().slice(0, 0))
    drift = open_run(folder.path).drift(0, "row")
    assert abs(np.mean(drift["row"].to_numpy()[:10])) < 1e-9


def test_a_reflection_is_all_that_hangs_together(folder):
    tracks = folder.read_tracks()
    parent, merged = np.full(10, -1), np.full(10, -1)
    parent[4], merged[4], merged[9], parent[6] = 2, 8, 8, 50
    for name, column in (("parent", parent), ("merged_into", merged)):
        place = TRACKS.get_field_index(name)
        tracks = tracks.set_column(place, TRACKS.field(name), pa.array(column))
    assert reflections(tracks).tolist() == [0, 1, 2, 3, 2, 5, 6, 7, 2, 2]
    # An older run's table does not say it.
    folder.write_tracks(tracks.drop_columns(["reflection", "excursion", "strain_excursion"]))
    assert folder.read_tracks()["reflection"].to_pylist() == reflections(tracks).tolist()
    assert np.isnan(folder.read_tracks()["excursion"].to_numpy()).all()
    run = open_run(folder.path)
    for track in (2, 4, 8, 9):
        assert set(run.reflection(track)["track"].to_pylist()) == {2, 4, 8, 9}
        assert set(run.reflection(track)["reflection"].to_pylist()) == {2}
    assert set(run.reflection(6)["track"].to_pylist()) == {6}
    assert run.reflection(6).column_names[: len(REFLECTIONS)] == REFLECTIONS.names
    with pytest.raises(UserError, match="no track 50"):
        run.reflection(50)


@pytest.mark.parametrize("n", [4, 60])
def test_reflections_are_what_hangs_together_in_any_order(n):
    rng = np.random.default_rng(n)
    number = np.sort(rng.choice(3 * n, n, replace=False))
    kin = [np.where(rng.random(n) < 0.4, rng.integers(0, 3 * n, n), -1) for _ in range(2)]
    group = {int(one): int(one) for one in np.arange(3 * n)}
    for column in kin:
        for one, other in zip(number.tolist(), column.tolist(), strict=True):
            if other >= 0:
                old, new = group[one], group[other]
                group = {key: new if item == old else item for key, item in group.items()}
    lowest = {group[one]: one for one in reversed(number.tolist())}
    table = pa.table({"track": number, "parent": kin[0], "merged_into": kin[1]})
    assert reflections(table).tolist() == [lowest[group[one]] for one in number.tolist()]


def test_pixels_are_those_of_the_source(tmp_path):
    counts = np.random.default_rng(3).poisson(5.0, (30, 20, 24)).astype(np.uint16)
    np.save(tmp_path / "first.npy", counts)
    run = open_run(make_run(tmp_path / "run", source=str(tmp_path / "first.npy")).path)
    np.testing.assert_array_equal(run.pixels("first", 3), counts[3])
    np.testing.assert_array_equal(run.frame(4, "first"), counts[4])
    with pytest.raises(UserError, match=r"has 2 series: say which, series='first'"):
        run.frame(4)
    with pytest.raises(UserError, match=r"no frame 30 of series first; series: first, second$"):
        run.pixels("first", 30)
    with pytest.raises(UserError, match=r"no pixels of frame 3 of series second: .* holds series"):
        run.pixels("second", 3)
    a_part(RunFolder.open(run.path), 4, 100, 0, count=2 * 10**9)
    run.refresh()
    for frame in (100, 2 * 10**9 + 99):
        with pytest.raises(UserError, match=rf"no pixels of frame {frame} of series x: "):
            run.pixels("x", frame)
    with pytest.raises(UserError, match=r"no frame 2000000100 of series x"):
        run.pixels("x", 2 * 10**9 + 100)
    run.close()


def test_pixels_of_a_stream_that_was_not_kept_cannot_be_had(tmp_path):
    run = open_run(make_run(tmp_path / "run", source="dectris://host:9999").path)
    with pytest.raises(UserError, match="not recorded"):
        run.pixels("first", 3)
