"""The live stream of DECTRIS detectors: messages made by hand, sent over a real PUSH socket."""

import base64
import contextlib
import socket
from datetime import UTC, datetime

import cbor2
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.ingest.taps import TeeSource
from streamer.sources import check_reachable, open_source
from streamer.sources.live.arrivals import Arrivals
from streamer.sources.live.dectris.cbor import parse
from streamer.sources.live.dectris.source import DectrisSource
from tests.unit.streamer.sources.live.senders import (
    Sender,
    compress,
    counts,
    gaps,
    numbers,
    pixels,
    read,
)

SHAPE = (32, 48)
TAGS = {"|u1": 64, ">u2": 65, "<u2": 69, ">u4": 66, "<u4": 70, "<i4": 78, "<f4": 85}
DATE = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
DATE_NS = 1_700_000_000_000_000_000


def picture(number, dtype="<u2", channel=0):
    return np.random.default_rng((number, channel)).poisson(2, SHAPE).astype(dtype)


def array(frame, encoding="bslz4", order=40):
    data = frame.tobytes()
    if encoding != "raw":
        size = frame.dtype.itemsize if encoding == "bslz4" else 0
        data = cbor2.CBORTag(56500, [encoding, size, compress(frame, encoding)])
    return cbor2.CBORTag(order, [list(frame.shape), cbor2.CBORTag(TAGS[frame.dtype.str], data)])


def message(tagged=True, **fields):
    return cbor2.dumps(cbor2.CBORTag(55799, fields) if tagged else fields)


def start(series=1, n=5, **fields):
    fields = {
        "series_unique_id": f"unique {series}",
        "arm_date": DATE,
        "channels": ["threshold_1"],
        "image_size_x": SHAPE[1],
        "image_size_y": SHAPE[0],
        "number_of_images": n,
        "frame_time": 0.01,
        "saturation_value": 60_000,
    } | fields
    return message(type="start", series_id=series, **fields)


def image(number, series=1, **fields):
    fields = {
        "series_unique_id": f"unique {series}",
        "series_date": DATE,
        "start_time": [number * 500_000, 50_000_000],
        "data": {"threshold_1": array(picture(number))},
    } | fields
    return message(type="image", image_id=number, series_id=series, **fields)


def end(series=1):
    return message(type="end", series_id=series, series_unique_id=f"unique {series}")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Detector(Sender):
    def open(self, options="", clock=None, **config):
        if clock is None:
            return super().open(options, **config)
        self.sources.append(DectrisSource(self.uri + options, SourceConfig(**config), clock))
        return self.sources[-1]


@pytest.fixture
def detector():
    with contextlib.closing(Detector("dectris")) as detector:
        yield detector


MARK = message(type="mark")


def receive(source, limit=10, to_the_end=False):
    """Read until a message of unknown type, or the last wanted series, has come."""
    events, marks = [], source.counters["ignored"]
    while (to_the_end or source.counters["ignored"] == marks) and not source.exhausted:
        if source.socket is not None:
            assert source.socket.poll(5000), "nothing comes"
        got = source.read(limit)
        assert len(got) <= limit
        events += got
    while got := source.read(limit):
        events += got
    return events


@pytest.mark.parametrize("encoding", ["raw", "bslz4", "lz4"])
@pytest.mark.parametrize("dtype", list(TAGS))
def test_frames_travel_as_they_are(detector, encoding, dtype):
    source = detector.open()
    pictures = [picture(n, dtype) for n in range(3)]
    detector.send(
        start(n=3),
        *(image(n, data={"threshold_1": array(p, encoding)}) for n, p in enumerate(pictures)),
        end(),
    )
    events = receive(source)
    assert [type(e) for e in events] == [Series, Frame, Frame, Frame, SeriesEnd]
    assert events[0].name == "series_1"
    assert events[-1].reason == "end"
    for number, (event, frame) in enumerate(zip(events[1:], pictures, strict=False)):
        assert (event.frame, event.dtype, event.shape) == (number, dtype, SHAPE)
        assert event.encoding == encoding
        assert event.time_ns == DATE_NS + number * 10_000_000
        coded = frame.tobytes() if encoding == "raw" else compress(frame, encoding)
        assert bytes(event.data) == coded
        np.testing.assert_array_equal(pixels(event), frame)
    assert source.exhausted
    assert source.live
    assert counts(source) == {}


@pytest.mark.parametrize("tagged", [True, False])
def test_messages_with_and_without_the_mark_of_cbor(tagged):
    assert parse(message(tagged, type="end", series_id=3)) == {"type": "end", "series_id": 3}


def test_start_message_describes_the_series(detector):
    mask = np.zeros(SHAPE, "<u4")
    mask[2, 3], mask[4] = 1, 1 << 30
    flat = np.full(SHAPE, 1.25, "<f4")
    detector_says = {
        "pixel_mask": {"threshold_1": array(mask, "bslz4")},
        "flatfield": {"threshold_1": array(flat, "raw")},
        "flatfield_enabled": False,
        "countrate_correction_lookup_table": cbor2.CBORTag(70, bytes(400)),
        "beam_center_x": 20.5,
        "incident_wavelength": 0.9,
        "detector_translation": [0.0, 0.0, 0.12],
        "goniometer": {"omega": {"start": 1.0, "increment": 0.1}},
        "user_data": {"sample": "NMC 7"},
    }
    source = detector.open()
    detector.send(start(**detector_says), MARK)
    (series,) = receive(source)
    np.testing.assert_array_equal(series.pixel_mask, mask != 0)
    np.testing.assert_array_equal(series.flatfield, flat)
    assert (series.n_frames, series.frame_time_s, series.saturation) == (5, 0.01, 60_000)
    assert source.n_frames == 5
    assert series.metadata["beam_center_x"] == 20.5
    assert series.metadata["detector_translation"] == [0.0, 0.0, 0.12]
    assert series.metadata["goniometer"] == {"omega": {"start": 1.0, "increment": 0.1}}
    assert series.metadata["user_data"] == {"sample": "NMC 7"}
    assert series.metadata["arm_date"].startswith("2023-11-14T22:13:20")
    assert not {"pixel_mask", "flatfield", "countrate_correction_lookup_table"} & set(
        series.metadata
    )


def test_flat_field_that_the_detector_applied_is_left_out(detector):
    flat = np.full(SHAPE, 1.25, "<f4")
    source = detector.open()
    detector.send(
        start(flatfield={"threshold_1": array(flat, "raw")}, flatfield_enabled=True), MARK
    )
    assert receive(source)[0].flatfield is None


@pytest.mark.parametrize(
    "mask",
    [
        {"threshold_1": base64.b64encode(bytes(6000))},
        {"threshold_1": "AAAA" * 2000},
        {"threshold_2": array(np.zeros(SHAPE, "<u4"), "raw")},
        {"threshold_1": array(np.zeros((5, 6), "<u4"), "raw")},
        {"threshold_1": cbor2.CBORTag(40, [[32, 48], cbor2.CBORTag(70, bytes(17))])},
        [1, 2, 3],
    ],
)
def test_mask_that_is_no_array_is_left_out_with_a_warning(detector, mask):
    source = detector.open()
    detector.send(start(pixel_mask=mask), image(0), MARK)
    events = receive(source)
    assert events[0].pixel_mask is None
    assert "pixel_mask" in events[0].metadata["warnings"][0]
    assert numbers(events) == [0]


def test_chosen_channel_of_several(detector):
    names = ["threshold_1", "threshold_2", "difference"]
    source = detector.open(channel="threshold_2")
    data = {name: array(picture(0, channel=c)) for c, name in enumerate(names)}
    detector.send(start(n=1, channels=names), image(0, data=data), end())
    event = receive(source)[1]
    np.testing.assert_array_equal(pixels(event), picture(0, channel=1))


@pytest.mark.parametrize(
    "said",
    [
        {"channels": ["default"]},
        {"channels": None},
        {"channels": None, "pixel_mask": {"default": array(np.eye(*SHAPE, dtype="<u4"), "raw")}},
    ],
)
def test_the_only_channel_is_taken_and_named(detector, said):
    source = detector.open()
    data = {"default": array(picture(0, "<i4"), "raw")}
    detector.send(start(n=1, **said), image(0, data=data), end())
    series, event, _ = receive(source)
    np.testing.assert_array_equal(pixels(event), picture(0, "<i4"))
    assert series.metadata.get("channel") == (None if said == {"channels": None} else "default")
    assert (series.pixel_mask is not None) == ("pixel_mask" in said)


def test_the_only_channel_is_not_taken_for_another_one_that_was_asked_for(detector):
    detector.open(channel="threshold_1")
    said = detector.complaint(start(channels=["threshold_2"]))
    assert "sends no channel threshold_1: set source.channel to threshold_2" in said


def test_lost_frames_are_gaps(detector):
    source = detector.open()
    detector.send(start(n=10), *map(image, (1, 2, 5, 9)), end())
    events = receive(source)
    assert numbers(events) == [1, 2, 5, 9]
    assert gaps(events) == [(f, "not received") for f in (range(1), range(3, 5), range(6, 9))]
    assert events[-1].reason == "end"


@pytest.mark.parametrize(
    ("n", "order"),
    [
        (10, [*map(image, range(10)), *map(image, range(10))]),  # neither end nor start
        (200, [*map(image, range(100)), *map(image, range(10))]),  # far back
        (200, [*map(image, range(20)), start(n=200), *map(image, range(10))]),  # the same start
    ],
)
def test_images_whose_numbers_start_over_are_of_another_series(detector, n, order):
    source = detector.open(series=0)
    detector.send(start(n=n), *order, end(), MARK)
    events = receive(source)
    names = [event.name for event in events if isinstance(event, Series)]
    assert names == ["series_1", "series_1_2"]
    frames = [event for event in events if isinstance(event, Frame)]
    assert [event.frame for event in frames if event.series == names[1]] == list(range(10))
    again = next(e for e in events if isinstance(e, Series) and e.name == names[1])
    assert "that is taken for it" in again.metadata["warnings"][-1]


def test_duplicates_of_what_came_lately_are_dropped(detector):
    source = detector.open()
    detector.send(start(n=100), *map(image, range(100)), *map(image, range(40, 100)), end())
    events = receive(source)
    assert numbers(events) == list(range(100))
    assert counts(source) == {"duplicates": 60}


def test_swapped_frames_are_no_gaps_and_none_is_lost(detector):
    source = detector.open()
    order = [0, 3, 1, 2, 4, 7, 6, 5, 9, 8]
    detector.send(start(n=10), *map(image, order), end())
    events = receive(source)
    assert numbers(events) == order
    assert gaps(events) == []


def test_repeated_and_stray_messages_are_counted_and_skipped(detector):
    source = detector.open(series=2)
    detector.send(
        image(7, series=0),
        end(series=0),
        start(1, n=3),
        start(1, n=3),
        image(0),
        image(0),
        image(1),
        image(5, series=0),
        image(2),
        end(1),
        image(2),
        end(1),
        start(2, n=1),
        image(2, series=1),
        end(1),
        image(0, series=2),
        end(2),
    )
    events = receive(source)
    assert [(e.series, e.frame) for e in events if isinstance(e, Frame)] == [
        ("series_1", 0),
        ("series_1", 1),
        ("series_1", 2),
        ("series_2", 0),
    ]
    assert [e.reason for e in events if isinstance(e, SeriesEnd)] == ["end", "end"]
    assert counts(source) == {"stray": 4, "duplicates": 2}
    assert source.exhausted


def test_malformed_messages_are_counted_and_skipped(detector):
    source = detector.open()
    whole = image(1)
    bad = [
        b"",
        b"\xff",
        b"\x00",
        b"no cbor at all",
        b'{"json": true}',
        whole[:-30],
        [whole, b"and more"],
        cbor2.dumps([1, 2, 3]),
        message(type="start"),
        message(type="end"),
        message(type="image", series_id=1),
        message(type="image", series_id=1, image_id="one"),
        message(type="image", series_id=1, image_id=10**12),
        message(type="image", series_id=1, image_id=-1),
        message(type="image", series_id=1, image_id=True),
    ]
    detector.send(start(n=3), image(0), *bad, image(1), image(2), end())
    events = receive(source)
    assert numbers(events) == [0, 1, 2]
    assert counts(source) == {"malformed": len(bad)}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "no data"),
        ({"threshold_2": 1}, "no channel threshold_1"),
        ({"threshold_1": b"1234"}, "no typed array"),
        ({"threshold_1": cbor2.CBORTag(69, bytes(8))}, "no typed array"),
        ({"threshold_1": cbor2.CBORTag(40, [[2, 2], bytes(8)])}, "no typed array"),
        ({"threshold_1": cbor2.CBORTag(40, [[2, 0], cbor2.CBORTag(69, b"")])}, "no typed array"),
        ({"threshold_1": cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(69, bytes(7))])}, "7 bytes"),
        (
            {
                "threshold_1": cbor2.CBORTag(
                    40, [[2, 2], cbor2.CBORTag(69, cbor2.CBORTag(56500, ["bslz4", 4, b""]))]
                )
            },
            "4-byte items",
        ),
    ],
)
def test_image_without_its_pixels_is_a_gap_with_the_reason(detector, data, says):
    source = detector.open()
    detector.send(start(n=3), image(0), image(1, data=data), image(2), end())
    events = receive(source)
    ((lost, reason),) = gaps(events)
    assert lost == range(1, 2)
    assert says in reason
    assert numbers(events) == [0, 2]
    assert source.counters["malformed"] == 1


def test_damaged_bytes_never_stop_the_stream(detector):
    rng = np.random.default_rng(8)
    whole = image(1)
    damaged = []
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, 160, 3):
            data[at] = rng.integers(256)
        damaged.append(
            bytes(data[: rng.integers(1, len(data))]) if rng.random() < 0.2 else bytes(data)
        )
    source = detector.open()
    detector.send(start(n=3), image(0), *damaged, image(2), end())
    events = receive(source, to_the_end=True)
    booked = sorted(numbers(events) + [n for lost, _ in gaps(events) for n in lost])
    assert booked == [0, 1, 2], "a damaged image may pass for another, but never twice"
    assert source.counters["malformed"] > 50
    assert isinstance(events[-1], SeriesEnd)


def test_early_end_is_an_abort_and_what_was_not_taken_is_not_missing(detector):
    source = detector.open(clock=Clock())
    detector.send(start(n=100), *map(image, (0, 1, 3)), end())
    events = receive(source)
    assert gaps(events) == [(range(2, 3), "not received")]
    assert events[-1].reason == "abort: 4 of 100 frames were taken"


def test_end_without_images_is_an_abort(detector):
    source = detector.open()
    detector.send(start(n=100), end())
    events = receive(source)
    assert [type(e) for e in events] == [Series, SeriesEnd]
    assert events[-1].reason == "abort: 0 of 100 frames were taken"


def test_last_frames_are_missing_when_the_end_came_in_time(detector):
    clock = Clock()
    source = detector.open(clock=clock)
    events = []
    detector.send(start(n=20), MARK)
    events += receive(source)
    for number in range(17):
        detector.send(image(number), MARK)
        events += receive(source)
        clock.now += 0.01
    clock.now += 0.03
    detector.send(end())
    events += receive(source)
    assert gaps(events) == [(range(17, 20), "not received")]
    assert events[-1].reason == "end"


def test_triggered_series_that_is_ended_late_is_an_abort(detector):
    clock = Clock()
    source = detector.open(clock=clock)
    detector.send(start(n=20), MARK)
    events = receive(source)
    for number in range(5):  # one trigger each second, at a frame time of 10 ms
        detector.send(image(number, start_time=[number, 1]), MARK)
        events += receive(source)
        clock.now += 1
    detector.send(end())
    events += receive(source)
    assert gaps(events) == []
    assert events[-1].reason == "abort: 5 of 20 frames were taken"


def test_new_start_ends_the_series_before(detector):
    source = detector.open(series=3)
    detector.send(start(1, n=2), image(0), start(2, n=1), image(0, series=2), end(2))
    detector.send(start(1, n=1, arm_date=datetime(2024, 1, 1, tzinfo=UTC)), image(0), end(1))
    events = receive(source)
    ends = [(e.series, e.reason) for e in events if isinstance(e, SeriesEnd)]
    assert ends == [("series_1", "new series"), ("series_2", "end"), ("series_1_2", "end")]
    assert source.n_frames is None


def test_a_series_announced_without_end_whose_end_is_lost_costs_one_gap(detector):
    source = detector.open(series=2)
    detector.send(start(1, n=2_000_000_000), image(0), image(1))
    detector.send(start(2, n=2), image(0, series=2), image(1, series=2), end(2))
    events = receive(source)
    gaps = [(e.series, e.first, e.count) for e in events if isinstance(e, Gap)]
    assert gaps == [("series_1", 2, 1_999_999_998)]
    frames = [(e.series, e.frame) for e in events if isinstance(e, Frame)]
    assert frames == [("series_1", 0), ("series_1", 1), ("series_2", 0), ("series_2", 1)]


def test_start_and_images_in_one_message_are_taken_apart(detector):
    source = detector.open()
    detector.send([start(n=2), image(0)], image(1), end())
    events = receive(source)
    assert numbers(events) == [0, 1]
    assert counts(source) == {}


def test_detector_that_died_in_mid_series_and_came_back(detector):
    source = detector.open(series=2)
    detector.send(start(n=3), image(0))
    before = read(source, 2)
    assert TeeSource(source, []).gone_s == 0.0
    detector.die()
    assert TeeSource(source, []).gone_s > 0.0
    detector.come_back()
    detector.send(start(n=3), *map(image, range(3)), end())
    events = before + receive(source, to_the_end=True)
    assert source.gone_s == 0.0
    ends = [(e.series, e.reason) for e in events if isinstance(e, SeriesEnd)]
    assert ends == [("series_1", "new series"), ("series_1_2", "end")]
    assert gaps(events) == [(range(1, 3), "not received, nor the end of the series")]
    assert numbers(events) == [0, 0, 1, 2]
    assert source.counters["disconnects"] == 1


def test_a_detector_that_is_back_before_anybody_looks_begins_a_series_of_its_own(detector):
    source = detector.open(series=2)
    detector.send(start(n=3), image(0))
    before = read(source, 2)
    detector.socket.close()
    detector.come_back()
    detector.send(start(n=3), *map(image, range(3)), end())
    assert source.socket.poll(10_000), "all this before it reads again"
    events = before + receive(source, to_the_end=True)
    assert [e.name for e in events if isinstance(e, Series)] == ["series_1", "series_1_2"]
    assert numbers(events) == [0, 0, 1, 2]
    assert "duplicates" not in counts(source)


def test_silent_series_is_ended(detector):
    clock = Clock()
    source = detector.open(clock=clock, idle_s=30)
    clock.now += 100
    assert source.read(10) == []
    assert not source.exhausted, "it waits for a series as long as it takes"
    detector.send(start(n=None), image(0), image(2), MARK)
    assert numbers(receive(source)) == [0, 2]
    clock.now += 29
    assert source.read(10) == []
    clock.now += 2
    lost, ended = source.read(10)
    assert (lost.frames, lost.reason) == (range(1, 2), "not received")
    assert ended.reason == "idle: nothing came for 30 s"
    assert source.exhausted
    assert source.socket is None


def test_series_without_end_go_on_until_stopped(detector):
    source = detector.open(series=0)
    for series in range(1, 5):
        detector.send(start(series, n=1), image(0, series=series), end(series), MARK)
        assert len(receive(source)) == 3
        assert not source.exhausted
    source.close()
    assert source.exhausted


def test_messages_of_the_next_series_are_left_for_the_next_client(detector):
    left = detector.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    first = detector.open()
    detector.send(start(1, n=1), image(0), end(1))
    assert len(receive(first)) == 3
    for _ in ("its probe", "the client itself"):
        assert left.poll(5000), "it is still there"
        left.recv_multipart()
    detector.socket.disable_monitor()
    left.close()
    detector.socket.get(zmq.EVENTS)  # lets the socket take note
    second = detector.open()
    detector.send(start(2, n=1), image(0, series=2), end(2))
    assert len(receive(second)) == 3


def test_probe_of_the_port_swallows_no_message(detector):
    source = detector.open()
    for _ in range(10):
        socket.create_connection(("127.0.0.1", detector.port)).close()
        check_reachable(detector.uri, SourceConfig())
    detector.send(
        start(n=200),
        *(image(n, data={"threshold_1": array(picture(0), "raw")}) for n in range(200)),
        end(),
    )
    assert numbers(receive(source, limit=64)) == list(range(200))


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_limit_is_kept_and_nothing_is_left_behind(detector, limit):
    source = detector.open()
    detector.send(start(n=20), *map(image, (0, 4, 8, 12, 19)), end())
    events = receive(source, limit)
    assert numbers(events) == [0, 4, 8, 12, 19]
    assert len(gaps(events)) == 4
    assert isinstance(events[-1], SeriesEnd)


def test_detector_without_a_clock_is_counted_on(detector):
    source = detector.open()
    detector.send(start(n=3), *(image(n, start_time=[5, 10]) for n in range(3)), end())
    times = [e.time_ns for e in receive(source)[1:-1]]
    assert times == [DATE_NS + 500_000_000 + n * 10_000_000 for n in range(3)]


@pytest.mark.parametrize(
    "fields",
    [
        {"start_time": None},
        {"start_time": [1, 0]},
        {"start_time": ["a", "b"]},
        {"series_date": "yesterday"},
        {"series_date": None},
        {"start_time": [10**40, 1]},
    ],
)
def test_without_a_start_time_it_is_that_of_arrival(detector, fields):
    source = detector.open()
    before = datetime.now(UTC).timestamp()
    detector.send(start(n=1), image(0, **fields), end())
    event = receive(source)[1]
    assert before - 1 <= event.time_ns / 1e9 <= datetime.now(UTC).timestamp() + 1


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([start(channels=["a", "b"])], "set source.channel to a or b"),
        ([start(channels=None), image(0, data={"a": 1, "b": 1})], "set source.channel to a or b"),
        (
            [start(), image(0, data={"threshold_1": array(picture(0), "raw", order=1040)})],
            "column by column",
        ),
        (
            [
                start(),
                image(
                    0,
                    data={
                        "threshold_1": cbor2.CBORTag(
                            40, [[2, 2], cbor2.CBORTag(69, cbor2.CBORTag(56500, ["trpx", 2, b""]))]
                        )
                    },
                ),
            ],
            "compresses with trpx",
        ),
        (
            [
                [b'{"htype": "dheader-1.0", "series": 1, "header_detail": "none"}'],
                [
                    b'{"htype": "dimage-1.0", "series": 1, "frame": 0}',
                    b'{"encoding": "zstd<", "shape": [4, 4], "type": "uint16"}',
                    b"",
                ],
            ],
            "codes its pixels as 'zstd<'",
        ),
    ],
)
def test_settings_of_the_detector_that_do_not_fit_are_told(detector, messages, says):
    detector.open()
    said = detector.complaint(*messages)
    assert says in said
    assert detector.uri in said


@pytest.mark.parametrize(
    "uri",
    [
        "dectris://",
        "dectris://localhost",
        "dectris://localhost:",
        "dectris://localhost:abc",
        "dectris://localhost:99999",
        "dectris://localhost:0",
        "dectris://:31001",
        "dectris://localhost:31001/stream",
        "dectris://[::1:31001",
    ],
)
def test_malformed_addresses(uri):
    with pytest.raises(UserError, match="write host and port, such as dectris://"):
        open_source(uri, SourceConfig())


def test_nothing_answers():
    with socket.socket() as bound:  # bound and not listening: no one else gets the port
        bound.bind(("127.0.0.1", 0))
        uri = f"dectris://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(UserError, match=r"cannot reach .* \(connection refused\): is it on"):
            open_source(uri, SourceConfig(connect_s=0.15))


def test_a_recording_is_no_live_stream():
    with pytest.raises(UserError, match="replay reads recordings"):
        check_reachable("run_master.h5", SourceConfig())


def test_unknown_host():
    with pytest.raises(UserError, match=r"\(no such host\)"):
        open_source("dectris://no.such.host.invalid:31001", SourceConfig(connect_s=0.1))


@given(
    arrived=st.lists(st.integers(0, 299), max_size=400),
    n_announced=st.sampled_from([None, 300]),
)
def test_each_frame_is_booked_once(arrived, n_announced):
    arrivals = Arrivals(n_announced)
    new, lost = [], []
    for frame in arrived:
        assert arrivals.can_be(frame)
        state = arrivals.book(frame)
        if state == "new":
            new.append(frame)
        assert (state == "late") == (frame in lost)
        assert state != "duplicate" or new.count(frame) == 1
        for gap in arrivals.take_gaps():
            lost += gap
    for gap in arrivals.finish():
        lost += gap
    assert sorted(new + lost) == list(range(max(arrived, default=-1) + 1))


def test_a_gap_is_reported_in_one_piece_before_the_series_ends():
    arrivals = Arrivals(None)
    arrivals.book(0)
    found = []
    for frame in range(1000, 1100):
        arrivals.book(frame)
        found += [(frame, gap) for gap in arrivals.take_gaps()]
    assert found == [(1064, range(1, 1000))]
    assert arrivals.book(500) == "late"
    assert arrivals.finish() == []


def test_a_series_is_gone_on_with_in_its_middle(detector):
    source = detector.open()
    detector.send(
        start(n=9, pixel_mask={"threshold_1": array(np.eye(*SHAPE, dtype="<u4"))}),
        image(0),
        image(1),
    )
    first = read(source, 3)
    tracking = detector.replace(source, ["series_1"])
    detector.send(image(5), image(4), image(8), end())
    events = read(tracking, 7)
    assert (events[0].name, events[0].n_frames) == ("series_1", 9)
    np.testing.assert_array_equal(events[0].pixel_mask, first[0].pixel_mask)
    assert numbers(events) == [5, 4, 8]
    # What came before is known to who had the series then, and is told again all the same.
    assert [frames for frames, _ in gaps(events)] == [range(4), range(6, 8)]
    assert events[-1] == SeriesEnd(series="series_1", reason="end")
    assert counts(tracking) == {}


def test_far_into_a_series_only_what_may_have_been_overtaken_is_told_again(detector):
    source = detector.open()
    detector.send(start(n=1000), image(0))
    read(source, 2)
    tracking = detector.replace(source, ["series_1"])
    detector.send(image(500), end())
    events = read(tracking, 4)
    assert gaps(events) == [(range(436, 500), "not received")]
    assert events[-1].reason == "abort: 501 of 1000 frames were taken"


def test_a_series_that_ended_meanwhile_is_closed_by_the_next(detector):
    source = detector.open()
    detector.send(start(n=3), image(0))
    read(source, 2)
    tracking = detector.replace(source, ["series_1"], series=2)
    detector.send(start(2, n=1), image(0, 2), end(2))
    events = read(tracking, 6)
    assert gaps(events) == [(range(3), "not received, nor the end of the series")]
    assert [event.name for event in events if isinstance(event, Series)] == ["series_1", "series_2"]


def test_names_that_a_predecessor_used_are_not_used_again(detector):
    tracking = detector.open()
    tracking.resume(["series_1"], None)
    detector.send(start(n=1), image(0), end())
    assert read(tracking, 3)[0].name == "series_1_2"
