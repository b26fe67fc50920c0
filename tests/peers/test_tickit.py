"""Both versions of the stream, from the simulated EIGER2 16M of tickit-devices.

It answers REST and sends one frame that was captured at a beamline, again and again.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cbor2
import h5py
import hdf5plugin
import numpy as np
import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Series
from streamer.sources import check_reachable
from tests.peers.conftest import Started

SHAPE = 4362, 4148
SENTINEL = 65535
VERSIONS = ["legacy", "cbor"]
MINVAL, MINSCORE = 10.0, 20.0
SENDERS = Path(__file__).parent / "senders"


class Eiger:
    """A simulated detector in a process of its own."""

    def __init__(self, python, folder, ports, kind="bound_eiger.BoundEiger"):
        self.api, legacy, cbor = ports
        self.ports = {"legacy": legacy, "cbor": cbor}
        config = folder / "eiger.json"  # all JSON is YAML
        detector = {
            "type": kind,
            "name": "eiger",
            "inputs": {},
            "host": "127.0.0.1",
            "port": self.api,
            "stream_legacy_port": legacy,
            "stream_cbor_port": cbor,
        }
        config.write_text(json.dumps([detector]))
        self.started = Started(
            [python, "-m", "tickit", "all", str(config)], env={"PYTHONPATH": str(SENDERS)}
        )
        self._waiting: list[http.client.HTTPConnection] = []
        self.started.wait_for("Starting HTTP server")
        deadline = time.monotonic() + 20
        while True:
            try:
                self.command("initialize")
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline, self.started.text
                time.sleep(0.05)

    def uri(self, version, api=False):
        asked = f"?api=http://127.0.0.1:{self.api}" if api else ""
        return f"dectris://127.0.0.1:{self.ports[version]}{asked}"

    def put(self, path, value=None):
        data = b"" if value is None else json.dumps({"value": value}).encode()
        request = urllib.request.Request(self.url(path), data=data, method="PUT")
        with urllib.request.urlopen(request, timeout=5) as reply:
            reply.read()

    def url(self, path):
        module, _, rest = path.partition("/")
        return f"http://127.0.0.1:{self.api}/{module}/api/1.8.0/{rest}"

    def command(self, name):
        self.put(f"detector/command/{name}")

    def arm(self, version, n_images=3, n_triggers=1, frame_time=0.05, detail="basic"):
        self.put("stream/config/format", version)
        self.put("stream/config/header_detail", detail)
        settings = {
            "nimages": n_images,
            "ntrigger": n_triggers,
            "frame_time": frame_time,
            "trigger_mode": "ints",
        }
        for name, value in settings.items():
            self.put(f"detector/config/{name}", value)
        self.command("arm")

    def trigger(self):
        """Begin to take images; the answer comes when they are taken."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=20)
        self._waiting.append(connection)
        connection.request("PUT", "/detector/api/1.8.0/command/trigger")
        return connection

    def take(self, version, **settings):
        """Take all images of a series."""
        self.arm(version, **settings)
        for _ in range(settings.get("n_triggers", 1)):
            self.trigger().getresponse().read()

    def kill(self):
        self.started.kill()

    def close(self):
        for connection in self._waiting:
            connection.close()
        self.started.close()


@pytest.fixture(scope="module")
def make_eiger(sender_python, tmp_path_factory):
    made = []

    def make(ports, **options):
        folder = tmp_path_factory.mktemp("eiger")
        made.append(Eiger(sender_python("tickit"), folder, ports, **options))
        return made[-1]

    yield make
    for eiger in made:
        eiger.close()


@pytest.fixture(scope="module")
def shared_eiger(make_eiger, free_port):
    return make_eiger([free_port() for _ in range(3)])


@pytest.fixture
def eiger(shared_eiger, context):
    """A detector that has nothing more to say of the tests before."""
    for port in shared_eiger.ports.values():
        with context.socket(zmq.PULL) as client:
            client.connect(f"tcp://127.0.0.1:{port}")
            while client.poll(100):
                client.recv_multipart()
    return shared_eiger


@pytest.fixture(scope="module")
def captured(sender_python):
    """Coded and decoded pixels of the frame that each version sends, by HDF5's own decoder."""
    package = next(Path(sender_python("tickit")).parents[1].glob("lib/python*/site-packages"))
    data = package / "tickit_devices" / "eiger" / "data"
    message = cbor2.loads((data / "stream2" / "image.cbor").read_bytes())
    blobs = {
        "legacy": (data / "frame_sample").read_bytes(),
        "cbor": message["data"]["threshold_1"].value[1].value.value[2],
    }
    return {version: (blob, unpacked(blob)) for version, blob in blobs.items()}


def unpacked(blob):
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        filters = hdf5plugin.Bitshuffle(cname="lz4")
        data = file.create_dataset("d", SHAPE, np.uint16, chunks=SHAPE, **filters)
        data.id.write_direct_chunk((0, 0), blob)
        return data[()]


def hot_pixels(frame):
    """Return row and col of all lone pixels that are peaks."""
    used = np.where(frame == SENTINEL, 0, frame)
    return {(int(row), int(col)) for row, col in np.argwhere(used >= MINSCORE)}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_pixel_of_every_frame_comes(eiger, listen, captured, version):
    blob, pixels = captured[version]
    listener = listen(eiger.uri(version))
    eiger.take(version, n_images=2, n_triggers=3)
    listener.read()
    [series] = listener.series
    assert series.n_frames == 6
    assert series.metadata["protocol"] == f"DECTRIS stream {'v1' if version == 'legacy' else 'v2'}"
    assert listener.numbers == [(series.name, number) for number in range(6)]
    assert listener.ends == ["end"]
    assert not listener.counted
    assert not listener.lost
    times = [frame.time_ns for frame in listener.frames]
    assert times == sorted(set(times))
    assert all(bytes(frame.data) == blob for frame in listener.frames)
    frame = listener.frames[-1]
    decoded = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_over_two_acquisitions(eiger, attach, captured, version):
    _, pixels = captured[version]
    run = attach(
        eiger.uri(version),
        "source.series=2",
        f"detect.minval={MINVAL}",
        f"detect.minscore={MINSCORE}",
    )
    for n_images in (2, 3):
        eiger.take(version, n_images=n_images)
        eiger.command("disarm")  # says the end again
    run.wait()
    frames = [(row["series"], row["frame"], row["state"]) for row in run.table("frames")]
    [first, second] = dict.fromkeys(series for series, _, _ in frames)
    assert frames == [
        *((first, number, "done") for number in range(2)),
        *((second, number, "done") for number in range(3)),
    ]
    # Pixels with the largest value are gaps and dead ones, and no peaks.
    assert np.count_nonzero(pixels == SENTINEL) > 1_000_000
    expected = hot_pixels(pixels)
    assert len(expected) >= 3
    for series, number, _ in frames:
        of_frame = [p for p in run.table("peaks") if (p["series"], p["frame"]) == (series, number)]
        assert len(of_frame) == len(expected)
        assert {(peak["peak_row"], peak["peak_col"]) for peak in of_frame} == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_an_end_that_comes_twice_is_harmless(eiger, listen, version):
    listener = listen(eiger.uri(version), series=2)
    for _ in range(2):
        eiger.take(version, n_images=2)
        eiger.command("disarm")
    listener.read()
    names = [series.name for series in listener.series]
    assert listener.numbers == [(name, number) for name in names for number in range(2)]
    assert listener.ends == ["end", "end"]
    assert not listener.lost


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["abort", "disarm", "cancel"])
def test_an_abort_ends_the_series(eiger, listen, version, command):
    listener = listen(eiger.uri(version))
    eiger.arm(version, n_images=20, frame_time=0.1)
    eiger.trigger()
    listener.read(lambda event: isinstance(event, Frame) and event.frame == 2)
    eiger.command(command)
    listener.read()
    taken = len(listener.frames)
    assert 3 <= taken < 20
    assert [number for _, number in listener.numbers] == list(range(taken))
    assert listener.ends == [f"abort: {taken} of 20 frames were taken"]
    assert not listener.lost


def test_a_run_ends_with_an_abort(eiger, attach):
    run = attach(eiger.uri("cbor"), f"detect.minval={MINVAL}", f"detect.minscore={MINSCORE}")
    eiger.arm("cbor", n_images=100, frame_time=0.3)
    eiger.trigger()
    run.wait_until(lambda now: now.get("received", 0) > 0)
    eiger.command("abort")
    run.wait()
    states = run.states()
    assert 0 < len(states) < 100
    assert states == dict.fromkeys(range(len(states)), ("done", ""))


def test_masks_that_are_no_arrays_are_ignored_with_a_warning(eiger, listen, captured):
    listener = listen(eiger.uri("cbor"))
    eiger.take("cbor", n_images=1, detail="all")
    listener.read()
    [series] = listener.series
    assert series.pixel_mask is None
    assert series.flatfield is None
    assert any("pixel_mask" in warning for warning in series.metadata["warnings"])
    assert all(bytes(frame.data) == captured["cbor"][0] for frame in listener.frames)
    assert len(listener.frames) == 1
    assert listener.ends == ["end"]


def test_masks_that_are_arrays_are_used(eiger, listen):
    listener = listen(eiger.uri("legacy"))
    eiger.take("legacy", n_images=1, detail="all")
    listener.read()
    [series] = listener.series
    assert series.pixel_mask.shape == SHAPE
    assert not series.pixel_mask.any()
    assert "warnings" not in series.metadata


@pytest.mark.parametrize("version", VERSIONS)
def test_the_detector_is_asked_what_it_dropped(eiger, listen, caplog, version):
    listener = listen(eiger.uri(version, api=True))
    eiger.take(version, n_images=1)
    listener.read()
    assert listener.source.counters["dropped"] == 0
    assert "does not say" not in caplog.text


def test_a_stream_that_is_switched_off_is_noticed(eiger):
    eiger.put("stream/config/mode", "disabled")
    try:
        with pytest.raises(UserError, match="is disabled: set its mode to enabled"):
            check_reachable(eiger.uri("cbor", api=True), SourceConfig())
    finally:
        eiger.put("stream/config/mode", "enabled")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restarted_detector_that_counts_anew(make_eiger, free_port, listen, version):
    ports = [free_port() for _ in range(3)]
    eiger = make_eiger(ports)
    listener = listen(eiger.uri(version), series=2)
    eiger.arm(version, n_images=100, frame_time=0.05)
    eiger.trigger()
    listener.read(lambda event: isinstance(event, Frame) and event.frame == 2)
    eiger.kill()
    eiger = make_eiger(ports)
    eiger.arm(version, n_images=4)
    armed_s = time.monotonic()
    listener.read(lambda event: isinstance(event, Series) and event.n_frames == 4)
    assert time.monotonic() - armed_s < 2
    eiger.trigger()
    listener.read()
    [first, second] = [series.name for series in listener.series]
    came = sum(name == first for name, _ in listener.numbers)
    assert 3 <= came < 100
    assert listener.numbers == [
        *((first, number) for number in range(came)),
        *((second, number) for number in range(4)),
    ]
    assert listener.lost == [(first, number) for number in range(came, 100)]
    assert listener.ends == ["new series", "end"]


def test_what_a_sender_deals_to_itself_is_known_to_be_lost(make_eiger, free_port, listen):
    # As tickit-devices makes it: of its messages comes every second one, or by luck every one.
    eiger = make_eiger([free_port() for _ in range(3)], kind="tickit_devices.eiger.Eiger")
    listener = listen(eiger.uri("legacy"))

    def take_until_a_start_and_an_end_come():
        for n_images in [4, 5] * 8:
            if not listener.source.exhausted:
                eiger.take("legacy", n_images=n_images, frame_time=0.2)

    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(take_until_a_start_and_an_end_come)
        listener.read()
        taking.result()
    [series] = listener.series
    assert listener.frames
    assert sorted(listener.numbers + listener.lost) == [
        (series.name, number) for number in range(series.n_frames)
    ]
