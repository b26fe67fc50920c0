"""Version 1 of the stream of DECTRIS detectors, and the REST interface beside it."""

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Frame, Series, SeriesEnd
from streamer.sources import check_reachable
from tests.unit.streamer.sources.live.senders import (
    Sender,
    compress,
    counts,
    gaps,
    js,
    numbers,
    pixels,
    read,
)

ROWS, COLS = 24, 40
CONFIG = {
    "nimages": 4,
    "ntrigger": 1,
    "trigger_mode": "ints",
    "frame_time": 0.01,
    "x_pixels_in_detector": COLS,
    "y_pixels_in_detector": ROWS,
    "countrate_correction_count_cutoff": 50_000,
    "flatfield_correction_applied": False,
    "beam_center_x": 20.5,
    "wavelength": 0.9,
}


def picture(number, dtype="<u2"):
    return np.random.default_rng(number).poisson(2, (ROWS, COLS)).astype(dtype)


def header(series=1, detail="basic", **config):
    parts = [js(htype="dheader-1.0", series=series, header_detail=detail)]
    if detail != "none":
        parts.append(json.dumps(CONFIG | config).encode())
    return parts


def calibration(htype, array):
    about = js(htype=htype, shape=list(array.shape[::-1]), type=str(array.dtype))
    return [about, array.tobytes()]


def full_header(series=1, flat_name="dflatfield-1.0", mask=None):
    mask = np.zeros((ROWS, COLS), np.uint32) if mask is None else mask
    flat = np.full((ROWS, COLS), 1.5, np.float32)
    return [
        *header(series, "all"),
        *calibration(flat_name, flat),
        *calibration("dpixelmask-1.0", mask),
        *calibration("dcountrate_table-1.0", np.ones((1000, 2), np.float32)),
    ]


def image(number, series=1, frame=None, encoding=None, blob=None, start=None):
    frame = picture(number) if frame is None else frame
    if encoding is None:
        encoding = f"bs{8 * frame.itemsize}-lz4" + ("<" if frame.dtype.str[0] != ">" else ">")
        blob = compress(frame, "bslz4")
    about = js(
        htype="dimage_d-1.0",
        encoding=encoding,
        shape=[frame.shape[1], frame.shape[0]],
        size=len(blob),
        type=frame.dtype.name,
    )
    return [
        js(htype="dimage-1.0", series=series, frame=number, hash=""),
        about,
        blob,
        js(htype="dconfig-1.0", start_time=start or 0, stop_time=0, real_time=0),
    ]


def end(series=1):
    return [js(htype="dseries_end-1.0", series=series)]


@pytest.fixture
def detector():
    with contextlib.closing(Sender("dectris")) as detector:
        yield detector


def take(detector, messages, n_events, **config):
    """Send messages and return as many events as should come, and what was counted."""
    source = detector.open(**config)
    detector.send(*messages)
    return read(source, n_events), counts(source)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4", ">u2", ">u4"])
@pytest.mark.parametrize("codec", ["bslz4", "lz4", "raw"])
def test_every_coding_arrives_as_sent(detector, dtype, codec):
    frames = [picture(n, dtype) for n in range(4)]
    order = ">" if dtype[0] == ">" else "<"
    messages = [header()]
    for number, frame in enumerate(frames):
        encoding, blob = order, frame.tobytes()
        if codec == "bslz4":
            encoding, blob = f"bs{8 * frame.itemsize}-lz4{order}", compress(frame, "bslz4")
        elif codec == "lz4":
            # On this stream a bare block: HDF5 puts 16 bytes of sizes before its only block.
            encoding, blob = f"lz4{order}", compress(frame, "lz4")[16:]
        messages.append(image(number, frame=frame, encoding=encoding, blob=blob))
    events, counted = take(detector, [*messages, end()], 6)
    assert [type(event) for event in events] == [Series, *[Frame] * 4, SeriesEnd]
    for event, frame in zip(events[1:5], frames, strict=True):
        assert event.dtype == dtype
        assert event.encoding == codec
        np.testing.assert_array_equal(pixels(event), frame)
    assert counted == {}


def apart(messages):
    """Send each part of a start as a message of its own, as some senders do."""
    return [part if isinstance(part, list) else [part] for part in messages]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("flat_name", ["dflatfield-1.0", "flatfield-1.0"])
def test_start_in_one_message_or_in_many(detector, together, flat_name):
    mask = np.zeros((ROWS, COLS), np.uint32)
    mask[3, 5] = mask[ROWS - 1, COLS - 1] = 1
    start = full_header(flat_name=flat_name, mask=mask)
    messages = [start] if together else apart(start)
    events, counted = take(detector, [*messages, image(0), end()], 3)
    series = events[0]
    np.testing.assert_array_equal(series.pixel_mask, mask != 0)
    np.testing.assert_array_equal(series.flatfield, np.full((ROWS, COLS), 1.5, np.float32))
    assert (series.n_frames, series.frame_time_s, series.saturation) == (4, 0.01, 50_000)
    assert series.metadata["beam_center_x"] == 20.5
    assert series.metadata["protocol"] == "DECTRIS stream v1"
    assert "warnings" not in series.metadata
    assert counted == {}


@pytest.mark.parametrize("detail", ["none", "basic"])
def test_start_with_less_detail(detector, detail):
    events, _ = take(detector, [header(detail=detail), *map(image, range(4)), end()], 6)
    assert events[0].n_frames == (None if detail == "none" else 4)
    assert numbers(events) == [0, 1, 2, 3]


def test_what_the_user_appends_is_kept(detector):
    start = [*header(), js(acqID="scan 7")]
    appended = [*image(0), b"anything at all"]
    events, counted = take(detector, [start, appended, end()], 3)
    assert events[0].metadata["header_appendix"] == {"acqID": "scan 7"}
    assert counted == {}


@pytest.mark.parametrize(
    ("config", "n_frames"),
    [
        ({"nimages": 10, "ntrigger": 3, "trigger_mode": "ints"}, 30),
        ({"nimages": 10, "ntrigger": 3, "trigger_mode": "exts"}, 30),
        ({"nimages": 1, "ntrigger": 7, "trigger_mode": "exte"}, 7),
        ({"nimages": 5, "ntrigger": 7, "trigger_mode": "inte"}, 7),
        ({"nimages": "many"}, None),
    ],
)
def test_announced_images(detector, config, n_frames):
    events, _ = take(detector, [header(**config), end()], 2)
    assert events[0].n_frames == n_frames


def test_lost_repeated_and_stray_images(detector):
    messages = image(9, series=7), header(), *map(image, (0, 2, 2, 3)), end(), end()
    events, counted = take(detector, messages, 6, series=2)
    assert gaps(events) == [(range(1, 2), "not received")]
    assert events[-1].reason == "end"
    assert counted["stray"] == 1
    assert counted["duplicates"] == 1


def test_images_of_another_shape_are_refused_and_the_series_goes_on(detector):
    odd = np.ones((8, 8), np.uint16)
    messages = [header(), image(0), image(1, frame=odd), image(2), image(3), end()]
    events, counted = take(detector, messages, 6)
    fault = "malformed: 8 x 8 <u2, the frames before are 24 x 40 <u2"
    assert gaps(events) == [(range(1, 2), fault)]
    assert counted == {"malformed": 1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda parts: parts[:1],
        lambda parts: [parts[0], b"not json", *parts[2:]],
        lambda parts: [parts[0], js(htype="dimage_d-1.0", shape=[1], type="uint16"), parts[2]],
        lambda parts: [parts[0], js(encoding="<", shape=[40, 24], type="uint16"), b"too short"],
        lambda parts: [parts[0], js(encoding="<", shape=[40, 24], type="complex64"), b"1"],
        lambda parts: [b"[]", *parts[1:]],
        lambda parts: [js(htype="dimage-1.0", series=1, frame=-5), *parts[1:]],
        lambda parts: [js(htype="dimage-1.0", frame=1), *parts[1:]],
    ],
)
def test_damaged_message_costs_one_frame(detector, damage):
    messages = [header(), image(0), damage(image(1)), image(2), image(3), end()]
    events, counted = take(detector, messages, 6)
    assert numbers(events) == [0, 2, 3]
    assert [frames for frames, _ in gaps(events)] == [range(1, 2)]
    assert counted == {"malformed": 1}


def test_exposures_follow_the_clock_of_the_detector(detector):
    messages = [header(frame_time=None), *(image(n, start=5 + n * 7_000_000) for n in range(4))]
    events, _ = take(detector, [*messages, end()], 6)
    times = [event.time_ns for event in events[1:-1]]
    assert np.diff(times).tolist() == [7_000_000] * 3


def test_detector_that_changes_its_version(detector):
    import cbor2

    v2 = cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(69, bytes(8))])
    messages = [
        header(),
        image(0),
        end(),
        [cbor2.dumps({"type": "start", "series_id": 2, "number_of_images": 1})],
        [
            cbor2.dumps(
                {"type": "image", "series_id": 2, "image_id": 0, "data": {"threshold_1": v2}}
            )
        ],
        [cbor2.dumps({"type": "end", "series_id": 2})],
    ]
    events, counted = take(detector, messages, 6, series=2)
    assert [event.metadata["protocol"] for event in events if isinstance(event, Series)] == [
        "DECTRIS stream v1",
        "DECTRIS stream v2",
    ]
    assert counted == {}


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        values, key = self.server.values, self.path.partition("/stream/api/1.8.0/")[2]
        self.send_response(200 if key in values else 404)
        self.end_headers()
        if key in values:
            self.wfile.write(json.dumps({"value": values[key]}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.values = {"config/mode": "enabled", "status/dropped": 3}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.values, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_images_that_the_detector_dropped_are_counted(detector, api):
    source = detector.open(f"?api={api[1]}")
    detector.send(header(), *map(image, range(4)), end())
    read(source, 6)
    deadline = threading.Event()
    while not source.exhausted:
        deadline.wait(0.01)
    assert source.counters["dropped"] == 3


def test_stream_that_is_switched_off_is_told_before_the_run(detector, api):
    api[0]["config/mode"] = "disabled"
    with pytest.raises(UserError, match="set its mode to enabled"):
        check_reachable(f"{detector.uri}?api={api[1]}", SourceConfig())


@pytest.mark.parametrize("dropped", [10**400, [], "many"])
def test_a_number_of_dropped_images_that_cannot_be_is_not_counted(detector, api, dropped):
    api[0]["status/dropped"] = dropped
    source = detector.open(f"?api={api[1]}")
    detector.send(header(), *map(image, range(4)), end())
    read(source, 6)
    waiting = threading.Event()
    while not source.exhausted:
        waiting.wait(0.01)
    assert source.counters["dropped"] == 0


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 9999])
def test_what_is_no_answer_of_a_detector_is_none(detector, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply():
            for _ in range(2):
                with server.accept()[0] as asked:
                    asked.recv(1 << 16)
                    asked.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(UserError, match="no detector answers"):
            check_reachable(
                f"{detector.uri}?api=http://127.0.0.1:{server.getsockname()[1]}", SourceConfig()
            )
        thread.join()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("api=http://127.0.0.1:1", "no detector answers"),
        ("api=nowhere", "is not an address such as"),
        ("apy=http://127.0.0.1:1", "unknown option apy; known are api"),
        ("what", "is not an address"),
    ],
)
def test_bad_options_are_told_in_one_line(detector, option, says):
    with pytest.raises(UserError, match=says) as caught:
        check_reachable(f"{detector.uri}?{option}", SourceConfig())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("together", [True, False])
def test_a_series_is_gone_on_with_in_its_middle(detector, together):
    start = full_header(mask=np.zeros((ROWS, COLS), np.uint32))
    source = detector.open()
    detector.send(*([start] if together else apart(start)), image(0))
    before = read(source, 2)
    tracking = detector.replace(source, [before[0].name])
    detector.send(image(3), end())
    series, frame, gap, _ = read(tracking, 4)
    assert (series.name, series.n_frames) == (before[0].name, before[0].n_frames)
    np.testing.assert_array_equal(series.pixel_mask, before[0].pixel_mask)
    assert (frame.frame, gap.frames) == (3, range(3))
    assert counts(tracking) == {}
