"""Trains from the servers and simulators of karabo-bridge, of two of its versions."""

import time
from pathlib import Path

import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap, Series
from streamer.sources import open_source

SENDERS = Path(__file__).parent / "senders"
SOURCE = "SPB_DET_AGIPD1M-1/DET/0CH0:xtdf"
SHAPE = ROWS, COLS = 96, 64
PULSES = 8
DISTINCT = 7
"""Trains of pictures; a prime, so that no train that is swapped for another looks right."""
FIRST = 10_000_000_000
SECONDS = 1_700_000_000
SERVERS = {"req": "REP", "sub": "PUB", "pull": "PUSH"}


def spot(train, pulse):
    """Return where the one peak of an image stands."""
    return 12 + 10 * (train % DISTINCT), 10 + 6 * pulse


def picture(train, pulse):
    row, col = spot(train, pulse)
    y, x = np.mgrid[:ROWS, :COLS]
    peak = 500 * np.exp(-((y - row) ** 2 + (x - col) ** 2) / 4.5)
    rng = np.random.default_rng((train % DISTINCT, pulse))
    return rng.poisson(0.5 + peak).astype(np.uint16)


@pytest.fixture(scope="module")
def pictures():
    """Pixels of the trains, by the train's number modulo their number."""
    by_train = ([picture(train, pulse) for pulse in range(PULSES)] for train in range(DISTINCT))
    return np.stack([np.stack(images) for images in by_train])


@pytest.fixture(scope="module")
def file(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("trains") / "trains.npy"
    np.save(path, pictures)
    return str(path)


@pytest.fixture
def serve(sender_python, start, free_port):
    """Starts a server, on the port of the one before if that is wanted."""

    def run(*words, port=None, ready="^ready$"):
        port = port or free_port()
        script = str(SENDERS / "karabo_server.py")
        args = [sender_python("karabo"), script, str(port), *map(str, words)]
        return start(args, ready), port

    return run


@pytest.fixture
def listen():
    """Opens sources and closes them."""
    opened = []

    def run(port, options="", **config):
        uri = f"karabo://127.0.0.1:{port}{options}"
        opened.append(open_source(uri, SourceConfig(**config)))
        return opened[-1]

    yield run
    for source in opened:
        source.close()


def read(source, n_frames, seconds=15.0):
    """Return events until so many frames have come."""
    events = []
    deadline = time.monotonic() + seconds
    while sum(isinstance(event, Frame) for event in events) < n_frames:
        events += source.read(100)
        assert time.monotonic() < deadline, f"only {len(events)} events came: {source.counters}"
        if source.socket is not None:
            source.socket.poll(100)
    return events


def check_pixels(events, pictures):
    """Compare every frame with what was sent; return the numbers of the trains, counted from 0."""
    series, frames = events[0], [event for event in events if isinstance(event, Frame)]
    first = series.metadata["first_train"]
    for frame in frames:
        train, pulse = divmod(frame.frame, PULSES)
        assert frame.time_ns == (SECONDS * 10 + first - FIRST + train) * 10**8 + pulse * 222
        image = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        np.testing.assert_array_equal(image, pictures[(first + train) % DISTINCT, pulse])
    assert len({frame.frame for frame in frames}) == len(frames)
    return [frame.frame // PULSES for frame in frames[::PULSES]]


def counts(source):
    return {name: n for name, n in source.counters.items() if n}


@pytest.mark.parametrize("online", [[], ["--online"]])
@pytest.mark.parametrize("protocol", ["1.0", "2.2"])
@pytest.mark.parametrize("kind", ["req", "pull"])
def test_all_trains_arrive_as_sent(serve, listen, file, pictures, kind, protocol, online):
    _, port = serve("--file", file, "--socket", SERVERS[kind], "--protocol", protocol, *online)
    source = listen(port, f"?socket={kind}")
    events = read(source, 30 * PULSES)
    series = events[0]
    assert isinstance(series, Series)
    assert series.metadata == {
        "protocol": f"Karabo bridge {protocol}",
        "source": SOURCE,
        "path": "image.data",
        "first_train": FIRST,
        "images_per_train": PULSES,
        "photon.energy": 9.3,
    }
    assert check_pixels(events, pictures)[:30] == list(range(30))
    assert counts(source) == {}


@pytest.mark.parametrize("protocol", ["1.0", "2.2"])
def test_published_trains_from_the_first_that_came(serve, listen, file, pictures, protocol):
    words = ["--file", file, "--socket", "PUB", "--protocol", protocol, "--every", 0.005]
    _, port = serve(*words)
    source = listen(port, "?socket=sub")
    events = read(source, 50 * PULSES)
    trains = check_pixels(events, pictures)
    lost = {frame // PULSES for e in events if isinstance(e, Gap) for frame in e.frames}
    assert lost.isdisjoint(trains)
    # What this publisher drops, of which it keeps but one, is known from the numbers.
    assert set(range(trains[-1] - 64 // PULSES)) <= lost | set(trains)
    assert counts(source) == {}


@pytest.mark.parametrize("kind", SERVERS)
def test_server_that_was_killed_is_attached_again(serve, listen, file, pictures, kind):
    words = ["--file", file, "--socket", SERVERS[kind], "--every", 0.005]
    server, port = serve(*words)
    source = listen(port, f"?socket={kind}")
    events = read(source, 5 * PULSES)
    server.kill()
    while not counts(source):
        events += source.read(100)
        time.sleep(0.01)
    came = check_pixels(events, pictures)
    first = events[0].metadata["first_train"]
    # The trains went on while there was no server, and the new one knows their numbers.
    restarted = FIRST + 2000
    serve(*words, "--first", restarted, port=port)
    began = time.monotonic()
    events += read(source, PULSES)
    took_s = time.monotonic() - began
    events += read(source, 20 * PULSES)
    resumed = next(
        e for e in events if isinstance(e, Frame) and e.frame >= (restarted - first) * PULSES
    )
    (gap,) = (e for e in events if isinstance(e, Gap) and resumed.frame - 1 in e.frames)
    assert gap.frames == range((came[-1] + 1) * PULSES, resumed.frame)
    assert took_s < 2
    assert counts(source) == {"disconnects": 1}


@pytest.mark.parametrize("layout", [[], ["--online"]])
def test_simulated_module(serve, listen, layout):
    _, port = serve(*layout, ready="started on")
    source = listen(port)
    series, *frames = read(source, 2 * 64)
    frames = frames[: 2 * 64]  # a third train may be there already
    assert series.name == f"train_{FIRST}"
    assert series.metadata["images_per_train"] == 64
    assert [frame.frame for frame in frames] == list(range(128))
    for frame in frames:
        image = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        assert image.shape == (512, 128)
        assert 1500 <= image.min() < image.max() < 1600


@pytest.mark.parametrize("protocol", ["1.0", "2.0", "2.1", "2.2"])
def test_early_server(sender_python, start, free_port, listen, protocol):
    port = free_port()
    script = str(SENDERS / "karabo_old_server.py")
    start([sender_python("karabo-old"), script, str(port), protocol, "msgpack"], "^ready$")
    source = listen(port)
    series, *frames = read(source, 64)
    assert series.metadata["protocol"] == f"Karabo bridge {protocol}"
    assert series.name == f"train_{FIRST}"
    assert frames[0].shape == (512, 128)
    assert abs(frames[0].time_ns - time.time_ns()) < 60e9
    assert counts(source) == {}


@pytest.mark.parametrize("protocol", ["1.0", "2.2"])
def test_server_that_pickles_is_refused(sender_python, start, free_port, listen, protocol):
    port = free_port()
    script = str(SENDERS / "karabo_old_server.py")
    start([sender_python("karabo-old"), script, str(port), protocol, "pickle"], "^ready$")
    source = listen(port)
    with pytest.raises(UserError, match="set its serialisation to msgpack"):
        read(source, 1)


def test_run_on_a_bridge_accounts_for_every_image(serve, attach, file):
    trains, lost = 12, {3, 7, 8}
    _, port = serve("--file", file, "--trains", trains, "--skip", *lost)
    run = attach(f"karabo://127.0.0.1:{port}?path=image.data", "source.idle_s=1")
    run.wait(status=1)  # as trains are missing
    states = run.states(f"train_{FIRST}")
    assert {frame for frame, (state, _) in states.items() if state == "missing"} == {
        train * PULSES + pulse for train in lost for pulse in range(PULSES)
    }
    taken = {frame for frame, (state, _) in states.items() if state == "done"}
    assert len(states) == trains * PULSES
    assert len(taken) == (trains - len(lost)) * PULSES
    peaks = {peak["frame"]: peak for peak in run.table("peaks")}
    assert peaks.keys() == taken
    for frame, peak in peaks.items():
        row, col = spot((FIRST + frame // PULSES), frame % PULSES)
        assert abs(peak["row"] - row) < 0.2
        assert abs(peak["col"] - col) < 0.2
