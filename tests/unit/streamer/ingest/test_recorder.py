"""Recording of a stream, and replay of what was recorded."""

import contextlib
import os
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.ingest.recorder import Recorder, check_path
from streamer.results.pixels import Recorded, decoded
from streamer.sources import open_source

SHAPE = (40, 56)
START_NS = 1_700_000_000_123_456_789


def picture(number, dtype="<u2"):
    return np.random.default_rng(number).poisson(2, SHAPE).astype(dtype)


def chunk(frame, encoding):
    filters = {
        "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
        "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
        "lz4": hdf5plugin.LZ4(),
    }
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(
            "d", data=frame[None], chunks=(1, *frame.shape), **filters[encoding]
        )
        return data.id.read_direct_chunk((0, 0, 0))[1]


def frame(number, encoding="bslz4", dtype="<u2", **changes):
    pixels = picture(number, dtype)
    fields = {
        "series": "series_7",
        "frame": number,
        "time_ns": START_NS + number * 10_000_000,
        "shape": SHAPE,
        "dtype": pixels.dtype.str,
        "encoding": encoding,
        "data": pixels.tobytes() if encoding == "raw" else chunk(pixels, encoding),
    }
    return Frame(**(fields | changes))


def series(**changes):
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    fields = {
        "name": "series_7",
        "n_frames": 6,
        "frame_time_s": 0.01,
        "pixel_mask": mask,
        "flatfield": np.full(SHAPE, 1.25, np.float32),
        "saturation": 60_000.0,
        "metadata": {
            "beam_center_x": 20.5,
            "incident_wavelength": 0.9,
            "detector_distance": 0.2,
            "user_data": {"sample": "NMC 7", "list": [1, 2]},
        },
    }
    return Series(**(fields | changes))


def record(path, events):
    recorder = Recorder(path)
    for event in events:
        recorder.take([event])
    recorder.close()
    return recorder


def replay(path, **config):
    with contextlib.closing(open_source(path, SourceConfig(**config))) as source:
        return source.read(10_000)


@pytest.mark.parametrize("encoding", ["raw", "bslz4", "bszstd", "lz4"])
@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4", "<i4", "<f4", ">u2"])
def test_replay_gives_the_same_bytes(tmp_path, encoding, dtype):
    frames = [frame(n, encoding, dtype) for n in range(6)]
    record(tmp_path / "run.h5", [series(), *frames, SeriesEnd(series="series_7")])
    first, *replayed, end = replay(tmp_path / "run.h5")
    assert [(f.frame, f.encoding, f.dtype, f.shape) for f in replayed] == [
        (f.frame, f.encoding, f.dtype, f.shape) for f in frames
    ]
    assert [bytes(f.data) for f in replayed] == [bytes(f.data) for f in frames]
    assert [f.time_ns for f in replayed] == [f.time_ns for f in frames]
    assert end.reason == "end"
    told = series()
    np.testing.assert_array_equal(first.pixel_mask, told.pixel_mask)
    np.testing.assert_array_equal(first.flatfield, told.flatfield)
    assert (first.n_frames, first.frame_time_s, first.saturation) == (6, 0.01, 60_000)
    for key, value in told.metadata.items():
        assert first.metadata[key] == value


def test_stripped_headers_are_put_back(tmp_path):
    frames = [frame(n) for n in range(6)]
    stripped = [frame(n, data=f.data[12:]) for n, f in enumerate(frames)]
    record(tmp_path / "run.h5", [series(), *stripped, SeriesEnd(series="series_7")])
    assert [bytes(f.data) for f in replay(tmp_path / "run.h5")[1:-1]] == [f.data for f in frames]


def test_frames_of_another_coding_keep_their_pixels(tmp_path):
    frames = [frame(0), frame(1, "raw"), frame(2, "lz4"), *map(frame, range(3, 6))]
    record(tmp_path / "run.h5", [series(), *frames, SeriesEnd(series="series_7")])
    for number, one in enumerate(replay(tmp_path / "run.h5")[1:-1]):
        np.testing.assert_array_equal(
            decode(one.data, one.encoding, one.dtype, one.shape), picture(number)
        )


def test_others_read_the_file(tmp_path):
    path = tmp_path / "run.h5"
    events = [series(), *map(frame, (0, 1, 4)), SeriesEnd(series="series_7", reason="abort")]
    record(path, events)
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        stack = data[data.attrs["signal"]]
        assert stack.shape == (5, *SHAPE)
        for number in (0, 1, 4):
            np.testing.assert_array_equal(stack[number], picture(number))
        assert np.all(stack[2:4] == 65535), "what did not come reads as masked"
        np.testing.assert_array_equal(entry["data/data_000001"][4], picture(4))
        assert entry["instrument/detector/beam_center_x"][()] == 20.5
        assert entry["instrument/beam/incident_wavelength"].attrs["units"] == "angstrom"
        assert entry["end_reason"][()] == b"abort"


def test_frames_that_did_not_come_are_missing_in_the_replay(tmp_path):
    lost = Gap(series="series_7", first=2, count=2, reason="not received")
    events = [series(), frame(0), frame(1), lost, frame(4), SeriesEnd(series="series_7")]
    record(tmp_path / "run.h5", events)
    replayed = replay(tmp_path / "run.h5")
    assert [f.frame for f in replayed if isinstance(f, Frame)] == [0, 1, 4]
    assert [n for e in replayed if isinstance(e, Gap) for n in e.frames] == [2, 3]
    assert replayed[-1].reason == "abort: 5 of 6 frames were recorded"


def test_a_damaged_number_is_not_recorded_and_a_long_gap_is(tmp_path, caplog):
    recorder = Recorder(tmp_path / "r.h5")
    long = 20_000_000
    numbers = (0, 1, 1_900_000_000, 2, 3 + long, 4 + long, 5 + long)
    recorder.take([series(n_frames=None), *map(frame, numbers), SeriesEnd(series="series_7")])
    recorder.close()
    assert recorder.counters["not recorded"] == 2
    assert "frame 1900000000 is too far behind frame 1" in caplog.text
    with h5py.File(tmp_path / "r.h5") as file:
        data, times = file["entry/data/data"], file["entry/data/start_time"]
        assert len(data) == len(times) == 6 + long
        np.testing.assert_array_equal(data[4 + long], picture(4 + long))
        assert times[[0, 1, 2]] == pytest.approx([0, 0.01, 0.02], abs=1e-6)
        assert times[4 + long :] == pytest.approx([0.01 * (4 + long), 0.01 * (5 + long)])
        assert times.id.get_storage_size() <= 4 * 8192, "times that are not known take no place"


def test_swapped_frames_take_their_places(tmp_path):
    order = [3, 0, 2, 1, 5, 4]
    record(tmp_path / "run.h5", [series(), *map(frame, order), SeriesEnd(series="series_7")])
    replayed = replay(tmp_path / "run.h5")[1:-1]
    assert [f.frame for f in replayed] == list(range(6))
    assert [f.time_ns for f in replayed] == [START_NS + n * 10_000_000 for n in range(6)]


def test_each_series_has_its_file_and_none_is_overwritten(tmp_path):
    path = tmp_path / "run_master.h5"
    recorder = Recorder(path)
    for name in ("series_7", "series_8"):
        recorder.take([series(name=name), frame(0, series=name), SeriesEnd(series=name)])
    recorder.close()
    assert recorder.files == [path, tmp_path / "run_2_master.h5"]
    with pytest.raises(UserError, match="exists: choose another name"):
        check_path(path)
    again = Recorder(tmp_path / "other.h5")
    (tmp_path / "other.h5").write_bytes(b"of someone else")
    again.take([series(), frame(0)])
    again.close()
    assert again.files == [tmp_path / "other_2.h5"]
    assert (tmp_path / "other.h5").read_bytes() == b"of someone else"


def test_pixels_of_a_series_come_from_the_file_that_has_them(tmp_path):
    path = tmp_path / "run_master.h5"
    old = [frame(n, data=chunk(picture(n + 50), "bslz4"), time_ns=n) for n in range(6)]
    no_mask = series(pixel_mask=None)
    record(tmp_path / "run_2_master.h5", [no_mask, *old])  # of an earlier run
    (tmp_path / "run_3_master.h5").write_bytes(b"of someone else")
    record(path, [series(), *map(frame, range(3))])
    eighth = frame(1, series="series_8", data=chunk(picture(81), "bslz4"))
    again = Recorder(path)  # of the node that goes on
    again.take([series(), *map(frame, (3, 5)), series(name="series_8"), eighth])
    again.close()
    with contextlib.closing(Recorded("dectris://host:1", SourceConfig(record=path))) as recorded:

        def found(name, number, time_ns):
            one = recorded.frame(name, number, time_ns)
            return one if isinstance(one, str) else decoded(one)

        for number in (0, 1, 2, 3, 5):
            pixels = found("series_7", number, frame(number).time_ns)
            np.testing.assert_array_equal(pixels, picture(number))
        assert recorded.masks["series_7"][3, 4]
        np.testing.assert_array_equal(found("series_8", 1, eighth.time_ns), picture(81))
        assert isinstance(found("series_7", 4, frame(4).time_ns), str)
        assert "no file of" in found("series_8", 1, None)
        assert "no file of" in found("series_6", 0, START_NS)


def test_who_looks_at_many_series_has_few_files_and_masks_open(tmp_path):
    path, names = tmp_path / "run_master.h5", [f"series_{n}" for n in range(12)]
    recorder = Recorder(path)
    for name in names:
        recorder.take([series(name=name), frame(0, series=name)])
    recorder.close()
    with contextlib.closing(Recorded("dectris://host:1", SourceConfig(record=path))) as recorded:
        for name in [*names, *names]:
            pixels = decoded(recorded.frame(name, 0, frame(0).time_ns))
            np.testing.assert_array_equal(pixels, picture(0))
            assert recorded.masks[name][3, 4]
        here = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()}
        assert 0 < sum(one.startswith(str(tmp_path)) for one in here) <= 8
        assert len(recorded.masks) <= 8


def test_series_without_a_frame_leaves_a_file_that_says_so(tmp_path):
    record(tmp_path / "run.h5", [series(), SeriesEnd(series="series_7", reason="abort")])
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["entry/title"][()] == b"series_7"
    with pytest.raises(UserError, match="no stack of frames"):
        replay(tmp_path / "run.h5")


def test_what_cannot_be_written_is_counted_and_stops_nothing(tmp_path, caplog):
    odd = frame(1, shape=(2, 2), data=bytes(8), encoding="raw")
    recorder = record(tmp_path / "run.h5", [series(), frame(0), odd, frame(2)])
    assert recorder.counters == {"not recorded": 1}
    assert "does not fit the series" in caplog.text
    assert [e.frame for e in replay(tmp_path / "run.h5") if isinstance(e, Frame)] == [0, 2]


@pytest.mark.parametrize("name", ["run.tif", "run"])
def test_name_must_be_of_an_hdf5_file(tmp_path, name):
    with pytest.raises(UserError, match="name a recording like"):
        check_path(tmp_path / name)


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        check_path(tmp_path / "file" / "run.h5")


def test_whatever_a_stream_says_its_frames_are_recorded(tmp_path):
    says = {"detector_description": "a\0b", "beam_center_x": (1 << 64) - 1, "x": [b"\0", None]}
    recorder = Recorder(tmp_path / "a.h5")
    recorder.take([series(metadata=says, frame_time_s=1e9, n_frames=(1 << 53) - 1), frame(0)])
    recorder.close()
    assert recorder.counters == {"not recorded": 0}
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["/entry/instrument/detector/description"].asstr()[()] == "a\ufffdb"


def test_a_file_that_cannot_be_made_is_tried_again_and_said_once(tmp_path, monkeypatch, caplog):
    clock = [100.0]
    monkeypatch.setattr("streamer.ingest.recorder.time.monotonic", lambda: clock[0])
    folder = tmp_path / "away"
    recorder = Recorder(folder / "a.h5")
    recorder.take([series(), *(frame(number) for number in range(50))])
    assert recorder.counters == {"not recorded": 50}
    assert len(caplog.records) <= 3
    folder.mkdir()
    clock[0] += 10.0
    recorder.take([frame(50), frame(51)])
    recorder.close()
    assert recorder.files == [folder / "a.h5"]
    with h5py.File(folder / "a.h5") as file:
        assert file["/entry/data/data"].shape[0] == 52
        np.testing.assert_array_equal(file["/entry/data/data"][51], picture(51))


def test_the_name_of_the_next_file_is_not_looked_for_from_the_first_on(tmp_path, monkeypatch):
    looked = []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: looked.append(path) or exists(path))
    recorder = Recorder(tmp_path / "a.h5")
    for number in range(20):
        recorder.take([series(name=str(number)), SeriesEnd(series=str(number))])
    recorder.close()
    assert [path.name for path in recorder.files[:3]] == ["a.h5", "a_2.h5", "a_3.h5"]
    assert len(looked) <= 40
