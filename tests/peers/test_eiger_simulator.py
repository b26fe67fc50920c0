"""Version 1 as it should not be, from ALBA's eiger-simulator.

It strips the header of its pixels, says a shape that its frames do not have unless it is told
another, sends masks that are none, and throws away what a client does not take within 0.5 s.
"""

import ctypes.util
import json
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from streamer.frames.codecs import decode

SHAPE = ROWS, COLS = 130, 170
DISTINCT = 7
DECLARED = 3269, 3110
"""Shape that it says by itself."""
NODE_MIB = 600
"""More than any node has any reason to hold; the frames that are announced would be gigabytes."""


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).integers(0, 1000, (DISTINCT, *SHAPE), np.uint16)


class Simulator:
    """The sender and its REST interface."""

    def __init__(self, started, api, port):
        self.started = started
        self.uri = f"dectris://127.0.0.1:{port}"
        self._api = api

    def put(self, path, value=None):
        module, _, rest = path.partition("/")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._api}/{module}/api/1.6.0/{rest}",
            data=b"" if value is None else json.dumps({"value": value}).encode(),
            method="PUT",
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=15) as reply:
            reply.read()

    def set_up(self, **settings):
        for name, value in settings.items():
            self.put(f"detector/config/{name}", value)
        self.put("detector/command/initialize")

    def take(self, n_images, count_time=0.01):
        """Take images; done when the last one waits to be sent."""
        self.put("detector/config/nimages", n_images)
        self.put("detector/config/count_time", count_time)
        self.put("detector/config/frame_time", count_time)
        self.put("detector/command/arm")
        self.put("detector/command/trigger")

    @property
    def thrown_away(self):
        """Messages that it says it did not send."""
        flushed = re.findall(r"Flushed (\d+) messages", self.started.text)
        return sum(1 + int(count) for count in flushed)


@pytest.fixture
def simulator(sender_python, start, free_port, tmp_path, pictures):
    if ctypes.util.find_library("lz4") is None:
        pytest.skip("eiger-simulator needs the system's liblz4")
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["entry/data/data_000001"] = pictures
    api, port = free_port(), free_port()
    program = Path(sender_python("eiger-simulator")).parent / "eiger-simulator"
    words = ["--host", "127.0.0.1", "--port", api, "--zmq", f"tcp://127.0.0.1:{port}"]
    started = start(
        [program, *words, "--dataset", tmp_path / "frames.h5"], ready="running on", cwd=tmp_path
    )
    simulator = Simulator(started, api, port)
    simulator.set_up()
    return simulator


@pytest.mark.parametrize("compression", ["bslz4", "lz4"])
def test_pixels_without_a_header(simulator, listen, pictures, compression):
    simulator.set_up(compression=compression, x_pixels_in_detector=COLS, y_pixels_in_detector=ROWS)
    listener = listen(simulator.uri)
    simulator.take(20)
    listener.read()
    assert listener.numbers == [("series_1", number) for number in range(20)]
    assert listener.ends == ["end"]
    assert not listener.counted
    for frame in listener.frames:
        decoded = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        np.testing.assert_array_equal(decoded, pictures[frame.frame % DISTINCT])


def test_masks_that_are_none(simulator, listen):
    simulator.put("stream/config/header_detail", "all")
    listener = listen(simulator.uri)
    simulator.take(3)
    listener.read()
    [series] = listener.series
    assert series.pixel_mask is None
    assert series.flatfield is None
    assert any("pixel_mask" in warning for warning in series.metadata["warnings"])
    assert listener.numbers == [("series_1", number) for number in range(3)]
    assert not listener.counted


def test_frames_of_another_shape_fail_and_nothing_grows(simulator, attach):
    n_images = 300
    run = attach(simulator.uri)
    most_mib = 0

    def measure(view):
        nonlocal most_mib
        for node in view.get("nodes", ()):
            most_mib = max(most_mib, resident_mib(node["pid"]))
        return False

    simulator.take(n_images, count_time=0.003)
    run.wait_until(measure, 60)
    run.wait(status=1)
    states = run.states()
    assert list(states) == list(range(n_images))
    assert {state for state, _ in states.values()} == {"failed"}
    assert all("bslz4" in reason and "damaged" in reason for _, reason in states.values())
    assert f"{n_images} failed of {n_images} frames" in run.text
    assert "Traceback" not in run.text
    assert run.summary["delivery"]["restarts"] == 0
    assert n_images * np.prod(DECLARED) * 2 > 5 * NODE_MIB << 20
    assert 0 < most_mib < NODE_MIB


def resident_mib(pid):
    """Return the most memory that a process has held."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    said = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return 0 if said is None else int(said[1]) >> 10


def test_frames_that_the_sender_throws_away_are_known_to_be_lost(simulator, listen):
    n_images = 6000
    simulator.set_up(x_pixels_in_detector=COLS, y_pixels_in_detector=ROWS)
    listener = listen(simulator.uri, series=2)
    simulator.take(n_images, count_time=0.0001)  # and nobody reads
    simulator.started.wait_for("Flushed")
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(simulator.take, 10)
        listener.read()
        taking.result()
    first = [number for name, number in listener.numbers if name == "series_1"]
    lost = [number for name, number in listener.lost if name == "series_1"]
    assert sorted(first + lost) == list(range(n_images))
    assert lost
    assert len(lost) == pytest.approx(simulator.thrown_away, abs=2)  # its end is one, too
    assert listener.numbers[len(first) :] == [("series_2", number) for number in range(10)]
