"""The stream of MAX IV's detectors: messages made by hand, sent over a real PUSH socket."""

import json
import time

import h5py
import hdf5plugin
import numpy as np
import pytest
import zmq

from streamer.codecs import decode
from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources import check_reachable, open_source
from streamer.sources.base import Frame, Gap, Series, SeriesEnd

ROWS, COLS = 24, 40


def picture(number, dtype="<u2"):
    return np.random.default_rng(number).integers(0, 100, (ROWS, COLS)).astype(dtype)


def compress(frame):
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(
            "d",
            data=frame[None],
            chunks=(1, *frame.shape),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        return data.id.read_direct_chunk((0, 0, 0))[1]


def js(**fields):
    return json.dumps(fields).encode()


def header(filename="", number=0, *more):
    return [js(htype="header", msg_number=number, filename=filename), *more]


def image(number, frame=None, blob=None, msg_number=None, **fields):
    frame = picture(number) if frame is None else frame
    fields = {
        "msg_number": number + 1 if msg_number is None else msg_number,
        "frame": number,
        "shape": frame.shape,
        "type": frame.dtype.str,
        "compression": "none",
    } | fields
    return [js(htype="image", **fields), frame.tobytes() if blob is None else blob]


def end(number):
    return [js(htype="series_end", msg_number=number)]


class Sender:
    """A socket on a port the system chose, that can go away and come back."""

    def __init__(self):
        self.context = zmq.Context()
        self.context.linger = 0
        self.sources = []
        self.port = 0
        self.bind()

    def bind(self):
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.SNDTIMEO, 5000)
        self.socket.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        self.port = int(self.socket.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def open(self, **config):
        source = open_source(f"stins://127.0.0.1:{self.port}", SourceConfig(**config))
        self.sources.append(source)
        return source

    def send(self, *messages):
        for parts in messages:
            self.socket.send_multipart(parts)

    def close(self):
        for source in self.sources:
            source.close()
        self.context.destroy(linger=0)


@pytest.fixture
def sender():
    made = Sender()
    yield made
    made.close()


def read(source, n_events):
    """Return as many events as should come."""
    events = []
    while len(events) < n_events:
        events += source.read(100)
        if len(events) < n_events:
            assert source.socket.poll(5000), f"only {events} came"
    assert len(events) == n_events
    return events


def counts(source):
    return {name: n for name, n in source.counters.items() if n}


def numbers(events, kind=Frame):
    return [e.frame if kind is Frame else e.frames for e in events if isinstance(e, kind)]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "uint16", "<u4", ">u2", "<i4", "<f4", "<f8"])
@pytest.mark.parametrize("coding", ["none", "bslz4 as forwarded", "bslz4 as compressed"])
def test_every_dtype_and_coding_arrives_as_sent(sender, dtype, coding):
    source = sender.open()
    frames = [picture(n, dtype) for n in range(3)]
    sender.send(header())
    for number, frame in enumerate(frames):
        codec, _, how = coding.partition(" as ")
        blob = compress(frame)[12 if how == "compressed" else 0 :] if how else None
        sender.send(image(number, frame, blob, type=dtype, compression=codec))
    sender.send(end(4))
    events = read(source, 5)
    assert [type(event) for event in events] == [Series, *[Frame] * 3, SeriesEnd]
    assert events[0].metadata["protocol"] == "STINS"
    for event, frame in zip(events[1:-1], frames, strict=True):
        assert event.encoding == ("raw" if codec == "none" else "bslz4")
        np.testing.assert_array_equal(
            decode(event.data, event.encoding, event.dtype, event.shape), frame
        )
    assert source.exhausted
    assert counts(source) == {}


def test_series_are_named_by_their_files(sender):
    source = sender.open(series=4)
    for filename in ("/data/scan_7.h5", "", "/data/scan_7.h5", None):
        sender.send(header(filename), image(0), end(2))
    events = read(source, 12)
    assert [event.name for event in events if isinstance(event, Series)] == [
        "scan_7",
        "series_2",
        "scan_7_2",
        "series_4",
    ]


def test_metadata_stand_behind_the_header(sender):
    source = sender.open(series=2)
    sender.send(header("a.h5", 0, js(energy=9.3)), [*image(0), js(motor=1)], [*end(2), js(ok=True)])
    sender.send(header("b.h5", 0, b"\xff"), image(0), end(2))
    first, frame, _, second, *_ = read(source, 6)
    assert first.metadata == {"protocol": "STINS", "filename": "a.h5", "energy": 9.3}
    assert isinstance(frame, Frame)
    assert second.metadata["warnings"] == ["what stands behind the header is not JSON: not used"]
    assert counts(source) == {}


def test_lost_repeated_and_stray_images(sender):
    source = sender.open()
    sender.send(image(5), header(), image(0), image(2), image(2), image(3), end(5))
    events = read(source, 6)
    assert numbers(events) == [0, 2, 3]
    assert numbers(events, Gap) == [range(1, 2)]
    assert counts(source) == {"stray": 1, "duplicates": 1, "skipped": 1}


def test_messages_that_were_no_images_are_only_counted(sender):
    source = sender.open(series=2)
    sender.send(header(), image(0), image(1, msg_number=5), image(2, msg_number=6), end(7))
    sender.send(header("", 8), image(0, msg_number=9), end(10))
    events = read(source, 8)
    assert numbers(events) == [0, 1, 2, 0]
    assert numbers(events, Gap) == []
    assert counts(source) == {"skipped": 3}


def test_messages_may_be_swapped(sender):
    source = sender.open()
    sender.send(header(), image(1), image(0), image(2), end(4))
    events = read(source, 5)
    assert numbers(events) == [1, 0, 2]
    assert counts(source) == {}


def test_messages_without_numbers(sender):
    source = sender.open()
    sender.send([js(htype="header")], image(0, msg_number=None), [js(htype="series_end")])
    assert len(read(source, 3)) == 3
    assert counts(source) == {}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda m: [b"not json", m[1]], None),
        (lambda m: image("one", picture(1), msg_number=2), None),
        (lambda m: image(-1, picture(1), msg_number=2), None),
        (lambda m: m[:1], "the message has no pixels"),
        (lambda m: [m[0], m[1][:-1]], "1919 bytes of pixels instead of 1920"),
        (lambda m: image(1, type="O"), "pixels of type O"),
        (lambda m: image(1, shape=[ROWS]), "its shape is no pair of sizes"),
        (lambda m: image(1, compression="jpeg"), "pixels are coded as jpeg"),
        (lambda m: image(1, picture(1).T), "40 x 24 <u2, the frames before are 24 x 40 <u2"),
    ],
)
def test_damaged_message_costs_one_frame(sender, damage, reason):
    source = sender.open()
    sender.send(header(), image(0), damage(image(1)), image(2), end(4))
    events = read(source, 5)
    (gap,) = (event for event in events if isinstance(event, Gap))
    assert gap.frames == range(1, 2)
    assert gap.reason == (f"malformed: {reason}" if reason else "not received")
    assert counts(source).pop("malformed") == 1


def test_coding_that_is_not_known_is_told(sender):
    source = sender.open()
    sender.send(header(), image(0, compression="jpeg"))
    with pytest.raises(UserError, match="codes its pixels as 'jpeg'") as caught:
        read(source, 2)
    assert "\n" not in str(caught.value)


def test_other_messages_are_ignored(sender):
    source = sender.open()
    sender.send(header(), [js(htype="weather", msg_number=1)], image(0, msg_number=2), end(3))
    read(source, 3)
    assert counts(source) == {"ignored": 1}


def test_sender_that_died_is_attached_again(sender):
    source = sender.open(series=2)
    sender.send(header("a.h5"), image(0))
    read(source, 2)
    sender.socket.close()
    while not counts(source):
        assert source.read(10) == []
        time.sleep(0.01)
    sender.bind()
    sender.send(image(3), end(5), header("b.h5"), image(0), end(2))
    events = read(source, 6)
    assert numbers(events, Gap) == [range(1, 3)]
    assert [event.reason for event in events if isinstance(event, SeriesEnd)] == ["end", "end"]
    assert counts(source) == {"disconnects": 1, "skipped": 2}


def test_options_are_not_known(sender):
    with pytest.raises(UserError, match="unknown option socket"):
        check_reachable(f"stins://127.0.0.1:{sender.port}?socket=sub", SourceConfig())
