"""The relay of one pipeline and the source that listens to it."""

import contextlib

import msgspec
import numpy as np
import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import WIRE_VERSION, Frame, Gap, Series, SeriesEnd
from streamer.ingest.relay import Relay
from streamer.ingest.taps import TeeSource
from streamer.sources import check_reachable, open_source
from streamer.transport.messages import pack, unpack
from tests.unit.streamer.sources.live.senders import gaps, numbers, read

SHAPE = (6, 8)
SERIES = Series(
    name="cycle",
    n_frames=8,
    frame_time_s=0.01,
    pixel_mask=np.eye(*SHAPE, dtype=bool),
    flatfield=np.full(SHAPE, 1.5, np.float32),
    saturation=60_000.0,
    metadata={"beam_center_x": 3.5, "user_data": {"cell": [1, 2]}},
)
END = SeriesEnd(series="cycle")


def frame(number):
    return Frame(
        series="cycle",
        frame=number,
        time_ns=1_700_000_000_000_000_000 + number,
        shape=SHAPE,
        dtype="<u2",
        encoding="raw",
        data=np.full(SHAPE, number, "<u2").tobytes(),
    )


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def relay(context):
    with contextlib.closing(Relay(context, "tcp://127.0.0.1:*")) as relay:
        yield relay


def listen(relay, **config):
    """Return a source that the relay knows of."""
    port = relay.address.rpartition(":")[2]
    return open_source(f"braggstream://127.0.0.1:{port}", SourceConfig(**config))


def meet(relay, n_topics):
    """Wait until that many subscriptions have come, and answer them."""
    socket, met = relay._socket, 0
    while met < n_topics:
        assert socket.poll(5000, zmq.POLLIN), "no subscription comes"
        met += relay._hear(socket.recv())
    relay._announce()


def test_another_pipeline_gets_what_this_one_took(relay):
    with contextlib.closing(listen(relay)) as source:
        meet(relay, 4)
        lost = Gap(series="cycle", first=3, count=2, reason="the file ends before it")
        relay.take([SERIES, frame(0), frame(1), frame(2), lost, frame(5)])
        relay.take([frame(6), frame(7), END])
        events = read(source, 9)
    series = events[0]
    assert (series.name, series.n_frames, series.frame_time_s) == ("cycle", 8, 0.01)
    assert (series.saturation, series.metadata) == (60_000.0, SERIES.metadata)
    np.testing.assert_array_equal(series.pixel_mask, SERIES.pixel_mask)
    np.testing.assert_array_equal(series.flatfield, SERIES.flatfield)
    for event in events:
        if isinstance(event, Frame):
            sent = frame(event.frame)
            assert bytes(event.data) == sent.data
            assert (event.time_ns, event.dtype, event.encoding) == (sent.time_ns, "<u2", "raw")
    assert numbers(events) == [0, 1, 2, 5, 6, 7]
    assert [e for e in events if isinstance(e, Gap)] == [lost]
    assert events[-1] == END


def test_who_joins_late_misses_nothing_that_was_meant_for_it(relay):
    relay.take([SERIES, *map(frame, range(5))])
    with contextlib.closing(listen(relay)) as source:
        meet(relay, 4)
        relay.take([*map(frame, (5, 7)), END])
        events = read(source, 5)
    assert [type(event) for event in events] == [Series, Frame, Frame, Gap, SeriesEnd]
    assert gaps(events) == [(range(6, 7), "not received")]


def test_second_subscriber_does_not_begin_the_series_again(relay):
    with contextlib.closing(listen(relay)) as first:
        meet(relay, 4)
        relay.take([SERIES, frame(0)])
        with contextlib.closing(listen(relay)) as second:
            meet(relay, 4)
            relay.take([*map(frame, range(1, 8)), END])
            assert numbers(read(first, 10)) == [*range(8)]
            assert numbers(read(second, 9)) == [*range(1, 8)]


def test_newest_frame_comes_now_and_then(context):
    now = [0.0]
    with (
        contextlib.closing(Relay(context, "tcp://127.0.0.1:*", lambda: now[0])) as relay,
        context.socket(zmq.SUB) as viewer,
    ):
        viewer.subscribe(b"newest")
        viewer.connect(relay.address)
        meet(relay, 1)
        for number in range(8):
            relay.take([frame(number)])
            now[0] += 0.04
        shown = []
        while len(shown) < 3:
            assert viewer.poll(5000)
            header, _ = unpack(viewer.recv_multipart()[1:])
            shown.append(header.frame)
    assert shown == [0, 3, 6]


def test_nobody_listens_and_nothing_waits(relay):
    for number in range(5000):
        relay.take([frame(number)])


def test_frames_are_made_messages_only_while_somebody_asks_for_them(relay, context, monkeypatch):
    made = []
    monkeypatch.setattr(
        "streamer.ingest.relay.pack", lambda record: made.append(record) or pack(record)
    )
    relay.take([frame(0), frame(1)])
    with context.socket(zmq.SUB) as reader:
        reader.subscribe(b"fr")
        reader.connect(relay.address)
        meet(relay, 1)
        relay.take([frame(2), frame(3)])
        assert [unpack(reader.recv_multipart()[1:])[0].frame for _ in range(2)] == [2, 3]
    assert relay._socket.poll(5000)  # that it has left
    relay.take([frame(4)])
    assert [one.frame for one in made] == [2, 3]


def test_damaged_messages_are_counted(context):
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(context.socket(zmq.PUB))
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        uri = f"braggstream://127.0.0.1:{port}"
        source = stack.enter_context(contextlib.closing(open_source(uri, SourceConfig())))
        good = [b"series", *pack(Series(name="a"))]
        a_frame, a_gap = (
            pack(Frame(series="a", frame=0, time_ns=0, shape=(2, 2), dtype="<u2", encoding="raw")),
            pack(Gap(series="a", first=-5, count=2, reason="why")),
        )
        while not source.read(10):  # the subscription takes a moment
            socket.send_multipart(good)
        for bad in (
            [b"frame"],
            [b"frame", b"\xc1"],
            [b"frame", a_frame[0]],
            [b"series", pack(Series(name="b", pixel_mask=np.eye(2, dtype=bool)))[0]],
            [b"gap", *a_gap],
            [b"end", b"what"],
        ):
            socket.send_multipart(bad)
        while source.counters["malformed"] < 6:
            assert source.socket is not None
            source.socket.poll(5000)
            source.read(10)


def test_a_relay_of_another_version_ends_the_run(context):
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(context.socket(zmq.PUB))
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        uri = f"braggstream://127.0.0.1:{port}"
        source = stack.enter_context(contextlib.closing(open_source(uri, SourceConfig())))
        other = {"kind": "series", "name": "a", "wire_version": WIRE_VERSION + 1}

        def listen():
            while True:  # the subscription takes a moment
                socket.send_multipart([b"series", msgspec.msgpack.encode(other)])
                source.socket.poll(10)
                source.read(10)

        with pytest.raises(UserError, match=f"{uri} .* version {WIRE_VERSION + 1} of the messages"):
            listen()


class Script:
    """A source that gives what it was made with."""

    uri, live, n_frames, exhausted, socket = "script", False, 8, False, None

    def __init__(self, events):
        self.events, self.counters, self.closed = events, {"late": 1}, False

    def read(self, limit):
        given, self.events = self.events[:limit], self.events[limit:]
        return given

    def close(self):
        self.closed = True


class Diary:
    def __init__(self):
        self.counters, self.seen, self.closed = {"not recorded": 2}, [], False

    def take(self, events):
        self.seen.append(list(events))

    def close(self):
        self.closed = True


def test_tap_sees_what_is_read_and_counts_with_the_source():
    script, diary = Script([SERIES, frame(0), END]), Diary()
    source = TeeSource(script, [diary])
    assert source.read(2) == [SERIES, frame(0)]
    assert source.read(2) == [END]
    assert source.read(2) == []
    assert diary.seen == [[SERIES, frame(0)], [END], []]
    assert source.counters == {"late": 1, "not recorded": 2}
    source.close()
    assert script.closed
    assert diary.closed


def test_address_where_nothing_listens_is_told():
    with pytest.raises(UserError, match=r"cannot reach the pipeline .* publish\.frames"):
        check_reachable("braggstream://127.0.0.1:1", SourceConfig(connect_s=0.1))
