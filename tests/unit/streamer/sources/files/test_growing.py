"""Recordings that are still being written, by another process or file by file."""

import os
import subprocess
import sys
import time

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap, Pixels, Series, SeriesEnd
from streamer.sources import open_source
from streamer.sources.files.growing import Growing
from streamer.sources.files.recording import PlainReader, Recording

BSLZ4 = hdf5plugin.Bitshuffle(cname="lz4")
SHAPE = (12, 15)
PATH = "entry/data/data"


def frames(n):
    return np.random.default_rng(3).poisson(3, (n, *SHAPE)).astype("<u2")


def follow(path, **config):
    return open_source(path, SourceConfig(follow=True, **config))


def take(source, n=None, seconds=20.0):
    """Read `n` events, or all to the end; by then nothing more is there."""
    events = []
    end = time.monotonic() + seconds
    while not source.exhausted and (n is None or len(events) < n):
        got = source.read(5 if n is None else min(5, n - len(events)))
        events += got
        if not got:
            assert time.monotonic() < end, f"only {len(events)} events came"
            time.sleep(0.002)  # as the ingest node does between two reads
    return events


def assert_frames(events, expected):
    got = {
        e.frame: decode(e.data, e.encoding, e.dtype, e.shape)
        for e in events
        if isinstance(e, Frame)
    }
    assert sorted(got) == sorted(expected)
    for number, frame in expected.items():
        np.testing.assert_array_equal(got[number], frame)


def assert_resumes(path, events, **config):
    """A node that is started again reads the same from the start, each event in its place."""
    again = take(follow(path, **config))
    kinds = [(type(e), getattr(e, "frame", None)) for e in events]
    assert [(type(e), getattr(e, "frame", None)) for e in again] == kinds
    for one, other in zip(events, again, strict=True):
        if isinstance(one, Frame):
            assert bytes(one.data) == bytes(other.data)
            assert one.time_ns == other.time_ns or abs(one.time_ns - time.time_ns()) < 60e9


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


WRITER = """
import sys
import h5py, hdf5plugin, numpy as np
path, n_frames, n_ahead = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = np.random.default_rng(3).poisson(3, (n_frames, 12, 15)).astype("<u2")
with h5py.File(path, "w", libver="latest") as file:
    stored = file.create_dataset(
        "entry/data/data", shape=(n_ahead, 12, 15), maxshape=(None, 12, 15), dtype="<u2",
        chunks=(1, 12, 15), **hdf5plugin.Bitshuffle(cname="lz4"))
    file.swmr_mode = True
    for number in range(n_frames):
        print(number, flush=True)
        if not sys.stdin.readline():
            import os; os._exit(1)
        if number >= n_ahead:
            stored.resize(number + 1, axis=0)
        stored[number] = data[number]
        stored.flush()
    print("all", flush=True)
    sys.stdin.readline()
print("closed", flush=True)
"""


class Writer:
    """A process that writes one frame for each line it is told."""

    def __init__(self, path, n_frames, n_ahead=0):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(n_frames), str(n_ahead)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "0\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def write(self, n=1):
        for _ in range(n):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            self.process.stdout.readline()


@pytest.mark.parametrize("n_ahead", [0, 7])
def test_swmr_file_is_followed_until_it_is_closed(tmp_path, n_ahead):
    path, data = tmp_path / "run.h5", frames(7)
    with Writer(path, 7, n_ahead) as writer:
        with pytest.raises(UserError, match=r"another program is writing it.*--follow"):
            open_source(path, SourceConfig())
        source = follow(path)
        assert source.n_frames is None
        assert not source.live
        writer.write(2)
        events = take(source, 3)
        assert source.read(5) == [], "the third frame is not there yet"
        writer.write()
        events += take(source, 1)
        writer.write(4)
        events += take(source, 4)
        assert not source.exhausted
        assert source.read(5) == []
        writer.write()  # closes the file
        events += take(source)
    assert [type(e) for e in events] == [Series, *[Frame] * 7, SeriesEnd]
    assert events[-1].reason == "end"
    assert {e.encoding for e in events[1:-1]} == {"bslz4"}
    assert_frames(events, dict(enumerate(data)))
    assert_resumes(path, events)
    source.close()


def test_file_that_its_writer_never_closed(tmp_path):
    path, data = tmp_path / "run.h5", frames(7)
    with Writer(path, 7) as writer:
        writer.write(3)
    assert writer.process.returncode == 1
    events = take(follow(path, idle_s=0.3))
    assert [type(e) for e in events] == [Series, *[Frame] * 3, SeriesEnd]
    assert events[-1].reason == "idle: nothing was added for 0.3 s"
    assert_frames(events, dict(enumerate(data[:3])))


def write_master(folder, n_files, nimages):
    path = folder / "run_master.h5"
    with h5py.File(path, "w") as master:
        for number in range(1, n_files + 1):
            name = f"run_data_{number:06d}.h5"
            master[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(name, PATH)
        master["entry/instrument/detector/detectorSpecific/nimages"] = nimages
        master["entry/instrument/detector/detectorSpecific/ntrigger"] = 1
        master["entry/instrument/detector/frame_time"] = 0.001
    return path


def write_file(folder, number, data):
    """Write a data file that appears whole, as one that is copied and renamed does."""
    with h5py.File(folder / "part", "w") as file:
        file.create_dataset(PATH, data=data, chunks=(1, *SHAPE), **BSLZ4)
    (folder / "part").rename(folder / f"run_data_{number:06d}.h5")


def test_data_files_that_appear_one_after_the_other(tmp_path):
    data = frames(10)
    path = write_master(tmp_path, 3, 10)
    source = follow(path)
    assert source.read(5) == [], "no data file is there yet"
    write_file(tmp_path, 1, data[:4])
    events = take(source, 5)
    assert events[0].n_frames == 10, "as announced"
    assert source.read(5) == []
    (tmp_path / "run_data_000002.h5").write_bytes(b"\x89HDF\r\n\x1a\n and more to come")
    assert source.read(5) == [], "the second file is being copied"
    write_file(tmp_path, 2, data[4:8])
    events += take(source, 4)
    write_file(tmp_path, 3, data[8:])
    events += take(source)
    assert [type(e) for e in events] == [Series, *[Frame] * 10, SeriesEnd]
    assert events[-1].reason == "end"
    assert_frames(events, dict(enumerate(data)))
    assert_resumes(path, events)


def test_file_that_never_comes_does_not_hold_up_those_after_it(tmp_path):
    data = frames(12)
    path = write_master(tmp_path, 3, 12)
    write_file(tmp_path, 1, data[:4])
    source = follow(path, idle_s=0.4)
    events = take(source, 5)
    write_file(tmp_path, 3, data[8:])
    events += take(source)
    assert [e.frames for e in events if isinstance(e, Gap)] == [
        range(n, n + 1) for n in range(4, 8)
    ]
    assert {e.reason for e in events if isinstance(e, Gap)} == {
        "file run_data_000002.h5 is missing"
    }
    assert_frames(events, {n: data[n] for n in (*range(4), *range(8, 12))})
    # When the file comes after all, the frames have the places among the events of the gaps.
    write_file(tmp_path, 2, data[4:8])
    again = take(follow(path))
    assert len(again) == len(events)
    assert_frames(again, dict(enumerate(data)))


def test_swmr_data_files_behind_a_master(tmp_path):
    data = frames(7)
    path = write_master(tmp_path, 1, 7)
    with Writer(tmp_path / "run_data_000001.h5", 7) as writer:
        source = follow(path)
        writer.write(5)
        events = take(source, 6)
        assert source.read(5) == []
        writer.write(3)
        events += take(source)
    assert events[-1].reason == "end"
    assert_frames(events, dict(enumerate(data)))


def test_series_that_was_aborted_ends_when_nothing_comes(tmp_path):
    path = write_master(tmp_path, 1, 10)
    write_file(tmp_path, 1, frames(4))
    events = take(follow(path, idle_s=0.3))
    assert [type(e) for e in events] == [Series, *[Frame] * 4, SeriesEnd]
    assert events[-1].reason == "idle: nothing was added for 0.3 s"


def test_nothing_at_all_comes(tmp_path):
    path = write_master(tmp_path, 2, 10)
    source = follow(path, idle_s=0.2)
    with pytest.raises(UserError, match="names 2 data files and none can be read"):
        take(source)


def test_folder_that_fills(tmp_path):
    data = frames(6)
    folder = tmp_path / "scan"
    folder.mkdir()
    tifffile.imwrite(folder / "a_008.tif", data[0])
    source = follow(folder, idle_s=0.4)
    events = take(source, 2)
    tifffile.imwrite(folder / "a_010.tif", data[2])  # which overtook another
    assert source.read(5) == []
    whole = (folder / "a_010.tif").read_bytes()
    (folder / "a_009.tif").write_bytes(whole[:-50])
    assert source.read(5) == []
    tifffile.imwrite(folder / "a_009.tif", data[1])
    events += take(source, 2)
    tifffile.imwrite(folder / "a_012.tif", data[4])
    events += take(source)
    assert [e.frames for e in events if isinstance(e, Gap)] == [range(3, 4)]
    assert_frames(events, {n: data[n] for n in (0, 1, 2, 4)})
    assert events[-1].reason.startswith("idle")
    assert_resumes(folder, events, idle_s=0.1)


def test_choosing_frames_of_what_grows(tmp_path):
    data = frames(10)
    path = write_master(tmp_path, 2, 10)
    write_file(tmp_path, 1, data[:6])
    source = follow(path, frames="2:9:3")
    events = take(source, 3)
    assert events[0].n_frames == 3
    assert source.read(5) == []
    write_file(tmp_path, 2, data[6:])
    events += take(source)
    assert [e.frame for e in events[1:-1]] == [2, 5, 8]
    early = take(follow(path, frames=":2"))
    assert [e.frame for e in early[1:-1]] == [0, 1]


def test_a_complete_file_needs_no_patience(tmp_path):
    np.save(tmp_path / "run.npy", frames(3))
    start = time.monotonic()
    assert len(take(follow(tmp_path / "run.npy"))) == 5
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"loop": 2}, "leave out source.loop"),
        ({"speed": 1.0}, "leave out source.speed"),
        ({"frames": "-5:"}, "counted from an end that is not there yet"),
    ],
)
def test_what_cannot_be_done_while_following(tmp_path, config, says):
    np.save(tmp_path / "run.npy", frames(3))
    with pytest.raises(UserError, match=says):
        follow(tmp_path / "run.npy", **config)


def test_a_number_that_is_no_number_of_a_frame_makes_no_files_without_end(tmp_path):
    for name in ("a_0001", "a_0002", "a_20261128103000000"):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames(1)[0])
    with pytest.raises(UserError, match=r"3 files have numbers from 1 to 20261128103000000"):
        take(follow(tmp_path, idle_s=0.1))


def test_what_is_not_there_cannot_be_followed(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        follow(tmp_path / "run_master.h5")
    (tmp_path / "x1.tif").write_bytes(b"")
    (tmp_path / "y1.tif").write_bytes(b"")
    with pytest.raises(UserError, match="must differ in one number alone"):
        take(follow(tmp_path, idle_s=0.1))


def test_it_looks_seldom_and_waits_as_long_as_a_file_can_take():
    clock, looks = Clock(), []

    def reopen():
        looks.append(clock.now)
        clock.now += 0.5
        reader = PlainReader(Series(name="a"), 1, lambda frame: Pixels(b"..", "raw", "|u1", (1, 2)))
        reader.complete, reader.patience_s = False, 30.0
        return reader

    source = Recording("a", Growing(reopen, clock=clock), merge_gaps=False)
    assert [type(e) for e in source.read(9)] == [Series, Frame]
    waits_from = clock.now
    while not source.exhausted:
        clock.now += 0.01
        events = source.read(9)
    assert 30 <= clock.now - waits_from < 35
    assert events == [SeriesEnd(series="a", reason="idle: nothing was added for 30 s")]
    assert min(np.diff(looks)) >= 2.5, "a fifth of the time at most"


def test_what_a_writer_that_died_left_is_read_once_nobody_writes_to_it(tmp_path):
    path = tmp_path / "run.h5"
    with Writer(path, 9) as writer:
        writer.write(4)
        with pytest.raises(UserError, match="another program is writing it"):
            open_source(str(path), SourceConfig())
    long_ago = path.stat().st_mtime - 60
    os.utime(path, (long_ago, long_ago))
    source = open_source(str(path), SourceConfig())
    events = source.read(64)
    assert [event.frame for event in events if isinstance(event, Frame)] == [0, 1, 2, 3]
    assert events[-1].reason == "abort: its writer did not close it; 4 frames are there"
    assert events[0].metadata["warnings"][-1].startswith("its writer did not close the file")
