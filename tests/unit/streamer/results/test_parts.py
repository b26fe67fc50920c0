from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import RunError
from streamer.results import open_run
from streamer.results.folder import RunFolder
from streamer.results.merging import merge_next
from streamer.results.parts import Parts, Span, committed, publish
from streamer.results.rows import batches, count_rows
from streamer.results.schema import FRAMES, PEAKS


def filled(schema, frames, **given):
    n = len(frames)
    columns = {one.name: ["x"] * n if one.type == "string" else [0] * n for one in schema}
    return pa.table({**columns, "frame": frames, **given}, schema=schema)


def write(folder, index, first, n_peaks):
    """Write a part of consecutive frames, given by how many peaks each of them has."""
    numbers = list(range(first, first + len(n_peaks)))
    frames = filled(FRAMES, numbers, n_peaks=n_peaks, count=[1] * len(numbers))
    peaks = filled(PEAKS, np.repeat(np.array(numbers, np.int64), n_peaks))
    folder.write_part(
        index, frames, peaks, upto=first + len(n_peaks), next_track=index, note=f"of {index}"
    )


@pytest.fixture
def by_four(monkeypatch):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 4)


def files(folder, name="frames"):
    return sorted(path.name for path in (folder.path / name).iterdir())


@pytest.mark.usefixtures("by_four")
def test_a_merged_file_takes_the_place_of_its_parts_and_says_what_they_said(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for index in range(5):
        write(folder, index, 3 * index, [index, 0, 2])
    before = {name: folder.read(name) for name in ("frames", "peaks")}
    assert merge_next(folder.path) == Span(0, 3)
    assert merge_next(folder.path) is None
    for name, table in before.items():
        assert files(folder, name) == ["part-00000000-00000003.parquet", "part-00000004.parquet"]
        assert folder.read(name).equals(table)
        assert pq.read_table(folder.path / name).num_rows == table.num_rows
    merged, single = folder.parts("peaks")
    assert folder.notes(merged) == ["of 0", "of 1", "of 2", "of 3"]
    assert folder.notes(single) == ["of 4"]
    (folder.path / "frames" / single.name).unlink()
    last = folder.last_part()
    assert (last.index, last.upto, last.next_track) == (3, 12, 3)


@pytest.mark.usefixtures("by_four")
def test_files_that_were_merged_are_merged_again_until_they_are_large(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run")
    for index in range(16):
        write(folder, index, index, [1])
        while merge_next(folder.path):
            pass
    assert committed(folder.path) == [Span(0, 15)]
    monkeypatch.setattr("streamer.results.merging._LARGE", 0)
    for index in range(16, 64):
        write(folder, index, index, [1])
        while merge_next(folder.path):
            pass
    assert [len(span) for span in committed(folder.path)] == [16] + [4] * 12
    assert folder.read("peaks")["frame"].to_pylist() == list(range(64))
    assert [folder.notes(part)[0] for part in folder.parts("peaks")][:2] == ["of 0", "of 16"]


@pytest.mark.usefixtures("by_four")
def test_a_part_that_was_merged_is_not_written_again(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for index in range(4):
        write(folder, index, index, [1])
    merge_next(folder.path)
    with pytest.raises(RunError, match="another sink wrote part 2"):
        write(folder, 2, 2, [9])
    assert folder.read("peaks").num_rows == 4
    assert len(files(folder)) == len(files(folder, "peaks")) == 1


@pytest.mark.parametrize("name", ["frames", "peaks"])
def test_a_file_that_nothing_took_the_place_of_is_missed(tmp_path, name):
    folder = RunFolder.create(tmp_path / "run")
    for index in range(3):
        write(folder, index, index, [1])
    reader = Parts(folder.path, "frames", "peaks").new()
    next(reader)
    folder.parts(name)[1].unlink()
    if name == "peaks":
        with pytest.raises(FileNotFoundError):
            next(reader)
    else:
        assert [rest.file.metadata.num_rows for rest in next(reader)] == [1, 1]


def test_what_was_not_taken_to_its_end_is_yielded_again(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for index in range(3):
        write(folder, index, index, [1])
    reader = Parts(folder.path, "frames")
    assert len(list(reader.new(0.0))) == 1
    broken = reader.new()
    assert [next(broken) and next(broken)[0].read(["frame"])["frame"].to_pylist()] == [[2]]
    broken.close()
    assert [rest.read(["frame"])["frame"].to_pylist() for (rest,) in reader.new()] == [[2]]


class KilledError(BaseException):
    pass


class Life:
    """Lets a process die after so many acts; then nothing it does has an effect."""

    def __init__(self, monkeypatch):
        self.left = None
        acts = ((os, "link"), (os, "fsync"), (Path, "unlink"), (Path, "rename"), (Path, "replace"))
        for where, name in acts:
            monkeypatch.setattr(where, name, self._mortal(getattr(where, name)))

    def _mortal(self, act):
        def do(*args, **kwargs):
            if self.left is not None:
                if self.left <= 0:
                    raise KilledError
                self.left -= 1
            return act(*args, **kwargs)

        return do


class Story:
    """A folder that sinks write to, merge and die in, and readers that are never in step."""

    def __init__(self, path, life):
        self.folder, self.life = RunFolder.create(path), life
        self.index, self.truth = 0, {"frames": [], "peaks": []}
        self.readers = [(Parts(path, "frames", "peaks"), [None], ([], [])) for _ in range(3)]

    def write(self, n_peaks, dies_after):
        first = len(self.truth["frames"])
        numbers = np.arange(first, first + len(n_peaks))
        more = {"frames": numbers.tolist(), "peaks": np.repeat(numbers, n_peaks).tolist()}
        known = len(committed(self.folder.path))
        died = self._mortal(dies_after, lambda: write(self.folder, self.index, first, n_peaks))
        if len(committed(self.folder.path)) > known:
            self.index += 1
            self.truth = {name: rows + more[name] for name, rows in self.truth.items()}
        else:
            assert died
        self.check(died)

    def merge(self, dies_after):
        self.check(self._mortal(dies_after, lambda: merge_next(self.folder.path)))

    def read(self, number):
        parts, going, rows = self.readers[number]
        if going[0] is None:
            going[0] = parts.new()
        turn = next(going[0], None)
        if turn is None:
            going[0] = None
            return
        for rest, gathered in zip(turn, rows, strict=True):
            gathered += rest.read(["frame"])["frame"].to_pylist()

    def check(self, died):
        self.see()
        if died:
            self.folder.tidy()  # as a successor does
            last = self.folder.last_part()
            assert (last.index if last else -1) + 1 == self.index
            assert not list(self.folder.path.rglob(".*"))
            self.see()

    def see(self):
        for name, expected in self.truth.items():
            assert self.folder.read(name, ["frame"])["frame"].to_pylist() == expected
            small = list(batches(self.folder, name, ["frame"], rows=2))
            assert [n for table in small for n in table["frame"].to_pylist()] == expected
            assert count_rows(self.folder, name) == len(expected)

    def end(self):
        self.folder.tidy()
        for name, expected in self.truth.items():
            anyone = pq.read_table(self.folder.path / name)["frame"].to_pylist()
            assert sorted(anyone) == expected
            assert files(self.folder, name) == [p.name for p in self.folder.parts(name)]
        for number, (_, _, rows) in enumerate(self.readers):
            for _ in range(2 * self.index + 4):
                self.read(number)
            assert list(rows) == list(self.truth.values())

    def _mortal(self, dies_after, act):
        self.life.left = dies_after
        try:
            act()
        except KilledError:
            died = True
        else:
            died = False
        self.life.left = None
        return died


DIES = st.none() | st.integers(0, 14)
ACTS = st.one_of(
    st.tuples(st.just("write"), st.lists(st.integers(0, 2), max_size=3), st.none()),
    st.tuples(st.just("write"), st.lists(st.integers(0, 2), max_size=3), DIES),
    st.tuples(st.just("merge"), DIES),
    st.tuples(st.just("read"), st.integers(0, 2)),
)


@settings(max_examples=25)
@given(acts=st.lists(ACTS, min_size=10, max_size=60))
def test_each_row_is_there_once_whoever_writes_merges_dies_and_reads(tmp_path_factory, acts):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("streamer.results.merging.AT_ONCE", 2)
        story = Story(tmp_path_factory.mktemp("story") / "run", Life(monkeypatch))
        for name, *words in acts:
            getattr(story, name)(*words)
        story.end()


@pytest.mark.usefixtures("by_four")
def test_who_reads_while_parts_are_merged_sees_each_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)
    folder = RunFolder.create(tmp_path / "run")
    folder.write_summary({"state": "running"})

    def work():
        for index in range(300):
            write(folder, index, 2 * index, [1, 2])
            merge_next(folder.path)

    sink = threading.Thread(target=work)
    sink.start()
    reader, seen = Parts(folder.path, "peaks"), []
    run, n = open_run(folder.path), 0
    while n < 600:
        alive = sink.is_alive()
        run.refresh()
        assert run.frames["frame"].to_pylist() == list(range(len(run.frames)))
        assert len(run.frames) >= n
        n = len(run.frames)
        assert run.peaks["frame"].to_pylist() == np.repeat(range(n), [1, 2] * (n // 2)).tolist()
        for (rest,) in reader.new(0.0):
            seen += rest.read(["frame"])["frame"].to_pylist()
        assert alive or n == 600, "the sink died"
    sink.join()
    for (rest,) in reader.new():
        seen += rest.read(["frame"])["frame"].to_pylist()
    assert seen == np.repeat(range(600), [1, 2] * 300).tolist()


@pytest.mark.usefixtures("by_four")
def test_files_that_hold_none_of_the_frames_that_are_wanted_are_left_out(tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run")
    monkeypatch.setattr("streamer.results.merging._ROWS", 4)
    for index in range(10):
        write(folder, index, 10 * index, [1, 0, 2])
        merge_next(folder.path)

    def read(*frames):
        tables = batches(folder, "peaks", frames=np.array(frames, np.int64))
        return [number for table in tables for number in table["frame"].to_pylist()]

    assert read(0, 95) == [0, 2, 2, 10, 12, 12]  # of a row group of two parts
    assert read(92) == [90, 92, 92]
    assert read(15, 99) == []
    before = Parts(folder.path, "peaks")
    (rest,) = next(before.new())
    assert len(rest) == 12
    cut = replace(rest, skip=7)
    with pq.ParquetFile(folder.parts("peaks")[0]) as file:
        found = replace(cut, file=file).batches(2, ["frame"])
        assert [n for one in found for n in one["frame"].to_pylist()] == [22, 22, 30, 32, 32]


@pytest.mark.timeout(400)  # it makes 5,000 parts
def test_there_are_never_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)
    folder, one, most = RunFolder.create(tmp_path / "run"), tmp_path / "one.parquet", 0
    pq.write_table(pa.table({"frame": [0]}), one)
    for index in range(5000):
        publish(folder.path, Span(index, index), lambda name, path: shutil.copyfile(one, path))
        while index % 64 == 63 and merge_next(folder.path):
            pass
        most = max(most, len(files(folder)))
    assert most <= 2 * 64
    assert count_rows(folder, "frames") == count_rows(folder, "peaks") == 5000


class Turns:
    """Two threads that act on files in turn, as a schedule says."""

    ACTS = (
        (os, "link"), (os, "listdir"), (Path, "unlink"), (Path, "rename"), (Path, "replace"),
        (Path, "exists"), (Path, "samefile"),
    )  # fmt: skip

    def __init__(self, monkeypatch, schedule):
        self.schedule = list(schedule)
        self.turn = threading.Condition()
        self.present = set()
        for where, name in self.ACTS:
            monkeypatch.setattr(where, name, self._in_turn(getattr(where, name)))

    def _in_turn(self, act):
        def do(*args, **kwargs):
            me = threading.current_thread().name
            with self.turn:
                if me in self.present:
                    self.turn.wait_for(lambda: self._is_my_turn(me))
                try:
                    return act(*args, **kwargs)
                finally:
                    if me in self.present and self.schedule:
                        self.schedule.pop(0)
                    self.turn.notify_all()

        return do

    def _is_my_turn(self, me):
        while self.schedule and self.schedule[0] not in self.present:
            self.schedule.pop(0)
        return not self.schedule or self.schedule[0] == me

    def run(self, jobs):
        def to_its_end(job):
            try:
                job()
            finally:
                with self.turn:
                    self.present.discard(threading.current_thread().name)
                    self.turn.notify_all()

        threads = [threading.Thread(target=to_its_end, args=(job,), name=n) for n, job in jobs]
        self.present = {thread.name for thread in threads}
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@settings(max_examples=60)
@given(
    schedule=st.lists(st.sampled_from(("one", "two")), min_size=12, max_size=40),
    is_left=st.booleans(),
    tidies=st.booleans(),
)
def test_of_two_sinks_that_write_a_part_at_once_all_of_it_is_of_one_and_the_other_is_refused(
    tmp_path_factory, schedule, is_left, tidies
):
    path = tmp_path_factory.mktemp("two") / "run"
    RunFolder.create(path)
    if is_left:  # by a third that died in between
        (path / "peaks" / "part-00000000.parquet").touch()
    refused = []

    def sink(name, count):
        try:
            if tidies and name == "two":
                RunFolder(path).tidy()
            write(RunFolder(path), 0, 10 * count, [1] * count)
        except (RunError, FileNotFoundError):  # the other one has cleared up after it
            refused.append(name)

    with pytest.MonkeyPatch.context() as monkeypatch:
        # What tells processes apart tells threads apart here.
        own = {"one": 1, "two": 2}
        real = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: own.get(threading.current_thread().name, real))
        turns = Turns(monkeypatch, schedule)
        turns.run([(name, partial(sink, name, count)) for name, count in own.items()])
    winners = set(own) - set(refused)
    # What one wrote may have been tidied away just when the other met it: both are started again.
    assert len(winners) == 1 or (tidies and not winners)
    RunFolder(path).tidy()
    expected = [10 * own[winner] + n for winner in winners for n in range(own[winner])]
    for name in ("frames", "peaks"):
        assert RunFolder(path).read(name, ["frame"])["frame"].to_pylist() == expected
    assert not list(path.rglob(".*"))
