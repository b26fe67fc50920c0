"""Version 1 at speed, from the simulated detector of libertem-dectris that replays our frames."""

import json
import struct
import subprocess
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Series

SHAPE = ROWS, COLS = 514, 1030
DISTINCT = 23
"""Pictures; a prime, so that no bundle of frames that is swapped for another looks right."""
SENDER = Path(__file__).parent / "senders" / "replay_dectris.py"


def spot(number):
    """Return where the one peak of a frame stands."""
    return 20 + 20 * (number % DISTINCT), 30 + 40 * (number % DISTINCT)


def picture(number):
    rng = np.random.default_rng(number % DISTINCT)
    row, col = spot(number)
    y, x = np.mgrid[:ROWS, :COLS]
    peak = 500 * np.exp(-((y - row) ** 2 + (x - col) ** 2) / 4.5)
    return rng.poisson(0.5 + peak).astype(np.uint16)


@pytest.fixture(scope="module")
def pictures():
    return [picture(number) for number in range(DISTINCT)]


@pytest.fixture(scope="module")
def blobs(pictures):
    """Coded pixels of the pictures, as the filter of HDF5 makes them."""
    return [compress(picture) for picture in pictures]


def compress(frame):
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        bitshuffle = hdf5plugin.Bitshuffle(cname="lz4")
        data = file.create_dataset("d", data=frame[None], chunks=(1, *frame.shape), **bitshuffle)
        return data.id.read_direct_chunk((0, 0, 0))[1]


def write_dump(path, blobs, n_frames, series=7):
    """Write what a detector would send, each part after its length."""

    def write(part):
        data = part if isinstance(part, bytes) else json.dumps(part).encode()
        file.write(struct.pack("<q", len(data)) + data)

    with path.open("wb") as file:
        write({"htype": "dheader-1.0", "series": series, "header_detail": "basic"})
        write(
            {
                "nimages": n_frames,
                "ntrigger": 1,
                "trigger_mode": "ints",
                "x_pixels_in_detector": COLS,
                "y_pixels_in_detector": ROWS,
                "bit_depth_image": 16,
                "compression": "bslz4",
            }
        )
        for number in range(n_frames):
            blob = blobs[number % DISTINCT]
            write({"htype": "dimage-1.0", "series": series, "frame": number, "hash": ""})
            write(
                {
                    "htype": "dimage_d-1.0",
                    "encoding": "bs16-lz4<",
                    "shape": [COLS, ROWS],
                    "size": len(blob),
                    "type": "uint16",
                }
            )
            write(blob)
            write({"htype": "dconfig-1.0", "start_time": 0, "stop_time": 0, "real_time": 0})
        write({"htype": "dseries_end-1.0", "series": series})
    return path


@pytest.fixture
def detector(sender_python, start):
    """Starts detectors that replay a dump, and tells them what to send."""

    class Detector:
        def __init__(self, port, dump, dwell_us=1000):
            words = [f"tcp://127.0.0.1:{port}", dump, dwell_us]
            python = sender_python("libertem")
            self.started = start([python, SENDER, *words], ready="listening", stdin=subprocess.PIPE)
            self.uri = f"dectris://127.0.0.1:{port}"

        def send(self, *orders):
            for order in orders:
                self.started.process.stdin.write(order + "\n")
            self.started.process.stdin.flush()

        def wait_sent(self, order):
            self.started.wait_for(f"^done {order}$")

        def kill(self):
            self.started.kill()

    return Detector


@pytest.mark.parametrize("dwell_us", [1000, 0])
def test_every_pixel_comes_in_order(
    detector, listen, free_port, tmp_path, pictures, blobs, dwell_us
):
    n_frames = 1000
    sender = detector(free_port(), write_dump(tmp_path / "dump.bin", blobs, n_frames), dwell_us)
    listener = listen(sender.uri)
    sender.send("headers", f"frames {n_frames}", "footer")
    listener.read()
    assert listener.numbers == [("series_7", number) for number in range(n_frames)]
    assert listener.ends == ["end"]
    assert not listener.lost
    assert not listener.counted
    for frame in listener.frames:
        assert frame.data == blobs[frame.frame % DISTINCT]
    for frame in listener.frames[:DISTINCT]:
        decoded = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        np.testing.assert_array_equal(decoded, pictures[frame.frame])


def test_a_run_keeps_up_or_catches_up(detector, attach, free_port, tmp_path, blobs):
    n_frames = 1000
    sender = detector(free_port(), write_dump(tmp_path / "dump.bin", blobs, n_frames))
    run = attach(sender.uri, "overload=spool", "detect.minval=30", "detect.minscore=100")
    sender.send("headers", f"frames {n_frames}", "footer")
    run.wait()
    assert run.states() == dict.fromkeys(range(n_frames), ("done", ""))
    assert run.summary["delivery"]["ignored"] == ""
    peaks = run.table("peaks")
    assert [peak["frame"] for peak in peaks] == list(range(n_frames))
    for peak in peaks:
        assert (peak["row"], peak["col"]) == pytest.approx(spot(peak["frame"]), abs=0.5)


def test_a_killed_detector_is_found_again(detector, listen, free_port, tmp_path, blobs):
    port = free_port()
    sender = detector(port, write_dump(tmp_path / "first.bin", blobs, 500))
    listener = listen(sender.uri, series=2)
    sender.send("headers", "frames 200")
    listener.read(lambda event: isinstance(event, Frame) and event.frame == 150)
    sender.kill()
    sender = detector(port, write_dump(tmp_path / "second.bin", blobs, 100, series=8))
    restarted_s = time.monotonic()
    sender.send("headers", "frames 100", "footer")
    listener.read(lambda event: isinstance(event, Series) and event.name == "series_8")
    assert time.monotonic() - restarted_s < 2
    listener.read()
    came = sum(name == "series_7" for name, _ in listener.numbers)
    assert 150 < came <= 200
    assert listener.numbers == [
        *(("series_7", number) for number in range(came)),
        *(("series_8", number) for number in range(100)),
    ]
    assert listener.lost == [("series_7", number) for number in range(came, 500)]
    assert listener.ends == ["new series", "end"]
    assert listener.counted == {"disconnects": 1}


def test_the_ledger_says_what_a_killed_detector_did_not_send(
    detector, attach, free_port, tmp_path, blobs
):
    port = free_port()
    sender = detector(port, write_dump(tmp_path / "first.bin", blobs, 500))
    run = attach(sender.uri, "source.series=2", "detect.minval=30", "detect.minscore=100")
    sender.send("headers", "frames 200")
    sender.wait_sent("frames 200")
    run.wait_until(lambda now: now.get("received", 0) > 0)
    sender.kill()
    sender = detector(port, write_dump(tmp_path / "second.bin", blobs, 100, series=8))
    sender.send("headers", "frames 100", "footer")
    run.wait(status=1)
    first = run.states("series_7")
    came = sum(state == "done" for state, _ in first.values())
    assert 0 < came <= 200
    assert first == dict.fromkeys(range(came), ("done", "")) | dict.fromkeys(
        range(came, 500), ("missing", "not received, nor the end of the series")
    )
    assert run.states("series_8") == dict.fromkeys(range(100), ("done", ""))
    assert run.summary["frames"]["missing"] == 500 - came


def test_a_detector_that_stays_dead_ends_the_series_when_it_is_idle(
    detector, listen, free_port, tmp_path, blobs
):
    sender = detector(free_port(), write_dump(tmp_path / "dump.bin", blobs, 500))
    listener = listen(sender.uri, idle_s=0.5)
    sender.send("headers", "frames 20")
    sender.wait_sent("frames 20")
    listener.read(lambda event: isinstance(event, Frame))
    sender.kill()
    listener.read()
    came = len(listener.frames)
    assert listener.lost == [("series_7", number) for number in range(came, 500)]
    assert listener.ends == ["idle: nothing came for 0.5 s"]
