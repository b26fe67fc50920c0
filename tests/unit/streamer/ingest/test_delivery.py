from __future__ import annotations

import time

import pytest
import zmq
from msgspec.structs import replace

from streamer.config import Config
from streamer.frames.events import Gap, Series, SeriesEnd
from streamer.ingest.delivery import Delivery
from streamer.ingest.failed import FailedFrames
from streamer.transport.messages import Acks, Frames, pack, unpack
from streamer.transport.sockets import DETECTORS, FAR_END
from streamer.transport.subscriber import Subscriber
from tests.unit.streamer.ingest.frames import frames


class Rig:
    """A delivery, and subscribers and an acknowledging socket that are only sockets."""

    def __init__(self, context, address, folder, slow=False, **config):
        self.context, self.folder = context, folder
        self.frames_address, acks_address = address(), address()
        self.acks = context.socket(zmq.PUB)
        self.acks.bind(acks_address)
        self.delivery = Delivery(
            context,
            Config.model_validate(config),
            FailedFrames(folder / "failed"),
            frames_address=self.frames_address,
            acks_address=acks_address,
            window_bytes=1 << 30,
            slow=slow,
        )
        self.subscribers = []
        self.seen = {}

    def join(self, pool, name):
        self.subscribers.append(Subscriber(self.context, [self.frames_address], pool, name))
        self.seen[name] = []
        while not self.delivery._publisher.members(pool):
            self.delivery.sockets[0].poll(10)
            self.delivery.update()
        return self.seen[name]

    def until(self, done, seconds=10.0):
        """Let the delivery work until something is so."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline
            self.delivery.update()
            for subscriber, seen in zip(self.subscribers, self.seen.values(), strict=True):
                while subscriber.socket.poll(1) and (parts := subscriber.receive()):
                    seen.append(unpack(parts)[0])

    def acknowledge(self, upto, failed=()):
        """Acknowledge all below `upto` until it was heard: PUB drops what nobody listens to yet."""

        def is_heard():
            self.acks.send_multipart(pack(Acks(upto, list(range(upto)), list(failed))))
            return self.delivery._acks.upto >= upto

        self.until(is_heard)

    def close(self):
        self.delivery.close()
        self.acks.close()
        for subscriber in self.subscribers:
            subscriber.close()


@pytest.fixture
def make(context, address, tmp_path):
    made = []

    def make(**config):
        made.append(Rig(context, address, tmp_path, **config))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def bundles(seen):
    return [[frame.frame for frame in one.frames] for one in seen if isinstance(one, Frames)]


@pytest.mark.parametrize(
    ("slow", "sizes"),
    [
        (False, [4, 4, 2]),
        (True, [1] * 10),
    ],
)
def test_frames_go_in_bundles_as_they_are(make, slow, sizes, monkeypatch):
    monkeypatch.setattr("streamer.ingest.delivery._BUNDLE_FRAMES", 4)
    rig = make(slow=slow)
    seen = rig.join(DETECTORS, "w")
    rig.delivery.send(frames(0, 10))
    rig.until(lambda: sum(map(len, bundles(seen))) == 10)
    assert [len(bundle) for bundle in bundles(seen)] == sizes
    assert [frame for one in seen for frame in one.frames] == frames(0, 10)
    assert rig.delivery.window.n_frames == 10
    assert rig.delivery.loads == {"w": 10}


def test_large_frames_are_not_bundled_beyond_a_size(make):
    rig = make()
    seen = rig.join(DETECTORS, "w")
    rig.delivery.send(frames(0, 3, data=bytes(5 << 20)))
    rig.until(lambda: len(seen) == 3)


def test_a_worker_has_no_more_bytes_before_it_than_it_needs(make, monkeypatch):
    monkeypatch.setattr("streamer.ingest.delivery._PREFETCH_BYTES", 10 << 20)
    rig = make()
    seen = rig.join(DETECTORS, "w")
    rig.delivery.send(frames(0, 8, data=bytes(4 << 20)))
    rig.until(lambda: sum(map(len, bundles(seen))) == 4)  # two of 8 MiB, the second begun below
    assert rig.delivery.loads == {"w": 4}
    rig.acknowledge(4)
    rig.until(lambda: sum(map(len, bundles(seen))) == 8)


def test_what_is_on_disk_leaves_the_window_and_is_not_sent_again(make):
    rig = make()
    seen = rig.join(DETECTORS, "w")
    rig.delivery.send(frames(0, 4))
    rig.acknowledge(3)
    assert (rig.delivery.window.n_frames, rig.delivery.window.n_bytes) == (1, 8)
    rig.delivery.send(frames(2, 6))
    rig.until(lambda: sum(map(len, bundles(seen))) == 7)
    assert bundles(seen) == [[0, 1, 2, 3], [3, 4, 5]]


def test_gaps_and_ends_go_to_the_sink_alone(make):
    rig = make()
    worker, sink = rig.join(DETECTORS, "w"), rig.join(FAR_END, "sink")
    gap = Gap(series="1", first=3, count=2, reason="not received", time_ns=5, seq=0)
    end = SeriesEnd(series="1", reason="abort", counters={"late": 1}, seq=1)
    rig.delivery.tell(gap)
    rig.delivery.tell(end)
    rig.until(lambda: len(sink) == 2)
    assert sink == [gap, end]
    assert worker == []
    assert rig.delivery.window.n_frames == 2


def test_who_joins_late_hears_of_a_series_until_its_end_is_on_disk(make):
    rig = make()
    series = Series(name="1", n_frames=5, first_seq=0)
    rig.delivery.announce(series)
    early = rig.join(FAR_END, "sink")
    rig.until(lambda: early == [series])
    rig.delivery.tell(SeriesEnd(series="1", seq=0))
    rig.acknowledge(1)
    late = rig.join(DETECTORS, "late")
    rig.delivery.send([replace(frame, seq=frame.seq + 1) for frame in frames(0, 1)])
    rig.until(lambda: late)
    assert [type(one) for one in late] == [Frames]


def test_a_frame_that_failed_is_set_aside_and_no_other(make):
    rig = make()
    rig.join(DETECTORS, "w")
    rig.delivery.send(frames(0, 3))
    rig.acknowledge(3, [(1, "cannot be decoded")])
    kept = sorted(path.name for path in (rig.folder / "failed").iterdir())
    assert kept == ["1_00000001.bin", "1_00000001.json"]
    assert (rig.folder / "failed" / "1_00000001.bin").read_bytes() == bytes([1] * 8)


def test_a_frame_that_brings_nothing_however_often_is_told_to_the_sink(make):
    rig = make(transport={"ack_timeout_s": 0.05})
    worker, sink = rig.join(DETECTORS, "w"), rig.join(FAR_END, "sink")
    rig.delivery.send(frames(0, 1))
    rig.until(lambda: sink)
    (frame,) = frames(0, 1)
    assert sink[0] == frame.as_gap("failed", "no result after 3 tries")
    assert bundles(worker) == [[0], [0], [0]]
    assert rig.delivery.redelivered == 2
    assert (rig.folder / "failed" / "1_00000000.bin").exists()
