"""Images over PVAccess from the simulated areaDetector of pvapy, and from a server of p4p."""

import subprocess
import sys
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamer.frames.codecs import decode
from streamer.frames.events import Frame

pytest.importorskip("p4p", reason="p4p is not installed: pip install 'braggstream[pva]'")

SENDERS = Path(__file__).parent / "senders"
SHAPE = ROWS, COLS = 96, 132
DISTINCT = 7
"""Pictures; a prime, so that no image that is swapped for another looks right."""
FILTERS = {
    "blosc": hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.SHUFFLE),
    "lz4": hdf5plugin.LZ4(),
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
}


def spots(picture):
    """Return where the two peaks of a picture stand."""
    return [(14.3 + 10 * picture, 20.0 + 3 * picture), (80.0 - 9.2 * picture, 110.4 - 2 * picture)]


@pytest.fixture(scope="module")
def pictures():
    y, x = np.mgrid[:ROWS, :COLS]
    expected = np.full((DISTINCT, *SHAPE), 0.5)
    for picture in range(DISTINCT):
        for row, col in spots(picture):
            expected[picture] += 500 * np.exp(-((y - row) ** 2 + (x - col) ** 2) / 4.5)
    return np.random.default_rng(4).poisson(expected).astype(np.uint16)


@pytest.fixture(scope="module")
def file(pictures, tmp_path_factory):
    """Writes the pictures as a file that the simulated detector reads."""
    folder = tmp_path_factory.mktemp("pictures")

    def write(codec="", dtype="uint16"):
        path = folder / f"{codec or dtype}.{'h5' if codec else 'npy'}"
        if not codec:
            np.save(path, pictures.astype(dtype))
        else:
            with h5py.File(path, "w") as hdf5:
                hdf5.create_dataset("data", data=pictures, chunks=(1, *SHAPE), **FILTERS[codec])
        return str(path)

    return write


@pytest.fixture(autouse=True)
def network(monkeypatch, free_port):
    """Sets the environment so that servers and clients of this test find each other alone."""
    tcp, udp = str(free_port()), str(free_port())
    for kind in ("PVA", "PVAS"):
        monkeypatch.setenv(f"EPICS_{kind}_SERVER_PORT", tcp)
        monkeypatch.setenv(f"EPICS_{kind}_BROADCAST_PORT", udp)
        monkeypatch.setenv(f"EPICS_{kind}_INTF_ADDR_LIST", "127.0.0.1")
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "127.0.0.1")
    monkeypatch.setenv("EPICS_PVA_AUTO_ADDR_LIST", "NO")
    monkeypatch.setenv("EPICS_PVAS_AUTO_BEACON_ADDR_LIST", "NO")


@pytest.fixture
def simulate(sender_python, start, file):
    """Starts the simulated detector, which sends pictures round and round."""

    def run(codec="", dtype="uint16", fps=100, delay_s=0.7):
        python = sender_python("pvapy")
        words = ["-if", file(codec, dtype)]
        words += ["-hds", "data", "-hcm"] if codec else []
        words += ["-cn", "sim:image", "-fps", fps, "-rt", 60, "-std", delay_s, "-shd", 0, "-rp", 0]
        server = str(Path(python).with_name("pvapy-ad-sim-server"))
        return start([python, "-u", server, "-dc", *words], "Expected data rate")

    return run


@pytest.fixture
def serve(start, file):
    """Starts a server that posts what it is told."""

    def run(*words):
        script = str(SENDERS / "ntndarray_server.py")
        return start([sys.executable, script, file(), *words], "ready", stdin=subprocess.PIPE)

    return run


def post(server, first, stop, every_s=0.0):
    """Have images posted, and return when they are."""
    server.process.stdin.write(f"{first} {stop} {every_s}\n")
    server.process.stdin.flush()
    server.wait_for(f"posted {first} {stop}")


def frames(count):
    seen = []

    def enough(event):
        seen.append(isinstance(event, Frame))
        return sum(seen) >= count

    return enough


def assert_right_pixels(listener, pictures, n_before=0):
    """Check every pixel; the pictures follow each other by id, from `n_before` on."""
    first = listener.series[0].metadata["first_unique_id"] - n_before
    for frame in listener.frames:
        np.testing.assert_array_equal(
            decode(frame.data, frame.encoding, frame.dtype, frame.shape),
            pictures[(first + frame.frame) % DISTINCT],
        )


@pytest.mark.parametrize(
    ("codec", "dtype"),
    [
        ("", "uint16"),
        ("", "int32"),
        ("", "float64"),
        ("lz4", "uint16"),
        ("bslz4", "uint16"),
        ("blosc", "uint16"),
    ],
)
def test_every_pixel_of_the_simulated_detector(simulate, listen, pictures, codec, dtype):
    simulate(codec, dtype)
    listener = listen("pva://sim:image")
    listener.read(frames(3 * DISTINCT))
    assert listener.series[0].metadata["codec"] == (codec or "none")
    assert {frame.dtype for frame in listener.frames} == {np.dtype(dtype).str}
    assert [number for _, number in listener.numbers] == list(range(len(listener.frames)))
    assert_right_pixels(listener, pictures.astype(dtype), n_before=1)  # it counts from 1


def test_images_that_were_not_posted_are_told(serve, listen, pictures):
    server = serve("--holds", "999")
    listener = listen("pva://test:image", idle_s=0.5)
    for first, stop in ((1000, 1100), (1103, 1150), (1151, 1400)):
        post(server, first, stop)
    listener.read()
    assert [number for _, number in listener.lost] == [100, 101, 102, 150]
    assert len(listener.frames) + len(listener.lost) == 400
    assert listener.counted == {"ignored": 1}
    assert_right_pixels(listener, pictures)


def test_burst_waits_in_the_queue(serve, listen, pictures):
    server = serve("--holds", "0")
    listener = listen("pva://test:image", idle_s=0.5)
    post(server, 1, 2001)  # not one of them is read until all were posted
    listener.read()
    assert [number for _, number in listener.numbers] == list(range(2000))
    assert_right_pixels(listener, pictures)


def test_sender_that_outruns_us_costs_frames_that_are_told_exactly(serve, listen, pictures):
    server = serve()  # of what size its images will be is not known: few may wait
    listener = listen("pva://test:image", idle_s=0.5)
    post(server, 1, 2001)
    listener.read()
    taken = [number for _, number in listener.numbers]
    lost = [number for _, number in listener.lost]
    assert len(lost) > 1000
    assert sorted(taken + lost) == list(range(2000))
    assert_right_pixels(listener, pictures)


def test_sender_that_died_is_attached_again(serve, attach):
    server = serve()
    run = attach("pva://test:image")
    post(server, 1, 31, 0.002)
    run.wait_until(lambda _: len(run.table("frames")) == 30)
    server.kill()
    server = serve()
    began = time.monotonic()
    server.wait_for("client")
    assert time.monotonic() - began < 2
    post(server, 36, 136, 0.002)
    run.wait_until(lambda _: len(run.states()) == 135)
    run.stop()
    run.wait(1)
    states = run.states("series_1")
    missing = {number: reason for number, (state, reason) in states.items() if state == "missing"}
    assert missing == dict.fromkeys(range(30, 35), "not received")
    assert sorted(states) == list(range(135))
    assert sum(state == "done" for state, _ in states.values()) == 130


def test_peaks_of_the_simulated_detector(simulate, attach):
    sender = simulate("bslz4", fps=50)
    run = attach("pva://sim:image", "source.idle_s=1")
    run.wait_until(lambda _: len(run.table("frames")) >= 60)
    sender.kill()
    run.wait()
    states = run.states()
    assert sorted(states) == list(range(len(states)))
    assert {state for state, _ in states.values()} == {"done"}
    by_frame = {number: [] for number in states}
    for peak in run.table("peaks"):
        by_frame[peak["frame"]].append((peak["row"], peak["col"]))
    # Which picture was the first depends on when the run was attached.
    first = min(range(DISTINCT), key=lambda picture: farthest(by_frame[0], picture))
    for number, found in by_frame.items():
        assert len(found) == 2
        assert farthest(found, (first + number) % DISTINCT) < 0.5


def farthest(found, picture):
    """Return how far peaks are from where they stand on a picture."""
    return np.abs(np.subtract(sorted(found), sorted(spots(picture)))).max()
