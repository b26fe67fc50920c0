"""The stream of slsDetectorPackage's receivers: messages made by hand, sent over PUB sockets."""

import contextlib
import re

import numpy as np
import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import SeriesEnd
from streamer.sources import check_reachable, open_source
from tests.unit.streamer.sources.live.senders import Sender, counts, gaps, js, numbers, pixels, read

ROWS, COLS = 12, 20


def picture(number, port=0, dtype="<u2"):
    return np.random.default_rng((number, port)).integers(0, 100, (ROWS, COLS)).astype(dtype)


def message(number, frame=None, port=0, grid=(1, 1), **fields):
    frame = picture(number, port) if frame is None else frame
    header = {
        "jsonversion": 4, "bitmode": 8 * frame.itemsize, "fileIndex": 6,
        "detshape": grid, "shape": frame.shape[::-1], "size": frame.nbytes,
        "acqIndex": number + 1, "frameIndex": number, "progress": 10.0, "fname": "/data/run",
        "data": 1, "completeImage": 1, "frameNumber": number + 1, "expLength": 0,
        "packetNumber": 40, "timestamp": 0, "modId": port, "row": port // grid[0],
        "column": port % grid[0], "detType": 1, "version": 2, "flipRows": 0, "quad": 0,
        "addJsonHeader": {"sample": "A"},
    } | fields  # fmt: skip
    return [js(**header), frame.tobytes()]


DUMMY = [js(jsonversion=4, bitmode=0, detshape=[0, 0], shape=[0, 0], data=0, frameIndex=0)]


@pytest.fixture
def receiver():
    with contextlib.closing(Sender("sls", zmq.XPUB, series=0)) as sender:
        yield sender


@contextlib.contextmanager
def ports(n):
    """Publish at ports that follow each other."""
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        while True:
            sockets = [context.socket(zmq.XPUB) for _ in range(n)]
            first = sockets[0].bind_to_random_port("tcp://127.0.0.1", 20000, 29000)
            try:
                for k, one in enumerate(sockets[1:], 1):
                    one.bind(f"tcp://127.0.0.1:{first + k}")
            except zmq.ZMQError:
                for one in sockets:
                    one.close()
                continue
            break
        for one in sockets:
            one.linger, one.rcvtimeo = 0, 5000
            stack.callback(one.close)
        yield sockets, f"sls://127.0.0.1:{first}?ports={n}"


def test_the_images_of_one_port(receiver):
    source = receiver.open()
    receiver.send(*(message(n) for n in range(3)), DUMMY, DUMMY)
    series, *frames, end = read(source, 5)
    assert series.metadata["protocol"] == "slsDetectorPackage"
    assert series.metadata["addJsonHeader"] == {"sample": "A"}
    assert numbers(frames) == [0, 1, 2]
    assert end == SeriesEnd(series="series_1")
    for n, frame in enumerate(frames):
        np.testing.assert_array_equal(pixels(frame), picture(n))
    receiver.send(message(0, fileIndex=7), message(1, fileIndex=8))
    assert [e.name for e in read(source, 5) if hasattr(e, "name")] == ["series_2", "series_3"]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4"])
def test_types_and_rows_that_are_flipped(receiver, dtype):
    source = receiver.open()
    receiver.send(message(0, picture(0, dtype=dtype), flipRows=1))
    frame = read(source, 2)[1]
    assert frame.dtype == dtype
    np.testing.assert_array_equal(pixels(frame), picture(0, dtype=dtype)[::-1])


def test_images_with_lost_packets_are_missing(receiver):
    source = receiver.open()
    receiver.send(message(5), message(6, completeImage=0), message(7, row=1), message(9), DUMMY)
    events = read(source, 1 + 3 + 2 + 1)
    assert numbers(events) == [5, 7, 9]
    assert gaps(events) == [
        (range(6, 7), "malformed: packets of the port at 0, 0 were lost"),
        (range(8, 9), "not received"),
    ]
    assert counts(source) == {"malformed": 1}


def test_modules_are_put_together_where_their_headers_say():
    grid, n = (2, 3), 6
    with ports(n) as (sockets, uri):
        source = open_source(f"{uri}&gaps=0,4x3", SourceConfig())
        for one in sockets:
            assert one.recv() == b"\x01"
        for number in (0, 1, 2):
            for port, one in enumerate(sockets):
                if (number, port) != (1, 3):
                    one.send_multipart(message(number, port=port, grid=grid))
        for one in sockets:
            one.send_multipart(DUMMY)
        events = read(source, 1 + 2 + 1 + 1)
        source.close()
    assert gaps(events) == [(range(1, 2), "malformed: 5 of 6 ports came")]
    assert numbers(events) == [0, 2]
    frame = next(e for e in events if getattr(e, "frame", None) == 2)
    whole = pixels(frame)
    mask = events[0].pixel_mask
    assert whole.shape == mask.shape == (3 * ROWS + 4, 2 * COLS + 3)
    for port in range(n):
        row, col = divmod(port, 2)
        at = np.s_[
            row * ROWS + 4 * (row > 1) : (row + 1) * ROWS + 4 * (row > 1),
            col * (COLS + 3) : col * (COLS + 3) + COLS,
        ]
        np.testing.assert_array_equal(whole[at], picture(2, port))
        assert not mask[at].any()
    assert mask.sum() == mask.size - n * ROWS * COLS


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (message(0, grid=(2, 1)), r"has 1 x 2 ports \(rows x columns\), and 1 .*write ports=2"),
        (message(0, bitmode=4), "sends 4 bits a pixel.*set dr to 8, 16 or 32"),
        (message(0, detType=3), "the JUNGFRAU at .* gain bits.*write pixels=raw"),
        (message(0, quad=1), "is a quad"),
    ],
)
def test_what_cannot_be_put_together_is_refused(receiver, first, says):
    receiver.open()
    assert re.search(says, receiver.complaint(first))


def test_modules_whose_distance_nobody_says_are_refused():
    with ports(2) as (sockets, uri):
        source = open_source(uri, SourceConfig())
        for one in sockets:
            assert one.recv() == b"\x01"
            one.send_multipart(message(0, grid=(2, 1)))
        with pytest.raises(UserError, match=r"how far apart .* write gaps=ROWSxCOLUMNS"):
            read(source, 1)
        source.close()


def test_raw_values_are_taken_when_asked_for(receiver):
    source = receiver.open("?pixels=raw")
    receiver.send(message(0, detType=3))
    np.testing.assert_array_equal(pixels(read(source, 2)[1]), picture(0))


@pytest.mark.parametrize("options", ["ports=0", "ports=x", "gaps=3", "gaps=1x-1", "pixels=no"])
def test_options_that_are_none(receiver, options):
    with pytest.raises(UserError, match=f"{options.partition('=')[0]} (must be|are)"):
        check_reachable(f"{receiver.uri}?{options}", SourceConfig())


def test_what_is_no_image_is_counted(receiver):
    source = receiver.open()
    receiver.send(
        [b"["],
        message(0, frameIndex=-1),
        message(0, shape=[1]),
        message(0, detshape=[1 << 20, 1]),
        message(0, shape=[COLS, ROWS + 1]),
        message(0),
    )
    assert numbers(read(source, 2)) == [0]
    assert counts(source) == {"malformed": 5}


def test_a_series_may_have_the_file_index_of_the_one_before(receiver):
    source = receiver.open()
    receiver.send(message(0), message(1), DUMMY, message(0), DUMMY)
    events = read(source, 4 + 3)
    assert numbers(events) == [0, 1, 0]
    assert counts(source) == {}


def test_a_port_that_is_still_at_the_series_before_does_not_begin_it_again(receiver):
    source = receiver.open()
    receiver.send(message(0), message(0, fileIndex=7), message(1), message(1, fileIndex=7))
    events = read(source, 2 + 1 + 3)
    assert numbers(events) == [0, 0, 1]
    assert counts(source) == {"stray": 1}
