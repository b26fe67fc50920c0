"""Stacks in numpy and TIFF files, formats told by content, and replay at a pace."""

import re
import zipfile

import h5py
import numpy as np
import pytest
import tifffile

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.sources import open_source
from streamer.sources.pacing import Paced
from tests.conftest import SHARED

SHAPE = (24, 31)


def frames(n, dtype="<u2"):
    return np.random.default_rng(n).integers(0, 200, (n, *SHAPE)).astype(dtype)


def play(uri, portion=3):
    source = open_source(uri, SourceConfig())
    assert not source.live
    assert source.socket is None
    events = []
    while not source.exhausted:
        events += source.read(portion)
    source.close()
    assert isinstance(events[0], Series)
    assert isinstance(events[-1], SeriesEnd)
    assert events[0].n_frames == source.n_frames
    return events


def assert_frames(events, expected):
    got = [e for e in events if isinstance(e, Frame)]
    assert [e.frame for e in got] == list(range(len(expected)))
    for event, frame in zip(got, expected, strict=True):
        pixels = decode(event.data, event.encoding, event.dtype, event.shape)
        np.testing.assert_array_equal(pixels, frame)


def save_npy(path, data):
    np.save(path, data)


def save_fortran(path, data):
    np.save(path, np.asfortranarray(data))


def save_npz(path, data):
    np.savez_compressed(path, centre=np.zeros(2), data=data)


def save_tiff(**options):
    def save(path, data):
        tifffile.imwrite(path, data, photometric="minisblack", **options)

    return save


def save_planes(path, data):
    tifffile.imwrite(path, data, photometric="rgb", planarconfig="separate", compression="zlib")


def save_pages(path, data):
    with tifffile.TiffWriter(path) as writer:
        for frame in data:
            writer.write(frame, contiguous=False)


FORMATS = {
    "npy": (".npy", save_npy),
    "fortran": (".npy", save_fortran),
    "npz": (".npz", save_npz),
    "tiff": (".tif", save_tiff()),
    "tiff-big-endian": (".tif", save_tiff(byteorder=">")),
    "tiff-zlib": (".tiff", save_tiff(compression="zlib")),
    "tiff-strips": (".tif", save_tiff(rowsperstrip=5, compression="zlib")),
    "tiff-tiles": (".tif", save_tiff(tile=(16, 16))),
    "tiff-big": (".tif", save_tiff(bigtiff=True)),
    "tiff-imagej": (".tif", save_tiff(imagej=True)),
    "tiff-pages": (".tif", save_pages),
    "tiff-one-page": (".tif", save_tiff(metadata={"axes": "QYX"}, truncate=True)),
}


@pytest.mark.parametrize("kind", list(FORMATS))
@pytest.mark.parametrize("n", [1, 5])
def test_stack_comes_back(tmp_path, kind, n):
    suffix, save = FORMATS[kind]
    data = frames(n)
    path = tmp_path / f"run{suffix}"
    save(path, data)
    events = play(path)
    assert events[0].name == "run"
    assert_frames(events, data)


@pytest.mark.parametrize("kind", ["npy", "npz", "tiff", "tiff-zlib"])
@pytest.mark.parametrize("dtype", ["|u1", ">u2", "<i4", "<f4", "<f8"])
def test_every_type_of_pixel(tmp_path, kind, dtype):
    suffix, save = FORMATS[kind]
    data = frames(3, dtype)
    save(tmp_path / f"run{suffix}", data)
    events = play(tmp_path / f"run{suffix}")
    assert_frames(events, data)
    if suffix == ".npy":
        assert events[1].dtype == dtype


@pytest.mark.parametrize("kind", ["npy", "npz", "tiff"])
def test_an_image_is_one_frame(tmp_path, kind):
    suffix, save = FORMATS[kind]
    data = frames(1)[0]
    save(tmp_path / f"run{suffix}", data)
    assert_frames(play(tmp_path / f"run{suffix}"), [data])


def test_array_of_an_archive(tmp_path):
    path = tmp_path / "run.npz"
    a, b = frames(2), frames(4)
    np.savez(path, a=a, b=b, image=a[0])
    assert_frames(play(f"{path}::b"), b)
    assert_frames(play(f"{path}::image"), [a[0]])
    with pytest.raises(UserError, match=r"several stacks of frames \(a .*, b .*run.npz::a"):
        open_source(path, SourceConfig())
    with pytest.raises(UserError, match="no array c: it has a, b, image"):
        open_source(f"{path}::c", SourceConfig())


def test_content_decides_not_the_extension(tmp_path):
    data = frames(3)
    save_tiff()(tmp_path / "a.tif", data)
    np.save(tmp_path / "b.npy", data)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["data"] = data
    for name, other in (("a.tif", "x.h5"), ("b.npy", "y.dat"), ("c.h5", "z.tif")):
        (tmp_path / name).rename(tmp_path / other)
        assert_frames(play(tmp_path / other), data)


def save_folder(folder, n=12):
    """Write frames whose natural order is not that of their letters."""
    data = frames(n)
    folder.mkdir()
    for number in reversed(range(n)):
        tifffile.imwrite(folder / f"scan2_{number}.tif", data[number])
    (folder / "notes.txt").write_text("beam was down at noon")
    return data


def test_folder_and_pattern_in_natural_order(tmp_path):
    data = save_folder(tmp_path / "scan")
    events = play(tmp_path / "scan")
    assert events[0].name == "scan"
    assert_frames(events, data)
    assert_frames(play(f"{tmp_path}/scan/scan2_?.tif"), data[:10])
    assert_frames(play(f"{tmp_path}/scan/*_3.tif"), data[3:4])


def test_bad_file_of_a_folder_is_a_gap(tmp_path):
    data = save_folder(tmp_path / "scan", 7)
    folder = tmp_path / "scan"
    tifffile.imwrite(folder / "scan2_1.tif", data[0, :9])
    (folder / "scan2_2.tif").write_bytes((folder / "scan2_2.tif").read_bytes()[:-10])
    tifffile.imwrite(folder / "scan2_3.tif", data[:2])
    (folder / "scan2_4.tif").write_bytes(b"not a picture")
    source = open_source(folder, SourceConfig())
    (folder / "scan2_5.tif").unlink()
    events = source.read(100)
    lost = {e.frames.start: e.reason for e in events if isinstance(e, Gap)}
    assert list(lost) == [1, 2, 3, 4, 5]
    for number, says in ((1, "shape"), (2, "cut off"), (3, "2 frames"), (4, ""), (5, "missing")):
        assert f"scan2_{number}.tif" in lost[number]
        assert says in lost[number]
    assert [e.frame for e in events if isinstance(e, Frame)] == [0, 6]


def write(data):
    return lambda path: path.write_bytes(data)


def cut(save, share):
    def damaged(path):
        whole = path.with_name(f"whole{path.suffix}")
        save(whole, frames(6))
        data = whole.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return damaged


def saving(save, data):
    return lambda path: save(path, data)


def declaring(shape):
    """Write a file whose header tells of more frames than are there."""

    def write(path):
        with path.open("wb") as file:
            says = {"descr": "<u2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, says)
            file.write(bytes(10_000))

    return write


def archived(make):
    def write(path):
        make(inner := path.with_suffix(".npy"))
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(inner, "frames.npy")

    return write


def bad_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frames.npy", b"these are no numbers")


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("gone.h5", lambda path: None, "does not exist"),
        ("run.npy", write(b""), "is empty"),
        ("run.h5", write(b"GIF89a" + bytes(100)), "is not a HDF5 file"),
        ("run.dat", write(b"GIF89a" + bytes(100)), "of no known format"),
        ("run.raw", write(bytes(100)), "pixels alone say the layout, such as --set 'source.raw="),
        ("run.tif", write(b"x"), "is not a TIFF file"),
        ("run.cbf", write(b"###CBF: VERSION 1.5"), "damaged or truncated"),
        ("run.npy", cut(save_npy, 0.1), "it has not one whole frame"),
        ("run.npy", cut(save_fortran, 0.5), "damaged or truncated"),
        ("run.npy", write(b"\x93NUMPY"), "damaged or truncated"),
        ("run.npz", cut(save_npz, 0.5), "damaged or truncated"),
        ("run.npz", bad_zip, "damaged or truncated"),
        ("run.tif", cut(save_tiff(), 0.1), "it has not one whole frame"),
        ("run.tif", cut(save_pages, 0.1), "truncated: its first page"),
        ("run.tif", cut(save_tiff(compression="zlib"), 0.1), "truncated"),
        ("run.tif", write(b"II*\0"), "damaged or truncated"),
        (
            "run.npy",
            declaring((1 << 40, 24, 32)),
            "has a damaged header: it declares 1099511627776",
        ),
        ("run.npy", declaring((3, 1 << 40, 32)), "more than the limit"),
        ("run.npy", declaring((3, -24, -32)), "has no frames"),
        ("run.npy", write(b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(200)), "header is too long"),
        ("run.npy", write(b"\x93NUMPY\1\0\2\0(\n" + bytes(200)), "damaged or truncated"),
        ("run.npz", archived(declaring((3, 8192, 8192))), "declared and not there"),
        ("run.npy", saving(save_npy, frames(3) > 1), "holds bool"),
        ("run.npy", saving(save_npy, frames(3).astype(complex)), "holds complex128"),
        ("run.npy", saving(save_npy, np.array([[{}]], object)), "holds object"),
        ("run.npy", saving(save_npy, np.zeros((0, 4, 4))), "has no frames"),
        ("run.npy", saving(save_npy, np.zeros((2, 2, 2, 2, 4, 4))), r"a stack of frames is"),
        ("run.npz", saving(save_npz, frames(3) > 1), "no stack of frames"),
        ("run.tif", saving(save_tiff(), np.zeros((2, 3, 4, 8, 8), "u1")), ""),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, name, make, says):
    path = tmp_path / name
    make(path)
    if not says:  # five axes of plain pages are a stack all the same
        assert len(play(path)) == 26
        return
    with pytest.raises(UserError, match=says) as caught:
        open_source(path, SourceConfig())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_colour_and_mixed_pages_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 8, 3), "u1"), photometric="rgb")
    with pytest.raises(UserError, match="is a colour image"):
        open_source(tmp_path / "rgb.tif", SourceConfig())
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        writer.write(np.zeros((8, 8), "u1"))
        writer.write(np.zeros((4, 8), "u1"))
    with pytest.raises(UserError, match="pages of different shapes"):
        open_source(tmp_path / "mixed.tif", SourceConfig())


def test_folders_without_frames(tmp_path):
    with pytest.raises(UserError, match="the folder is empty"):
        open_source(tmp_path, SourceConfig())
    (tmp_path / "run_data_1.h5").write_bytes(b"")
    (tmp_path / "run_master.h5").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"no files of single frames: give one of \S*run_master.h5$"
    ):
        open_source(tmp_path, SourceConfig())
    with pytest.raises(UserError, match="no such files"):
        open_source(f"{tmp_path}/*.tif", SourceConfig())


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://host:80", "unknown protocol http; known are dectris://host:port"),
        ("dectris:/host", "does not exist"),
        ("{}::x", "leave out ::x"),
        ("{}::", "behind ::"),
    ],
)
def test_addresses_that_do_not_fit(tmp_path, uri, says):
    np.save(tmp_path / "run.npy", frames(2))
    with pytest.raises(UserError, match=re.escape(says)):
        open_source(uri.format(tmp_path / "run.npy"), SourceConfig())


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Listed:
    """A source of given events."""

    uri, live, n_frames, socket = "listed", False, None, None
    counters: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, events):
        self.events = list(events)

    @property
    def exhausted(self):
        return not self.events

    def read(self, limit):
        got, self.events = self.events[:limit], self.events[limit:]
        return got


def frame(number, series="a"):
    return Frame(
        series=series, frame=number, time_ns=0, shape=(1, 1), dtype="|u1", encoding="raw", data=b"1"
    )


def test_frames_come_when_they_are_due():
    clock = Clock()
    end = SeriesEnd(series="a")
    paced = Paced(Listed([Series(name="a"), *map(frame, range(5)), end]), 2.0, 0.5, clock)
    events = paced.read(10)
    assert [type(e) for e in events] == [Series, Frame]
    assert paced.wait_s == pytest.approx(0.25)
    assert paced.read(10) == []
    clock.now += 0.24
    assert paced.read(10) == []
    clock.now += 0.02
    assert [e.frame for e in paced.read(10)] == [1]
    clock.now += 0.5
    assert [e.frame for e in paced.read(1)] == [2]
    assert paced.wait_s == 0
    assert [e.frame for e in paced.read(10)] == [3]
    clock.now += 0.25
    assert [e.frame for e in paced.read(10)] == [4]
    assert not paced.exhausted
    clock.now += 0.25
    assert paced.read(10) == [end]
    assert paced.exhausted
    assert paced.read(10) == []


def test_a_gap_takes_its_time_and_each_series_starts_anew():
    clock = Clock()
    gap = Gap(series="a", first=1, count=3, reason="missing")
    again = Series(name="b")
    events = [
        Series(name="a"),
        frame(0),
        gap,
        frame(4),
        SeriesEnd(series="a"),
        again,
        frame(0, "b"),
    ]
    paced = Paced(Listed(events), 1.0, 1.0, clock)
    assert len(paced.read(10)) == 2
    clock.now += 1
    assert paced.read(10) == [gap]
    clock.now += 2.9
    assert paced.read(10) == []
    clock.now += 0.2
    assert paced.read(10) == [frame(4)]
    clock.now += 1
    assert paced.read(10) == events[4:]


def test_speed_needs_a_frame_time(tmp_path):
    np.save(tmp_path / "run.npy", frames(3))
    with pytest.raises(UserError, match=r"set source\.frame_time_s"):
        open_source(tmp_path / "run.npy", SourceConfig(speed=1))
    source = open_source(tmp_path / "run.npy", SourceConfig(speed=1, frame_time_s=1000))
    assert isinstance(source, Paced)
    assert [type(e) for e in source.read(10)] == [Series, Frame]
    assert source.wait_s > 900
    source.close()


@pytest.mark.shared
def test_recorded_frames_of_a_pilatus():
    path = SHARED / "data/thaumatin/thau_3_2_0001-0019_crop768.npz"
    if not path.exists():
        pytest.skip("the recorded frames are not beside the project")
    with np.load(path) as arrays:
        expected = arrays["frames"]
    events = play(path)
    assert events[1].dtype == "<i4"
    assert_frames(events, expected)


def save_contiguous(path, data):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = data


@pytest.mark.parametrize(
    ("name", "save"),
    [("x.npy", save_npy), ("x.tif", save_pages), ("x.h5", save_contiguous)],
)
def test_a_file_that_is_cut_short_while_it_is_read_has_frames_missing(tmp_path, name, save):
    path = tmp_path / name
    data = np.ones((300, 64, 64), np.uint16)
    save(path, data)
    source = open_source(str(path), SourceConfig())
    events = source.read(11)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    while not source.exhausted:
        events += source.read(64)
    source.close()
    there = [event for event in events if isinstance(event, Frame)]
    assert all(bytes(event.data) == data[0].tobytes() for event in there)
    gaps = [event for event in events if isinstance(event, Gap)]
    assert 140 < len(there) < 160
    assert len(there) + sum(gap.count for gap in gaps) == 300
    for gap in gaps:
        assert gap.state == "missing"
        assert "truncated" in gap.reason or "cut off" in gap.reason


def test_what_was_played_before_is_not_waited_for_again():
    clock = Clock()
    events = [Series(name="a"), *map(frame, range(6)), SeriesEnd(series="a")]
    paced = Paced(Listed(events), 1.0, 1.0, clock)
    paced.hurry(4)
    assert paced.read(10) == events[:6]
    assert paced.wait_s == pytest.approx(1.0)
    clock.now += 1.1
    assert paced.read(10) == [frame(5)]


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.npy", save_npy),
        ("a.npy", save_fortran),
        ("a.npz", save_npz),
        ("a.tif", save_tiff()),
        ("a.tif", save_tiff(compression="zlib")),
        ("a.tif", save_planes),
        ("a.tif", save_tiff(imagej=True)),
        ("a.tif", save_tiff(tile=(16, 16))),
    ],
)
def test_leading_axes_count_frames_the_last_of_them_fastest(tmp_path, name, save):
    data = frames(6).reshape(2, 3, *SHAPE)
    save(tmp_path / name, data)
    assert_frames(play(str(tmp_path / name)), data.reshape(-1, *SHAPE))


def test_three_frames_are_no_colours_and_colours_no_frames(tmp_path):
    save = {"photometric": "rgb", "planarconfig": "separate"}  # the default of tifffile for these
    tifffile.imwrite(tmp_path / "three.tif", frames(3), **save)
    assert_frames(play(str(tmp_path / "three.tif")), frames(3))
    tifffile.imwrite(tmp_path / "colours.tif", np.zeros((5, *SHAPE, 3), "u1"), photometric="rgb")
    with pytest.raises(UserError, match="is a colour image"):
        play(str(tmp_path / "colours.tif"))


@pytest.mark.parametrize("version", [2, 3])
def test_numbers_of_a_store_that_stand_for_others_are_what_they_stand_for(tmp_path, version):
    zarr = pytest.importorskip("zarr")
    data = frames(4)
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=version)
    array = root.create_array("data", shape=data.shape, dtype="<u2", chunks=(1, *SHAPE))
    array[:] = data
    array.attrs.update({"scale_factor": 0.25, "add_offset": 2.0, "_FillValue": 7})
    events = play(str(tmp_path / "a.zarr"))
    expected = np.where(data == 7, np.nan, data * np.float32(0.25) + np.float32(2.0))
    assert_frames(events, expected)
    (told,) = events[0].metadata["warnings"]
    assert told == "its numbers are multiplied by 0.25 and 2 is added, as it says"
