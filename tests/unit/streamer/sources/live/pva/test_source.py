"""Images over PVAccess: what one update says, how images are counted, and the channel itself."""

import random
import sys
import threading
import time
import zlib

import blosc
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Series, SeriesEnd
from streamer.sources import check_reachable, open_source
from streamer.sources.live.pva.ntndarray import coded_pixels, exposed_ns, holds_image, metadata
from streamer.sources.live.pva.source import Wake
from streamer.sources.live.pva.unique_ids import UniqueIds
from tests.unit.streamer.sources.live import senders as livesource
from tests.unit.streamer.sources.live.senders import counts, gaps, numbers, pixels

pytest.importorskip("p4p", reason="p4p is not installed: pip install 'braggstream[pva]'")

from p4p.nt import NTNDArray, NTScalar
from p4p.server import Server
from p4p.server.thread import SharedPV

ROWS, COLS = 24, 40
NAME = "test:Pva1:Image"
URI = f"pva://{NAME}"
NOW_NS = 1_790_000_000_000_000_000
SCALAR_TYPES = {
    "int8": 1,
    "int16": 2,
    "int32": 3,
    "int64": 4,
    "uint8": 5,
    "uint16": 6,
    "uint32": 7,
    "uint64": 8,
    "float32": 9,
    "float64": 10,
}


def picture(number, dtype="uint16"):
    return np.random.default_rng(abs(number)).poisson(2, (ROWS, COLS)).astype(dtype)


def compress(frame, codec):
    """Code pixels as areaDetector does; for two of its codecs, as HDF5 does too."""
    if codec == "zlib":
        return zlib.compress(frame.tobytes())
    if codec == "blosc":
        return blosc.compress(frame.tobytes(), frame.itemsize, cname="lz4")
    name, _, stripped = codec.partition("-")
    coded = livesource.compress(frame, name.removesuffix("hdf5"))
    return coded[12 if name == "bslz4" else 16 :] if stripped else coded


def update(number, frame=None, codec="", after_s=None, attributes=None, **fields):
    """Return an update of a channel; without `after_s` it has no time."""
    frame = picture(number) if frame is None else frame
    coded = np.frombuffer(compress(frame, codec), np.uint8) if codec else frame
    value = NTNDArray().wrap(coded)
    value.uniqueId = number
    if codec:
        value.dimension = [{"size": COLS}, {"size": ROWS}]
        value.codec.name = codec.partition("-")[0]
        value.codec.parameters = SCALAR_TYPES[frame.dtype.name]
        value.compressedSize, value.uncompressedSize = coded.size, frame.nbytes
    if after_s is not None:
        time_ns = NOW_NS + round(after_s * 1e9)
        value.dataTimeStamp.secondsPastEpoch = time_ns // 1_000_000_000
        value.dataTimeStamp.nanoseconds = time_ns % 1_000_000_000
    if attributes:
        value.attribute = [{"name": name, "value": content} for name, content in attributes.items()]
    for path, content in fields.items():
        value[path.replace("__", ".")] = content
    return value


@pytest.mark.parametrize("dtype", SCALAR_TYPES)
@pytest.mark.parametrize(
    ("codec", "encoding"),
    [
        ("", "raw"),
        ("zlib", "zlib"),
        ("blosc", "blosc"),
        ("lz4-stripped", "lz4"),
        ("lz4hdf5", "lz4"),
        ("bslz4", "bslz4"),
        ("bslz4-stripped", "bslz4"),
    ],
)
def test_every_type_and_codec(dtype, codec, encoding):
    frame = picture(1, dtype)
    pixels = coded_pixels(update(1, frame, codec))
    assert pixels[1:] == (encoding, frame.dtype.str, (ROWS, COLS))
    np.testing.assert_array_equal(decode(*pixels), frame)


ND_TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32",
            "float64"]  # fmt: skip


@pytest.mark.parametrize("dtype", ND_TYPES[1:])
def test_types_as_pvxs_counts_them(dtype):
    """NDPluginPvxs of ADCore numbers the types as areaDetector does."""
    frame = picture(1, dtype)
    value = update(1, frame, "bslz4-stripped", codec__parameters=ND_TYPES.index(dtype))
    pixels = coded_pixels(value, "uint8")
    assert pixels.dtype == frame.dtype.str
    np.testing.assert_array_equal(decode(*pixels), frame)


def test_jpeg():
    from io import BytesIO

    from PIL import Image

    smooth = np.add.outer(np.arange(ROWS), np.arange(COLS)).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95)
    value = update(1, smooth)
    value.value = np.frombuffer(file.getvalue(), np.uint8)
    value.codec.name, value.codec.parameters = "jpeg", SCALAR_TYPES["uint8"]
    value.compressedSize = len(file.getvalue())
    np.testing.assert_allclose(decode(*coded_pixels(value)), smooth, atol=3)


def test_raw_pixels_are_not_copied():
    value = update(1)
    assert np.shares_memory(np.frombuffer(coded_pixels(value)[0], np.uint8), value.value)


def test_what_is_behind_the_coded_bytes_is_left_out():
    value = update(1, codec="zlib")
    size = value.compressedSize
    value.value = np.append(value.value, np.zeros(100, np.uint8))
    pixels = coded_pixels(value)
    assert len(pixels[0]) == size
    np.testing.assert_array_equal(decode(*pixels), picture(1))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (update(1, value=np.zeros(7, np.uint16)), "14 bytes of pixels instead of 1920"),
        (update(1, codec="zlib", uncompressedSize=77), "77 bytes are declared instead of 1920"),
        (update(1, codec="zlib", compressedSize=99_999), "coded bytes instead of 99999"),
        (update(1, codec="zlib", compressedSize=-1), "coded bytes instead of -1"),
        (update(1, codec="zlib", codec__parameters=11), "codec parameters 11"),
        (update(1, codec="zlib", codec__parameters="ushort"), "codec parameters 'ushort'"),
        (update(1, dimension=[{"size": 0}, {"size": 4}]), "an image of 4 x 0"),
    ],
)
def test_what_does_not_fit_together_is_a_malformed_image(value, says):
    with pytest.raises(ValueError, match=says):
        coded_pixels(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (update(1, np.zeros((8, 9, 3), np.uint8)), r"3 axes \(3 x 9 x 8\).*colour mode to mono"),
        (update(1, dimension=[{"size": 960}]), r"1 axes \(960\), frames of a detector have 2$"),
        (update(1, codec__name="lzo"), "'lzo', which is not supported: set the compressor to one"),
    ],
)
def test_what_is_set_wrong_at_the_sender(value, says):
    with pytest.raises(UserError, match=says) as caught:
        coded_pixels(value)
    assert "\n" not in str(caught.value)


def test_time_of_the_exposure():
    assert exposed_ns(update(1)) is None
    assert exposed_ns(update(1, after_s=0.25)) == NOW_NS + 250_000_000
    # A detector that counts seconds from its own start, which is sent as so long after 1990.
    own = update(1, dataTimeStamp__secondsPastEpoch=631_152_017)
    assert exposed_ns(own) is None
    own.timeStamp.secondsPastEpoch = NOW_NS // 1_000_000_000
    assert exposed_ns(own) == NOW_NS


def test_channel_that_has_had_no_image():
    empty = NTNDArray.buildType()()
    assert not holds_image(empty)
    assert holds_image(update(0))


def test_metadata_is_plain():
    said = {"Energy": 72.5, "Sample": "NMC", "Scan": 7, "Angles": np.array([1.5, 2.5])}
    large = np.zeros(10_000)
    dimension = [{"size": COLS, "offset": 3, "binning": 2}, {"size": ROWS, "offset": 5}]
    value = update(1, attributes=said | {"Large": large}, dimension=dimension)
    assert metadata(value) == {
        "codec": "none",
        "offset": [5, 3],
        "binning": [0, 2],
        "attributes": {"Energy": 72.5, "Sample": "NMC", "Scan": 7, "Angles": [1.5, 2.5]},
    }


def wrapped(number):
    """Return a number as a signed integer of 32 bits."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


@given(
    start=st.integers(-(1 << 31), (1 << 31) - 1),
    steps=st.lists(st.integers(1, 1_000_000), min_size=1, max_size=50),
    timed=st.booleans(),
)
def test_numbers_go_on_where_ids_overflow(start, steps, timed):
    ids = UniqueIds(start, 0 if timed else None)
    true = start
    for count, step in enumerate(steps, 1):
        true += step
        time_ns = count if timed else None
        assert ids.place(wrapped(true), time_ns) == "next"
        assert ids.take(wrapped(true), time_ns) == true


@pytest.mark.parametrize(
    ("newest", "then", "place"),
    [
        ((100, 1000), (1, 1001), "restarted"),
        ((100, 1000), (99, 999), "old"),  # overtaken
        ((100, 1000), (100, 1000), "old"),  # the same again, such as with another alarm
        ((100, 1000), (100, 2000), "restarted"),  # each of a series of one image
        ((100, 1000), (90_000_000, 2000), "restarted"),
        ((100, None), (99, None), "restarted"),
        ((100, None), (100, None), "old"),
        (((1 << 31) - 1, 1000), (0, 1001), "restarted"),
        (((1 << 31) - 1, 1000), (-(1 << 31), 1001), "next"),
    ],
)
def test_counter_that_was_set_back_is_told_from_images_that_were_overtaken(newest, then, place):
    ids = UniqueIds(newest[0] - 1, None)
    ids.take(*newest)
    assert ids.place(*then) == place
    number = ids.take(*then)
    assert number == (newest[0] + 1 if place == "next" else then[0])
    assert ids.newest == (newest[0] if place == "old" else number)


class Channel:
    """A server on loopback with one channel of images."""

    def __init__(self, initial):
        self.pv = SharedPV(initial=initial)
        self.server = Server(providers=[{NAME: self.pv}], isolate=True)

    def post(self, *updates):
        for value in updates:
            self.pv.post(value)

    def environment(self):
        conf = self.server.conf()
        return {
            "EPICS_PVA_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
            "EPICS_PVA_BROADCAST_PORT": conf["EPICS_PVA_BROADCAST_PORT"],
            "EPICS_PVA_SERVER_PORT": conf["EPICS_PVA_SERVER_PORT"],
        }


@pytest.fixture
def serve(monkeypatch):
    """Starts a channel that holds an update, and sets the environment to find it."""
    servers = []

    def start(initial):
        channel = Channel(initial)
        servers.append(channel.server)
        for name, value in channel.environment().items():
            monkeypatch.setenv(name, value)
        return channel

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def attach():
    sources = []

    def open_(options="", **config):
        sources.append(open_source(URI + options, SourceConfig(**config)))
        return sources[-1]

    yield open_
    for source in sources:
        source.close()


def collect(source, until, seconds=10.0):
    """Read until the events fulfil a condition."""
    events, deadline = [], time.monotonic() + seconds
    while not until(events):
        assert time.monotonic() < deadline, events
        if source.socket is not None:
            source.socket.poll(50)
        events += source.read(100)
    return events


def n_frames(count):
    return lambda events: sum(isinstance(event, Frame) for event in events) == count


def ended(events):
    return bool(events) and isinstance(events[-1], SeriesEnd)


def test_images_arrive_as_sent(serve, attach):
    channel = serve(update(7))
    source = attach(frame_time_s=0.01, idle_s=0.3)
    ids = range(8, 28)
    channel.post(*(update(n, codec="bslz4", after_s=n, attributes={"Energy": 72.5}) for n in ids))
    events = collect(source, ended)
    series, frames = events[0], events[1:-1]
    assert isinstance(series, Series)
    assert (series.name, series.n_frames, series.frame_time_s) == ("series_1", None, 0.01)
    assert series.metadata["protocol"] == "EPICS PVAccess NTNDArray"
    assert series.metadata["channel"] == NAME
    assert series.metadata["first_unique_id"] == 8
    assert series.metadata["attributes"] == {"Energy": 72.5}
    assert numbers(frames) == list(range(20))
    for number, frame in zip(ids, frames, strict=True):
        assert frame.time_ns == NOW_NS + number * 1_000_000_000
        np.testing.assert_array_equal(pixels(frame), picture(number))
    assert events[-1].reason == "idle: nothing came for 0.3 s"
    assert counts(source) == {"ignored": 1}  # what the channel held
    assert source.exhausted
    assert source.socket is None


def test_image_that_came_while_the_channel_was_looked_at_is_a_frame(serve, attach, monkeypatch):
    channel = serve(update(7))
    from streamer.sources.live.pva import source as pva

    look = pva._summary

    def look_and_post(*args):
        held = look(*args)
        channel.post(update(8))
        return held

    monkeypatch.setattr(pva, "_summary", look_and_post)
    source = attach()
    events = collect(source, n_frames(1))
    assert events[0].metadata["first_unique_id"] == 8
    assert counts(source) == {}


@pytest.mark.parametrize("timed", [False, True])
def test_first_image_may_have_the_number_of_what_the_channel_held(serve, attach, timed):
    channel = serve(update(0, after_s=0 if timed else None))
    source = attach(idle_s=0.3)
    channel.post(*(update(n, after_s=n + 1 if timed else None) for n in range(4)))
    events = collect(source, ended)
    assert numbers(events) == [0, 1, 2, 3]


def test_lost_images_are_told_by_their_ids(serve, attach):
    channel = serve(update(1))
    source = attach(idle_s=0.3)
    ids = [n for n in range(10, 200) if n % 7 and n not in range(50, 80)]
    channel.post(*map(update, ids))
    events = collect(source, ended)
    assert [n + 10 for n in numbers(events)] == ids
    lost = [n + 10 for frames, _ in gaps(events) for n in frames]
    assert lost == sorted(set(range(10, 200)) - set(ids))


def test_what_does_not_fit_in_the_queue_is_lost_and_told(serve, attach):
    # 64 MiB for each image, says the channel, so that few may wait.
    held = update(1)
    held.compressedSize = 1 << 26
    channel = serve(held)
    source = attach(idle_s=0.3)
    channel.post(*map(update, range(2, 502)))
    events = collect(source, ended)
    lost = [n for frames, _ in gaps(events) for n in frames]
    assert lost
    assert sorted(numbers(events) + lost) == list(range(500))


def test_ids_that_overflow_go_on(serve, attach):
    channel = serve(update(1))
    source = attach(idle_s=0.3)
    channel.post(*(update(wrapped((1 << 31) + n)) for n in range(-3, 3)))
    events = collect(source, ended)
    assert numbers(events) == list(range(6))


@pytest.mark.parametrize("timed", [False, True])
def test_counter_that_was_set_back_begins_a_series(serve, attach, timed):
    channel = serve(update(0))
    source = attach(series=2, idle_s=0.3)
    channel.post(
        *(update(n, after_s=t if timed else None) for t, n in enumerate([1, 2, 3, 4, 1, 2, 3]))
    )
    events = collect(source, lambda events: sum(isinstance(e, SeriesEnd) for e in events) == 2)
    frames = [(event.series, event.frame) for event in events if isinstance(event, Frame)]
    assert frames == [("series_1", n) for n in range(4)] + [("series_1_2", n) for n in range(3)]
    assert source.exhausted


def test_images_that_were_overtaken_keep_their_place(serve, attach):
    channel = serve(update(0))
    source = attach(idle_s=0.3)
    channel.post(*(update(n, after_s=n) for n in (3, 2, 5, 4, 6, 6, 8, 7)))
    events = collect(source, ended)
    assert numbers(events) == [0, 2, 1, 3, 5, 4]
    assert gaps(events) == []
    assert counts(source) == {"ignored": 1, "stray": 1, "duplicates": 1}


def test_channel_that_was_away(serve, attach):
    channel = serve(update(0))
    source = attach(idle_s=1.5)
    channel.post(update(1), update(2))
    events = collect(source, n_frames(2))
    channel.pv.close()
    collect(source, lambda _: source.counters["disconnects"] == 1)
    # What it holds when it comes back was posted meanwhile, so that it is a frame of the series.
    channel.pv.open(update(5))
    events += collect(source, n_frames(1))
    channel.post(update(6))
    events += collect(source, ended)
    assert numbers(events) == [0, 1, 4, 5]
    assert gaps(events) == [(range(2, 4), "not received")]
    channel.pv.close()


def test_server_that_was_started_again(serve, attach):
    channel = serve(update(0))
    source = attach(series=2)
    channel.post(update(10), update(11))
    events = collect(source, n_frames(2))
    channel.pv.close()
    collect(source, lambda _: source.counters["disconnects"] == 1)
    channel.pv.open(update(1))  # of the past, as far as anyone can tell
    events += collect(source, lambda _: source.counters["ignored"] == 2)
    channel.post(update(2), update(3))
    events += collect(source, n_frames(2))
    frames = [(event.series, event.frame) for event in events if isinstance(event, Frame)]
    assert frames == [("series_1", 0), ("series_1", 1), ("series_1_2", 0), ("series_1_2", 1)]
    assert counts(source) == {"ignored": 2, "disconnects": 1}


def test_one_image_that_cannot_be_read_is_one_lost_frame(serve, attach):
    channel = serve(update(0))
    source = attach(idle_s=0.3)
    channel.post(
        update(1),
        update(2, value=np.zeros(5, np.uint16)),
        update(3, np.zeros((4, 5, 3), np.uint8)),
        update(4),
    )
    events = collect(source, ended)
    assert numbers(events) == [0, 3]
    first, (frames, reason) = gaps(events)
    assert first == (range(1, 2), "malformed: 10 bytes of pixels instead of 1920")
    assert frames == range(2, 3)
    assert reason.startswith("malformed: images have 3 axes (3 x 5 x 4)")


@pytest.mark.parametrize(
    ("updates", "says"),
    [
        ([update(1, np.zeros((4, 5, 3), np.uint8))], f"^channel {NAME}: images have 3 axes"),
        ([update(1, codec__name="lzo")], f"^channel {NAME}: images are compressed with 'lzo'"),
        ([update(0, after_s=n) for n in range(3)], f"^channel {NAME} numbers its images all alike"),
        ([update(7, after_s=n) for n in range(3)], r"\(uniqueId is 7\).*write \?number=arrival"),
        (
            [update(7, picture(n), dataTimeStamp={}, timeStamp={}) for n in range(3)],
            r"\(uniqueId is 7\)",
        ),
    ],
)
def test_sender_that_is_set_wrong_is_told_at_once(serve, attach, updates, says):
    channel = serve(NTNDArray.buildType()())
    source = attach()
    channel.post(*updates)
    with pytest.raises(UserError, match=says) as caught:
        collect(source, ended)
    assert "\n" not in str(caught.value)


def test_socket_is_readable_only_when_there_is_something(serve, attach):
    channel = serve(update(0))
    source = attach()
    collect(source, lambda _: source.counters["ignored"] == 1)
    assert source.read(10) == []
    assert source.socket.poll(20) == 0
    for number in range(1, 20):
        channel.post(update(number))
        assert source.socket.poll(5000) == zmq.POLLIN
        limit = random.Random(number).randint(1, 3)
        while len(source.read(limit)) == limit:
            pass


def test_wake_up_by_another_thread():
    wake = Wake()
    ringer = threading.Thread(target=lambda: [wake.ring() for _ in range(5000)])
    ringer.start()
    assert wake.socket.poll(5000)
    ringer.join()
    wake.silence()
    assert not wake.socket.poll(0)
    wake.close()
    wake.ring()  # too late, and nothing happens


def test_channel_can_be_reached(serve):
    serve(update(0))
    check_reachable(URI, SourceConfig())
    with pytest.raises(UserError, match=r"no answer from channel other in 0\.2 s") as caught:
        check_reachable("pva://other", SourceConfig(connect_s=0.2))
    assert "EPICS_PVA_ADDR_LIST (127.0.0.1)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_channel_without_images(serve):
    serve(NTScalar("d").wrap(5.0))
    with pytest.raises(UserError, match=f"^channel {NAME} has no images") as caught:
        open_source(URI, SourceConfig())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "dtype", "warned"),
    [("", "|u1", ["taken as uint8"]), ("?type=int8", "|i1", []), ("?type=uint8", "|u1", [])],
)
def test_compressed_bytes_are_unsigned_unless_said(serve, attach, options, dtype, warned):
    channel = serve(NTNDArray.buildType()())
    source = attach(options)
    channel.post(*(update(n, picture(n, "int8"), "zlib", n) for n in range(1, 4)))
    series, *frames = collect(source, n_frames(3))
    assert {frame.dtype for frame in frames} == {dtype}
    assert [
        w in told for w, told in zip(warned, series.metadata.get("warnings", ()), strict=True)
    ] == [True] * len(warned)


def test_images_that_are_not_counted_are_taken_as_they_come(serve, attach):
    channel = serve(NTNDArray.buildType()())
    source = attach("?number=arrival")
    channel.post(*(update(7, picture(n), after_s=n) for n in range(5)))
    series, *frames = collect(source, n_frames(5))
    assert numbers(frames) == list(range(5))
    assert "a lost one is not noticed" in series.metadata["warnings"][0]
    with pytest.raises(UserError, match="unknown option number; known are type=int8, "):
        check_reachable(f"{URI}?number=3", SourceConfig())


@pytest.mark.parametrize("uri", ["pva://", "pva://a b", "pva://?number=arrival"])
def test_address_without_a_channel(uri):
    with pytest.raises(UserError, match="names no channel: write it such as pva://13SIM1"):
        open_source(uri, SourceConfig())


def test_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "p4p.client.raw", None)
    with pytest.raises(UserError, match=r"pip install 'braggstream\[pva\]'$"):
        check_reachable(URI, SourceConfig())
