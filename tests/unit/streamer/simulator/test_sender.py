"""The simulated detector as its clients see it."""

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
import zmq
from dectris.compression import decompress
from numpy.testing import assert_array_equal

from streamer.config import SimulateConfig
from streamer.errors import UserError
from streamer.simulator import sender
from streamer.simulator.scene import Scene
from streamer.simulator.sender import Detector, Sent
from streamer.simulator.stream_v2 import SeriesMessages, encode_bslz4
from streamer.simulator.trigger import LineTrigger
from streamer.simulator.truth import read_truth

CONFIG = SimulateConfig(frames=30, rows=150, cols=170, spots=3, seed=1, rate_hz=0.0)
DTYPES = {64: "u1", 69: "<u2", 70: "<u4", 85: "<f4"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(CONFIG)


def slower(scene: Scene, **changes: Any) -> Scene:
    return Scene(scene.config.model_copy(update=changes))


def decode(message: bytes) -> dict[str, Any]:
    """Decode a message and all arrays in it."""

    def tag_hook(*arguments: Any) -> Any:
        # (decoder, tag) before cbor2 6, (tag, immutable) since.
        tag = next(item for item in arguments if isinstance(item, cbor2.CBORTag))
        if tag.tag == 56500:
            algorithm, size, data = tag.value
            return decompress(bytes(data), algorithm, elem_size=size)
        if tag.tag in DTYPES:
            return np.frombuffer(tag.value, DTYPES[tag.tag])
        if tag.tag == 40:
            shape, data = tag.value
            return data.reshape(tuple(shape))
        return tag.value if tag.tag == 55799 else tag

    decoded: dict[str, Any] = cbor2.loads(message, tag_hook=tag_hook)
    return decoded


# Messages


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
@pytest.mark.parametrize("shape", [(64, 64), (101, 33), (7,)])
def test_coded_arrays_decode(dtype: type, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    for scale in (3, 200):
        array = rng.poisson(scale, shape).astype(dtype)
        coded = encode_bslz4(array)
        assert int.from_bytes(coded[:8], "big") == array.nbytes
        decoded = decompress(coded, "bslz4", elem_size=array.itemsize)
        assert_array_equal(np.frombuffer(decoded, dtype).reshape(shape), array)


def test_coding_is_safe_between_threads() -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.poisson(5, (40, 40)).astype(np.uint16) for _ in range(60)]
    expected = [encode_bslz4(array) for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encode_bslz4, arrays)) == expected


def test_messages_begin_as_dectris_parser_wants(scene: Scene) -> None:
    series = SeriesMessages(scene, 1)
    for message in (series.start(), series.image(0, encode_bslz4(scene.render(0)), 0.0)):
        assert message[:3] == b"\xd9\xd9\xf7"
        assert message[3] >> 5 == 5  # a map
        assert b"\x64type" in message[3:10]
    assert series.end()[:3] == b"\xd9\xd9\xf7"


def test_start_message_describes_the_series(scene: Scene) -> None:
    date = datetime(2026, 3, 4, 5, 6, 7, 250_000, tzinfo=UTC)
    start = decode(SeriesMessages(scene, 7, date).start())
    assert start["type"] == "start"
    assert start["arm_date"] == date
    assert start["series_id"] == 7
    assert start["number_of_images"] == 30
    assert (start["image_size_y"], start["image_size_x"]) == scene.shape
    assert start["image_dtype"] == "uint16"
    assert start["frame_time"] == 0.01
    assert start["count_time"] < start["frame_time"]
    assert start["incident_energy"] == pytest.approx(20_000, rel=1e-3)
    assert list(start["channels"]) == ["threshold_1"]
    mask = start["pixel_mask"]["threshold_1"]
    assert mask.dtype == np.uint32
    assert_array_equal(mask != 0, scene.pixel_mask)
    assert_array_equal(start["flatfield"]["threshold_1"], np.ones(scene.shape))
    assert start["saturation_value"] == 65534
    assert start["countrate_correction_lookup_table"][-1] == 65534


def test_image_message_holds_the_pixels_and_times(scene: Scene) -> None:
    series = SeriesMessages(scene, 7)
    image = decode(series.image(5, encode_bslz4(scene.render(5)), 1.25))
    assert image["type"] == "image"
    assert image["image_id"] == 5
    assert image["series_id"] == 7
    assert image["series_unique_id"] == decode(series.end())["series_unique_id"]
    data = image["data"]["threshold_1"]
    assert data.dtype == np.uint16
    assert_array_equal(data, scene.render(5))
    seconds = {key: np.divide(*image[key]) for key in ("start_time", "stop_time", "real_time")}
    assert seconds["start_time"] == 1.25
    assert seconds["stop_time"] == pytest.approx(1.25 + scene.count_time)
    assert seconds["real_time"] == pytest.approx(scene.count_time)


def test_end_message_is_of_the_series(scene: Scene) -> None:
    one, other = SeriesMessages(scene, 1), SeriesMessages(scene, 1)
    assert {key: decode(one.end())[key] for key in ("type", "series_id")} == {
        "type": "end",
        "series_id": 1,
    }
    assert one.unique_id != other.unique_id


# The network


class Client:
    """A PULL socket that fails rather than wait for ever."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], **options: int) -> None:
        self.socket = context.socket(zmq.PULL)
        for name, value in options.items():
            setattr(self.socket, name, value)

    def connect(self, endpoint: str) -> None:
        self.socket.connect(endpoint)

    def receive(self) -> dict[str, Any]:
        assert self.socket.poll(20_000), "nothing came"
        return decode(self.socket.recv())

    def until_end(self) -> Iterator[dict[str, Any]]:
        while (message := self.receive())["type"] != "end":
            yield message


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []
    with zmq.Context() as context:

        def make(**options: int) -> Client:
            clients.append(Client(context, **options))
            return clients[-1]

        yield make
        for one in clients:
            one.socket.close(linger=0)


@pytest.fixture
def background() -> Iterator[Callable[..., "Future[Sent]"]]:
    """Runs detectors beside the test."""
    with ThreadPoolExecutor() as pool:
        yield lambda detector, *args: pool.submit(detector.run, *args)


def test_a_client_gets_all_series_in_order(scene: Scene, client: Any, background: Any) -> None:
    with Detector(slower(scene, series=2)) as detector:
        run = background(detector)
        puller = client()
        puller.connect(detector.endpoint)
        for series_id in (1, 2):
            assert puller.receive()["type"] == "start"
            for index in range(30):
                image = puller.receive()
                assert (image["series_id"], image["image_id"]) == (series_id, index)
                assert_array_equal(image["data"]["threshold_1"], scene.render(index))
            end = puller.receive()
            assert (end["type"], end["series_id"]) == ("end", series_id)
        result = run.result()
    assert (result.sent, result.dropped, result.series, result.complete) == (60, 0, 2, True)


def test_the_rate_is_kept_without_drift(scene: Scene, client: Any, background: Any) -> None:
    with Detector(slower(scene, rate_hz=100.0)) as detector:
        run = background(detector)
        puller = client()
        puller.connect(detector.endpoint)
        frames = [puller.receive() for _ in range(32)][1:-1]
        assert run.result().seconds >= 0.29
    starts = [np.divide(*frame["start_time"]) for frame in frames]
    assert all(start >= 0.01 * index for index, start in enumerate(starts))
    # Delays of single frames do not add up: at least one of the last came when it was due.
    assert min(start - 0.01 * index for index, start in enumerate(starts[-10:], 20)) < 0.1


def test_a_stopped_detector_sends_its_end_early(scene: Scene, client: Any, background: Any) -> None:
    stop = threading.Event()
    with Detector(slower(scene, rate_hz=5.0)) as detector:
        run = background(detector, stop)
        puller = client()
        puller.connect(detector.endpoint)
        assert [puller.receive()["type"] for _ in range(3)] == ["start", "image", "image"]
        stop.set()
        result = run.result()
        rest = [message["image_id"] for message in puller.until_end()]
    assert rest == list(range(2, result.sent))
    assert result.sent < 30
    assert not result.complete


def test_an_armed_detector_sends_no_frame_before_its_trigger(
    scene: Scene, client: Any, background: Any
) -> None:
    trigger = threading.Event()
    with Detector(slower(scene, series=2), trigger=trigger) as detector:
        run = background(detector)
        puller = client()
        puller.connect(detector.endpoint)
        assert puller.receive()["type"] == "start"
        assert not puller.socket.poll(300)
        trigger.set()
        frames = list(puller.until_end())
        assert [frame["image_id"] for frame in frames] == list(range(30))
        assert puller.receive()["type"] == "start"
        assert len(list(puller.until_end())) == 30
        assert run.result().sent == 60
    # Times count from when the series was armed.
    assert np.divide(*frames[0]["start_time"]) > 0.3


def test_a_detector_that_is_stopped_while_it_is_armed_ends_its_series(
    scene: Scene, client: Any, background: Any
) -> None:
    stop = threading.Event()
    with Detector(scene, trigger=threading.Event()) as detector:
        run = background(detector, stop)
        puller = client()
        puller.connect(detector.endpoint)
        assert puller.receive()["type"] == "start"
        stop.set()
        assert puller.receive()["type"] == "end"
        assert not run.result().complete


def test_a_line_is_a_trigger() -> None:
    reads, writes = os.pipe()
    trigger = LineTrigger(reads)
    assert not trigger.wait(0.01)
    os.write(writes, b"go\n")
    assert trigger.wait(10.0)
    os.close(writes)
    assert trigger.wait(0.0)  # once and for all
    os.close(reads)


def test_without_a_line_there_is_no_trigger() -> None:
    with open(os.devnull, "rb") as nothing, pytest.raises(UserError, match="without a trigger"):
        LineTrigger(nothing.fileno()).wait(1.0)


def test_a_detector_stops_while_it_waits_for_a_client(scene: Scene) -> None:
    stop = threading.Event()
    stop.set()
    with Detector(scene) as detector:
        assert detector.run(stop) == Sent(0, 0, 0, 0.0, complete=False)


def test_no_client_is_a_users_mistake(scene: Scene) -> None:
    with Detector(scene) as detector, pytest.raises(UserError, match="no client connected to tcp"):
        detector.run(client_timeout_s=0.05)


def test_a_busy_port_is_a_users_mistake(scene: Scene) -> None:
    with Detector(scene) as first:
        with pytest.raises(UserError, match=f"port in use: {first.endpoint}"):
            Detector(scene, address=first.endpoint)
    with Detector(scene, address=first.endpoint) as second:
        assert second.endpoint == first.endpoint


@pytest.mark.parametrize("address", ["nonsense", "tcp://1.2.3.4:0", "http://localhost:1"])
def test_a_bad_address_is_a_users_mistake(scene: Scene, address: str) -> None:
    with pytest.raises(UserError, match=f"cannot listen at {address}"):
        Detector(scene, address=address)


def test_a_client_that_does_not_read_loses_frames(
    client: Any, background: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_END_PATIENCE_S", 0.05)
    monkeypatch.setattr(sender, "_BUFFER_FRAMES", 2)
    config = SimulateConfig(frames=400, rows=256, cols=256, spots=1, rate_hz=2000.0)
    with Detector(Scene(config)) as detector:
        run = background(detector)
        puller = client(rcvhwm=2, rcvbuf=4096)
        puller.connect(detector.endpoint)
        result = run.result()
        assert result.dropped > 0
        assert result.sent + result.dropped == 400
        assert result.complete
        assert puller.receive()["type"] == "start"
        ids = [puller.receive()["image_id"] for _ in range(result.sent)]
    assert all(one < next_one for one, next_one in itertools.pairwise(ids))


def test_flat_out_waits_for_a_slow_client(
    scene: Scene, client: Any, background: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_BUFFER_FRAMES", 1)
    with Detector(slower(scene, frames=300)) as detector:
        run = background(detector)
        puller = client(rcvhwm=1, rcvbuf=4096)
        puller.connect(detector.endpoint)
        puller.receive()
        assert [puller.receive()["image_id"] for _ in range(300)] == list(range(300))
        assert puller.receive()["type"] == "end"
        assert run.result().dropped == 0


def test_flat_out_gives_a_dead_client_up(
    client: Any,
    background: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sender, "_END_PATIENCE_S", 0.05)
    monkeypatch.setattr(sender, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(sender, "_BUFFER_FRAMES", 2)
    config = SimulateConfig(frames=250, rows=256, cols=256, spots=1, rate_hz=0.0)
    with Detector(Scene(config)) as detector, caplog.at_level(logging.WARNING):
        run = background(detector)
        puller = client(rcvhwm=2, rcvbuf=4096)
        puller.connect(detector.endpoint)
        result = run.result()
        puller.socket.close(linger=0)
    assert not result.complete
    assert 0 < result.sent < 250
    assert "giving up" in caplog.text


def test_a_client_that_leaves_loses_the_rest(
    scene: Scene,
    client: Any,
    background: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sender, "_END_PATIENCE_S", 0.05)
    leaving = slower(scene, frames=150, rate_hz=200.0)
    with Detector(leaving) as detector, caplog.at_level(logging.WARNING):
        run = background(detector)
        puller = client()
        puller.connect(detector.endpoint)
        assert puller.receive()["type"] == "start"
        puller.socket.close(linger=0)
        result = run.result()
    assert result.dropped > 0
    assert result.sent + result.dropped == 150
    assert result.complete
    assert "did not take the end of series 1" in caplog.text


@pytest.mark.timeout(30)
def test_closing_does_not_wait_for_clients_that_left(
    client: Any, background: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment of closing, with messages on the way: about one in ten was waited for."""
    changed = {"_END_PATIENCE_S": 0.02, "_PATIENCE_S": 0.05, "_LINGER_S": 0.1, "_BUFFER_FRAMES": 2}
    for name, value in changed.items():
        monkeypatch.setattr(sender, name, value)
    config = SimulateConfig(frames=250, rows=256, cols=256, spots=1, rate_hz=0.0)
    scene = Scene(config)
    for _ in range(20):
        with Detector(scene) as detector:
            run = background(detector)
            puller = client(rcvhwm=2, rcvbuf=4096)
            puller.connect(detector.endpoint)
            run.result()
            puller.socket.close(linger=0)


def test_truth_is_written_beside_on_request(
    scene: Scene, client: Any, background: Any, tmp_path: Path
) -> None:
    path = tmp_path / "run" / "truth.parquet"
    with Detector(scene, path) as detector:
        run = background(detector)
        puller = client()
        puller.connect(detector.endpoint)
        puller.receive()
        table, metadata = read_truth(path)
        run.result()
    assert table.equals(scene.truth())
    assert metadata["simulate"]["seed"] == 1
    assert metadata["detectable_counts"] == 100.0
