from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import time
import urllib.error
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zmq

from streamer.config import Config
from streamer.dashboard import panels
from streamer.dashboard.archive import Archive
from streamer.dashboard.cell import cell_message
from streamer.dashboard.fitter import fitted
from streamer.dashboard.hub import Hub
from streamer.dashboard.messages import DriftWriter, encode
from streamer.dashboard.packing import Packed
from streamer.dashboard.requests import Hold, PatchOf, Show, Watch, read_request
from streamer.dashboard.server import STATIC, application
from streamer.dashboard.state import RunState, lost_words
from streamer.dashboard.view import RunView
from streamer.dashboard.viewers import Viewer
from streamer.errors import UserError
from streamer.frames.display import cut_patch, display
from streamer.frames.events import Frame
from streamer.results.folder import RunFolder
from streamer.results.merging import merge_next
from streamer.results.schema import CELL, FRAMES, MOTION, PEAKS
from streamer.run.launcher import this_process
from streamer.run.sidecar import address_of, listen
from streamer.sink.feed import Feed
from streamer.transport.guard import is_own_name, is_own_origin
from tests.served import Served
from tests.unit import runs

TIME_NS = 1_790_000_000_000_000_000


def decode(message: bytes):
    """Return the header and the arrays of a message, as the page reads it."""
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    arrays = {}
    for entry in header.pop("arrays"):
        count, offset = math.prod(entry["shape"]), int(entry["offset"])
        assert offset % 8 == 0
        if "packed" in entry:
            data = message[offset : offset + entry["packed"]]
            packed = Packed(entry["dtype"], tuple(entry["shape"]), data)
            arrays[entry["name"]] = packed.unpacked()
            continue
        flat = np.frombuffer(message, entry["dtype"], count, offset)
        arrays[entry["name"]] = flat.reshape(entry["shape"])
    return header, arrays


def tables(series: list[str], frames: list[int], states: list[str], peaks: dict, counts=None):
    """Return a part: its frames and its peaks."""
    n, m = len(frames), len(peaks["frame"])
    columns = {
        "series": series, "frame": frames, "state": states, "reason": [""] * n,
        "time_ns": [TIME_NS + frame * 10_000_000 for frame in frames],
        "n_peaks": np.zeros(n, np.int32), "latency_ms": np.ones(n), "count": counts or [1] * n,
        **dict.fromkeys(MOTION, np.full(n, np.nan)),
    }  # fmt: skip
    filled = {
        name: peaks.get(name, np.zeros(m, np.int32 if name.startswith("peak") else np.float64))
        for name in PEAKS.names
    }
    filled["d"] = peaks.get("d", np.full(m, np.nan))
    filled["flags"] = np.asarray(filled["flags"], np.int32)
    filled["time_ns"] = TIME_NS + np.asarray(peaks["frame"]) * 10_000_000
    return (
        pa.table({name: columns[name] for name in FRAMES.names}, schema=FRAMES),
        pa.table({name: filled[name] for name in PEAKS.names}, schema=PEAKS),
    )


def random_part(rng, frames: dict[str, range], n_tracks: int):
    names = [(name, frame) for name, numbers in frames.items() for frame in numbers]
    rng.shuffle(names)
    states = rng.choice(["done", "missing"], len(names), p=[0.8, 0.2]).tolist()
    rows = [
        (name, frame, track)
        for (name, frame), state in zip(names, states, strict=True)
        for track in rng.permutation(n_tracks)[: rng.integers(0, n_tracks + 1)]
        if state == "done"
    ]
    m = len(rows)
    peaks = {
        "series": [row[0] for row in rows],
        "frame": [row[1] for row in rows],
        "track": np.array([row[2] + 100 * (row[0] == "b") for row in rows], np.int64),
        **{name: rng.normal(50, 9, m) for name in ("row", "col", "d", "score")},
        **{name: rng.uniform(0.01, 0.1, m) for name in ("row_sigma", "col_sigma", "d_sigma")},
    }
    return tables([name for name, _ in names], [frame for _, frame in names], states, peaks)


def make_run(out, *parts, **summary) -> RunFolder:
    folder = RunFolder.create(out)
    for index, (frames, peaks) in enumerate(parts):
        folder.write_part(index, frames, peaks, upto=0, next_track=0)
    done = {"state": "done", "source": "nowhere.h5", "frames": {"done": 1}, "peaks": 0}
    folder.write_summary(done | summary)
    return folder


def one_track(rng, n=100, **columns):
    """Return a part with a peak of track 7 on each frame."""
    values = {
        "row": 30 + np.arange(n) * 0.01,
        "col": np.full(n, 80.0),
        "row_sigma": rng.uniform(0.01, 0.1, n),
        "col_sigma": rng.uniform(0.01, 0.1, n),
    }
    peaks = {"series": ["a"] * n, "frame": list(range(n)), "track": np.full(n, 7)}
    return tables(["a"] * n, list(range(n)), ["done"] * n, peaks | values | columns)


@pytest.mark.parametrize("merges", [False, True])
def test_an_archive_holds_what_the_parts_do_as_they_appear(tmp_path, monkeypatch, merges):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 4)
    rng = np.random.default_rng(1)
    folder = make_run(tmp_path / "run")
    archive = Archive(folder.path)
    assert not archive.refresh(1.0)
    for index in range(12):
        chosen = {"ab"[index // 8]: range(60 * index, 60 * index + 60)}
        if index == 7:
            chosen["b"] = range(5)
        folder.write_part(index, *random_part(rng, chosen, 40), upto=0, next_track=0)
        if index % 3 == 2:
            assert archive.refresh(10.0)
            assert len(archive.observations(3)) > 0
        if merges:
            merge_next(folder.path)
    assert len(folder.parts("frames")) == (3 if merges else 12)
    frames, peaks = folder.read("frames"), folder.read("peaks").to_pandas()
    assert len(archive.frames) == frames.num_rows
    assert len(archive.peaks) == len(peaks) > 8192  # so that the index was merged
    for row in frames.slice(0, 400).to_pylist()[::7]:
        found = archive.find(row["series"], row["frame"])
        mine = archive.peaks.take(np.arange(*archive.peaks_of(found).indices(10**9)))
        theirs = peaks[(peaks.series == row["series"]) & (peaks.frame == row["frame"])]
        assert mine["row"].tolist() == theirs.row.tolist()
        assert mine["track"].tolist() == theirs.track.tolist()
    for track in (0, 17, 39, 100, 139):
        mine = archive.peaks.take(archive.observations(track))
        assert mine["row"].tolist() == peaks[peaks.track == track].row.tolist()
    assert archive.find("a", 10**6) is None
    assert archive.find("c", 0) is None
    assert len(archive.observations(999)) == 0
    missing = {
        (archive.series[series], frame)
        for (series, state), ranges in archive.losses.items()
        for first, last in ranges
        for frame in range(first, last + 1)
        if state == "missing"
    }
    lost = frames.filter(pa.compute.equal(frames["state"], "missing")).to_pylist()
    assert missing == {(row["series"], row["frame"]) for row in lost}


@pytest.mark.parametrize("seed", range(5))
def test_frames_are_counted_through_the_run_as_it_grows(tmp_path, seed):
    rng = np.random.default_rng(seed)
    folder = make_run(tmp_path / "run")
    archive = Archive(folder.path)
    assert archive.starts.tolist() == []
    assert archive.n_frames == 0
    assert len(archive.run_frames()) == 0
    lengths: dict[str, int] = {}
    for index in range(8):
        # The last series goes on, another begins, or what is missing of the first is told late.
        names = [*lengths, f"s{index}"]
        chosen = {names[rng.integers(len(names))]: 1, names[-1]: 1, names[0]: int(index == 6)}
        part = {name: range(lengths.get(name, 0), lengths.get(name, 0) + int(n * rng.integers(9)))
                for name, n in chosen.items()}  # fmt: skip
        part = {name: numbers for name, numbers in part.items() if numbers}
        if not part:
            continue
        frames, peaks = random_part(rng, part, 3)
        for name in dict.fromkeys(frames["series"].to_pylist()):  # in the order of appearance
            lengths[name] = part[name].stop
        folder.write_part(index, frames, peaks, upto=0, next_track=0)
        assert archive.refresh(10.0)
        starts = np.cumsum([0, *lengths.values()])
        assert archive.series == list(lengths)
        assert archive.starts.tolist() == starts[:-1].tolist()
        assert archive.n_frames == starts[-1]
        # Each number of the run once, those of a series in their order.
        assert sorted(archive.run_frames()) == list(range(archive.n_frames))
        for row in rng.integers(len(archive.frames), size=5):
            series = int(archive.frames["series"][row])
            number = starts[series] + archive.frames["frame"][row]
            assert archive.run_frames(np.array([row])).tolist() == [number]


def test_a_gap_of_any_length_is_one_row_of_an_archive(tmp_path):
    folder = make_run(tmp_path / "run")
    long = 2_000_000_000
    none = {"series": [], "frame": []}
    gap = tables(["a", "a"], [0, 1], ["done", "missing"], none, [1, long])
    folder.write_part(0, *gap, upto=0, next_track=0)
    last = tables(["b", "a"], [3, 1 + long], ["done", "shed"], none)
    folder.write_part(1, *last, upto=0, next_track=0)
    archive = Archive(folder.path)
    archive.refresh(10.0)
    assert len(archive.frames) == 4
    ends = (0, 1, 2, long, long + 1, long + 2)
    assert [archive.find("a", n) for n in ends] == [0, 1, 1, 1, 3, None]
    assert [archive.find("b", n) for n in (0, 2, 3, 4)] == [None, None, 2, None]
    assert archive.starts.tolist() == [0, long + 2]
    assert archive.n_frames == long + 6
    assert archive.losses == {(0, "missing"): [[1, long]], (0, "shed"): [[long + 1, long + 1]]}
    words = lost_words({"missing": long}, archive)
    assert words == "2,000,000,000 frames missing (a: 1 to 2000000000)"


def test_a_timeline_holds_the_ends_of_each_series_and_the_times_that_are_known(tmp_path):
    archive = Archive(tmp_path)
    assert [part.tolist() for part in archive.timeline(10)] == [[], []]
    lengths, times = [50, 1, 200, 30], []
    for series, n in enumerate(lengths):
        # Pauses of different lengths before each series.
        times.append(TIME_NS + series**2 * 10**12 + np.arange(n) * 10**9)
        columns = {"series": np.full(n, series), "frame": np.arange(n), "time_ns": times[-1]}
        columns["count"] = np.ones(n, np.int64)
        archive.frames.append(columns)
    lost = {"series": [3], "frame": [30], "count": [5]}  # no time
    archive.frames.append({name: np.array(values) for name, values in lost.items()})
    whole = np.concatenate(times)
    for most in (1, 7, 20, 1000):
        frames, moments = archive.timeline(most)
        assert np.all(np.diff(moments) > 0)
        assert np.array_equal(moments, whole[frames])
        starts = np.cumsum([0, *lengths[:-1]])
        assert {*starts, *(np.cumsum(lengths) - 1)} <= {*frames.tolist()}
        assert len(frames) <= 2 * most + 8
        # Other frames are between those that are there.
        between = np.interp((whole - TIME_NS) * 1e-9, (moments - TIME_NS) * 1e-9, frames)
        assert between == pytest.approx(np.arange(len(whole)), abs=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f4", "f8"])
def test_what_is_shown_of_a_frame(dtype):
    rng = np.random.default_rng(6)
    frame = rng.integers(0, 20, (700, 1100)).astype(dtype)
    frame[333, 1099] = 100
    bad = {"u": np.iinfo(dtype).max if dtype[0] == "u" else 0, "i": -1, "f": np.nan}[dtype[0]]
    frame[0:3, 0:3] = bad
    mask = np.zeros(frame.shape, bool)
    mask[6:9, 6:9], mask[333, 1098] = True, True
    frame[7, 7] = 110
    shown = display(frame, mask)
    assert shown.binning == 3
    assert shown.pixels.shape == (234, 367)
    assert shown.pixels[0, 0] == shown.pixels[2, 2] == 0
    assert (shown.pixels > 0).sum() == shown.pixels.size - 2
    level = int(shown.pixels[111, 366])
    assert level == shown.pixels.max() == 255
    # The levels mean counts, to half a level.
    span = (shown.high - shown.low) / shown.knee
    for row, col in ((5, 7), (100, 200), (233, 366)):
        level = int(shown.pixels[row, col])
        counts = frame[3 * row : 3 * row + 3, 3 * col : 3 * col + 3].max()
        if not shown.low < counts < shown.high:
            continue
        low, high = (
            shown.low + shown.knee * ((1 + span) ** ((level + half - 1) / 254) - 1)
            for half in (-0.51, 0.51)
        )
        assert low <= counts <= high


@pytest.mark.parametrize("frame", [np.full((8, 8), 255, np.uint8), np.zeros((8, 8), np.uint16)])
def test_frames_without_any_contrast_are_shown(frame):
    assert set(display(frame, None).pixels.ravel()) == ({0} if frame.max() else {1})


def test_a_patch_at_the_edge_is_not_valid_outside():
    frame = np.arange(400, dtype=np.uint16).reshape(20, 20)
    frame[2, 3] = 65535
    mask = np.zeros(frame.shape, bool)
    mask[1, 1] = True
    patch = cut_patch(frame, mask, 1.4, 18.6)
    assert (patch.row, patch.col) == (-4, 14)
    assert np.isnan(patch.counts[:4]).all()
    assert np.isnan(patch.counts[:, 6:]).all()
    assert patch.counts[5, 5] == frame[1, 19]
    patch = cut_patch(frame, mask, 5, 5)
    assert np.isnan(patch.counts).sum() == 2
    assert np.isnan(cut_patch(frame, None, 500, -90).counts).all()


def test_a_fit_is_told_in_detector_pixels():
    frame = np.ones((40, 40), np.uint16)
    mask = np.zeros(frame.shape, bool)
    mask[12, 21] = True

    def fit(counts, valid):
        assert (counts[~valid] == 0).all()
        assert np.argwhere(~valid).tolist() == [[7, 6]]
        return {"row": 0.25, "col": -0.5, "row_sigma": 0.1, "col_sigma": 0.2}

    found = fitted(cut_patch(frame, mask, 10.2, 20.4), fit)
    assert found == {"row": 10.25, "col": 19.5, "row_sigma": 0.1, "col_sigma": 0.2}
    assert fitted(cut_patch(frame, mask, 900, 900), fit) is None


def test_messages_are_aligned_and_say_nan_as_null():
    rng = np.random.default_rng(7)
    for n in range(40):
        arrays = {
            f"x{k}": rng.normal(size=(n % 5, k + 1)).astype(dtype)
            for k, dtype in enumerate(("u1", "f4", "i4", "f8"))
        }
        header, found = decode(encode("image", {"a": "é" * n, "b": [math.nan, 1.0]}, arrays))
        assert header == {"type": "image", "a": "é" * n, "b": [None, 1.0]}
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="array x has dtype i8"):
        encode("image", {}, {"x": np.zeros(1, np.int64)})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"type": "nonsense"}', '{"type": "watch", "tracks": ["a"]}',
        '{"type": "watch", "points": 1000000}', '{"type": "show", "frame": -1}', '{"tracks": []}',
        '{"type": "patch"}', '{"type": "watch", "quantity": "colour"}', "\ud800",
        '{"type": "patch", "frame": 1, "row": 1e300, "col": 0}', '{"type": "hold", "hold": 1}',
        '{"type": "watch", "tracks": [99999999999999999999]}',
    ],
)  # fmt: skip
def test_what_a_page_may_not_ask(text):
    with pytest.raises(ValueError, match="the page asked for what does not exist"):
        read_request(text)


def test_what_a_page_asks():
    asked = {"type": "watch", "tracks": [1], "quantity": "d", "x": "frame", "from": 1, "to": 2.5}
    assert read_request(json.dumps(asked | {"request": "a"})) == Watch(
        tracks=(1,), quantity="d", x="frame", begin=1, end=2.5, request="a"
    )
    assert read_request('{"type": "show", "more": 1}') == Show()


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        (None, "127.0.0.1:8350", True),
        ("http://127.0.0.1:8350", "127.0.0.1:8350", True),
        ("http://localhost:8350", "localhost:8350", True),
        ("http://[::1]:8350", "[::1]:8350", True),
        ("http://192.168.0.7:8350", "192.168.0.7:8350", True),
        ("http://evil.example", "127.0.0.1:8350", False),
        ("http://evil.example:8350", "evil.example:8350", False),  # its name made to mean ours
        ("http://127.0.0.1:8351", "127.0.0.1:8350", False),
        ("null", "127.0.0.1:8350", False),
        ("http://127.0.0.1:8350", "", False),
        (None, "", False),
        (None, "evil.example", False),
    ],
)
def test_only_our_own_page_may_listen(origin, host, own):
    assert (is_own_name(host) and is_own_origin(origin, host)) == own
    assert is_own_name(f"{socket.gethostname()}:1")


def test_a_port_in_use_is_passed_over():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}/"
        if port < 65535:
            with listen("127.0.0.1", port) as second:
                assert second.getsockname()[1] > port
    with pytest.raises(UserError, match=r"dashboard.host = '192.0.2.1'"):
        listen("192.0.2.1", 0)
    with pytest.raises(UserError, match="is no address"):
        listen("no such host", 0)


def test_half_cycles_are_told_with_the_frames_they_begin_and_end_on():
    seconds = np.arange(10)
    readings = pa.table(
        {
            "time_ns": TIME_NS + seconds * 10**9,
            "voltage_v": seconds * 0.1,
            "current_a": np.ones(10),
            "capacity_ah": np.ones(10),
            "half_cycle": np.array([-1, 0, 0, 0, 0, -1, 1, 1, 1, 1], np.int32),
            "kind": ["rest", *["charge"] * 4, "rest", *["discharge"] * 4],
            "kind_from": ["current"] * 10,
        },
        schema=CELL,
    )
    frames = np.arange(700)
    header, arrays = decode(cell_message(readings, TIME_NS + frames * 10**7, frames))
    charge, discharge = header["half_cycles"]
    assert (charge["kind"], charge["start_frame"], charge["stop_frame"]) == ("charge", 100, 400)
    assert (discharge["start_frame"], discharge["stop_frame"]) == (600, None)
    assert charge["stop"] - charge["start"] == pytest.approx(3.0)
    assert arrays["frame"][2] == 200
    assert arrays["voltage"][5] == pytest.approx(0.5)
    # A frame that was lost with its time was not the first, nor does its place matter.
    lost = np.append(TIME_NS + frames * 10**7, 0), np.append(frames, 700)
    assert decode(cell_message(readings, *lost))[0] == header
    empty = decode(cell_message(CELL.empty_table(), frames[:0], frames[:0]))
    assert empty[0]["half_cycles"] == []


def test_what_is_beyond_its_limits_is_said(tmp_path):
    run = make_run(tmp_path / "run")
    run.write_summary(run.read_summary() | {"state": "running"})
    words = "track 3: drift 7 px is above hihi 5"
    (run.path / "live.json").write_text(json.dumps({"phase": "running", "alarms": words}))
    assert words in RunState(run.path).health(Archive(run.path))["lost"]


def test_what_is_lost_is_said_with_its_frames(tmp_path):
    states = ["done", "missing", "missing", "done", "failed", "missing"]
    none = {"series": [], "frame": np.empty(0, np.int64), "track": np.empty(0, np.int64)}
    counts = {"done": 2, "missing": 3, "failed": 1, "shed": 0}
    folder = make_run(
        tmp_path / "run", tables(["a"] * 6, list(range(6)), states, none), frames=counts
    )
    archive = Archive(folder.path)
    archive.refresh(1.0)
    health = RunState(folder.path).health(archive)
    assert health["lost"] == "3 frames missing (a: 1 to 2, 5), 1 frame failed (a: 4)"
    assert health["phase"] == "done"


def test_a_run_that_has_gone_silent_is_stale_and_rates_are_those_of_late(tmp_path):
    folder = make_run(tmp_path / "run", state="running")
    state, archive = RunState(folder.path), Archive(folder.path)
    assert state.health(archive)["phase"] == "starting"
    live = folder.path / "live.json"
    for second in range(3):
        now = {"phase": "running", "elapsed_s": second, "received": 100 * second}
        now |= {"frames": {"done": 50 * second}, "latency_ms": 3.0}
        now["waiting"] = {"backlog": 4, "window": 5, "late": ""}
        live.write_text(json.dumps(now))
        stamp = time.time() - 100 + second
        os.utime(folder.path / "run.json", (stamp - 5, stamp - 5))
        os.utime(live, (stamp, stamp))
        state._heard_s = min(state._heard_s, stamp - 1)
        state.refresh()
    health = state.health(archive)
    assert (health["frames_in_hz"], health["frames_out_hz"]) == (100.0, 50.0)
    assert health["backlog"] == 9
    assert 95 < health["stale_s"] < 110
    live.write_text("{half of it")
    state.refresh()
    assert state.health(archive)["latency_ms"] == 3.0
    folder.write_summary(folder.read_summary() | {"state": "done"})
    state.refresh()
    assert not state.live
    assert state.stale_s == 0.0


def test_what_has_to_be_looked_after_at_once_is_an_alarm(tmp_path):
    folder = make_run(tmp_path / "run", state="running", advice=[])
    state, archive = RunState(folder.path), Archive(folder.path)
    assert not state.health(archive, "something to think of")["alarm"]
    waiting = {"late": "8 announced", "gone": "detector gone since 14:05:05", "disk": "disk full"}
    for name, words in waiting.items():
        state.now = {"waiting": {name: words}}
        health = state.health(archive)
        assert (health["lost"], health["alarm"]) == (words, True)
    state.now = {"waiting": {}, "cell": "cell silent for 40 s"}
    assert state.health(archive)["alarm"]


def test_a_run_whose_launcher_died_is_over(tmp_path):
    folder = make_run(tmp_path / "run", state="running")
    launcher = this_process()
    folder.write_summary(folder.read_summary() | {"launcher": launcher})
    now = {"phase": "running", "elapsed_s": 3.0, "received": 9, "frames": {"done": 7}}
    now["waiting"] = {"late": "2 announced and not come (1: 7 to 8)"}
    hosts = {"sink": "10.0.0.2", "gpu-0": "10.0.0.1", "ingest": "10.0.0.2"}
    now["nodes"] = [{"name": name, "host": host} for name, host in hosts.items()]
    (folder.path / "live.json").write_text(json.dumps(now))
    state, archive = RunState(folder.path), Archive(folder.path)
    assert state.live
    assert state.health(archive)["lost"] == "2 announced and not come (1: 7 to 8)"
    assert state.health(archive)["hosts"] == "10.0.0.1: gpu-0\n10.0.0.2: sink, ingest"
    launcher["start"] -= 1  # a process of that number that is not there any more
    folder.write_summary(folder.read_summary() | {"launcher": launcher})
    for _ in range(2):
        state.refresh()
        assert not state.live
        health = state.health(archive)
        assert health["phase"] == "the launcher died"
        assert (health["frames"]["done"], health["elapsed_s"]) == (7, 3.0)
    folder.write_summary(folder.read_summary() | {"state": "done"})
    state.refresh()
    assert state.health(archive)["phase"] == "done"


@pytest.fixture
def view(tmp_path):
    """A run of 20 frames with its recording, 60 x 100 pixels."""
    rng = np.random.default_rng(8)
    stack = rng.integers(0, 50, (20, 60, 100)).astype(np.uint16)
    stack[:, 30, 80] = 1000
    np.save(tmp_path / "a.npy", stack)
    folder = make_run(
        tmp_path / "run", one_track(rng, 20), source=str(tmp_path / "a.npy"), software={}
    )
    (folder.path / "config.yaml").write_text(Config().to_yaml())
    one = RunView(folder.path)
    one.refresh()
    one.refresh_tables()
    yield one
    one.close()


def test_frames_of_a_run_that_is_over_come_from_its_recording(view, tmp_path):
    key = view.frames.newest()
    assert key == ("a", 19)
    header, arrays = decode(view.frames.image(key, newest=True))
    stack = np.load(tmp_path / "a.npy")
    assert header["shape"] == [60, 100]
    assert header["has_pixels"]
    assert not header["newest"]
    np.testing.assert_array_equal(arrays["pixels"], display(stack[19], None).pixels)
    assert arrays["row"] == pytest.approx([30.19])
    assert arrays["track"].tolist() == [7.0]
    found = view.frames.patch(PatchOf(frame=3, row=30.4, col=80.0))
    assert found.header["track"] == 7
    assert found.header["origin"] == [25, 75]
    np.testing.assert_array_equal(found.patch.counts, stack[3, 25:36, 75:86])


def test_without_the_recording_the_peaks_are_shown_and_why(view, tmp_path):
    (tmp_path / "a.npy").unlink()
    header, arrays = decode(view.frames.image(("a", 4), newest=False))
    assert not header["has_pixels"]
    assert "does not exist" in header["why"]
    assert len(arrays["row"]) == 1
    assert header["shape"][0] > 30
    assert header["shape"][1] > 80
    patch = view.frames.patch(PatchOf(frame=4, row=30, col=80))
    assert patch.patch is None
    assert "does not exist" in patch.header["why"]


def test_of_a_stream_that_was_not_recorded_the_last_frame_that_was_seen_stays(view, tmp_path):
    (tmp_path / "a.npy").unlink()
    for frame in (17, 18, 90):  # the last two that came are 19, which was missed, and no result
        pixels = np.full((60, 100), frame, np.uint16)
        view.frames._relayed._keep(
            Frame(series="a", frame=frame, time_ns=0, shape=(60, 100), dtype="<u2",
                  encoding="raw", data=pixels.tobytes())
        )  # fmt: skip
    assert view.frames.newest() == ("a", 18)


def test_without_geometry_drifts_are_distances_and_spacings_a_problem(view):
    header, arrays = decode(DriftWriter().write(view.drift(Watch(tracks=(7, 99), request=3))))
    assert header["quantity"] == "distance"
    assert (header["request"], header["unit"]) == (3, "px")
    assert header["lines"] == [[7, 0, 0, 20], [99, 0, 0, 0]]
    assert len(arrays["y"]) == 20
    header, _ = decode(view.drift(Watch(tracks=(7,), quantity="strain")))
    assert header["type"] == "problem"
    assert "not known" in header["text"]
    assert view.hello()["quantities"][:4] == ["distance", "row", "col", "intensity"]


def test_the_newest_images_are_shown_in_turn_when_their_peaks_are_there(view):
    view.state.summary["state"] = "running"

    def relay(frames):
        for frame in frames:
            pixels = np.full((60, 100), frame, np.uint16)
            view.frames._relayed._keep(
                Frame(series="a", frame=frame, time_ns=0, shape=(60, 100), dtype="<u2",
                      encoding="raw", data=pixels.tobytes())
            )  # fmt: skip

    relay([30, 40])  # beyond what is on disk
    assert view.frames.newest() is None
    relay([3, 5, 6])
    view.frames._relayed.frames.move_to_end(("a", 30))
    view.frames._relayed.frames.move_to_end(("a", 40))
    shown = [view.frames.newest() for _ in range(4)]
    assert [frame for _, frame in shown] == [3, 5, 6, 6]
    header, arrays = decode(view.frames.image(("a", 5), newest=True))
    assert header["newest"]
    assert header["settled"]
    relay(range(100, 140))  # far ahead of the peaks: shown without
    assert view.frames.newest() == ("a", 139)
    header, arrays = decode(view.frames.image(("a", 139), newest=True))
    assert not header["settled"]
    assert len(arrays["row"]) == 0
    relay(range(1000, 1300))
    assert len(view.frames._relayed.frames) == 200


def test_peaks_that_are_not_on_disk_yet_are_shown_and_told_to_be_provisional(view):
    view.state.summary["state"] = "running"
    with zmq.Context() as context:
        feed = Feed(context, "tcp://127.0.0.1:*")
        view.state.now["feed"] = feed.address

        def heard(frames, *, watched=True):
            """Say peaks of frames until they, or nothing, are known of."""
            n = len(frames)
            columns = {name: np.full(n, 3.5) for name in ("row", "col", "row_sigma", "col_sigma",
                                                          "score", "latency_ms")}  # fmt: skip
            columns |= {name: np.zeros(n, np.int64) for name in ("series", "track", "flags")}
            columns |= {"frame": np.array(frames)}
            while feed.wants("provisional") != watched:
                view.refresh(watched=watched)
                feed.listen()
            feed.publish("provisional", ["a"], columns)
            while watched and ("a", frames[-1]) not in view._provisional.frames:
                view.refresh(watched=watched)

        heard([19, 50, 50, 51])
        for frame in (19, 49, 50, 51, 52):
            pixels = np.full((60, 100), frame, np.uint16)
            view.frames._relayed._keep(
                Frame(series="a", frame=frame, time_ns=0, shape=(60, 100), dtype="<u2",
                      encoding="raw", data=pixels.tobytes())
            )  # fmt: skip
        assert [view.frames.newest()[1] for _ in range(3)] == [50, 51, 51]
        header, arrays = decode(view.frames.image(("a", 50), newest=True))
        assert (header["settled"], header["provisional"]) == (False, True)
        assert arrays["row"].tolist() == [3.5, 3.5]
        assert view.frames.patch(PatchOf(frame=50, row=3, col=4)).header["placed"] == [3.5, 3.5]
        # What is on disk stands above it.
        header, arrays = decode(view.frames.image(("a", 19), newest=True))
        assert (header["settled"], header["provisional"]) == (True, False)
        assert arrays["row"] == pytest.approx([30.19])
        assert view.health()["seen_ms"] == 3.5
        heard([60], watched=False)  # nobody looks: the sink need not say
        feed.close()


@pytest.fixture
def two_series(tmp_path):
    """A run of two series, 20 and 15 frames, ten seconds apart, of which nothing is read yet."""
    rng = np.random.default_rng(9)
    first, second = one_track(rng, 20), one_track(rng, 15)
    moved = []
    for table in second:
        columns = dict(zip(table.column_names, table.columns, strict=True))
        columns["series"] = pa.array(["b"] * 15)
        columns["time_ns"] = pa.compute.add(table["time_ns"], 10**10)
        moved.append(pa.table(columns, schema=table.schema))
    folder = make_run(tmp_path / "run", first, tuple(moved), source="nowhere.npy", software={})
    (folder.path / "config.yaml").write_text(Config().to_yaml())
    one = RunView(folder.path)
    yield one
    one.close()


def test_series_stand_one_behind_the_other(two_series, tmp_path):
    times = TIME_NS + np.arange(-1, 13) * 10**9
    empty = {name: np.zeros(14) for name in CELL.names}
    empty |= {"kind": ["rest"] * 14, "kind_from": ["current"] * 14}
    readings = empty | {"time_ns": times, "half_cycle": np.full(14, -1, np.int32)}
    pq.write_table(pa.table(readings, schema=CELL), tmp_path / "run" / "cell.parquet")
    one = two_series
    one.refresh_tables()  # before there is any frame
    early = one.tables.cell_version, one.tables.tracks_version
    while one.archive.refresh(1.0):
        pass
    one.refresh()
    one.refresh_tables()
    assert one.tables.cell_version > early[0]
    assert one.tables.tracks_version > early[1]
    hello = one.hello()
    assert (hello["series"], hello["starts"], hello["n_frames"]) == (["a", "b"], [0, 20], 35)
    assert one.state.health(one.archive)["n_frames"] == 35
    # The track goes on from one series to the other, along one axis.
    _, lines = decode(DriftWriter().write(one.drift(Watch(tracks=(7,), x="frame"))))
    assert lines["x"].tolist() == list(range(35))
    header, _ = decode(panels.tracks(one))
    frames, moments = header["timeline"]
    assert {0, 19, 20, 34} <= set(frames)
    assert moments[frames.index(20)] - moments[frames.index(0)] == pytest.approx(10.0)
    _, cell = decode(panels.cell(one))
    known = np.isfinite(cell["frame"])
    assert np.flatnonzero(known).tolist() == list(range(1, 12))
    assert cell["frame"][known].tolist() == [0.0, *[19.0] * 9, 20.0]
    # A frame is shown by its number in its series.
    header, _ = decode(one.frames.image(("b", 3), newest=False))
    assert (header["series"], header["frame"], header["settled"]) == ("b", 3, True)
    told = one.tables.tracks_version
    one.refresh_tables()
    assert one.tables.tracks_version == told  # once is enough


def test_series_of_which_there_are_images_alone_come_last(two_series):
    one = two_series
    while one.archive.refresh(1.0):
        pass
    for key in [("b", 17), ("c", 0), ("c", 4), ("d", 2)]:  # newer than what is settled
        one.frames._relayed.frames[key] = None
    hello = one.hello()
    assert dict(zip(hello["series"], hello["starts"], strict=True)) == {
        "a": 0, "b": 20, "c": 38, "d": 43,
    }  # fmt: skip
    assert hello["n_frames"] == 46


def test_a_viewer_has_one_place_for_each_type():
    class Stuck:
        def __init__(self):
            self.go, self.sent = asyncio.Event(), []

        async def send_bytes(self, message):
            self.sent.append(message)
            await self.go.wait()

    async def play():
        socket_ = Stuck()
        viewer = Viewer(socket_)
        task = asyncio.create_task(viewer.send())
        viewer.put("image", b"0")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for n in range(1, 1000):
            viewer.put("image", b"%d" % n)
            viewer.put("health", b"h%d" % n)
        assert viewer.dropped == 2 * 998
        socket_.go.set()
        while len(socket_.sent) < 3:
            await asyncio.sleep(0)
        task.cancel()
        return socket_.sent

    assert asyncio.run(play()) == [b"0", b"999", b"h999"]


def test_what_a_page_says_when_it_comes_has_nothing_sent_twice():
    viewer = Viewer(None)
    viewer.sent |= {"image": 1, "tracks": 1}
    viewer.take(Hold(hold=False))
    viewer.take(Show())
    assert viewer.sent == {"image": 1, "tracks": 1}
    viewer.take(Show(frame=3))
    assert viewer.sent == {"tracks": 1}
    viewer.take(Hold(hold=True))
    viewer.take(Hold(hold=False))
    assert viewer.sent == {}


def test_scripts_are_served_as_they_are_but_for_comments(tmp_path):
    def code(text):
        told = (line.strip() for line in text.splitlines())
        return [line for line in told if line and not line.startswith(("//", "/**", "*"))]

    hub = Hub(RunView(runs.make_run(tmp_path / "run").path))
    scripts = sorted(STATIC.rglob("*.js"))
    assert len(scripts) > 40
    with Served(application(hub)) as served:
        for path in scripts:
            name = path.relative_to(STATIC).as_posix()
            with urllib.request.urlopen(served.url + name) as answer:
                text, tag = answer.read().decode(), answer.headers["etag"]
            whole = path.read_text()
            assert [line for line in text.splitlines() if line] == code(whole), name
            assert len(text) < len(whole) or "vendor" in name
        again = urllib.request.Request(served.url + name, headers={"If-None-Match": tag})
        with pytest.raises(urllib.error.HTTPError, match="304"):
            urllib.request.urlopen(again)
