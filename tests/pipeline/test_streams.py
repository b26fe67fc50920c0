"""Live streams beside the run itself: recorded, checked, relayed and followed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from streamer.config import SourceConfig
from streamer.frames.events import Frame
from streamer.results.folder import RunFolder
from streamer.sources import open_source
from tests.pipeline.conftest import (
    FRAMES,
    LAUNCH,
    QUICK,
    assert_each_frame_once,
    frames_of,
    launch,
    run,
    summary_of,
)
from tests.settings import sets

SETS = sets(*QUICK)


def coded(path):
    """Return number, time and bytes of every frame of a recording."""
    source = open_source(path, SourceConfig())
    events = source.read(10_000)
    source.close()
    return [(e.frame, e.time_ns, bytes(e.data)) for e in events if isinstance(e, Frame)]


def test_a_stream_is_recorded_while_it_is_processed_and_replays_the_same(detector, tmp_path):
    uri = detector("--rate", "100")
    live, again = tmp_path / "live", tmp_path / "again"
    recorded = tmp_path / "cycle.h5"
    ran = launch("attach", uri, "--out", str(live), "--record", str(recorded), *SETS)
    assert ran.returncode == 0, ran.stderr
    ran = launch("replay", str(recorded), "--out", str(again), *SETS)
    assert ran.returncode == 0, ran.stderr
    assert_each_frame_once(again)
    names = ["frame", "time_ns", "peak_row", "peak_col", "score", "row", "col", "flags"]
    peaks = [RunFolder(out).read("peaks").select(names) for out in (live, again)]
    order = [("frame", "ascending"), ("peak_row", "ascending"), ("peak_col", "ascending")]
    assert peaks[0].sort_by(order).equals(peaks[1].sort_by(order))
    books = summary_of(live)["series"]["series_1"]
    assert (books["announced"], books["received"], books["done"]) == (FRAMES, FRAMES, FRAMES)
    assert (books["missing"], books["missing_frames"], books["end"]) == (0, [], "end")


def test_a_stream_is_recorded_byte_for_byte(detector, recording, tmp_path):
    uri = detector("--rate", "max")
    path = tmp_path / "cycle_master.h5"
    ran = launch("record", uri, "--out", str(path))
    assert ran.returncode == 0, ran.stderr
    assert f"{FRAMES} frames" in ran.stdout
    sent = [(number, data) for number, _, data in coded(recording)]
    assert [(number, data) for number, _, data in coded(path)] == sent
    ran = launch("record", uri, "--out", str(path))
    assert ran.returncode == 2
    assert "exists: choose another name" in ran.stderr


def test_a_recording_is_followed_while_it_is_made(detector, tmp_path):
    uri = detector("--rate", "40")
    path = tmp_path / "cycle.h5"
    writer = subprocess.Popen([sys.executable, str(LAUNCH), "record", uri, "--out", str(path)])
    try:
        started = threading.Event()
        while not path.exists():
            assert writer.poll() is None
            started.wait(0.05)
        out = tmp_path / "run"
        ran = launch("replay", str(path), "--follow", "--out", str(out), *SETS)
        assert ran.returncode == 0, ran.stderr
        assert writer.wait(30) == 0
    finally:
        writer.kill()
        writer.wait()
    assert_each_frame_once(out)


def test_a_live_series_is_gone_on_with_when_its_ingest_node_dies(detector, tmp_path):
    killed = []

    def kill(now):
        ingest = next(one for one in now.nodes if one.name == "ingest")
        if not killed and now.settled > 20 and ingest.alive:
            os.kill(ingest.pid, signal.SIGKILL)
            killed.append(now.settled)

    out = tmp_path / "run"
    # Long enough that the node is there again before the series ends.
    summary = run(detector("--rate", "15"), out, act=kill)
    assert killed
    assert summary["delivery"]["restarts"] == 1
    assert list(summary["series"]) == ["series_1"]
    books = summary["series"]["series_1"]
    assert (books["announced"], books["end"]) == (FRAMES, "end")
    states = frames_of(out)
    assert sorted(frame for frame, _ in states) == list(range(FRAMES))
    lost = [frame for frame, state in states if state == "missing"]
    # What was on its way when the node died, or came while there was none: a run of frames.
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert killed[0] <= lost[0] + 1
    assert books["done"] == FRAMES - len(lost)
    assert (FRAMES - 1, "done") in states
    assert not (out / "ingest_state.msgpack").exists()


def test_one_pipeline_feeds_another(recording, tmp_path):
    second = []

    def feed(now):
        if now.relay and not second:
            uri = now.relay.replace("tcp://", "braggstream://")
            words = ["attach", uri, "--out", str(tmp_path / "second"), *SETS]
            second.append(subprocess.Popen([sys.executable, str(LAUNCH), *words]))

    pace = ("source.speed=1.0", "source.frame_time_s=0.1")
    try:
        run(recording, tmp_path / "first", *pace, act=feed)
        assert second[0].wait(60) == 0
    finally:
        for process in second:
            process.kill()
            process.wait()
    assert_each_frame_once(tmp_path / "first")
    columns = ["frame", "peak_row", "peak_col", "score", "row", "col"]
    order = [(name, "ascending") for name in columns[:3]]
    first, there = (
        RunFolder(tmp_path / name).read("peaks").select(columns).sort_by(order)
        for name in ("first", "second")
    )
    joined = there["frame"][0].as_py()
    assert joined < FRAMES - 10, "it was there in time"
    kept = first.filter([number >= joined for number in first["frame"].to_pylist()])
    assert kept.equals(there)


@pytest.mark.parametrize(("words", "rc", "says"), [((), 0, "all is well"), (("--x",), 2, "--help")])
def test_check_says_what_a_stream_gives(detector, words, rc, says):
    uri = detector("--rate", "100")
    ran = launch("check", uri, "--seconds", "3", *words)
    assert ran.returncode == rc
    assert says in ran.stdout + ran.stderr


def test_check_of_a_detector_that_sends_nothing(detector):
    uri = detector("--rate", "max")
    assert launch("check", uri, "--seconds", "5").returncode == 0
    ran = launch("check", uri, "--seconds", "0.5", "--set", "source.connect_s=0.5")
    assert ran.returncode != 0
    assert "nothing came" in ran.stdout or "cannot reach" in ran.stderr


def test_check_of_a_recording(recording):
    ran = launch("check", str(recording))
    assert ran.returncode == 0, ran.stderr
    assert f"{FRAMES} of 256 x 256 <u2 bslz4" in ran.stdout
