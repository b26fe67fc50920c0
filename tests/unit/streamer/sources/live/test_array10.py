"""The array-1.0 live stream: messages made by hand, sent over a real PUB socket."""

import contextlib

import numpy as np
import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Series
from streamer.sources import check_reachable
from tests.unit.streamer.sources.live.senders import Sender, counts, gaps, js, numbers, pixels, read

ROWS, COLS = 24, 40


def picture(number, dtype="<u2", rows=ROWS):
    return np.random.default_rng(number).integers(0, 100, (rows, COLS)).astype(dtype)


def message(number, frame=None, **fields):
    frame = picture(number) if frame is None else frame
    header = {
        "htype": "array-1.0",
        "shape": frame.shape,
        "type": frame.dtype.name,
        "frame": number,
    } | fields
    header = {key: item for key, item in header.items() if item is not None}
    return [js(**header), frame.tobytes()]


@pytest.fixture
def publisher():
    with contextlib.closing(Sender("array10", zmq.XPUB, series=0)) as sender:
        yield sender


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32",
                                  "int64", "float32", "float64"])  # fmt: skip
@pytest.mark.parametrize(
    ("order", "fields"),
    [
        ("<", {}),
        ("<", {"endianness": "little"}),
        (">", {"endianness": "big"}),
        (">", {"endianess": "big"}),
    ],
)
def test_every_dtype_arrives_as_sent(publisher, name, order, fields):
    source = publisher.open()
    frames = [picture(n).astype(np.dtype(name).newbyteorder(order)) for n in range(3)]
    publisher.send(*(message(n, frame, **fields) for n, frame in enumerate(frames)))
    series, *taken = read(source, 4)
    assert series.metadata["protocol"] == "PSI array-1.0"
    for event, frame in zip(taken, frames, strict=True):
        np.testing.assert_array_equal(pixels(event), frame)
    assert counts(source) == {}


@pytest.mark.parametrize("dtype", ["<u2", ">u2", ">f4"])
def test_type_that_says_its_byte_order(publisher, dtype):
    source = publisher.open()
    frame = picture(0, dtype)
    publisher.send(message(0, frame, type=dtype))
    np.testing.assert_array_equal(pixels(read(source, 2)[1]), frame)


def test_pixels_are_not_copied(publisher):
    source = publisher.open()
    publisher.send(message(0))
    assert isinstance(read(source, 2)[1].data.obj, zmq.Frame)


def test_numbers_count_from_the_first_that_came(publisher):
    source = publisher.open()
    publisher.send(*(message(number, source="ID12") for number in (1005, 1006, 1008, 1008, 1004)))
    publisher.send(*(message(number) for number in range(1009, 1080)))
    series, *events = read(source, 1 + 3 + 1 + 71)
    assert series.name == "series_1"
    assert series.metadata["source"] == "ID12"
    assert numbers(events) == [0, 1, *range(3, 75)]
    assert gaps(events) == [(range(2, 3), "not received")]
    assert counts(source) == {"duplicates": 1, "stray": 1}


def test_pulses_number_images_that_have_no_number(publisher):
    source = publisher.open()
    for pulse in (70_001, 70_002, 70_004):
        header, blob = message(0, pulse_id=pulse)
        publisher.send([header.replace(b'"frame"', b'"other"'), blob])
    assert numbers(read(source, 4)) == [0, 1, 3]


def test_numbers_that_go_back_far_or_another_shape_begin_a_series(publisher):
    source = publisher.open(series=3)
    publisher.send(message(5000), message(7), message(8, picture(8, rows=32)), message(1))
    publisher.send(message(2, picture(8, rows=32)))
    events = read(source, 9)
    assert [e.name for e in events if isinstance(e, Series)] == ["series_1", "series_2", "series_3"]
    assert numbers(events) == [0, 0, 0]
    assert events[-1].reason == "new series"
    assert source.exhausted
    assert counts(source) == {}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda m: [b"not json", m[1]], None),
        (lambda m: [b"[]", m[1]], None),
        (lambda m: message(-1, picture(1)), None),
        (lambda m: message("many", picture(1)), None),
        (lambda m: m[:1], "the message has no pixels"),
        (lambda m: [m[0], m[1][:-1]], "1919 bytes of pixels instead of 1920"),
        (lambda m: message(1, type="complex64"), "pixels of type complex64"),
        (lambda m: message(1, type=""), "pixels of type "),
        (lambda m: message(1, shape=[ROWS * COLS]), "its shape is no pair of sizes"),
        (lambda m: message(1, shape=[0, COLS]), "its shape is no pair of sizes"),
        (lambda m: message(1, endianness="middle"), "byte order middle"),
        (lambda m: message(1, compression="jpeg"), "pixels are coded as jpeg"),
    ],
)
def test_damaged_message_costs_one_frame(publisher, damage, reason):
    source = publisher.open()
    publisher.send(message(0), damage(message(1)), *(message(n) for n in range(2, 67)))
    events = read(source, 1 + 66 + 1)
    assert gaps(events) == [(range(1, 2), f"malformed: {reason}" if reason else "not received")]
    assert counts(source) == {"malformed": 1}


def test_other_messages_are_ignored(publisher):
    source = publisher.open()
    publisher.send(message(0, htype="chunk-1.0"), message(0))
    assert len(read(source, 2)) == 2
    assert counts(source) == {"ignored": 1}


def test_coding_that_is_not_known_is_told(publisher):
    publisher.open()
    assert "codes its pixels as 'jpeg'" in publisher.complaint(message(0, compression="jpeg"))


def test_publisher_that_died_is_attached_again(publisher):
    source = publisher.open()
    publisher.send(message(0))
    read(source, 2)
    publisher.die()
    publisher.come_back()
    publisher.send(*(message(n) for n in range(10, 80)))
    events = read(source, 71)
    assert gaps(events) == [(range(1, 10), "not received")]
    assert counts(source) == {"disconnects": 1}


def test_options_are_not_known(publisher):
    with pytest.raises(UserError, match="unknown option topic"):
        check_reachable(f"{publisher.uri}?topic=1", SourceConfig())


def test_pulses_between_those_that_are_sent_are_not_missing(publisher):
    source = publisher.open("?step=4")
    publisher.send(*(message(None, picture(n), pulse_id=n) for n in (4003, 4007, 4011, 4012, 4019)))
    events = read(source, 5 - 1 + 1)
    assert events[0].metadata["step"] == 4
    assert numbers(events) == [0, 1, 2, 4]
    assert counts(source) == {"malformed": 1}
    with pytest.raises(UserError, match="step must be a number of pulses"):
        check_reachable(f"{publisher.uri}?step=0", SourceConfig())
