"""Pixels in full resolution, as a page gets them, held against the frames."""

from __future__ import annotations

import numpy as np
import pytest
from websockets.sync.client import connect

from streamer.config import load_config
from streamer.dashboard.hub import Hub
from streamer.dashboard.image import regions
from streamer.dashboard.messages import encode
from streamer.dashboard.packing import Packed
from streamer.dashboard.place import geometry
from streamer.dashboard.requests import PointOf, RegionOf
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from streamer.frames.events import Frame
from streamer.frames.lattice import Lattice
from streamer.results.threshold_files import write_changes
from streamer.results.thresholds import Change
from tests.served import Served
from tests.unit.runs import make_run
from tests.unit.streamer.dashboard.test_server import decode

SETTINGS = ["detect.saturation=40000", "lattice.a=4.05", "lattice.centring=F"]


@pytest.fixture
def opened(tmp_path):
    """Opens a run of a recording of given pixels, with a mask."""
    views: list[RunView] = []

    def open_run(frames: np.ndarray, mask: np.ndarray | None = None, *more: str) -> RunView:
        np.save(tmp_path / "first.npy", frames)
        folder = make_run(tmp_path / "run", source=str(tmp_path / "first.npy"))
        settings = [*SETTINGS, *more]
        if mask is not None:
            np.save(tmp_path / "mask.npy", mask)
            settings.append(f"detect.mask={tmp_path / 'mask.npy'}")
        (folder.path / "config.yaml").write_text(load_config(None, settings).to_yaml())
        view = RunView(folder.path)
        while view.archive.refresh(10.0):
            pass
        view.refresh_tables()
        views.append(view)
        return view

    yield open_run
    for view in views:
        view.close()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f4", "f8", ">u2"])
def test_packed_values_are_the_same_in_their_own_type(dtype):
    rng = np.random.default_rng(3)
    array = rng.normal(60, 50, (31, 17)).astype(dtype)
    packed = Packed.of(array)
    assert packed.dtype == array.dtype.str[1:]
    np.testing.assert_array_equal(packed.unpacked(), array)
    assert Packed.of(np.zeros((0, 0), dtype)).unpacked().shape == (0, 0)


def test_a_picture_of_noise_takes_less_than_half_its_bytes():
    rng = np.random.default_rng(3)
    pixels = rng.poisson(30, (512, 512)).astype(np.uint16)
    assert len(encode("region", {}, {"counts": Packed.of(pixels)})) < pixels.nbytes / 2


@pytest.mark.parametrize("dtype", ["u2", "i4", "u4", "f4", "u8"])
def test_a_region_holds_the_counts_of_the_frame_with_what_is_wrong_with_them(opened, dtype):
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 30_000, (3, 60, 100)).astype(dtype)
    worthless = {"u": np.iinfo("u8").max, "i": -1, "f": np.nan}[np.dtype(dtype).kind]
    frames[1, 12, 20] = np.array(worthless, "f8" if dtype == "f4" else dtype[0] + "8").astype(dtype)
    frames[1, 13, 21] = 45_000
    mask = np.zeros((60, 100), bool)
    mask[14, 22] = True
    view = opened(frames, mask)
    wanted = RegionOf(row=10, col=15, rows=20, cols=30)
    header, arrays = decode(view.regions.cut(("first", 1), wanted).message("region"))
    assert (header["origin"], header["shape"], header["why"]) == ([10, 15], [60, 100], "")
    part = frames[1, 10:30, 15:45]
    marks = np.zeros(part.shape, np.uint8)
    marks[2, 5], marks[3, 6], marks[4, 7] = regions.WORTHLESS, regions.SATURATED, regions.OWN_MASK
    np.testing.assert_array_equal(arrays["marks"], marks)
    good = marks != regions.WORTHLESS
    np.testing.assert_array_equal(arrays["counts"][good], part[good])
    if dtype != "u8":
        assert arrays["counts"].dtype == np.dtype(dtype)
    for row, col in ((12, 20), (13, 21), (14, 22), (15, 23)):
        point, _ = decode(view.regions.point(("first", 1), PointOf(frame=1, row=row, col=col)))
        assert point["marks"] == marks[row - 10, col - 15]
        if row != 12:
            assert point["counts"] == frames[1, row, col]
    _, arrays = decode(view.regions.whole(("first", 1)).message("whole"))
    assert arrays["counts"].shape == (60, 100)


def test_of_several_pixels_in_one_the_highest_valid_is_told(opened):
    frames = np.arange(60 * 100, dtype=np.uint16).reshape(1, 60, 100)
    frames[0, 31, 44] = 65535
    mask = np.zeros((60, 100), bool)
    mask[33:36, 48:51] = True
    view = opened(frames, mask)
    wanted = RegionOf(row=31, col=44, rows=9, cols=9, binning=3)
    region = view.regions.cut(("first", 0), wanted)
    assert region.header["origin"] == [30, 42]  # bins are the same wherever one looks
    assert region.counts[0, 0] == frames[0, 32, 44]
    assert region.marks[1, 2] == regions.MASKED
    assert region.counts[2, 3] == frames[0, 38, 52]


def test_a_window_that_is_too_large_or_outside_or_gone_is_answered_in_words(opened, tmp_path):
    view = opened(np.zeros((1, 60, 100), np.uint16))
    too_many = RegionOf(rows=10_000, cols=10_000)
    assert "zoom in" in view.regions.cut(("first", 0), too_many).header["why"]
    assert not view.regions.cut(("first", 0), RegionOf(row=60, rows=5, cols=5)).counts.size
    assert view.regions.cut(("first", 7), RegionOf(rows=5, cols=5)).header["why"]
    point, _ = decode(view.regions.point(("second", 0), PointOf(frame=0, row=1, col=1)))
    assert point["counts"] is None
    assert "holds series first" in point["why"]


def test_integers_that_no_page_can_hold_are_refused(opened):
    frames = np.full((1, 60, 100), (1 << 53) + 1, np.uint64)
    view = opened(frames)
    region = view.regions.cut(("first", 0), RegionOf(rows=5, cols=5))
    assert "2⁵³" in region.header["why"]


def test_the_place_of_the_detector_and_rings_of_the_lattice_are_told(opened):
    view = opened(np.zeros((1, 60, 100), np.uint16))
    header, _ = decode(geometry(view))
    assert header["beam"] == pytest.approx([20.0, 24.0])
    assert header["place"]["rotation"] == pytest.approx(np.eye(3).reshape(-1).tolist())
    assert [ring["words"] for ring in header["rings"][:4]] == ["1 1 1", "2 0 0", "2 2 0", "3 1 1"]
    assert header["rings"][1]["d"] == pytest.approx(4.05 / 2)


def test_a_whole_frame_says_which_thresholds_its_peaks_were_found_with(opened, tmp_path):
    view = opened(np.zeros((30, 60, 100), np.uint16))
    frame, last = ("first", 8), ("second", 29)
    assert view.whole(frame).header["thresholds"] == "minval auto, minscore auto"

    def change(minval: float, series: str = "", number: int = -1) -> Change:
        return Change(id=f"{minval}", time_ns=1, minval=minval, minscore=2 * minval,
                      series=series, frame=number)  # fmt: skip

    write_changes(tmp_path / "run", [change(10, "first", 8), change(20, "second", 3), change(30)])
    assert "minval auto" in view.whole(("first", 6)).header["thresholds"]
    assert view.whole(frame).header["thresholds"] == "minval 10.0, minscore 20.0"
    assert "minval 10.0" in view.whole(("second", 2)).header["thresholds"]
    assert "minval 20.0" in view.whole(last).header["thresholds"]
    assert not view.whole(("sum of frames", 3)).header["thresholds"]  # some with these, some others


@pytest.mark.parametrize(
    ("cell", "centring"), [((4.05,) * 3, "F"), ((2.8, 2.8, 14.2), "R"), ((5.0, 6.0, 9.0), "P")]
)
def test_the_largest_spacings_leave_none_out(cell, centring):
    angles = (90.0, 90.0, 120.0) if centring == "R" else (90.0,) * 3
    lattice = Lattice((*cell, *angles), centring)
    many = [d for _, d in lattice.largest(40)]
    assert many == sorted(many, reverse=True)
    assert [d for _, d in lattice.largest(5)] == many[:5]
    index = np.array([hkl for hkl, _ in lattice.largest(40)])
    assert lattice.index(np.array(many)).hkl.shape == index.shape


def test_the_first_picture_of_a_large_frame_is_a_coarse_one(opened):
    rng = np.random.default_rng(2)
    frames = np.zeros((30, 300, 400), np.uint16)
    frames[3] = rng.integers(0, 900, (300, 400))
    mask = np.zeros((300, 400), bool)
    mask[:40, :40] = True
    view = opened(frames, mask)
    with Served(application(Hub(view))) as served:
        address = served.url.replace("http", "ws") + "ws"
        with connect(address, proxy=None, max_size=None) as viewer:
            viewer.send('{"type": "show", "frame": 3, "series": "first"}')
            heard = []
            while len(heard) < 2 or heard[-1][0]["coarse"]:
                header, arrays = decode(viewer.recv(20))
                # Before it is asked it shows the newest, of which there are no pixels.
                if header["type"] == "image" and header["series"] == "first":
                    heard.append((header, arrays))
    (coarse, few), (whole, all_of_them) = heard[0], heard[-1]
    assert coarse["coarse"]
    assert (coarse["binning"], whole["binning"]) == (4, 1)
    assert few["pixels"].shape == (75, 100)
    if coarse["frame"] == whole["frame"]:
        blocks = all_of_them["pixels"].reshape(75, 4, 100, 4).max((1, 3))
        np.testing.assert_array_equal(few["pixels"], blocks)


def test_a_frame_that_somebody_looks_at_stays_however_many_come_after_it(opened):
    view = opened(np.zeros((30, 60, 100), np.uint16))
    relayed = view.frames._relayed
    view.frames.look_at([("second", 3)])
    for frame in range(400):
        pixels = np.full((60, 100), frame, np.uint16)
        relayed._keep(
            Frame(series="second", frame=frame, time_ns=0, shape=(60, 100), dtype="<u2",
                  encoding="raw", data=memoryview(pixels.tobytes()))
        )  # fmt: skip
    assert len(relayed.frames) == 200
    region = view.regions.cut(("second", 3), RegionOf(rows=5, cols=5))
    assert (region.counts == 3).all()
    view.frames.look_at([])
    relayed._keep(
        Frame(series="second", frame=400, time_ns=0, shape=(60, 100), dtype="<u2", encoding="raw",
              data=memoryview(pixels.tobytes()))
    )  # fmt: skip
    assert ("second", 3) not in relayed.frames
