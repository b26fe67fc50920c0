"""The stream of MAX IV's detectors: messages made by hand, sent over a real PUSH socket."""

import contextlib

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


def picture(number, dtype="<u2"):
    return np.random.default_rng(number).integers(0, 100, (ROWS, COLS)).astype(dtype)


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


@pytest.fixture
def sender():
    with contextlib.closing(Sender("stins")) as sender:
        yield sender


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
        np.testing.assert_array_equal(pixels(event), frame)
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
    assert gaps(events) == [(range(1, 2), "not received")]
    assert counts(source) == {"stray": 1, "duplicates": 1, "skipped": 1}


def test_messages_that_were_no_images_are_only_counted(sender):
    source = sender.open(series=2)
    sender.send(header(), image(0), image(1, msg_number=5), image(2, msg_number=6), end(7))
    sender.send(header("", 8), image(0, msg_number=9), end(10))
    events = read(source, 8)
    assert numbers(events) == [0, 1, 2, 0]
    assert gaps(events) == []
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
    assert gaps(events) == [(range(1, 2), f"malformed: {reason}" if reason else "not received")]
    assert counts(source).pop("malformed") == 1


def test_what_nobody_foresaw_costs_one_message(sender, monkeypatch):
    source = sender.open()
    take, messages = source._dialect.take, iter(range(4))

    def unforeseen(parts, assembler):
        if next(messages) == 2:
            raise KeyError("unforeseen")
        take(parts, assembler)

    monkeypatch.setattr(source._dialect, "take", unforeseen)
    sender.send(header(), image(0), image(1), image(2))
    assert numbers(read(source, 3)) == [0, 2]
    assert counts(source) == {"malformed": 1}


def test_coding_that_is_not_known_is_told(sender):
    sender.open()
    said = sender.complaint(header(), image(0, compression="jpeg"))
    assert "codes its pixels as 'jpeg'" in said


def test_other_messages_are_ignored(sender):
    source = sender.open()
    sender.send(header(), [js(htype="weather", msg_number=1)], image(0, msg_number=2), end(3))
    read(source, 3)
    assert counts(source) == {"ignored": 1}


def test_sender_that_died_is_attached_again(sender):
    source = sender.open(series=2)
    sender.send(header("a.h5"), image(0))
    read(source, 2)
    sender.die()
    sender.come_back()
    sender.send(image(3), end(5), header("b.h5"), image(0), end(2))
    events = read(source, 6)
    assert gaps(events) == [(range(1, 3), "not received")]
    assert [event.reason for event in events if isinstance(event, SeriesEnd)] == ["end", "end"]
    assert counts(source) == {"disconnects": 1, "skipped": 2}


def test_options_are_not_known(sender):
    with pytest.raises(UserError, match="unknown option topic; known are socket"):
        check_reachable(f"{sender.uri}?topic=a", SourceConfig())
