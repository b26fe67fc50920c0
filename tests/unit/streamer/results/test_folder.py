from __future__ import annotations

import errno
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.errors import RunError, UserError
from streamer.frames.geometry import Geometry
from streamer.results import parts as store
from streamer.results.folder import LastPart, RunFolder
from streamer.results.merging import AT_ONCE, merge_next
from streamer.results.rows import batches
from streamer.results.schema import CELL, FRAMES, MOTION, PEAKS, TRACKS


def a_part(schema, count):
    columns = {field.name: [None] * count for field in schema}
    columns["series"] = ["1"] * count
    return schema.empty_table().from_pydict(columns, schema=schema)


def test_parts_are_read_in_the_order_in_which_they_were_committed(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for index, count in enumerate((2, 3)):
        folder.write_part(
            index, a_part(FRAMES, count), a_part(PEAKS, count * 10), upto=index + 7, next_track=4
        )
    assert folder.read("frames").num_rows == 5
    assert folder.read("peaks").num_rows == 50
    assert folder.last_part() == LastPart(1, 8, 4)
    assert [path.name for path in folder.parts("frames")] == [
        "part-00000000.parquet",
        "part-00000001.parquet",
    ]
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_an_empty_run_reads_as_empty_tables(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    assert folder.read("peaks").schema.equals(PEAKS)
    assert folder.read("frames", ["state"]).num_rows == 0
    assert folder.last_part() is None


def test_half_a_part_is_cleared_away(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_part(0, a_part(FRAMES, 1), a_part(PEAKS, 1), upto=1, next_track=0)
    (tmp_path / "run" / "peaks" / "part-00000001.parquet").write_bytes(b"torn")
    assert len(folder.parts("peaks")) == folder.read("peaks").num_rows == 1
    assert folder.last_part() == LastPart(0, 1, 0)
    assert len(list((tmp_path / "run" / "peaks").iterdir())) == 2, (
        "a sink may be about to commit it"
    )
    folder.tidy()
    assert len(list((tmp_path / "run" / "peaks").iterdir())) == 1


@pytest.fixture(params=["hard links", "no hard links"])
def links(request, monkeypatch):
    """Have parts published on a file system with hard links, and on one without."""

    def refuse(*args):
        raise PermissionError(errno.EPERM, "no hard links")

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
def test_a_part_of_another_sink_is_not_overwritten(tmp_path):
    first = RunFolder.create(tmp_path / "run")
    second = RunFolder(first.path)
    first.write_part(0, a_part(FRAMES, 1), a_part(PEAKS, 2), upto=1, next_track=0)
    with pytest.raises(RunError, match="another sink wrote part 0"):
        second.write_part(0, a_part(FRAMES, 3), a_part(PEAKS, 4), upto=3, next_track=0)
    assert first.read("frames").num_rows == 1
    assert first.read("peaks").num_rows == 2
    assert not list((tmp_path / "run").rglob(".part*"))


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("anew", [True, False])
def test_what_was_left_between_peaks_and_frames_is_replaced(tmp_path, monkeypatch, anew):
    folder = RunFolder.create(tmp_path / "run")

    def publish_peaks(partial, target):
        if target.parent.name == "frames":
            raise OSError(errno.ENOSPC, "the disk is full")
        publish(partial, target)

    publish = store._link
    monkeypatch.setattr(store, "_link", publish_peaks)
    with pytest.raises(OSError, match="full"):
        folder.write_part(0, a_part(FRAMES, 1), a_part(PEAKS, 2), upto=1, next_track=0)
    monkeypatch.setattr(store, "_link", publish)
    assert [path.parent.name for path in folder.path.rglob("part-*")] == ["peaks"]
    if anew:  # a sink that was killed has left its claim too
        (folder.path / "frames" / ".part-00000000.parquet.claim").touch()
        folder.tidy()
        assert folder.last_part() is None
    folder.write_part(0, a_part(FRAMES, 3), a_part(PEAKS, 4), upto=3, next_track=0)
    assert folder.read("frames").num_rows == 3
    assert folder.read("peaks").num_rows == 4


def test_a_folder_with_something_in_it_is_not_taken(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        RunFolder.create(tmp_path)
    run = tmp_path / "run"
    RunFolder.create(run).write_summary({"state": "done"})
    with pytest.raises(UserError, match="already holds a run"):
        RunFolder.create(run)
    with pytest.raises(UserError, match=r"notes\.txt is not empty"):
        RunFolder.create(tmp_path / "notes.txt")


def test_an_empty_folder_is_taken(tmp_path):
    assert RunFolder.create(tmp_path).path == tmp_path


def test_only_a_run_folder_is_opened(tmp_path):
    with pytest.raises(UserError, match=r"no run\.json"):
        RunFolder.open(tmp_path)
    RunFolder.create(tmp_path).write_summary({"state": "done"})
    assert RunFolder.open(tmp_path).read_summary()["state"] == "done"


def test_whole_tables_are_empty_until_they_are_written_and_replaced_then(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for read, write, schema in (
        (folder.read_tracks, folder.write_tracks, TRACKS),
        (folder.read_cell, folder.write_cell, CELL),
    ):
        assert read().schema.equals(schema)
        assert read().num_rows == 0
        for count in (2, 1):
            columns = {field.name: [None] * count for field in schema}
            write(schema.empty_table().from_pydict(columns, schema=schema))
            assert read().num_rows == count
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_what_does_not_become_smaller_is_not_compressed_and_is_read_as_it_was(tmp_path):
    folder, n = RunFolder.create(tmp_path / "run"), 3000
    rows = np.random.default_rng(0).normal(size=n)
    rows[:2000] = np.nan
    columns = a_part(PEAKS, n).to_pydict() | {"row": rows, "col": np.full(n, np.nan)}
    peaks = pa.table({name: columns[name] for name in PEAKS.names}, PEAKS)
    folder.write_part(0, a_part(FRAMES, 1), peaks, upto=1, next_track=0)
    group = pq.read_metadata(folder.parts("peaks")[0]).row_group(0)
    about = [group.column(i) for i in range(group.num_columns)]
    used = {column.path_in_schema: column.compression for column in about}
    assert (used["row"], used["col"], used["track"]) == ("UNCOMPRESSED", "SNAPPY", "SNAPPY")
    read = folder.read("peaks")
    assert read.drop_columns(["row", "col"]).equals(peaks.drop_columns(["row", "col"]))
    np.testing.assert_array_equal(read["row"].to_numpy(), rows)
    assert np.isnan(read["col"].to_numpy()).all()


def test_two_sinks_that_write_the_tracks_at_once_leave_one_table_whole(tmp_path, monkeypatch):
    folder, write, others = RunFolder.create(tmp_path / "run"), pq.write_table, [2]
    one, two = (TRACKS.empty_table().from_pylist([{"track": n}] * n, TRACKS) for n in (1, 2))

    def write_table(table, where, **more):
        write(table, where, **more)
        if others:
            others.pop()
            monkeypatch.setattr(store, "_OWN", "another")
            folder.write_tracks(two)
            assert folder.read_tracks().num_rows == 2

    monkeypatch.setattr(pq, "write_table", write_table)
    folder.write_tracks(one)
    assert folder.read_tracks().num_rows == 1


def test_what_sinks_that_died_have_begun_to_write_is_removed(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for name in ("tracks.parquet", "checkpoint.msgpack"):
        store.partial_of(folder.path / name).write_bytes(b"half")
    folder.tidy()
    assert not list(folder.path.rglob("*.partial"))


def test_a_geometry_is_read_as_it_was_written(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    assert folder.read_geometry() is None
    for wavelength in (0.5, np.nan):
        geometry = Geometry(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1e-4, 2e-4, wavelength, "somewhere")
        folder.write_geometry(geometry)
        assert repr(folder.read_geometry()) == repr(geometry)


def test_a_part_keeps_a_note_and_gives_its_columns_as_they_were(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_part(0, a_part(FRAMES, 1), a_part(PEAKS, 2), upto=1, next_track=0, note="hello")
    (part,) = folder.parts("peaks")
    assert folder.notes(part) == ["hello"]
    names, columns = folder.read_columns(part, ["series", "row"])
    assert names == ["1"]
    assert columns["series"].tolist() == [0, 0]
    assert len(columns["row"]) == 2


def test_frames_of_a_run_from_before_the_common_motion_was_told_are_read_and_merged(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    columns = {field.name: pa.array([None], field.type) for field in FRAMES}
    whole = pa.table(columns, schema=FRAMES)
    older = whole.drop_columns(list(MOTION))
    for part in range(AT_ONCE):
        frames = older if part < AT_ONCE - 1 else whole
        folder.write_part(part, frames, PEAKS.empty_table(), upto=part, next_track=0)
    for _ in range(2):
        frames = folder.read("frames")
        assert (frames.schema, len(frames)) == (FRAMES, AT_ONCE)
        assert np.isnan(frames["motion_row"].to_numpy()[: AT_ONCE - 1]).all()
        assert sum(len(table) for table in batches(folder, "frames")) == AT_ONCE
        merge_next(folder.path)
    assert len(folder.parts("frames")) == 1


def test_tracks_of_an_older_run_have_no_shapes(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    names = TRACKS.names[: TRACKS.names.index("flags") + 1]
    zeros = {name: np.zeros(2) for name in names} | {"series": ["a", "b"]}
    arrays = {name: pa.array(zeros[name]).cast(TRACKS.field(name).type) for name in names}
    folder.write_tracks(pa.table(arrays))
    tracks = folder.read_tracks()
    assert tracks.schema.equals(TRACKS)
    assert np.isnan(tracks["ref_fwhm_radial"].to_numpy()).all()


def test_only_what_repeats_is_looked_up_in_a_dictionary(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for index in range(AT_ONCE):
        folder.write_part(index, a_part(FRAMES, 1), a_part(PEAKS, 9), upto=1, next_track=0)
    (first, *_) = folder.parts("peaks")
    kept = tmp_path / "whole.parquet"
    kept.write_bytes(first.read_bytes())
    merge_next(folder.path)
    for path in (kept, *folder.parts("peaks")):
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        with_dictionary = {one.path_in_schema for one in columns if one.has_dictionary_page}
        assert {"series", "frame", "track"} <= with_dictionary
        assert not with_dictionary & {"row", "col_sigma", "score", "d"}
