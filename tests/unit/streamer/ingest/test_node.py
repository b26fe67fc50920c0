from __future__ import annotations

import json
import re
import time

import pytest
import zmq

from streamer.config import Config
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.ingest.node import Ingest
from streamer.results.threshold_files import request_change
from streamer.results.thresholds import read_changes
from streamer.sources.base import Opening
from streamer.transport.messages import EPOCH, Acks, Frames, Thresholds, pack, unpack
from streamer.transport.metrics import Metrics
from streamer.transport.sockets import DETECTORS, FAR_END
from streamer.transport.subscriber import Subscriber
from tests.unit.streamer.ingest.frames import frames


class FakeSource:
    """Events from a list, all there at once."""

    socket = None
    n_frames = None
    uri = "fake"

    def __init__(self, events, live=False):
        self.events = list(events)
        self.live = live
        self.closed = False
        self.counters = {"stray": 2, "malformed": 0} if live else {}

    @property
    def exhausted(self):
        return not self.events

    def read(self, limit):
        got, self.events = self.events[:limit], self.events[limit:]
        return got

    def close(self):
        self.closed = True


def a_series(count, series="1"):
    return [Series(name=series), *frames(0, count, series), SeriesEnd(series=series)]


class Rig:
    """An ingest node with a worker and a sink behind it that are only sockets."""

    def __init__(self, context, address, tmp_path, source, config=None, **more):
        self.metrics = Metrics()
        frames_address, acks_address = address(), address()
        self.frames_address = frames_address
        self.acks = context.socket(zmq.PUB)
        self.acks.bind(acks_address)
        self.out = tmp_path
        self.ingest = Ingest(
            context,
            Config.model_validate(config or {}),
            source,
            self.metrics,
            frames_address=frames_address,
            acks_address=acks_address,
            out=tmp_path,
            **more,
        )
        self.worker = Subscriber(context, [frames_address], DETECTORS, "w")
        self.sink = Subscriber(context, [frames_address], FAR_END, "sink")
        self.first = more.get("incarnation", 0) * EPOCH if source.live else 0
        self.frames, self.records, self.series, self.bundles = [], [], [], []
        self.thresholds = []

    def turn_without_worker(self):
        """Let the node work while it has no worker."""
        self.turn(10, worker=False)

    def turn(self, n=10, worker=True):
        """Let the node work and take what it sent."""
        for _ in range(n):
            self.ingest.step()
            for subscriber in (self.worker, self.sink) if worker else (self.sink,):
                while subscriber.socket.poll(1) and (parts := subscriber.receive()):
                    header, _ = unpack(parts)
                    if isinstance(header, Frames):
                        self.bundles.append(len(header.frames))
                        self.frames += [(frame, bytes(frame.data)) for frame in header.frames]
                    elif isinstance(header, Thresholds):
                        self.thresholds.append(header.changes)
                    elif isinstance(header, Gap | SeriesEnd):
                        self.records.append(header)
                    elif isinstance(header, Series) and subscriber is self.worker:
                        self.series.append(header.name)

    def gaps(self, state):
        return [r for r in self.records if isinstance(r, Gap) and r.state == state]

    def acknowledge(self, upto, received=(), failed=()):
        self.acks.send_multipart(pack(Acks(upto, list(received), list(failed))))

    def settle(self, seconds=5.0):
        """Acknowledge all that was sent until the node has finished."""
        deadline = time.monotonic() + seconds
        while not self.ingest.finished:
            assert time.monotonic() < deadline
            self.turn(1)
            sent = {frame.seq for frame, _ in self.frames}
            for one in self.records:
                sent |= {*range(one.seq, one.seq + getattr(one, "numbers", 1))}
            upto = max(self.ingest._delivery._acks.upto, self.first)
            while upto in sent:
                upto += 1
            self.acknowledge(upto, sent)

    def close(self):
        self.ingest.close()
        self.worker.close()
        self.sink.close()
        self.acks.close()


@pytest.fixture
def make(context, address, tmp_path):
    made = []

    def make(source, config=None, **more):
        made.append(Rig(context, address, tmp_path, source, config, **more))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def test_frames_travel_as_they_came_and_in_bundles(make):
    rig = make(FakeSource(a_series(40)))
    rig.settle()
    assert [frame.frame for frame, _ in rig.frames] == list(range(40))
    assert [data for _, data in rig.frames] == [bytes([n] * 8) for n in range(40)]
    assert rig.series == ["1"]
    assert max(rig.bundles) == 16
    assert [type(record) for record in rig.records] == [SeriesEnd]


def test_a_finder_that_takes_seconds_is_sent_one_frame_at_a_time(make):
    rig = make(FakeSource(a_series(40)), slow=True)
    rig.settle()
    assert rig.bundles == [1] * 40


def test_numbers_are_consecutive_over_frames_gaps_and_ends(make):
    events = [
        Series(name="1"),
        *frames(0, 3),
        Gap(series="1", first=3, count=2, reason="file x is missing"),
        *frames(5, 6),
        SeriesEnd(series="1"),
    ]
    rig = make(FakeSource(events))
    rig.settle()
    seqs = [frame.seq for frame, _ in rig.frames] + [record.seq for record in rig.records]
    assert sorted(seqs) == list(range(6))
    gap = rig.records[0]
    assert (gap.state, gap.first, gap.count, gap.reason) == ("missing", 3, 2, "file x is missing")
    assert gap.time_ns == 0  # nobody knows when they were taken


def test_a_recording_waits_for_a_worker(context, address, tmp_path):
    source = FakeSource(a_series(5))
    ingest = Ingest(
        context,
        Config(),
        source,
        Metrics(),
        frames_address=address(),
        acks_address="inproc://no-sink-yet",
        out=tmp_path,
    )
    for _ in range(20):
        ingest.step()
    assert len(source.events) == 7
    assert ingest.report()[0] == "waiting for detector workers"
    ingest.close()


def test_a_series_goes_on_when_its_only_worker_is_replaced(make, context):
    config = {"transport": {"window_frames": 20}}
    rig = make(FakeSource(a_series(100)), config)
    rig.turn(5)
    rig.worker.close()
    for _ in range(200):
        rig.ingest.step()
        if rig.ingest.report()[1]["workers"] == 0:
            break
        rig.ingest.sockets[0].poll(10)
    rig.turn_without_worker()
    assert rig.records == []
    rig.series.clear()
    rig.worker = Subscriber(context, [rig.frames_address], DETECTORS, "successor")
    rig.settle()
    assert rig.series == ["1"]
    assert {frame.frame for frame, _ in rig.frames} == set(range(100))
    assert [(type(record), record.reason) for record in rig.records] == [(SeriesEnd, "end")]


def test_the_window_holds_a_recording_back(make):
    config = {"transport": {"window_frames": 20}}
    source = FakeSource(a_series(300))
    rig = make(source, config)
    rig.turn(30)
    received = len(rig.frames)
    assert 20 <= received < 20 + 64  # what one read brings may go beyond
    assert source.events
    rig.settle()
    assert len(rig.frames) == 300


def test_a_recording_is_not_read_ahead_of_what_workers_have_room_for(make):
    source = FakeSource(a_series(1500))
    rig = make(source)
    rig.turn(60)  # nothing is acknowledged; the window has room for all
    taken = 1501 - len(source.events)  # the series is no frame
    assert len(rig.frames) >= 512
    assert taken - len(rig.frames) <= 64, "no more waits than what one read brings"
    rig.settle(30.0)
    assert len(rig.frames) == 1500


def test_a_live_source_is_read_ahead_as_far_as_the_window_has_room(make):
    source = FakeSource(a_series(1500, "1"), live=True)
    rig = make(source, {"overload": "wait"})
    rig.turn(60)
    assert not source.events
    rig.settle(30.0)
    assert len(rig.frames) == 1500


def test_bytes_bound_the_window_too(make):
    source = FakeSource(
        [
            Series(name="1"),
            *[
                Frame(
                    series="1",
                    frame=n,
                    time_ns=0,
                    shape=(512, 512),
                    dtype="<u2",
                    encoding="raw",
                    data=bytes(512 * 512 * 2),
                )
                for n in range(130)
            ],
        ]
    )
    rig = make(source, {"transport": {"window_mib": 1}})
    rig.turn(20)
    assert len(rig.frames) < 130
    rig.settle()
    assert len(rig.frames) == 130


def test_newest_sheds_the_oldest_and_accounts_for_each(make):
    config = {"overload": "newest", "transport": {"window_frames": 8}}
    rig = make(FakeSource(a_series(200), live=True), config)
    rig.turn(5)  # nothing is acknowledged
    rig.settle()
    seen = {frame.frame for frame, _ in rig.frames}
    shed = [frame for gap in rig.gaps("shed") for frame in gap.frames]
    assert sorted([*seen, *shed]) == list(range(200))
    assert len(rig.gaps("shed")) < len(shed), "those in a row are told at once"
    assert 199 in seen  # the newest is never shed


def test_spool_loses_nothing_and_keeps_the_order(make):
    config = {"overload": "spool", "transport": {"window_frames": 8}}
    rig = make(FakeSource(a_series(200), live=True), config)
    rig.turn(5)
    assert (rig.out / "spool.bin").stat().st_size >= 0
    assert rig.ingest.report()[1]["backlog"] > 0
    rig.settle()
    assert [frame.frame for frame, _ in rig.frames] == list(range(200))
    assert [data[0] for _, data in rig.frames] == [n % 256 for n in range(200)]
    rig.ingest.close()
    assert not (rig.out / "spool.bin").exists()


def test_the_bytes_of_a_frame_that_failed_are_kept(make):
    rig = make(FakeSource(a_series(3)))
    rig.turn()
    rig.acknowledge(4, [0, 1, 2, 3], [(1, "cannot be decoded")])
    rig.settle()
    assert (rig.out / "failed" / "1_00000001.bin").read_bytes() == bytes([1] * 8)
    assert "cannot be decoded" in (rig.out / "failed" / "1_00000001.json").read_text()
    assert len(list((rig.out / "failed").iterdir())) == 2


def test_a_frame_that_cannot_be_set_aside_ends_nothing(make, caplog):
    rig = make(FakeSource(a_series(3)))
    (rig.out / "failed").write_text("in the way")
    rig.turn()
    rig.acknowledge(4, [0, 1, 2, 3], [(0, "bad"), (1, "bad")])
    rig.settle()
    assert caplog.text.count("cannot be kept") == 1


def test_a_frame_without_a_result_after_three_tries_is_recorded_as_failed(make):
    config = {"transport": {"ack_timeout_s": 0.05}}
    rig = make(FakeSource(a_series(1)), config)
    deadline = time.monotonic() + 10
    while not rig.gaps("failed"):
        assert time.monotonic() < deadline
        rig.turn(1)
    assert len(rig.frames) == 3
    (failed,) = rig.gaps("failed")
    assert (failed.seq, failed.first, failed.reason) == (0, 0, "no result after 3 tries")
    assert (rig.out / "failed" / "1_00000000.bin").exists()


def test_a_recording_read_again_skips_what_is_on_disk(make):
    rig = make(FakeSource(a_series(40)), incarnation=1)
    rig.turn()
    assert not rig.frames, "nothing is sent before the sink has said what it has"
    rig.ingest._delivery._acks.upto = 30
    rig.settle()
    assert [frame.frame for frame, _ in rig.frames] == list(range(30, 40))


def test_a_live_stream_taken_up_again_has_numbers_of_its_own(make):
    rig = make(FakeSource(a_series(2), live=True), incarnation=2)
    rig.settle()
    assert rig.records[0].seq == 2 * EPOCH  # so that the sink waits for nothing older
    assert [frame.seq for frame, _ in rig.frames] == [2 * EPOCH + 1, 2 * EPOCH + 2]


@pytest.mark.parametrize("live", [True, False])
def test_stopping_finishes_what_was_read_and_ends_the_series_of_a_detector(make, live):
    source = FakeSource(a_series(500), live=live)
    rig = make(source, {"transport": {"window_frames": 20}})
    rig.turn(3)
    rig.ingest.stop()
    rig.settle()
    assert source.events
    # The next frame of a recording has the number that an end would take.
    assert [record.reason for record in rig.records] == (["stopped"] if live else [])
    assert [frame.frame for frame, _ in rig.frames] == list(range(len(rig.frames)))


def test_a_new_series_ends_the_one_before(make):
    rig = make(FakeSource([Series(name="1"), *frames(0, 2), *a_series(2, "2")]))
    rig.settle()
    ends = [(record.series, record.reason) for record in rig.records]
    assert ends == [("1", "new series"), ("2", "end")]


def test_what_the_source_could_not_use_is_told(make):
    _, stats, info = make(FakeSource([], live=True)).ingest.report()
    assert stats["ignored"] == 2
    assert info["ignored"] == "2 stray"


class Resumable(FakeSource):
    """Goes on with the series that it is told of."""

    def __init__(self, events, *, ends=False):
        super().__init__(events, live=True)
        self.ends = ends
        self.resumed = None

    @property
    def exhausted(self):
        return self.ends and not self.events

    @property
    def opening(self):
        return Opening(series="1", messages=[[b"start"]])

    def resume(self, names, opening):
        self.resumed = (names, opening)
        if opening is not None:
            self.events.insert(0, Series(name=opening.series, n_frames=9))


def test_a_node_that_dies_leaves_its_open_series_to_the_next(make, tmp_path):
    first = make(Resumable([Series(name="1", n_frames=9), *frames(0, 2)]))
    first.turn()
    first.ingest.close()  # and not in order
    source = Resumable([*frames(5, 9), SeriesEnd(series="1", reason="end")], ends=True)
    second = make(source, incarnation=1)
    assert source.resumed == (["1"], Opening(series="1", messages=[[b"start"]]))
    second.settle()
    assert second.series == ["1"]
    assert [frame.frame for frame, _ in second.frames] == [0, 1, 5, 6, 7, 8]
    assert second.records[-1].taken == (0, 8), "the first may not have been on disk"
    book = json.loads(second.ingest.report()[2]["series/1"])
    assert (book["announced"], book["end"]) == (9, "end")
    second.ingest.close()
    assert not (tmp_path / "ingest_state.msgpack").exists()


def test_a_series_that_was_over_is_not_gone_on_with(make):
    first = make(Resumable([Series(name="1"), *frames(0, 2), SeriesEnd(series="1")]))
    first.turn()
    source = Resumable([])
    make(source, incarnation=1)
    assert source.resumed == (["1"], None)


def test_of_a_series_that_was_over_a_successor_says_which_frames_there_were(make):
    first = make(Resumable([Series(name="1"), *frames(3, 7), SeriesEnd(series="1")]))
    first.turn()
    second = make(Resumable([], ends=True), incarnation=1)
    second.settle()
    assert [(end.series, end.taken) for end in second.records] == [("", None), ("1", (3, 6))]


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_node_without_a_will_begins_anew(make, tmp_path, content):
    if content is not None:
        (tmp_path / "ingest_state.msgpack").write_bytes(content)
    source = Resumable([])
    make(source, incarnation=1)
    assert source.resumed is None


def test_a_will_that_cannot_be_written_stops_nothing(make, tmp_path, caplog):
    (tmp_path / ".ingest_state.msgpack.partial").mkdir()
    rig = make(Resumable([Series(name="1"), *frames(0, 3), SeriesEnd(series="1")], ends=True))
    rig.settle()
    assert len(rig.frames) == 3
    assert "a successor could not go on with the open series" in caplog.text


def test_frames_that_a_silent_detector_announced_are_named(make, monkeypatch):
    source = Resumable([Series(name="1", n_frames=9, frame_time_s=0.1), *frames(0, 3)])
    rig = make(source)
    rig.turn(3)
    assert rig.ingest.report()[2]["late"] == ""
    monkeypatch.setattr(rig.ingest, "_heard", time.monotonic() - 6.0)
    rig.turn(1)
    assert rig.ingest.report()[2]["late"] == "6 announced and not come (1: 3 to 8)"
    source.events += frames(3, 4)
    rig.turn(1)
    assert rig.ingest.report()[2]["late"] == ""


def test_a_source_that_is_held_back_is_not_late(make, monkeypatch):
    source = Resumable([Series(name="1", n_frames=9), *frames(0, 9)])
    rig = make(source, {"overload": "wait", "transport": {"window_frames": 2}})
    rig.turn(3)
    monkeypatch.setattr(rig.ingest, "_heard", time.monotonic() - 6.0)
    rig.turn(1)
    assert rig.ingest.report()[2]["late"] == ""


def test_frames_that_wait_in_the_spool_outlive_their_node(make, tmp_path):
    config = {"overload": "spool", "transport": {"window_frames": 8}}
    first = make(Resumable([Series(name="1", n_frames=300), *frames(0, 200)]), config)
    first.turn(5)
    sent = {frame.seq: frame.frame for frame, _ in first.frames}
    first.acknowledge(4, list(sent))
    first.turn(5)
    first.ingest.close()  # and not in order
    assert (tmp_path / "spool.bin").stat().st_size
    source = Resumable([*frames(200, 300), SeriesEnd(series="1", reason="end")], ends=True)
    second = make(source, config, incarnation=1)
    second.settle()
    got = [frame.frame for frame, _ in second.frames]
    assert got == sorted(got), "what waited comes before what is new"
    assert set(got) | set(sent.values()) == set(range(300))
    assert set(got) >= set(range(len(sent), 300))
    seqs = [one.seq for one in (*(frame for frame, _ in second.frames), *second.records)]
    assert sorted(seqs) == list(range(EPOCH, EPOCH + len(seqs)))
    assert second.series == ["1"]
    assert [(end.series, end.taken) for end in second.records] == [("", None), ("1", (0, 299))]
    second.ingest.close()
    assert not (tmp_path / "spool.bin").exists()


def test_the_series_of_frames_that_waited_are_ended_if_the_source_is_at_another(make):
    config = {"overload": "spool", "transport": {"window_frames": 1}}
    events = [*a_series(80, "a"), *a_series(9, "b")]
    first = make(FakeSource(events, live=True), config)
    first.turn(5)
    first.ingest.close()  # and not in order
    second = make(FakeSource(a_series(2, "c"), live=True), config, incarnation=1)
    second.settle()
    ends = [record.series for record in second.records if isinstance(record, SeriesEnd)]
    assert ends == ["", "a", "b", "c"]
    came = {(frame.series, frame.frame) for rig in (first, second) for frame, _ in rig.frames}
    assert came == {
        (name, n) for name, count in zip("abc", (80, 9, 2), strict=True) for n in range(count)
    }
    assert second.series == ["a", "b", "c"]


def test_a_recording_read_again_at_a_pace_is_not_waited_for_where_it_is_on_disk(make):
    hurried = []
    source = FakeSource(a_series(40))
    source.hurry = hurried.append
    rig = make(source, incarnation=1)
    rig.turn()
    rig.ingest._delivery._acks.upto = 30
    rig.settle()
    assert hurried[0] == 30


def test_a_recording_is_not_asked_before_worker_and_sink_are_there(context, address, tmp_path):
    source, frames_address = FakeSource(a_series(3)), address()
    ingest = Ingest(
        context,
        Config(),
        source,
        Metrics(),
        frames_address=frames_address,
        acks_address=address(),
        out=tmp_path,
    )

    def there(pool):
        subscriber = Subscriber(context, [frames_address], pool, "x")
        ingest.sockets[0].poll(2000)
        ingest.step()
        return subscriber

    members = []
    for pool in (DETECTORS, FAR_END):
        assert len(source.events) == 5
        assert ingest.step() == 0.05  # nobody looks about all the time meanwhile
        members.append(there(pool))
    assert len(source.events) < 5
    for one in (*members, ingest):
        one.close()


def test_frames_of_a_detector_that_waits_for_nobody_are_counted(context, address, tmp_path):
    source = FakeSource(a_series(3)[:-1], live=True)
    ingest = Ingest(
        context,
        Config(),
        source,
        Metrics(),
        frames_address=address(),
        acks_address=address(),
        out=tmp_path,
    )
    assert ingest.report()[2]["gone"] == ""
    source.gone_s = 3.0
    gone = ingest.report()[2]["gone"]
    assert re.fullmatch(r"detector gone since \d\d:\d\d:\d\d UTC, trying again", gone)
    ingest.step()
    assert source.exhausted
    assert ingest.report()[2]["gone"] == ""  # for nothing more was to come
    assert ingest.report()[1]["early"] == 3.0
    ingest.close()


class Open(FakeSource):
    """A stream that may always give more."""

    exhausted = False

    def __init__(self, events):
        super().__init__(events, live=True)


def changes_of(rig):
    return [(one.first_seq, one.minval, one.minscore) for one in rig.thresholds[-1]]


def until(rig, condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        rig.turn(1)


def test_thresholds_that_are_asked_for_hold_from_the_next_frame_on(make, tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.ingest.thresholds._LOOK_S", 0.0)
    source = Open(a_series(40)[:11])
    rig = make(source)
    until(rig, lambda: len(rig.frames) == 10)
    asked = request_change(tmp_path, 40, "auto")
    until(rig, lambda: rig.thresholds)
    assert changes_of(rig) == [(10, 40, "auto")]
    (change,) = read_changes(tmp_path)
    assert (change.id, change.series, change.frame) == (asked.id, "", -1)
    source.events += a_series(40)[11:]
    until(rig, lambda: len(rig.frames) == 40)
    (change,) = read_changes(tmp_path)
    assert (change.series, change.frame, change.first_seq) == ("1", 10, 10)
    # The same request is not taken twice, by this node or the next.
    later = make(Open(a_series(3, "2")), incarnation=1)
    until(later, lambda: later.thresholds)
    later.turn(30)
    assert changes_of(later) == [(10, 40, "auto")]
    assert len(read_changes(tmp_path)) == 1


def test_a_worker_that_joins_later_is_told_the_thresholds(make, context, tmp_path):
    rig = make(Open(a_series(3)[:4]))
    until(rig, lambda: len(rig.frames) == 3)
    request_change(tmp_path, 1, 2)
    until(rig, lambda: rig.thresholds)
    rig.worker.close()
    rig.worker = Subscriber(context, [rig.frames_address], DETECTORS, "w2")
    rig.thresholds.clear()
    until(rig, lambda: rig.thresholds)
    assert changes_of(rig) == [(3, 1, 2)]


def test_in_a_recording_read_again_thresholds_hold_behind_what_others_have_found(
    make, tmp_path, monkeypatch
):
    monkeypatch.setattr("streamer.ingest.thresholds._LOOK_S", 0.0)
    config = {"transport": {"window_frames": 5}}
    rig = make(FakeSource(a_series(40)), config, incarnation=1)
    rig.acknowledge(20)
    until(rig, lambda: rig.ingest._delivery.upto == 20)
    request_change(tmp_path, 1, 2)
    rig.settle()
    assert [one.first_seq for one in read_changes(tmp_path)] == [25]
    assert [one.frame for one in read_changes(tmp_path)] == [25]


def test_a_change_that_cannot_be_written_down_is_told_to_nobody_until_it_can(
    make, tmp_path, monkeypatch
):
    rig = make(Open(a_series(3)[:4]))
    until(rig, lambda: len(rig.frames) == 3)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("streamer.ingest.thresholds._LOOK_S", 0.0)
    with monkeypatch.context() as full:
        full.setattr("streamer.ingest.thresholds.write_changes", fail)
        request_change(tmp_path, 1, 2)
        rig.turn(20)
        assert not rig.thresholds
    until(rig, lambda: rig.thresholds)
    assert changes_of(rig) == [(3, 1, 2)]


def test_a_request_that_is_none_changes_nothing(make, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("streamer.ingest.thresholds._LOOK_S", 0.0)
    (tmp_path / "thresholds.request.json").write_text('{"minval": "low"}')
    rig = make(FakeSource(a_series(3), live=True))
    until(rig, lambda: len(rig.frames) == 3)
    assert not rig.thresholds
    assert "cannot be read" in caplog.text
