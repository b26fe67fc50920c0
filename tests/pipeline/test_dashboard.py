from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from streamer.config import SourceConfig
from streamer.dashboard.hubs import MOVED
from streamer.frames.codecs import decode as decode_pixels
from streamer.frames.display import display
from streamer.results.folder import RunFolder
from streamer.run.sidecar import address_of, listen, sidecar
from streamer.sources import open_source
from tests.pipeline.conftest import LAUNCH, QUICK, is_alive, run, wait_until
from tests.served import free_port
from tests.settings import sets
from tests.unit.streamer.dashboard.test_server import decode


def attach(url: str, **more) -> ClientConnection:
    """Be a viewer."""
    address = url.replace("http://", "ws://") + "ws"
    return connect(address, max_size=None, compression=None, open_timeout=25, **more)


def hear(viewer: ClientConnection, kind: str, accept=lambda header: True, seconds=25.0):
    """Return a message of a type that is acceptable: the last one that came, or the next."""
    # What came while another type was waited for is not sent again.
    passed = viewer.__dict__.setdefault("passed", {})
    if kind in passed and accept(passed[kind][0]):
        return passed.pop(kind)
    deadline = time.monotonic() + seconds
    while True:
        header, arrays = decode(viewer.recv(deadline - time.monotonic()))
        if header["type"] == kind and accept(header):
            passed.pop(kind, None)
            return header, arrays
        passed[header["type"]] = header, arrays


def ask(viewer: ClientConnection, **request) -> None:
    viewer.send(json.dumps(request))


@contextmanager
def dashboard(out: Path, *words: str):
    """Serve a run folder; yields the address and the process."""
    process = subprocess.Popen(
        [sys.executable, str(LAUNCH), "dashboard", str(out), "--port", "8500", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("dashboard http://"), line
        yield line.split()[-1], process
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.fixture(scope="module")
def ended(recording, tmp_path_factory) -> Path:
    """The folder of a run that is over."""
    out = tmp_path_factory.mktemp("ended") / "run"
    run(recording, out)
    return out


def get(url: str, **headers: str) -> tuple[int, str]:
    """Return status and cookie; no redirection is followed."""
    where = urlsplit(url)
    connection = HTTPConnection("127.0.0.1", where.port, timeout=25)
    with closing(connection):
        path = where.path + (f"?{where.query}" if where.query else "")
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, (answer.getheader("Set-Cookie") or "").partition(";")[0]


def test_a_page_that_others_reach_asks_for_the_token_and_waits_for_nobody(ended):
    with dashboard(ended, "--host", "0.0.0.0") as (url, _), ExitStack() as stack:
        bare, query, token = url.partition("?token=")
        assert query
        port = urlsplit(url).port
        for half in (b"", b"GET / HTTP/1.1\r\n"):
            for _ in range(500):
                one = socket.create_connection(("127.0.0.1", port))
                stack.enter_context(one).sendall(half)
        assert get(bare)[0] == 401
        assert get(f"{bare}?token={token[:-1]}")[0] == 401
        status, cookie = get(url)
        assert (status, get(bare, Cookie=cookie)[0]) == (303, 200)
        local = f"http://127.0.0.1:{port}/"
        with pytest.raises(InvalidStatus):
            attach(local)
        with pytest.raises(InvalidStatus):
            attach(local, additional_headers={"Cookie": cookie}, origin="http://evil.example")
        with attach(local, additional_headers={"Cookie": cookie}) as viewer:
            assert hear(viewer, "hello")[0]["state"] == "done"


def test_a_page_of_a_folder_outlives_the_runs_in_it(recording, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    with dashboard(runs) as (url, _):
        with attach(url) as viewer:
            assert "no run" in hear(viewer, "problem")[0]["text"]
            run(recording, runs / "first")
            with pytest.raises(ConnectionClosed) as closed:
                hear(viewer, "hello")
            assert closed.value.rcvd.code == MOVED
        with attach(url) as viewer:
            assert hear(viewer, "hello", lambda header: not header["live"])[0]["run"] == "first"
            assert hear(viewer, "image")[0]["has_pixels"]
        with attach(f"{url}runs/first/") as viewer:
            assert hear(viewer, "hello")[0]["listed"]


def frame_of(recording: Path, number: int) -> np.ndarray:
    config = SourceConfig(frames=f"{number}")
    with closing(open_source(str(recording), config)) as source:
        series, frame = source.read(2)
    pixels = decode_pixels(frame.data, frame.encoding, frame.dtype, frame.shape)
    return display(pixels, series.pixel_mask).pixels


def test_a_run_that_is_over(ended, recording):
    peaks = RunFolder(ended).read("peaks").to_pandas()
    with dashboard(ended) as (url, process):
        with urllib.request.urlopen(url, timeout=25) as page:
            assert b"<html" in page.read()
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        with attach(url) as viewer:
            hello, _ = hear(viewer, "hello")
            assert (hello["live"], hello["state"], hello["series"]) == (False, "done", ["cycle"])
            health, _ = hear(viewer, "health", lambda header: header["n_frames"] == 120)
            assert (health["phase"], health["lost"]) == ("done", "")
            assert health["peaks"] == len(peaks)
            image, _ = hear(viewer, "image", lambda header: header["frame"] == 119)
            assert image["has_pixels"]

            ask(viewer, type="show", frame=7)
            image, arrays = hear(viewer, "image", lambda header: header["frame"] == 7)
            np.testing.assert_array_equal(arrays["pixels"], frame_of(recording, 7))
            mine = peaks[peaks.frame == 7]
            assert arrays["row"] == pytest.approx(mine.row.to_numpy(), abs=1e-4)
            assert arrays["track"].tolist() == mine.track.tolist()

            ask(viewer, type="hold", hold=True)  # after which all is sent again
            ask(viewer, type="hold", hold=False)
            _, table = hear(viewer, "tracks", lambda header: header["n"] > 0)
            longest = int(table["track"][np.argmax(table["n_frames"])])
            ask(viewer, type="watch", tracks=[longest], quantity="row", x="frame", request=5)
            drift, lines = hear(viewer, "drift")
            seen = peaks[peaks.track == longest]
            assert (drift["request"], drift["unit"]) == (5, "px")
            assert lines["x"].tolist() == seen.frame.tolist()
            assert np.diff(lines["y"]) == pytest.approx(np.diff(seen.row), abs=1e-4)

            peak = mine.iloc[0]
            ask(viewer, type="patch", frame=7, row=peak.row, col=peak.col)
            patch, arrays = hear(viewer, "patch")
            assert patch["placed"] == pytest.approx([peak.row, peak.col])
            assert arrays["pixels"].shape == (11, 11)
            assert np.nanmax(arrays["pixels"]) > 0

            for nonsense in ("", "{", '{"type": "show", "frame": -5}', b"\0\1", "[" * 50_000):
                viewer.send(nonsense)
                assert "does not exist" in hear(viewer, "problem")[0]["text"]
            ask(viewer, type="show", frame=10**6)
            assert "no frame 1000000" in hear(viewer, "problem")[0]["text"]

            with pytest.raises(InvalidStatus):
                attach(url, origin="http://evil.example")
            with attach(url, origin=url.rstrip("/")) as second:
                hear(second, "health", lambda header: header["viewers"] == 2)
                ask(second, type="hold", hold=True)
                hear(second, "health")
                assert hear(second, "health")[0]["dropped"] == 0
        assert process.poll() is None


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_with_dashboard(uri: str, out: Path, watch, *settings: str) -> dict:
    """Attach to a stream with a dashboard beside, while `watch` looks at its address."""
    listener = listen("127.0.0.1", 8500)
    begun, failed = threading.Event(), []

    def command(number: int) -> list[str]:
        words = ["dashboard", str(out), "--parent", str(os.getpid()), "--listener", str(number)]
        return [sys.executable, str(LAUNCH), *words]

    def look() -> None:
        try:
            assert begun.wait(25)
            watch(address_of(listener))
        except BaseException as error:
            failed.append(error)

    # A run handles signals, which only the main thread can: who looks on is another.
    thread = threading.Thread(target=look)
    # A run that ended before its time, also by the test's time limit, handles none any more: then
    # the test fails, not its process.
    before = signal.signal(signal.SIGTERM, lambda *_: failed.append(AssertionError("too late")))
    thread.start()
    try:
        with sidecar(listener, out, command, lambda url: begun.set()):
            summary = run(uri, out, *settings)
    finally:
        thread.join()  # its signal comes however the run ended
        signal.signal(signal.SIGTERM, before)
    if failed:
        raise failed[0]
    return summary


def dashboards_of(pid: int) -> list[int]:
    """Return the dashboards that a process started, by whichever of its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [
        child
        for child in children
        if is_alive(child)
        and b"dashboard" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    ]


def test_a_live_run_is_shown_and_does_not_mind(detector, tmp_path):
    # Lasts longer than this test looks.
    uri = detector("--rate", "5", "--set", "simulate.frames=3000")
    end = []

    def watch(url: str) -> None:
        assert dashboards_of(os.getpid()) == []  # nobody has looked
        port = int(url.rstrip("/").rpartition(":")[2])
        stopped = socket.create_connection(("127.0.0.1", port))  # asks, and never reads
        stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        host = f"Host: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        stopped.sendall(f"GET /ws HTTP/1.1\r\n{host}{key}\r\n".encode())
        with stopped, attach(url) as viewer:
            hello, _ = hear(viewer, "hello")
            assert hello["live"]
            frames = []
            # What was there before anybody looked has no pixels.
            hear(viewer, "image", lambda header: header["has_pixels"])
            while len(frames) < 5:
                image, arrays = hear(viewer, "image", lambda header: header["settled"])
                assert image["newest"]
                assert image["has_pixels"]
                assert len(arrays["row"]) > 0
                frames.append(image["frame"])
            assert frames == sorted(set(frames))
            (pid,) = dashboards_of(os.getpid())
            assert rss_mib(pid) < 500
            ask(viewer, type="show", frame=frames[0])  # of which no recording is
            paused, _ = hear(viewer, "image", lambda header: not header["newest"])
            assert (paused["frame"], paused["has_pixels"]) == (frames[0], True)
            health, _ = hear(viewer, "health", lambda header: header["viewers"] == 2)
            assert health["dropped"] < 3
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                hear(viewer, "nothing")
        with attach(url) as viewer:  # which starts it again
            hear(viewer, "image", lambda header: header["newest"])
            os.kill(os.getpid(), signal.SIGTERM)  # ends the run in order
            ended, _ = hear(viewer, "health", lambda header: not header["live"], 60)
            end.append((ended["phase"], ended["frames"]["done"]))

    summary = run_with_dashboard(uri, tmp_path / "run", watch)
    done = summary["frames"]["done"]
    assert 5 < done == summary["frames"]["total"]
    assert end == [("stopped by the user", done)]
    assert dashboards_of(os.getpid()) == []


def test_the_series_of_a_run_stand_one_behind_the_other(detector, tmp_path):
    frames = 30
    # More than this test looks at.
    series = ["--set", f"simulate.frames={frames}", "--set", "simulate.series=40"]
    uri = detector("--rate", "15", *series)

    def watch(url: str) -> None:
        with attach(url) as viewer:
            hello, _ = hear(viewer, "hello", lambda header: header["starts"][:2] == [0, frames])
            first = hello["series"][0]
            hear(viewer, "image", lambda header: header["newest"] and header["series"] != first)
            # Back into the first while another goes on, and to the newest again.
            ask(viewer, type="show", frame=10, series=first)
            paused, _ = hear(viewer, "image", lambda header: not header["newest"])
            assert (paused["series"], paused["frame"]) == (first, 10)
            known = hear(viewer, "health", lambda header: header["n_frames"] > frames)[0]
            hear(viewer, "health", lambda header: header["n_frames"] > known["n_frames"] + 3)
            ask(viewer, type="show")
            newest, _ = hear(viewer, "image", lambda header: header["newest"])
            assert newest["series"] != first
            os.kill(os.getpid(), signal.SIGTERM)
            hear(viewer, "health", lambda header: not header["live"], 60)

    out = tmp_path / "run"
    run_with_dashboard(uri, out, watch, "source.series=0")
    table, peaks = (RunFolder(out).read(name).to_pandas() for name in ("frames", "peaks"))
    lengths = (table["frame"] + table["count"]).groupby(table["series"], sort=False).max()
    assert len(lengths) > 1
    assert lengths.iloc[0] == frames
    starts = lengths.cumsum() - lengths
    with dashboard(out) as (url, _), attach(url) as viewer:
        hello, _ = hear(viewer, "hello", lambda header: header["n_frames"] == lengths.sum())
        assert (hello["series"], hello["starts"]) == (list(lengths.index), starts.tolist())
        header, tracks = hear(viewer, "tracks", lambda header: header["n_frames"] == lengths.sum())
        assert {*starts} <= {*header["timeline"][0]}
        longest = int(tracks["track"][np.argmax(tracks["n_frames"])])
        ask(viewer, type="watch", tracks=[longest], quantity="row", x="frame")
        _, lines = hear(viewer, "drift", lambda header: header["lines"])
        mine = peaks[peaks.track == longest]
        assert mine.series.nunique() > 1
        assert lines["x"].tolist() == (mine.frame + mine.series.map(starts)).tolist()
        assert np.all(np.diff(lines["x"]) > 0)
        ask(viewer, type="show", frame=3, series=lengths.index[1])
        image, _ = hear(viewer, "image", lambda header: header["frame"] == 3)
        assert image["series"] == lengths.index[1]


def test_a_dashboard_ends_with_who_started_it(recording, tmp_path):
    words = ["replay", str(recording), "--speed", "0.1", "--dashboard", str(free_port())]
    words += sets(*QUICK)
    launcher = subprocess.Popen(
        [sys.executable, str(LAUNCH), *words, "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = launcher.stdout.readline()
        assert line.startswith("dashboard http://"), line
        with attach(line.split()[-1]) as viewer:
            hear(viewer, "hello")
            (pid,) = dashboards_of(launcher.pid)
            launcher.kill()
            launcher.wait(10)
            wait_until(lambda: not is_alive(pid))
    finally:
        launcher.kill()
        launcher.wait(10)
        launcher.stdout.close()
