"""What is taken of what is there: datasets of a file, files of a folder, names of both."""

import os

import h5py
import numpy as np
import pytest
import tifffile

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap
from streamer.sources import open_source

SHAPE = (24, 31)


def stack(n, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (n, *SHAPE)).astype("<u2")


def play(uri, **config):
    """Return the series, the frames by number, and the gaps with their reasons."""
    source = open_source(str(uri), SourceConfig(**config))
    events = []
    while not source.exhausted:
        events += source.read(100)
    source.close()
    frames = {
        e.frame: decode(e.data, e.encoding, e.dtype, e.shape)
        for e in events
        if isinstance(e, Frame)
    }
    gaps = {n: e.reason for e in events if isinstance(e, Gap) for n in e.frames}
    return events[0], frames, gaps


def assert_frames(uri, expected, **config):
    series, frames, gaps = play(uri, **config)
    assert not gaps
    np.testing.assert_array_equal(list(frames.values()), expected)
    return series


# --- datasets of a file --------------------------------------------------------------------------


def group(file, path, kind, **attributes):
    made = file.require_group(path)
    made.attrs.update({"NX_class": kind} | attributes)
    return made


def test_darks_and_whites_are_left_out_and_told(tmp_path):
    data = stack(6)
    with h5py.File(tmp_path / "aps.h5", "w") as file:
        file["exchange/data"] = data
        file["exchange/data_dark"] = stack(20, 1)
        file["exchange/data_white"] = stack(2, 2)
    taken = assert_frames(tmp_path / "aps.h5", data).taken
    assert taken.source == f"{tmp_path}/aps.h5::/exchange/data"
    assert taken.left_out == [
        "/exchange/data_dark (20 x 24 x 31 uint16)",
        "/exchange/data_white (2 x 24 x 31 uint16)",
    ]


def test_what_nexus_shows_is_taken(tmp_path):
    data = stack(3)
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        file.attrs["default"] = "scan_2"
        for number in (1, 2):
            entry = group(file, f"scan_{number}", "NXentry", default="plot")
            entry["raw/data"] = stack(9, number)
            group(file, f"scan_{number}/plot", "NXdata", signal="counts")["counts"] = data + number
    assert_frames(tmp_path / "run.nxs", data + 2)


@pytest.mark.parametrize("mark", [1, "1", [1]])
def test_a_dataset_that_calls_itself_the_signal_is_shown(tmp_path, mark):
    data = stack(3)
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        group(file, "entry", "NXentry")
        plot = group(file, "entry/plot", "NXdata")
        plot["counts"], plot["summed"] = data, stack(7)
        plot["counts"].attrs["signal"] = mark
    taken = assert_frames(tmp_path / "run.nxs", data).taken
    assert taken.left_out == ["/entry/plot/summed (7 x 24 x 31 uint16)"]


def test_the_only_plot_of_the_only_entry_is_the_default(tmp_path):
    data = stack(3)
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        group(file, "/", "NXroot")
        group(file, "measured", "NXentry")["other/data"] = stack(7)
        group(file, "measured/eiger", "NXdata", signal="frames")["frames"] = data
    assert_frames(tmp_path / "run.nxs", data)


def test_a_plot_of_a_curve_is_no_stack(tmp_path):
    data = stack(3)
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        file.attrs["default"] = "entry"
        group(file, "entry", "NXentry", default="sum")["detector/data"] = data
        group(file, "entry/sum", "NXdata", signal="counts")["counts"] = np.arange(9)
    assert_frames(tmp_path / "run.nxs", data)


def test_several_scans_are_asked_about(tmp_path):
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        for scan, n in (("1.1", 6), ("2.1", 9)):
            file[f"{scan}/instrument/eiger/data"] = stack(n)
            file[f"{scan}/measurement/eiger"] = h5py.SoftLink(f"/{scan}/instrument/eiger/data")
    with pytest.raises(UserError, match=r"several stacks of frames .*: choose one, such as .*::/1"):
        open_source(f"{tmp_path}/scans.h5", SourceConfig())
    assert_frames(f"{tmp_path}/scans.h5::/2.1/measurement/eiger", stack(9))


def test_odd_axes_are_read_when_they_are_named(tmp_path):
    data = np.zeros((64, 80, 3), "u1")
    with h5py.File(tmp_path / "rgb.h5", "w") as file:
        file["entry/data/data"] = data
    with pytest.raises(UserError, match=r"looks like a colour image.*::/entry/data/data to take"):
        open_source(f"{tmp_path}/rgb.h5", SourceConfig())
    assert_frames(f"{tmp_path}/rgb.h5::/entry/data/data", data)


@pytest.mark.parametrize("chunks", [None, (1, 1, *SHAPE), (1, 2, 12, 31)])
@pytest.mark.parametrize("lead", [(2, 3), (1, 2, 3), (6,)])
def test_leading_axes_are_frames(tmp_path, lead, chunks):
    data = stack(6)
    chunks = chunks and ((1,) * 3 + chunks)[-len(lead) - 2 :]
    with h5py.File(tmp_path / "grid.h5", "w") as file:
        file.create_dataset("entry/data/data", data=data.reshape(*lead, *SHAPE), chunks=chunks)
    assert_frames(tmp_path / "grid.h5", data)
    assert_frames(f"{tmp_path}/grid.h5::entry/data/data", data)


def test_arrays_of_an_archive_that_are_no_frames_are_left_out(tmp_path):
    data = stack(4)
    np.savez(tmp_path / "a.npz", frames=data, dark=stack(9), omega=np.zeros((4, 2)))
    taken = assert_frames(tmp_path / "a.npz", data).taken
    assert taken.source == f"{tmp_path}/a.npz::frames"
    assert taken.left_out == ["dark (9 x 24 x 31 uint16)"]


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data_000001", "data"])
def test_links_as_windows_writes_them(tmp_path, name):
    data = stack(3)
    with h5py.File(tmp_path / "x_data_000001.h5", "w") as file:
        file["entry/data/data"] = data
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        link = h5py.ExternalLink("C:\\data\\run\\x_data_000001.h5", "entry/data/data")
        file.create_group("entry/data")[name] = link
    assert_frames(tmp_path / "x_master.h5", data)


@pytest.mark.parametrize("target", ["s_000001.h5", "D:\\raw\\s_000001.h5"])
def test_sources_beside_what_a_symbolic_link_leads_to(tmp_path, target):
    data = stack(3)
    for folder in ("raw", "processing"):
        (tmp_path / folder).mkdir()
    with h5py.File(tmp_path / "raw/s_000001.h5", "w") as file:
        file["data"] = data
    layout = h5py.VirtualLayout(data.shape, "<u2")
    layout[:] = h5py.VirtualSource(target, "data", shape=data.shape)
    with h5py.File(tmp_path / "raw/s.nxs", "w") as file:
        file.create_group("entry/data").create_virtual_dataset("data", layout)
    os.symlink("../raw/s.nxs", tmp_path / "processing/s.nxs")
    assert_frames(tmp_path / "processing/s.nxs", data)


# --- files of a folder ---------------------------------------------------------------------------


def save(folder, *names):
    """Write one frame into each file, and return them."""
    folder.mkdir(exist_ok=True)
    data = stack(len(names))
    for name, frame in zip(names, data, strict=True):
        tifffile.imwrite(folder / name, frame)
    return data


def test_a_hole_is_a_missing_frame(tmp_path):
    save(tmp_path / "a", *(f"th_8_2_{n:04d}.tif" for n in (310, 311, 313, 314)))
    series, frames, gaps = play(tmp_path / "a")
    assert series.n_frames == 5
    assert sorted(frames) == [0, 1, 3, 4]
    assert gaps == {2: "th_8_2_0312.tif is missing"}
    assert series.taken.source == f"{tmp_path}/a/th_8_2_####.tif, 4 files 310 to 314"


def test_every_fifth_number_has_no_holes(tmp_path):
    data = save(tmp_path / "a", *(f"a_{n}.tif" for n in (0, 5, 10, 15, 20)))
    series = assert_frames(tmp_path / "a", data)
    assert series.taken.source.endswith("a_#.tif, 5 files 0 to 20 in steps of 5")


def test_what_lies_beside_a_series_is_left_out_and_told(tmp_path):
    data = save(tmp_path / "a", "a_1.tif", "a_2.tif", "a_3.tif")
    save(tmp_path / "a", "dark_1.tif", "dark_2.tif", "overview.tif")
    (tmp_path / "a/._a_4.tif").write_bytes(b"Mac OS X")
    series = assert_frames(tmp_path / "a", data)
    assert series.taken.left_out == ["dark_#.tif (2 files)", "overview.tif"]


def test_several_series_are_asked_about(tmp_path):
    data = save(tmp_path / "a", *(f"scan_{s}_{n:04d}.tif" for s in "ab" for n in range(3)))
    with pytest.raises(UserError, match=r"2 series of files .*such as '.*/scan_a_####.tif'"):
        open_source(tmp_path / "a", SourceConfig())
    assert_frames(f"{tmp_path}/a/scan_b_####.tif", data[3:])
    assert_frames(f"{tmp_path}/a/scan_a_%04d.tif", data[:3])
    assert_frames(f"{tmp_path}/a/scan_b_*.tif", data[3:])


def test_folders_of_scans_are_asked_about(tmp_path):
    for scan in (1, 2, 3):
        data = save(tmp_path / f"scan_{scan}", "a_1.tif", "a_2.tif")
    with pytest.raises(UserError, match=r"no files of single frames: give one of .*/scan_1, .*_3$"):
        open_source(tmp_path, SourceConfig())
    with pytest.raises(UserError, match=r"3 series of files .*such as '.*/scan_1/a_#.tif'"):
        open_source(f"{tmp_path}/*/a_*.tif", SourceConfig())
    assert_frames(tmp_path / "scan_3", data)


def test_scans_told_apart_by_a_number(tmp_path):
    data = save(tmp_path / "a", *(f"s{s}_{n:03d}.tif" for s in (1, 2) for n in range(3)))
    with pytest.raises(UserError, match=r"s1_###.tif \(3 files\), s2_###.tif \(3 files\)"):
        open_source(tmp_path / "a", SourceConfig())
    assert_frames(f"{tmp_path}/a/s2_%03d.tif", data[3:])
    assert_frames(f"{tmp_path}/a/s%d_%.3d.tif", data)


def test_a_time_in_the_names_does_not_count_the_frames(tmp_path):
    names = [f"a_2026112{n}_{n:03d}.tif" for n in (1, 2, 4)]
    save(tmp_path / "a", *names)
    _, frames, gaps = play(tmp_path / "a")
    assert sorted(frames) == [0, 1, 3]
    assert gaps == {2: "a_*_003.tif is missing"}
    data = save(tmp_path / "b", *(f"{1_700_000_000 + n}.tif" for n in (0, 977, 5003, 90017)))
    series = assert_frames(tmp_path / "b", data)
    assert "numbers that do not count them" in series.taken.source


@pytest.mark.parametrize("odd", [0, 3, 6])
def test_one_odd_file_is_the_one_that_is_lost(tmp_path, odd):
    data = save(tmp_path / "a", *(f"a_{n}.tif" for n in range(7)))
    tifffile.imwrite(tmp_path / f"a/a_{odd}.tif", data[0, :9])
    _, frames, gaps = play(tmp_path / "a")
    assert sorted(gaps) == [odd]
    assert "shape" in gaps[odd]
    assert len(frames) == 6


def test_one_image_in_each_hdf5_file(tmp_path):
    data = stack(5)
    for number, frame in enumerate(data):
        with h5py.File(tmp_path / f"Laue_{number:05d}.h5", "w") as file:
            file["entry1/data/data"] = frame
            file["entry1/other"] = frame
    assert_frames(f"{tmp_path}/Laue_*.h5", data)
    assert_frames(f"{tmp_path}/Laue_#####.h5::/entry1/other", data)
    assert_frames(f"{tmp_path}::/entry1/data/data", data)


# --- addresses of other programs -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "numbers"),
    [
        ("?path=/b/data", range(6)),
        ("?/b/data", range(6)),
        ("?path=/b/data&slice=3", [3]),
        ("?path=/b/data&slice=1:4,:,:", [1, 2, 3]),
        ("?data_path=/b/data&data_slice=::2,...", [0, 2, 4]),
        ("::/b/data", range(6)),
    ],
)
@pytest.mark.parametrize("scheme", ["", "silx:", "silx://"])
def test_addresses_of_silx(tmp_path, scheme, tail, numbers):
    data = stack(6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/data"], file["b/data"] = stack(6, 1), data
    _, frames, _ = play(f"{scheme}{tmp_path}/a.h5{tail}")
    assert list(frames) == list(numbers)
    for number, frame in frames.items():
        np.testing.assert_array_equal(frame, data[number])


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        ("?path=/a&slice=0,3", "choose among frames alone"),
        ("?path=/a&scale=2", "scale is not known"),
        ("?path=/a&slice=2", "and so does source.frames"),
    ],
)
def test_addresses_that_cannot_be_understood(tmp_path, tail, says):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = stack(6)
    with pytest.raises(UserError, match=says):
        open_source(f"{tmp_path}/a.h5{tail}", SourceConfig(frames="1:"))
