"""Trains from a Karabo bridge: messages made by hand, sent over real sockets."""

import pickle
import socket
import time
from collections import deque

import msgpack
import numpy as np
import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.events import Frame, Series, SeriesEnd
from streamer.sources import check_reachable
from streamer.sources.live.karabo.pulses import images, pulse_axis
from streamer.sources.live.karabo.trains import TrainArray, parse_train
from tests.unit.streamer.sources.live.senders import Sender, counts, gaps, numbers, pixels

DETECTOR, MOTOR = "SPB_DET_AGIPD1M-1/DET/0CH0:xtdf", "SPB/MOTOR/1"
PULSES, ROWS, COLS = 4, 24, 20
FIRST = 10_000_000_000
SECONDS = 1_700_000_000
SENDERS = {"req": zmq.REP, "sub": zmq.XPUB, "pull": zmq.PUSH}


def pictures(train, pulses=PULSES, dtype="<u2"):
    return np.random.default_rng(train).integers(0, 200, (pulses, ROWS, COLS)).astype(dtype)


def stamp(train):
    return {
        "source": DETECTOR,
        "timestamp": SECONDS + 0.1 * (train - FIRST),
        "timestamp.tid": train,
        "timestamp.sec": str(SECONDS + (train - FIRST) // 10),
        "timestamp.frac": str((train - FIRST) % 10 * 10**17),
    }


def array(path, numbers, source=DETECTOR, dtype=None, shape=None, content="array"):
    header = {
        "source": source,
        "content": content,
        "path": path,
        "dtype": dtype or numbers.dtype.str,
        "shape": shape or numbers.shape,
    }
    return [msgpack.packb(header), numbers.tobytes()]


def values(train, version="2.2", source=DETECTOR, **says):
    header = {"source": source, "content": "msgpack"}
    if version == "2.2":
        header["metadata"] = stamp(train)
    elif version == "2.1":
        says |= {f"metadata.{key}": value for key, value in stamp(train).items()}
    else:
        says["metadata"] = stamp(train)
    return [msgpack.packb(header), msgpack.packb(says)]


def message(train, numbers=None, version="2.2", path="image.data", **fields):
    """Make the message of a train."""
    numbers = pictures(train) if numbers is None else numbers
    if version != "1.0":
        return [*values(train, version, energy=9.3), *array(path, numbers, **fields)]
    coded = {
        b"nd": True,
        b"type": numbers.dtype.str,
        b"kind": b"",
        b"shape": numbers.shape,
        b"data": numbers.tobytes(),
    }
    return [msgpack.packb({DETECTOR: {path: coded, "energy": 9.3, "metadata": stamp(train)}})]


class Bridge(Sender):
    """A bridge, whose answers wait until it is asked where its socket is REP."""

    def __init__(self, kind="pull"):
        # As the facility's bridge has it.
        super().__init__("karabo", SENDERS[kind], hwm=1 if kind == "req" else 1000, series=0)
        self.option = f"?socket={kind}"
        self.waiting = deque()

    def open(self, options="", **config):
        return super().open(self.option + options, **config)

    def send(self, *messages):
        self.waiting += messages
        self.answer()

    def answer(self):
        """Send what waits, as far as it was asked for."""
        while self.waiting:
            if self.kind == zmq.REP:
                if not self.socket.poll(20):
                    break
                assert self.socket.recv() == b"next"
            super().send(self.waiting.popleft())

    def read(self, n_events):
        """Return as many events as should come to the last source."""
        events, source = [], self.sources[-1]
        deadline = time.monotonic() + 5
        while len(events) < n_events:
            self.answer()
            events += (got := source.read(100))
            if len(events) < n_events and len(got) < 100:
                source.socket.poll(20 if self.waiting else 5000)
                assert time.monotonic() < deadline, f"only {events} came"
        assert len(events) == n_events
        return events


@pytest.fixture
def make_bridge():
    made = []

    def make(kind="pull"):
        made.append(Bridge(kind))
        return made[-1]

    yield make
    for bridge in made:
        bridge.close()


@pytest.fixture
def bridge(make_bridge):
    return make_bridge()


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.1", "2.2"])
@pytest.mark.parametrize("kind", SENDERS)
def test_trains_arrive_as_sent(make_bridge, kind, version):
    bridge = make_bridge(kind)
    source = bridge.open()
    for train in range(FIRST, FIRST + 3):
        bridge.send(message(train, version=version))
    series, *frames = bridge.read(1 + 3 * PULSES)
    assert series.name == f"train_{FIRST}"
    told = dict(series.metadata)
    assert "the axis of 4 is taken for that of the pulses" in told.pop("warnings")[0]
    assert told == {
        "protocol": f"Karabo bridge {version}",
        "source": DETECTOR,
        "path": "image.data",
        "first_train": FIRST,
        "images_per_train": PULSES,
        "energy": 9.3,
    }
    assert [frame.frame for frame in frames] == list(range(3 * PULSES))
    sent = [image for train in range(FIRST, FIRST + 3) for image in pictures(train)]
    for frame, image in zip(frames, sent, strict=True):
        np.testing.assert_array_equal(pixels(frame), image)
    assert counts(source) == {}


@pytest.mark.parametrize(
    "dtype", ["|u1", "|i1", "<u2", ">u2", "<i2", "<u4", ">u4", "<i4", "<f4", "<f8", "uint16"]
)
@pytest.mark.parametrize("axes", ["one", "first", "last", "one module"])
def test_every_dtype_and_layout(bridge, dtype, axes):
    bridge.open()
    sent = pictures(1, dtype=dtype)
    given = {"one": sent[0], "first": sent, "last": sent.T, "one module": sent[:, None]}[axes]
    bridge.send(message(FIRST, given, dtype=dtype))
    _, *frames = bridge.read(2 if axes == "one" else 1 + PULSES)
    for frame, image in zip(frames, sent, strict=False):
        assert frame.dtype == np.dtype(dtype).str
        np.testing.assert_array_equal(pixels(frame), image)


def test_images_of_a_train_are_not_copied():
    frames = [zmq.Frame(part) for part in message(FIRST)]
    (taken,) = parse_train(frames).arrays.values()
    for data, _, _, _ in images(taken, "first"):
        assert np.shares_memory(np.frombuffer(data, "u1"), np.frombuffer(frames[-1].buffer, "u1"))


def axis_of(*shape, lists=()):
    return pulse_axis(TrainArray(b"", np.dtype("u2"), shape), lists)


def test_axis_of_the_pulses():
    assert axis_of(512, 128) == "none"
    assert axis_of(64, 512, 128) == "first"
    assert axis_of(128, 512, 64) == "last"
    assert axis_of(352, 512, 128, lists=[352]) == "first"
    assert axis_of(128, 512, 352, lists=[352]) == "last"
    assert axis_of(128, 512, 128, lists=[128]) is None


def test_axis_is_that_of_the_list_of_pulses(bridge):
    bridge.open()
    many = pictures(FIRST, pulses=30)
    lists = array("image.cellId", np.arange(30, dtype="<u2"))
    bridge.send([*message(FIRST, many.T), *lists])
    _, *frames = bridge.read(31)
    for frame, image in zip(frames, many, strict=True):
        np.testing.assert_array_equal(pixels(frame), image)


def test_modules_are_not_taken_for_pulses(bridge):
    bridge.open()
    lists = array("image.pulseId", np.arange(30, dtype="<u8"))
    said = bridge.complaint([*message(FIRST, pictures(FIRST, pulses=8)), *lists])
    assert "does not tell the axis of the pulses" in said
    assert "module=K for one of several modules" in said


@pytest.mark.parametrize("n_pulses", [None, 3])
def test_one_module_of_several(bridge, n_pulses):
    source = bridge.open("&module=5")
    shape = (8, ROWS, COLS) if n_pulses is None else (8, n_pulses, ROWS, COLS)
    many = np.arange(np.prod(shape), dtype="<u4").reshape(shape)
    lists = [] if n_pulses is None else array("image.pulseId", np.arange(n_pulses, dtype="<u8"))
    bridge.send([*message(FIRST, many), *lists])
    series, *frames = bridge.read(1 + (n_pulses or 1))
    np.testing.assert_array_equal(pixels(frames[-1]), many[5] if n_pulses is None else many[5, -1])
    assert "warnings" not in series.metadata
    assert counts(source) == {}


def test_a_module_that_is_not_there(bridge):
    bridge.open("&module=8")
    assert "which has no module 8" in bridge.complaint(message(FIRST, pictures(FIRST, pulses=8)))


@pytest.mark.parametrize("axis", ["first", "last"])
def test_axis_that_the_user_says(bridge, axis):
    bridge.open(f"&pulses={axis}")
    many = pictures(FIRST, pulses=COLS)
    bridge.send(message(FIRST, many if axis == "first" else many.T))
    _, *frames = bridge.read(1 + COLS)
    np.testing.assert_array_equal(pixels(frames[7]), many[7])


def test_axis_that_cannot_be_told_must_be_said(bridge):
    bridge.open()
    said = bridge.complaint(message(FIRST, pictures(FIRST, pulses=COLS)))
    assert "20 x 24 x 20 uint16" in said
    assert "pulses=first or pulses=last" in said


def test_times_are_those_of_the_trains(bridge):
    bridge.open()
    bridge.send(message(FIRST), message(FIRST + 1))
    _, *frames = bridge.read(1 + 2 * PULSES)
    start = SECONDS * 10**9
    expected = [start + train * 10**8 + pulse * 222 for train in (0, 1) for pulse in range(PULSES)]
    assert [frame.time_ns for frame in frames] == expected


@pytest.mark.parametrize(
    ("says", "time_ns"),
    [
        ({"timestamp.sec": "1", "timestamp.frac": "567890000000000000"}, 1_567_890_000),
        ({"timestamp.sec": 1, "timestamp.frac": 1_000_000_000}, 1_000_000_001),
        ({"timestamp": 2.5}, 2_500_000_000),
        ({"timestamp.sec": "soon", "timestamp.frac": "1"}, None),
        ({"timestamp": float("nan")}, None),
        ({}, None),
    ],
)
def test_time_stamps(says, time_ns):
    header = {"source": "a", "content": "msgpack", "metadata": says}
    train = parse_train([zmq.Frame(msgpack.packb(part)) for part in (header, {})])
    assert train.time_ns("a") == time_ns
    assert train.time_ns("b") is None


def test_missing_trains_are_gaps_of_all_their_images(bridge):
    source = bridge.open()
    trains = [FIRST, FIRST + 3, *range(FIRST + 4, FIRST + 4 + 16)]
    bridge.send(*map(message, trains))
    events = bridge.read(2 + len(trains) * PULSES)
    assert gaps(events) == [(range(PULSES, 3 * PULSES), "not received")]
    assert counts(source) == {}


def test_repeated_and_overtaken_trains(bridge):
    source = bridge.open()
    order = [5, 4, 7, 7, 6, 8]  # 4 was overtaken by the first that came
    bridge.send(*(message(FIRST + train) for train in order))
    _, *frames = bridge.read(1 + 4 * PULSES)
    assert [frame.frame // PULSES for frame in frames[::PULSES]] == [0, 2, 1, 3]
    assert counts(source) == {"stray": 1, "duplicates": PULSES}


def test_repeated_train_of_many_images_is_no_new_series(bridge):
    source = bridge.open()
    many = pictures(FIRST, pulses=100)
    option = array("image.pulseId", np.arange(100, dtype="<u8"))
    bridge.send(*[[*message(FIRST + train, many), *option] for train in (0, 1, 1, 0, 2)])
    events = bridge.read(301)
    assert sum(isinstance(event, Frame) for event in events) == 300
    assert sum(counts(source).values()) == counts(source)["duplicates"] == 200


def damaged(train):
    good = message(train)
    return {
        "no msgpack": [good[0], b"\xc1", *good[2:]],
        "no pairs": good[:3],
        "one part": good[:1],
        "cut off": [*good[:3], good[3][:-1]],
        "pickled": [pickle.dumps({"a": 1}), *good[1:]],
        "all pickled": [pickle.dumps([1, 2])],
        "no number": [msgpack.packb({"source": DETECTOR, "content": "msgpack"}), *good[1:]],
        "other axes": message(train, np.stack([pictures(train)] * 2)),
        "a list": [msgpack.packb([1])],
        "empty": [b"", b""],
    }


@pytest.mark.parametrize("damage", damaged(FIRST))
def test_damaged_message_costs_one_train(bridge, damage):
    source = bridge.open(series=1, idle_s=0.2)
    bridge.send(message(FIRST), damaged(FIRST + 1)[damage], message(FIRST + 2))
    events = bridge.read(1 + (3 if damage == "cut off" else 2) * PULSES)
    assert numbers(events) == [0, 1, 2, 3, 8, 9, 10, 11]
    deadline = time.monotonic() + 5
    rest = []
    while not source.exhausted and time.monotonic() < deadline:
        rest += source.read(10)
        time.sleep(0.01)
    assert sorted(n for lost, _ in gaps(events + rest) for n in lost) == [4, 5, 6, 7]
    assert rest[-1].reason.startswith("idle")
    if damage == "one part":  # a map of three texts: a train in which no source sent anything
        assert counts(source) == {"ignored": 1}
    else:
        assert counts(source) == {"malformed": PULSES if damage == "cut off" else 1}


def test_fewer_images_are_lost_and_more_begin_a_series(bridge):
    bridge.open()
    bridge.send(message(FIRST), message(FIRST + 1, pictures(1, pulses=3)))
    events = bridge.read(1 + 2 * PULSES)
    assert gaps(events) == [(range(7, 8), "malformed: 3 images in the train instead of 4")]
    bridge.send(message(FIRST + 2, pictures(1, pulses=6)))
    end, series, *frames = bridge.read(2 + 6)
    assert (end.reason, series.name) == ("new series", f"train_{FIRST + 2}")
    assert [frame.frame for frame in frames] == list(range(6))


@pytest.mark.parametrize("train", [FIRST - 1000, FIRST + 100_000])
def test_trains_far_from_the_last_are_a_new_series(bridge, train):
    source = bridge.open(series=2)
    bridge.send(message(FIRST), message(train), message(FIRST + 50_000))
    events = bridge.read(4 + 2 * PULSES)
    assert [e.name for e in events if isinstance(e, Series)] == [f"train_{FIRST}", f"train_{train}"]
    assert isinstance(events[-1], SeriesEnd)
    assert source.exhausted
    assert counts(source) == {}


def test_another_dtype_is_a_new_series(bridge):
    bridge.open()
    bridge.send(message(FIRST), message(FIRST + 1, pictures(1, dtype="<f4")))
    assert sum(isinstance(event, Series) for event in bridge.read(3 + 2 * PULSES)) == 2


@pytest.mark.parametrize("kind", SENDERS)
def test_bridge_that_died_is_attached_again(make_bridge, kind):
    bridge = make_bridge(kind)
    source = bridge.open()
    bridge.send(message(FIRST))
    bridge.read(1 + PULSES)
    bridge.die()
    began = time.monotonic()
    bridge.come_back()
    trains = range(FIRST + 5, FIRST + 25)
    for train in trains:
        bridge.send(message(train))
        if train == FIRST + 5:
            frames = bridge.read(PULSES)
            took_s = time.monotonic() - began
    events = frames + bridge.read(1 + (len(trains) - 1) * PULSES)
    assert gaps(events) == [(range(PULSES, 5 * PULSES), "not received")]
    assert took_s < 2
    assert counts(source) == {"disconnects": 1}


def test_bridge_that_died_after_its_answer_is_asked_once(make_bridge):
    bridge = make_bridge("req")
    source = bridge.open()
    bridge.send(message(FIRST))
    assert source.socket.poll(5000)
    bridge.socket.close()
    assert source._monitor.poll(5000)  # what is asked from now on waits for the next bridge
    bridge.read(1 + PULSES)
    bridge.await_loss()
    assert source.gone_s > 0.0
    bridge.come_back()
    bridge.send(message(FIRST + 1), message(FIRST + 2))
    assert numbers(bridge.read(2 * PULSES)) == list(range(PULSES, 3 * PULSES))
    assert source.gone_s == 0.0
    assert counts(source) == {"disconnects": 1}


@pytest.mark.parametrize("prefix", [[], [b""]])
def test_pickles_are_refused(bridge, prefix):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a message was unpickled",))

    parts = [pickle.dumps(Trap()), *prefix]
    bridge.open()
    assert "set its serialisation to msgpack" in bridge.complaint(parts)


def test_pickled_objects_in_an_array_are_not_read(bridge):
    bridge.open()
    trap = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": (1,), b"data": b"\x80\x04N."}
    train = msgpack.unpackb(message(FIRST, version="1.0")[0])
    train[DETECTOR]["trap"] = trap
    bridge.send([msgpack.packb(train)])
    assert sum(isinstance(event, Frame) for event in bridge.read(1 + PULSES)) == PULSES


def test_array_called_as_pixels_are_is_taken_among_its_companions(bridge):
    bridge.open()
    gain = np.zeros((PULSES, ROWS, COLS), "<u2")
    bridge.send([*values(FIRST), *array("image.gain", gain), *array("image.data", pictures(1))])
    series, *frames = bridge.read(1 + PULSES)
    assert series.metadata["path"] == "image.data"
    np.testing.assert_array_equal(pixels(frames[0]), pictures(1)[0])


def test_image_data_of_a_camera(bridge):
    bridge.open()
    bridge.send(message(FIRST, pictures(1)[0], path="data.image", content="ImageData"))
    np.testing.assert_array_equal(pixels(bridge.read(2)[1]), pictures(1)[0])


def two_modules(train):
    other = [*values(train, source="B"), *array("image.data", pictures(train + 7), "B")]
    return [*message(train), *other]


def test_choice_among_several_is_the_user_s(bridge):
    bridge.open()
    said = bridge.complaint(two_modules(FIRST))
    assert f"?source={DETECTOR}&path=image.data (4 x 24 x 20 uint16), ?source=B&path=" in said


@pytest.mark.parametrize("options", ["&source=B", "&source=B&path=image.data"])
def test_chosen_array(bridge, options):
    bridge.open(options)
    bridge.send(two_modules(FIRST))
    np.testing.assert_array_equal(pixels(bridge.read(1 + PULSES)[1]), pictures(FIRST + 7)[0])


def test_chosen_array_that_is_not_there(bridge):
    bridge.open("&path=image.dada")
    said = bridge.complaint(*(message(FIRST + n) for n in range(10)))
    assert "of path image.dada); it sends" in said
    assert f"{DETECTOR} image.data (4 x 24 x 20 uint16)" in said


def test_trains_without_the_detector_are_skipped(bridge):
    source = bridge.open()
    bridge.send(values(FIRST, source=MOTOR), message(FIRST + 1))
    bridge.send(values(FIRST + 2, source=MOTOR), message(FIRST + 3))
    assert numbers(bridge.read(1 + 2 * PULSES)) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert counts(source) == {"ignored": 2}


def test_trains_must_have_numbers(bridge):
    bridge.open()
    parts = [msgpack.packb({"source": DETECTOR, "content": "msgpack"}), *message(FIRST)[1:]]
    assert "timestamp.tid" in bridge.complaint(parts)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("socket=pub", "socket must be req or sub or pull"),
        ("pulses=middle", "pulses must be first or last"),
        ("sauce=B", "unknown option sauce"),
    ],
)
def test_bad_options_are_told_in_one_line(bridge, options, says):
    with pytest.raises(UserError, match=says):
        check_reachable(f"{bridge.uri}?{options}", SourceConfig())


def test_no_bridge_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"karabo://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match="cannot reach the bridge"):
            check_reachable(uri, SourceConfig(connect_s=0.1))
