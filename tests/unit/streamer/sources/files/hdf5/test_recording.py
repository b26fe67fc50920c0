"""HDF5 recordings: files written by h5py in the layouts of detectors, read back frame by frame."""

import os

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.sources import open_source
from streamer.sources.files.hdf5.chunks import open_stack

BSLZ4 = hdf5plugin.Bitshuffle(cname="lz4")
SHAPE = (40, 50)
START_NS = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z


def frames(n, shape=SHAPE, dtype="<u2", seed=0):
    return np.random.default_rng(seed).poisson(3, (n, *shape)).astype(dtype)


def play(uri, portion=7, **config):
    """Read a source to its end, in portions."""
    source = open_source(uri, SourceConfig(**config))
    events = []
    while not source.exhausted:
        got = source.read(portion)
        assert len(got) <= portion
        events += got
    assert source.read(portion) == []
    source.close()
    assert isinstance(events[0], Series)
    assert isinstance(events[-1], SeriesEnd)
    assert {e.series for e in events[1:]} == {events[0].name}
    numbers = []
    for event in events[1:-1]:
        numbers += [event.frame] if isinstance(event, Frame) else event.frames
    assert numbers == list(range(events[0].n_frames)), "each frame is in exactly one event"
    return events


def pixels(events):
    """Decode the frames of a recording: {number: pixels}."""
    return {
        e.frame: decode(e.data, e.encoding, e.dtype, e.shape)
        for e in events
        if isinstance(e, Frame)
    }


def assert_frames(events, expected):
    got = pixels(events)
    assert sorted(got) == sorted(expected)
    for number, frame in got.items():
        np.testing.assert_array_equal(frame, expected[number])


def gaps(events):
    return [(e.frames, e.reason) for e in events if isinstance(e, Gap)]


@pytest.mark.parametrize(
    ("options", "encoding"),
    [
        ({"chunks": (1, *SHAPE), **BSLZ4}, "bslz4"),
        ({"chunks": (1, *SHAPE), **hdf5plugin.Bitshuffle(cname="zstd")}, "bszstd"),
        ({"chunks": (1, *SHAPE), **hdf5plugin.LZ4()}, "lz4"),
        ({"chunks": (1, *SHAPE)}, "raw"),
        ({}, "raw"),
    ],
)
@pytest.mark.parametrize("dtype", ["<u2", ">u4", "<i4", "<f4"])
def test_a_chunk_that_is_a_frame_travels_as_it_is(tmp_path, options, encoding, dtype):
    data = frames(5, dtype=dtype)
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("entry/data/data", data=data, **options)
        if options:
            chunks = [stored.id.read_direct_chunk((n, 0, 0))[1] for n in range(5)]
        else:
            chunks = [frame.tobytes() for frame in data]
    events = play(path)
    assert [bytes(e.data) for e in events[1:-1]] == chunks
    assert {(e.encoding, e.dtype, e.shape) for e in events[1:-1]} == {(encoding, dtype, SHAPE)}
    assert_frames(events, dict(enumerate(data)))


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (1, *SHAPE), "compression": "gzip"},
        {"chunks": (1, *SHAPE), "shuffle": True, **hdf5plugin.LZ4()},
        {"chunks": (1, *SHAPE), **hdf5plugin.Zstd()},
        {"chunks": (1, *SHAPE), **hdf5plugin.Bitshuffle(cname="none")},
        {"chunks": (3, *SHAPE), **BSLZ4},
        {"chunks": (2, 16, 16), **BSLZ4},
        {"chunks": (1, 40, 25)},
    ],
)
def test_other_chunks_are_decoded(tmp_path, options):
    data = frames(8, dtype=">u2")
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=data, **options)
    events = play(path)
    assert {e.encoding for e in events[1:-1]} == {"raw"}
    assert_frames(events, dict(enumerate(data)))


def test_a_chunk_that_skipped_its_filter_is_raw(tmp_path):
    data = frames(2)
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(
            "d", shape=data.shape, dtype="<u2", chunks=(1, *SHAPE), **BSLZ4
        )
        stored[0] = data[0]
        stored.id.write_direct_chunk((1, 0, 0), data[1].tobytes(), filter_mask=1)
    events = play(path)
    assert [e.encoding for e in events[1:-1]] == ["bslz4", "raw"]
    assert_frames(events, dict(enumerate(data)))


@pytest.mark.parametrize("chunks", [(1, *SHAPE), (2, 20, 25)])
def test_chunks_never_written_are_gaps(tmp_path, chunks):
    data = frames(6)
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("d", shape=data.shape, dtype="<u2", chunks=chunks, **BSLZ4)
        stored[:2] = data[:2]
    events = play(path)
    assert gaps(events) == [(range(2, 6), "never written to run.h5")]
    assert_frames(events, dict(enumerate(data[:2])))


def test_where_chunks_lie_is_asked_once_for_all(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        stored = file.create_dataset("d", (3, 2, *SHAPE), "<u2", chunks=(1, 1, *SHAPE), **BSLZ4)
        stored[2, 1], stored[0, 1] = frames(2)
    with h5py.File(tmp_path / "scan.h5") as file:
        stack = open_stack(file["d"])
        chunks = [file["d"].id.get_chunk_info_by_coord((n // 2, n % 2, 0, 0)) for n in range(6)]
        places = [stack._place(n) for n in range(6)]
    assert stack._places is not None
    assert places == [(chunk.byte_offset, chunk.size, chunk.filter_mask) for chunk in chunks]
    assert sum(begin is not None for begin, *_ in places) == 2


def test_the_stack_that_is_no_dark_is_found(tmp_path):
    data = frames(6)
    path = tmp_path / "run.cxi"
    with h5py.File(path, "w") as file:
        file["calibration/dark"] = frames(20)
        file["labels"] = np.array([b"a"] * 9000).reshape(30, 30, 10)
        file["image_1/data"] = data
        file["image_1/again"] = h5py.SoftLink("/image_1/data")
        file["mask"] = np.zeros(SHAPE)
    assert_frames(play(path), dict(enumerate(data)))
    assert_frames(play(f"{path}::/calibration/dark"), dict(enumerate(frames(20))))
    assert_frames(play(f"{path}::mask"), {0: np.zeros(SHAPE)})


def write_detector(file, nimages=10, ntrigger=1, mode="ints"):
    """Write what an Eiger master file says about the detector."""
    detector = file.create_group("entry/instrument/detector")
    mask = np.zeros(SHAPE, np.uint32)
    mask[3, 4], mask[5] = 1, 1 << 31
    detector["pixel_mask"] = mask
    detector["flatfield"] = np.full(SHAPE, 1.5, np.float32)
    detector["flatfield_correction_applied"] = 1
    detector["frame_time"] = 0.02
    detector["frame_time"].attrs["units"] = "s"
    detector["count_time"] = 0.019
    detector["saturation_value"] = 60_000
    detector["beam_center_x"] = 24.5
    detector["detector_distance"] = 120.0
    detector["detector_distance"].attrs["units"] = "mm"
    detector["description"] = "Dectris Eiger 500K"
    detector["detectorSpecific/nimages"] = nimages
    detector["detectorSpecific/ntrigger"] = ntrigger
    detector["detectorSpecific/trigger_mode"] = mode
    detector["detectorSpecific/data_collection_date"] = "2023-11-14T22:13:20.000"
    file["entry/instrument/beam/incident_wavelength"] = 0.9
    return mask


def write_eiger(folder, lengths, per_file, **detector):
    """Write a master file and its data files; a length of None leaves the file out."""
    data = frames(sum(length or per_file for length in lengths))
    start = 0
    with h5py.File(folder / "run_7_master.h5", "w") as master:
        write_detector(master, **detector)
        for number, length in enumerate(lengths, 1):
            name = f"run_7_data_{number}.h5"
            master[f"entry/data/data_{number}"] = h5py.ExternalLink(name, "/entry/data/data")
            if length is not None:
                with h5py.File(folder / name, "w") as file:
                    part = data[start : start + length]
                    file.create_dataset("entry/data/data", data=part, chunks=(1, *SHAPE), **BSLZ4)
            start += length or per_file
    return folder / "run_7_master.h5", data


def test_master_file_with_its_detector(tmp_path):
    path, data = write_eiger(tmp_path, [4] * 11 + [2], 4, nimages=23, ntrigger=2)
    events = play(path)
    series = events[0]
    assert (series.name, series.n_frames, series.frame_time_s) == ("run_7", 46, 0.02)
    assert series.saturation == 60_000
    expected = np.zeros(SHAPE, bool)
    expected[3, 4] = expected[5] = True
    np.testing.assert_array_equal(series.pixel_mask, expected)
    assert series.flatfield is None, "it was applied by the detector"
    assert series.metadata["beam_center_x"] == 24.5
    assert series.metadata["detector_distance"] == pytest.approx(0.12)
    assert series.metadata["detector_description"] == "Dectris Eiger 500K"
    assert series.metadata["incident_wavelength"] == 0.9
    assert [e.time_ns for e in events[1:-1]] == [START_NS + n * 20_000_000 for n in range(46)]
    assert events[-1].reason == "end"
    assert_frames(events, dict(enumerate(data)))


def test_config_overrides_the_frame_time(tmp_path):
    path, _ = write_eiger(tmp_path, [4, 3], 4, nimages=7)
    events = play(path, frame_time_s=0.5)
    assert events[0].frame_time_s == 0.5
    assert events[2].time_ns - events[1].time_ns == 500_000_000


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_dangling_link_is_a_gap(tmp_path, missing):
    lengths = [4, 4, 2]
    held = lengths.copy()
    lengths[missing] = None
    path, data = write_eiger(tmp_path, lengths, 4, nimages=10)
    events = play(path)
    lost = range(missing * 4, missing * 4 + held[missing])
    assert gaps(events) == [(lost, f"file run_7_data_{missing + 1}.h5 is missing")]
    # write_eiger counts a missing file as a full one
    assert_frames(events, {n: data[n] for n in range(10) if n not in lost})


def test_only_the_last_file_is_there(tmp_path):
    path, data = write_eiger(tmp_path, [None, None, 2], 4, nimages=10)
    events = play(path)
    assert [lost for lost, _ in gaps(events)] == [range(4), range(4, 8)]
    assert_frames(events, {8: data[8], 9: data[9]})


def test_dangling_last_link_of_unknown_length(tmp_path):
    path, data = write_eiger(tmp_path, [4, None], 4)
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/detectorSpecific/nimages"]
    events = play(path)
    assert_frames(events, dict(enumerate(data[:4])))
    assert "run_7_data_2.h5 is missing, the number of its frames is not known" in events[-1].reason


def test_damaged_data_file_is_a_gap(tmp_path):
    path, data = write_eiger(tmp_path, [4, 4, 2], 4, nimages=10)
    damaged = tmp_path / "run_7_data_2.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    events = play(path)
    ((lost, reason),) = gaps(events)
    assert lost == range(4, 8)
    assert "run_7_data_2.h5 cannot be read" in reason
    assert "truncated" in reason
    assert_frames(events, {n: data[n] for n in (0, 1, 2, 3, 8, 9)})


def test_file_that_ends_early_and_series_that_was_aborted(tmp_path):
    path, _ = write_eiger(tmp_path, [4, 3, 4, 1], 4, nimages=100)
    events = play(path)
    assert gaps(events) == [(range(7, 8), "run_7_data_2.h5 ends early")]
    assert events[-1].reason == "abort: 13 of 100 frames were recorded"


def test_enabled_exposures_are_counted_by_trigger(tmp_path):
    path, _ = write_eiger(tmp_path, [4, 2], 4, nimages=50, ntrigger=6, mode="exte")
    assert play(path)[-1].reason == "end"


def test_old_master_has_its_links_below_the_entry(tmp_path):
    data = frames(6)
    with h5py.File(tmp_path / "old_master.h5", "w") as master:
        for n in range(2):
            with h5py.File(tmp_path / f"old_{n + 1}.h5", "w") as file:
                file["entry/data"] = data[3 * n : 3 * n + 3]
            master[f"entry/data_{n + 1:02d}"] = h5py.ExternalLink(f"old_{n + 1}.h5", "entry/data")
    assert_frames(play(tmp_path / "old_master.h5"), dict(enumerate(data)))


def write_channels(folder, missing=(), names=("threshold_1", "threshold_2", "difference")):
    """Write the layout of 2024: a virtual dataset [images, channels, rows, cols]."""
    data = np.random.default_rng(5).poisson(3, (7, len(names), *SHAPE)).astype("<u2")
    layout = h5py.VirtualLayout(data.shape, "<u2")
    for number, start in enumerate((0, 3, 6), 1):
        part = data[start : start + 3]
        name = f"run_data_{number}.h5"
        layout[start : start + 3] = h5py.VirtualSource(name, "entry/data/data", part.shape)
        if number not in missing:
            with h5py.File(folder / name, "w") as file:
                file.create_dataset("entry/data/data", data=part, chunks=(1, 1, *SHAPE), **BSLZ4)
    path = folder / "run_master.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout, fillvalue=0)
        file["entry/data/channel"] = list(names)
        file["entry/data/start_time"] = np.arange(7) * 0.25
        file["entry/start_time"] = "2023-11-14T22:13:20Z"
        for channel, name in enumerate(names):
            group = file.create_group(f"entry/instrument/detector/{name}_channel")
            group["pixel_mask"] = (np.arange(SHAPE[0] * SHAPE[1]) == channel).reshape(SHAPE) * 2
            group["flatfield"] = np.full(SHAPE, channel + 0.5)
            group["threshold_energy"] = 1000.0 * channel
    return path, data


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_channel_of_a_virtual_dataset(tmp_path, channel):
    path, data = write_channels(tmp_path)
    name = ("threshold_1", "threshold_2", "difference")[channel]
    events = play(path, channel=name)
    assert {e.encoding for e in events[1:-1]} == {"bslz4"}
    assert_frames(events, dict(enumerate(data[:, channel])))
    assert [e.time_ns for e in events[1:4]] == [START_NS + n * 250_000_000 for n in range(3)]
    assert np.flatnonzero(events[0].pixel_mask).tolist() == [channel]
    assert np.all(events[0].flatfield == channel + 0.5)
    assert events[0].metadata["threshold_energy"] == 1000.0 * channel


def test_missing_source_of_a_virtual_dataset_is_a_gap_and_not_zeros(tmp_path):
    path, data = write_channels(tmp_path, missing=(2,))
    events = play(path, channel="threshold_2")
    assert gaps(events) == [(range(3, 6), "file run_data_2.h5 is missing")]
    assert_frames(events, {n: data[n, 1] for n in (0, 1, 2, 6)})


def test_unknown_channel_names_those_present(tmp_path):
    path, _ = write_channels(tmp_path)
    with pytest.raises(UserError, match=r"threshold_1 or threshold_2 or difference"):
        open_source(path, SourceConfig(channel="threshold_9"))


def test_interleaved_and_nested_virtual_datasets(tmp_path):
    data = frames(9)
    outer, inner = (h5py.VirtualLayout(data.shape, "<u2") for _ in range(2))
    for writer in range(3):
        with h5py.File(tmp_path / f"w{writer}.h5", "w") as file:
            file.create_dataset("d", data=data[writer::3], chunks=(1, *SHAPE), **BSLZ4)
        inner[writer::3] = h5py.VirtualSource(f"w{writer}.h5", "d", (3, *SHAPE))
    with h5py.File(tmp_path / "meta.h5", "w") as file:
        file.create_virtual_dataset("all", inner)
    source = h5py.VirtualSource("meta.h5", "all", data.shape)
    outer[:4], outer[4:] = source[5:], source[:5]
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        file.create_virtual_dataset("entry/data/data", outer)
    events = play(tmp_path / "run.nxs")
    assert {e.encoding for e in events[1:-1]} == {"bslz4"}
    assert_frames(events, dict(enumerate(np.concatenate([data[5:], data[:5]]))))
    (tmp_path / "w1.h5").unlink()
    lost = [list(frames) for frames, reason in gaps(play(tmp_path / "run.nxs"))]
    assert lost == [[2], [5], [8]]


def test_frames_put_together_from_modules(tmp_path):
    data = frames(4)
    layout = h5py.VirtualLayout(data.shape, "<u2")
    for module, rows in enumerate((slice(0, 20), slice(20, 40))):
        part = data[: 4 - module, rows]
        with h5py.File(tmp_path / f"m{module}.h5", "w") as file:
            file["d"] = part
        layout[:, rows] = h5py.VirtualSource(f"m{module}.h5", "d", (4, 20, 50))
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    events = play(tmp_path / "run.h5")
    assert gaps(events) == [(range(3, 4), "m1.h5 ends before it")]
    assert_frames(events, dict(enumerate(data[:3])))


def test_virtual_dataset_larger_than_its_sources(tmp_path):
    data = frames(3)
    layout = h5py.VirtualLayout((8, *SHAPE), "<u2")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["d"] = data
    layout[2:6] = h5py.VirtualSource("part.h5", "d", (4, *SHAPE))
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    events = play(tmp_path / "run.h5")
    nowhere = "no file that run.h5 names holds it"
    assert gaps(events) == [
        (range(0, 2), nowhere),
        (range(5, 6), "part.h5 ends before it"),
        (range(6, 8), nowhere),
    ]
    assert_frames(events, {n + 2: frame for n, frame in enumerate(data)})


def test_mask_of_another_shape_is_left_out_with_a_warning(tmp_path):
    path, _ = write_eiger(tmp_path, [3], 3, nimages=3)
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/pixel_mask"]
        file["entry/instrument/detector/pixel_mask"] = np.zeros((3, 3))
    series = play(path)[0]
    assert series.pixel_mask is None
    assert "pixel_mask has shape (3, 3)" in series.metadata["warnings"][0]


def write_links_only(path):
    with h5py.File(path, "w") as file:
        for n in (1, 2):
            file[f"entry/data/data_{n:06d}"] = h5py.ExternalLink(f"x_data_{n:06d}.h5", "entry/data")


def write_one_link(path):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("far.h5", "d")


def write_dead_virtual(path):
    layout = h5py.VirtualLayout((4, *SHAPE), "<u2")
    layout[:] = h5py.VirtualSource("gone.h5", "d", (4, *SHAPE))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("d", layout)


def write_arrays(**arrays):
    def write(path):
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array

    return write


def write_truncated(n_bytes, **options):
    def write(path):
        with h5py.File(path, "w") as file:
            file.create_dataset("d", data=frames(9), **options)
        os.truncate(path, n_bytes)

    return write


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (1, *SHAPE)}, {"chunks": (1, *SHAPE), **BSLZ4}], ids=str
)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("behind_master", [False, True])
def test_truncated_file_gives_what_is_there(tmp_path, options, libver, behind_master):
    data = frames(100)
    path = whole = tmp_path / "run.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("entry/data/data", data=data, **options)
        file["entry/instrument/detector/pixel_mask"] = np.ones(SHAPE, np.uint32)
        file["entry/instrument/detector/frame_time"] = 0.5
    if behind_master:
        whole = tmp_path / "run_master.h5"
        with h5py.File(whole, "w") as master:
            for number in range(2):
                master[f"entry/data/data_{number}"] = h5py.ExternalLink("run.h5", "entry/data/data")
    size = path.stat().st_size
    seen = set()
    # An older file keeps its index among the frames, and without its root nothing is found.
    for share in (0.95, 0.7, 0.4) if libver == "latest" or not options else (0.95, 0.8, 0.7):
        os.truncate(path, int(size * share))
        events = play(whole)
        got = pixels(events)
        seen.add(len(got))
        assert len(got) >= (2 if behind_master else 1) * 100 * (share - 0.1)
        assert {n % 100 for n in got} == set(range(len({n % 100 for n in got})))
        assert_frames(events, {n: data[n % 100] for n in got})
        assert all("run.h5" in reason for _, reason in gaps(events))
        mask = events[0].pixel_mask
        assert mask is None or mask.all(), "what is cut off is not read as zeros"
    assert len(seen) == 3


def test_truncated_master_is_refused(tmp_path):
    path, _ = write_eiger(tmp_path, [4, 3], 4)
    os.truncate(path, path.stat().st_size - 200)
    with pytest.raises(UserError, match=r"truncated|damaged"):
        open_source(path, SourceConfig())


def test_detector_of_any_name_has_the_mask(tmp_path):
    path = tmp_path / "thau_1.nxs"
    mask = np.zeros((1, *SHAPE), np.uint64)
    mask[0, 2, 3] = 1 << 40
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=frames(3), chunks=(1, *SHAPE), **BSLZ4)
        detector = file.create_group("entry/instrument/ELE_D0")
        detector.attrs["NX_class"] = "NXdetector"
        detector["pixel_mask"] = mask
    series = play(path)[0]
    np.testing.assert_array_equal(series.pixel_mask, mask[0] != 0)


@pytest.mark.parametrize(
    ("write", "inner", "says"),
    [
        (write_truncated(2000, compression="gzip"), "", "truncated"),
        (write_truncated(1500, chunks=(1, *SHAPE), **BSLZ4), "", "truncated|damaged"),
        (write_links_only, "", r"none can be read \(file x_data_000001.h5 is missing\)"),
        (write_one_link, "", "keeps its frames in far.h5"),
        (write_dead_virtual, "", "no frame that can be read: file gone.h5 is missing"),
        (write_arrays(), "", "no stack of frames"),
        (write_arrays(omega=np.zeros((5, 2))), "", r"it has /omega \(5 x 2 float64\)"),
        (
            write_arrays(a=frames(3), b=frames(9)),
            "",
            r"several stacks of frames \(/a .*, /b .*::/a",
        ),
        (write_arrays(data=np.zeros((64, 80, 3))), "", "looks like a colour image"),
        (write_arrays(data=np.zeros((64, 80, 6))), "", "has its frames on the last axis"),
        (write_arrays(a=frames(3)), "::b", "has no b"),
        (write_arrays(**{"a/b": frames(3)}), "::/a", "such as one of /a/b"),
        (write_arrays(a=frames(3) > 1), "::a", "frames are integers or floats"),
        (write_arrays(a=np.zeros((2, 3, 4), complex)), "::a", "frames are integers or floats"),
        (write_arrays(a=np.zeros((0, 3, 4))), "::a", "has no frames"),
        (write_arrays(a=np.zeros(9)), "::a", "has 3 axes"),
        (write_arrays(a=np.zeros((2, 2, 2, 2, 3, 4))), "::a", "has 3 axes"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, write, inner, says):
    path = tmp_path / "run.h5"
    write(path)
    with pytest.raises(UserError, match=says) as caught:
        open_source(f"{path}{inner}", SourceConfig())
    assert "run.h5" in str(caught.value)
    assert "\n" not in str(caught.value)


def write_numbered(path, name, dataset="/data", n_blocks=3, together=2):
    """Write a virtual dataset whose sources are named by the number of a block."""
    unlimited = h5py.h5s.UNLIMITED
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((n_blocks * together, *SHAPE), (unlimited, *SHAPE))
        space.select_hyperslab((0, 0, 0), (unlimited, 1, 1), (together, 1, 1), (together, *SHAPE))
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        one = h5py.h5s.create_simple((together, *SHAPE))
        create.set_virtual(space, name.encode(), dataset.encode(), one)
        h5py.h5d.create(file.id, b"virtual", h5py.h5t.STD_U16LE, space, create)


def test_sources_of_a_virtual_dataset_are_named_by_their_number_and_holes_are_gaps(tmp_path):
    data = frames(8)
    for number in (0, 1, 3):
        with h5py.File(tmp_path / f"part_{number}.h5", "w") as file:
            file["data"] = data[2 * number : 2 * number + 2]
    write_numbered(tmp_path / "v.h5", "part_%b.h5")
    events = play(f"{tmp_path}/v.h5::/virtual")
    assert_frames(events, {n: data[n] for n in (0, 1, 2, 3, 6, 7)})
    (gap,) = [event for event in events if isinstance(event, Gap)]
    assert gap.reason == "file part_2.h5 is missing"


def test_datasets_of_one_file_are_named_by_their_number(tmp_path):
    data = frames(6)
    write_numbered(tmp_path / "v.h5", ".", "/parts/data_%b")
    with h5py.File(tmp_path / "v.h5", "a") as file:
        for number in range(3):
            file[f"parts/data_{number}"] = data[2 * number : 2 * number + 2]
    assert_frames(play(f"{tmp_path}/v.h5::/virtual"), dict(enumerate(data)))


@pytest.mark.parametrize(
    ("attributes", "fields"),
    [
        ({"scale_factor": 0.5, "add_offset": -3.0}, {}),
        ({"scaling_factor": [0.5]}, {"offset": -3.0}),
        ({}, {"data_scaling_factor": 0.5, "data_offset": -3.0}),
    ],
)
def test_numbers_that_stand_for_others_are_what_they_stand_for(tmp_path, attributes, fields):
    data = frames(3)
    data[0, 0, 0] = 65535
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("entry/data")
        group.attrs["NX_class"] = "NXdata"
        group.create_dataset("data", data=data, chunks=(1, *SHAPE), compression=BSLZ4)
        group["data"].attrs.update(attributes)
        for name, value in fields.items():
            group[name] = value
    events = play(f"{tmp_path}/a.h5")
    expected = data * np.float32(0.5) - np.float32(3.0)
    expected[0, 0, 0] = np.nan
    assert_frames(events, dict(enumerate(expected)))
    assert "its numbers are multiplied by 0.5 and -3 is added, as it says" in str(
        events[0].metadata["warnings"]
    )


def test_factors_that_differ_from_frame_to_frame_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = frames(3)
        file["data"].attrs["scale_factor"] = [1.0, 2.0, 3.0]
    with pytest.raises(UserError, match=r"has scale_factor \[1\. 2\. 3\.\]: its numbers are read"):
        play(f"{tmp_path}/a.h5")


@pytest.mark.parametrize("place", ["entry/data/data", "entry/data/data_000001", "entry", "zz"])
def test_nobody_waits_for_a_pipe_that_a_link_leads_to(tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/data"] = frames(3)
        file[place] = h5py.ExternalLink("pipe", "/")
    with pytest.raises(UserError, match=r"has a link to \S*pipe, which is no file: remove that"):
        play(f"{tmp_path}/a.h5")


@pytest.mark.parametrize("chunks", [None, (1, *SHAPE)])
def test_numbers_in_the_upper_bits_of_others_are_read_as_what_they_are(tmp_path, chunks):
    data = frames(3)
    twelve_bits = h5py.h5t.STD_U16LE.copy()
    twelve_bits.set_precision(12)
    twelve_bits.set_offset(4)
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if chunks is not None:
        create.set_chunk(chunks)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(data.shape)
        made = h5py.h5d.create(file.id, b"data", twelve_bits, space, create)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, data, h5py.h5t.NATIVE_UINT16)
    assert_frames(play(f"{tmp_path}/a.h5"), dict(enumerate(data)))


def test_factors_in_data_files_are_told(tmp_path):
    data = frames(4)
    with h5py.File(tmp_path / "a_master.h5", "w") as master:
        for number in (1, 2):
            with h5py.File(tmp_path / f"a_data_{number}.h5", "w") as file:
                file["entry/data/data"] = data[2 * number - 2 : 2 * number]
                file["entry/data/data"].attrs["scale_factor"] = 2.0
            link = h5py.ExternalLink(f"a_data_{number}.h5", "/entry/data/data")
            master[f"entry/data/data_{number:06d}"] = link
    events = play(f"{tmp_path}/a_master.h5")
    assert_frames(events, dict(enumerate(data * np.float32(2.0))))
    assert events[0].metadata["warnings"] == ["its numbers are multiplied by 2, as it says"]
