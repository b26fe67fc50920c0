from __future__ import annotations

import errno
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zmq

from streamer.config import Config
from streamer.errors import UserError
from streamer.frames.events import Gap, Series, SeriesEnd
from streamer.frames.peaks import PEAK, POSITION
from streamer.results.folder import RunFolder
from streamer.results.merging import merge_next
from streamer.results.schema import PEAKS, TRACKS
from streamer.sink.feed import read_message
from streamer.sink.node import Sink
from streamer.transport.messages import (
    EPOCH,
    Acks,
    FramePeaks,
    Positions,
    pack,
    unpack,
)
from streamer.transport.metrics import Metrics
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import FAR_END

CONFIG = Config()


@pytest.fixture(autouse=True)
def _commits_are_quick(monkeypatch):
    monkeypatch.setattr("streamer.sink.node.COMMIT_S", 0.01)
    monkeypatch.setattr("streamer.sink.node.PATIENCE_S", 0.1)


def a_frame(seq, frame, where, reason="", evidence=np.nan):
    """Make the parcel of a frame with peaks at given positions; the first may be in doubt."""
    peaks, positions = np.zeros(len(where), PEAK), np.zeros(len(where), POSITION)
    positions["single"] = np.nan
    positions["row"] = [row for row, _ in where]
    positions["col"] = [col for _, col in where]
    positions["row_sigma"] = positions["col_sigma"] = 0.05
    if np.isfinite(evidence):
        positions["single"][0] = (
            positions["row"][0] + 0.5,
            positions["col"][0],
            0.05,
            0.05,
            evidence,
        )
    head = FramePeaks(seq, "1", frame, 1000 + frame, time.time_ns(), len(where), reason)
    parts = pack(Positions([head]), peaks.view(np.uint8).data, positions.view(np.uint8).data)
    return Parcel(keys=[seq], parts=parts)


def a_gap(seq, state, first, count, reason):
    return Gap(series="1", first=first, count=count, reason=reason, state=state, time_ns=7, seq=seq)


class Rig:
    """A sink with a publisher before it and an ear for its acknowledgements."""

    def __init__(self, context, address, folder, config=CONFIG):
        self.context = context
        self.publisher = Publisher(context, address())
        self.metrics = Metrics()
        self.folder = folder
        self.config = config
        self.acks_address = address()
        self.ear = None
        self.start()

    def start(self):
        """Start a sink, or the successor of one, whose address its last thread may still hold."""
        if self.ear is not None:
            self.ear.close()
        deadline = time.monotonic() + 5.0
        while True:
            try:
                self.sink = Sink(
                    self.context,
                    self.config,
                    self.folder,
                    self.metrics,
                    addresses=[self.publisher.address],
                    acks_address=self.acks_address,
                )
                break
            except UserError:
                assert time.monotonic() < deadline
        self.ear = self.context.socket(zmq.SUB)
        self.ear.subscribe(b"")
        self.ear.connect(self.acks_address)
        self.upto, self.received, self.failed = 0, [], []

    def send(self, *items):
        """Send frames given by (seq, frame, positions) and records."""
        for item in items:
            if isinstance(item, Gap | SeriesEnd):
                parcel = Parcel(keys=[item.seq], parts=pack(item))
            else:
                parcel = a_frame(*item)
            self.publisher.send(FAR_END, parcel)

    def run(self, upto, seconds=5.0):
        """Let the sink work until it has acknowledged so much."""
        deadline = time.monotonic() + seconds
        while self.upto < upto:
            assert time.monotonic() < deadline, f"only {self.upto} of {upto} were acknowledged"
            self.publisher.pump()
            self.sink.step()
            self.ear.poll(5)
            while self.ear.poll(0):
                acks, _ = unpack(self.ear.recv_multipart())
                assert isinstance(acks, Acks)
                self.upto = acks.upto
                self.received += acks.received
                self.failed += acks.failed
                # An acknowledgement follows what is on disk, never precedes it.
                last = self.folder.last_part()
                assert acks.upto <= (last.upto if last else 0) or not len(self.sink._committer)
        self.publisher.committed(self.upto)

    def frames(self):
        return self.folder.read("frames").to_pydict()


@pytest.fixture
def rig(context, address, tmp_path):
    made = Rig(context, address, RunFolder.create(tmp_path / "run"))
    yield made
    made.sink.close()
    made.ear.close()
    made.publisher.close()


def test_a_successor_does_not_wait_for_what_brought_no_row(rig):
    rig.send((0, 0, []))
    rig.run(1)
    rig.send(SeriesEnd(series="1", reason="end", seq=1))
    rig.run(2)
    rig.sink.close()
    rig.start()
    rig.send((2, 1, []))
    rig.run(3)
    assert rig.frames()["frame"] == [0, 1]


def test_results_are_committed_in_order_however_they_come(rig):
    rig.send((2, 2, [(5, 5)]), (0, 0, [(1, 1)]), (1, 1, [(3, 3)]))
    rig.run(3)
    assert rig.frames()["frame"] == [0, 1, 2]
    assert rig.folder.read("peaks")["row"].to_pylist() == [1, 3, 5]
    assert sorted(rig.received) == [0, 1, 2]


def test_what_waits_for_an_earlier_frame_is_not_acknowledged(rig):
    rig.send((0, 0, []), (2, 2, []))
    rig.run(1)
    for _ in range(20):
        rig.sink.step()
    assert rig.frames()["frame"] == [0]
    assert rig.sink.report()[0] == "1 results wait for an earlier one"
    rig.send((1, 1, []))
    rig.run(3)
    assert rig.frames()["frame"] == [0, 1, 2]


def test_who_listens_late_is_told_what_waits(rig):
    rig.send((0, 0, []), (2, 2, []))
    rig.run(1)
    late = rig.context.socket(zmq.SUB)
    late.subscribe(b"")
    late.connect(rig.acks_address)
    deadline, received = time.monotonic() + 5.0, []
    while received != [2]:
        assert time.monotonic() < deadline
        rig.sink.step()
        if late.poll(10):
            received += unpack(late.recv_multipart())[0].received
    late.close()


def test_duplicates_are_dropped_and_counted(rig):
    rig.send((0, 0, [(1, 1)]))
    rig.run(1)
    parts = a_frame(0, 0, [(1, 1)]).parts  # as if from a worker that did not know
    for name in ("again", "and again"):
        rig.publisher.announce(FAR_END, name, parts)
    rig.send((1, 1, []))
    rig.run(2)
    assert rig.frames()["frame"] == [0, 1]
    assert rig.folder.read("peaks").num_rows == 1
    assert rig.sink.report()[1]["duplicate"] == 2
    assert rig.metrics.value("braggstream_frames_total", state="duplicate") == 2
    assert rig.metrics.value("braggstream_frames_total", state="done") == 2


def test_peaks_are_linked_over_frames_in_order(rig):
    rig.send((1, 1, [(50.5, 50), (10.5, 10)]), (0, 0, [(10, 10), (50, 50)]))
    rig.run(2)
    assert rig.folder.read("peaks")["track"].to_pylist() == [0, 1, 1, 0]


def test_every_frame_that_brings_no_result_has_its_state_and_reason(rig):
    rig.send(
        (0, 0, []),
        a_gap(1, "missing", 1, 2, "not received"),
        a_gap(2, "shed", 3, 1, "newer frames came"),
        (3, 4, [], "cannot be decoded"),
        a_gap(4, "failed", 5, 1, "no result after 3 tries"),
        SeriesEnd(series="1", seq=5),
    )
    rig.run(6)
    frames = rig.frames()
    assert frames["frame"] == [0, 1, 3, 4, 5]
    assert frames["count"] == [1, 2, 1, 1, 1]
    assert frames["state"] == ["done", "missing", "shed", "failed", "failed"]
    assert frames["reason"][3] == "cannot be decoded"
    assert set(rig.failed) == {(3, "cannot be decoded")}  # again for whoever connects meanwhile


def test_a_sink_started_again_goes_on_where_the_first_left_off(rig):
    rig.send((0, 0, [(10, 10)]), (1, 1, [(10, 11)]))
    rig.run(2)
    rig.sink.close()  # as if it had died: nothing was said to the publisher
    rig.send((1, 1, [(10, 11)]), (2, 2, [(10, 12), (40, 40)]))
    rig.start()
    rig.run(3)
    assert rig.frames()["frame"] == [0, 1, 2]
    assert rig.folder.read("peaks")["track"].to_pylist() == [0, 0, 0, 1]
    assert len(rig.folder.parts("frames")) == 2


def test_a_part_that_was_not_committed_is_written_anew(rig):
    rig.send((0, 0, [(10, 10)]))
    rig.run(1)
    orphan = rig.folder.path / "peaks" / "part-00000001.parquet"
    orphan.write_bytes(b"half of it")
    rig.sink.close()
    rig.start()
    rig.send((1, 1, [(10, 10)]))
    rig.run(2)
    assert rig.folder.read("peaks")["frame"].to_pylist() == [0, 1]


def test_frames_lost_with_an_ingest_node_are_named(rig):
    rig.send((0, 0, []), (2, 2, []))
    rig.run(1)
    rig.send((EPOCH, 5, []), SeriesEnd(series="1", seq=EPOCH + 1))
    rig.run(EPOCH + 2)
    assert rows_of(rig) == [
        (0, 1, "done"),
        (1, 1, "missing"),
        (2, 1, "done"),
        (3, 2, "missing"),
        (5, 1, "done"),
    ]


def test_what_was_computed_for_an_ingest_node_that_died_is_used_however_late(rig):
    rig.send((0, 0, [(1, 1)]), (EPOCH, 5, [(1, 1)]))
    rig.run(EPOCH + 1)
    rig.publisher._upto = 0  # as of a worker that has not heard of it
    rig.send((3, 3, [(1, 1), (9, 9)]), (0, 0, [(1, 1)]))
    rig.send(SeriesEnd(series="1", seq=EPOCH + 1))
    rig.run(EPOCH + 2)
    assert sorted(rows_of(rig)) == [
        (0, 1, "done"),
        (1, 2, "missing"),
        (3, 1, "done"),
        (4, 1, "missing"),
        (5, 1, "done"),
    ]
    peaks = rig.folder.read("peaks").to_pydict()
    tracks = dict(zip(zip(peaks["frame"], peaks["row"], strict=True), peaks["track"], strict=True))
    assert tracks == {(0, 1): 0, (5, 1): 0, (3, 1): -1, (3, 9): -1}


def test_frames_that_come_from_the_spool_of_an_ingest_node_that_died_are_not_missing(rig):
    where = [(1.0, 2.0)]
    rig.send((0, 0, where), (2, 2, where), SeriesEnd(series="1", seq=3))
    rig.run(1)
    rig.send(SeriesEnd(series="", seq=EPOCH), (EPOCH + 1, 1, where), (EPOCH + 2, 2, where))
    rig.send((EPOCH + 3, 3, where), SeriesEnd(series="1", seq=EPOCH + 4))
    rig.run(EPOCH + 5)
    assert rows_of(rig) == [(0, 1, "done"), (1, 1, "done"), (2, 1, "done"), (3, 1, "done")]
    peaks = rig.folder.read("peaks")
    assert dict(zip(peaks["frame"].to_pylist(), peaks["track"].to_pylist(), strict=True)) == {
        0: 0, 2: 0, 1: 0, 3: 0,
    }  # fmt: skip


def test_what_comes_again_is_taken_in_its_turn_and_the_rest_is_not_lost(rig):
    spots = [(frame, 10.0 + frame) for frame in range(5)]
    # Of five frames the first, the last two and one out of turn were computed for the dead node.
    rig.send(*((seq, seq, [(20.0, where)]) for seq, where in spots if seq in (0, 2, 3, 4)))
    first = SeriesEnd(series="", seq=EPOCH, again=True)
    rig.send(first, *((EPOCH + n, n, [(20.0, spots[n][1])]) for n in (1, 2, 3)))
    rig.send(SeriesEnd(series="1", seq=EPOCH + 4, taken=(0, 4)))
    rig.run(EPOCH + 5)
    assert rows_of(rig) == [(frame, 1, "done") for frame in range(5)]
    tracks = rig.folder.read("peaks").to_pydict()
    linked = dict(zip(tracks["frame"], tracks["track"], strict=True))
    assert linked == {0: 0, 1: 0, 2: 0, 3: 0, 4: -1}


def test_frames_that_were_not_chosen_are_not_missing(context, address, tmp_path):
    config = Config.model_validate({"source": {"frames": "4::10"}, "tracks": {"memory_frames": 1}})
    rig = Rig(context, address, RunFolder.create(tmp_path / "run"), config)
    rig.send(*((n, 4 + 10 * n, [(1.0, 2.0 + n)]) for n in (0, 1, 3)))
    rig.send(SeriesEnd(series="1", seq=2), SeriesEnd(series="1", seq=4))
    rig.run(5)
    frames = rig.frames()
    assert dict(zip(frames["frame"], frames["state"], strict=True)) == {
        4: "done",
        14: "done",
        34: "done",
        24: "missing",
    }
    tracks = rig.folder.read("peaks").to_pydict()["track"]
    assert tracks == [0, 0, 0], "one frame between two is no more than the memory"
    rig.sink.close()
    rig.ear.close()
    rig.publisher.close()


def test_a_message_that_does_not_fit_is_counted_and_dropped(rig):
    rig.publisher.send(FAR_END, Parcel(keys=[9], parts=[b"rubbish"]))
    rig.send((0, 0, []))
    rig.run(1)
    assert rig.sink.report()[1]["refused"] == 1


def test_stopping_commits_what_is_there(rig):
    rig.send((0, 0, [(1, 1)]))
    rig.sink.step()
    while not len(rig.sink._committer):
        rig.publisher.pump()
        rig.sink.step()
        assert not rig.folder.parts("frames") or rig.frames()["frame"] == [0]
        if rig.folder.parts("frames"):
            break
    rig.sink.stop()
    while not rig.sink.finished:
        rig.sink.step()
    assert rig.frames()["frame"] == [0]


def test_stopping_keeps_what_waits_for_a_frame_that_will_not_come(rig):
    rig.send((0, 0, []), (1, 1, []), (3, 3, []))
    rig.run(2)
    rig.sink.stop()
    while not rig.sink.finished:
        rig.sink.step()
    frames = rig.frames()
    assert dict(zip(frames["frame"], frames["state"], strict=True)) == {
        0: "done",
        1: "done",
        2: "missing",
        3: "done",
    }


LONG = 2_000_000_000


def rows_of(rig):
    frames = rig.frames()
    return sorted(zip(*(frames[name] for name in ("frame", "count", "state")), strict=True))


def test_a_gap_of_any_length_is_one_row(rig):
    rig.send((0, 0, []), a_gap(1, "missing", 1, LONG, "not received"), (2, 1 + LONG, []))
    rig.run(3)
    assert rows_of(rig) == [(0, 1, "done"), (1, LONG, "missing"), (1 + LONG, 1, "done")]
    assert len(rig.folder.parts("frames")) <= 3
    assert rig.sink.report()[1]["missing"] == LONG
    assert rig.metrics.value("braggstream_frames_total", state="missing") == LONG


def test_of_a_gap_what_is_known_is_left_out(rig):
    rig.send((0, 3, []), a_gap(1, "shed", 6, 2, "newer"), a_gap(2, "missing", 0, LONG, "lost"))
    rig.run(3)
    assert rows_of(rig) == [
        (0, 3, "missing"),
        (3, 1, "done"),
        (4, 2, "missing"),
        (6, 2, "shed"),
        (8, LONG - 8, "missing"),
    ]
    assert rig.sink.report()[1]["duplicate"] == 3


def test_frames_that_nothing_is_known_of_at_the_end_are_one_row_and_a_successor_knows_them(rig):
    rig.send((0, 0, []), (1, LONG, []), SeriesEnd(series="1", seq=2))
    rig.run(3)
    expected = [(0, 1, "done"), (1, LONG - 1, "missing"), (LONG, 1, "done")]
    assert rows_of(rig) == expected
    rig.sink.close()
    rig.start()
    rig.send(a_gap(3, "missing", 0, LONG + 1, "again"), (4, LONG + 1, []))
    rig.run(5)
    assert rows_of(rig) == [*expected, (LONG + 1, 1, "done")]
    stats = rig.sink.report()[1]
    assert (stats["missing"], stats["done"]) == (LONG - 1, 3)


def test_anyones_sub_socket_can_read_the_feed(rig):
    anyone = rig.context.socket(zmq.SUB)
    anyone.subscribe(b"peaks")
    anyone.connect(rig.sink.feed.address)
    rig.sink.feed.socket.poll(100)
    seq = 0
    while not anyone.poll(50):  # until the subscription has arrived
        rig.send((seq, seq, [(1.25, 2.5)]))
        seq += 1
        rig.run(seq)
        assert seq < 100
    topic, series, columns = read_message(anyone.recv_multipart())
    assert topic == "peaks"
    assert series == ["1"]
    assert columns["row"].tolist() == [1.25] * len(columns["row"])
    assert set(columns) == set(PEAKS.names)
    anyone.close()


def test_who_asks_hears_of_peaks_before_they_are_on_disk_or_in_order(rig):
    early = rig.context.socket(zmq.SUB)
    early.subscribe(b"provisional")
    early.connect(rig.sink.feed.address)
    rig.sink.feed.socket.poll(2000)
    rig.run(0)
    rig.send((0, 0, [(1.25, 2.5)]))
    rig.run(1)
    assert early.poll(2000)
    topic, series, columns = read_message(early.recv_multipart())
    assert (topic, series) == ("provisional", ["1"])
    assert [columns[name].tolist() for name in ("frame", "row", "track")] == [[0], [1.25], [0]]
    assert 0.0 <= columns["latency_ms"][0] < 60_000
    assert set(columns) - {"latency_ms"} < set(PEAKS.names)
    rig.send((2, 2, [(1.25, 2.5), (9.0, 9.0)]))  # the one before has not come
    deadline = time.monotonic() + 5
    while not early.poll(5):
        assert time.monotonic() < deadline
        rig.publisher.pump()
        rig.sink.step()
    columns = read_message(early.recv_multipart())[2]
    assert columns["frame"].tolist() == [2, 2]
    assert columns["track"].tolist() == [-1, -1]
    rig.send((1, 1, []))
    rig.run(3)
    assert not early.poll(50)  # nothing is said again, and of no peaks nothing
    early.close()


def test_who_asks_hears_of_peaks_while_others_are_written(rig, monkeypatch):
    early = rig.context.socket(zmq.SUB)
    early.subscribe(b"provisional")
    early.connect(rig.sink.feed.address)
    rig.sink.feed.socket.poll(2000)
    write, told = rig.folder.write_part, []

    def write_slowly(*part, **says):
        if not told:  # in a thread of its own, while the sink's own is at its step
            assert early.poll(2000)
            early.recv_multipart()
            rig.send((1, 1, [(9.0, 9.0)]))
            told.append(early.poll(2000) and read_message(early.recv_multipart())[2])
        write(*part, **says)

    monkeypatch.setattr(type(rig.folder), "write_part", lambda _, *a, **k: write_slowly(*a, **k))
    rig.send((0, 0, [(1.25, 2.5)]))
    rig.run(2)
    assert told[0]["frame"].tolist() == [1]
    assert rig.folder.read("peaks")["frame"].to_pylist() == [0, 1]
    early.close()


def test_nothing_is_prepared_for_nobody(rig, monkeypatch):
    said = []
    monkeypatch.setattr(rig.sink.feed, "publish", lambda topic, *_: said.append(topic))
    rig.send((0, 0, [(1.25, 2.5)]))
    rig.run(1)
    assert said == ["peaks", "frames"]


HEADER = {
    "beam_center_x": 10.0,
    "beam_center_y": 20.0,
    "detector_distance": 0.1,
    "pixel_size_x": 1e-4,
    "pixel_size_y": 1e-4,
    "incident_wavelength": 0.5,
}


def a_header(rig, name="1", metadata=HEADER, mask=None):
    """Announce a series."""
    series = Series(name=name, pixel_mask=mask, metadata=metadata)
    rig.publisher.announce(FAR_END, name, pack(series))


def wait_for_header(rig):
    """Let the sink work until it has read the header."""
    deadline = time.monotonic() + 5
    while rig.folder.read_geometry() is None:
        assert time.monotonic() < deadline
        rig.publisher.pump()
        rig.sink.step()


def finish(rig):
    rig.sink.stop()
    while not rig.sink.finished:
        rig.sink.step()


def test_peaks_have_angles_and_spacings_where_the_series_says_its_geometry(rig):
    a_header(rig)
    wait_for_header(rig)
    rig.send(*((n, n, [(20.0, 110.0 + 0.1 * n)]) for n in range(30)))
    rig.run(30)
    finish(rig)
    geometry = rig.folder.read_geometry()
    assert geometry.beam == pytest.approx((20, 10))
    peaks = rig.folder.read("peaks")
    assert peaks.schema.equals(PEAKS)
    where = ("row", "col", "row_sigma", "col_sigma")
    found = geometry.locate(*(peaks[name].to_numpy() for name in where))
    for name in ("two_theta", "chi", "q", "d", "d_sigma"):
        np.testing.assert_allclose(peaks[name], getattr(found, name), rtol=1e-12)
    assert "; from header of the series (" in rig.folder.geometry_in_words()
    (track,) = rig.folder.read_tracks().to_pylist()
    assert track["drift"] == pytest.approx(2.0)  # outwards: away from the beam
    assert track["strain"] == pytest.approx(track["d"] / track["ref_d"] - 1)
    assert -0.02 < track["strain"] < -0.015
    assert rig.sink.report()[1]["tracks"] == 1


def test_without_a_geometry_there_are_no_angles(rig):
    a_header(rig, metadata={})
    rig.send(*((n, n, [(20.0, 110.0)]) for n in range(3)))
    rig.run(3)
    finish(rig)
    assert rig.folder.read_geometry() is None
    assert rig.folder.geometry_in_words() == "none: the header has no beam centre"
    assert np.isnan(rig.folder.read("peaks")["d"].to_numpy()).all()
    assert np.isnan(rig.folder.read_tracks()["strain"].to_numpy()).all()


def test_what_a_user_says_of_the_geometry_goes_before_the_header(context, address, tmp_path):
    keys = {"distance_m": 0.3, "beam_row": 1.0, "beam_col": 2.0, "pixel_m": 1e-4}
    config = Config.model_validate({"geometry": keys})
    rig = Rig(context, address, RunFolder.create(tmp_path / "run"), config)
    assert rig.folder.read_geometry().beam == pytest.approx((1, 2))
    a_header(rig)
    rig.send((0, 0, [(5.0, 5.0)]))
    rig.run(1)
    assert rig.folder.read_geometry().beam == pytest.approx((1, 2))
    rig.sink.close()
    rig.ear.close()
    rig.publisher.close()


def test_a_run_keeps_the_geometry_that_it_began_with(context, address, tmp_path):
    poni = tmp_path / "a.poni"
    poni.write_text(
        "Distance: 0.1\nPoni1: 0.03\nPoni2: 0.04\nRot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1e-10\n"
        'Detector: Detector\nDetector_config: {"pixel1": 1e-4, "pixel2": 1e-4}\nponi_version: 2\n'
    )
    config = Config.model_validate({"geometry": {"poni": poni}})
    folder = RunFolder.create(tmp_path / "run")
    Sink(context, config, folder, Metrics(), addresses=[], acks_address=address()).close()
    began = folder.read_geometry()
    for change in (lambda: poni.write_text("Distance: 0.9\n"), poni.unlink):
        change()
        Sink(context, config, folder, Metrics(), addresses=[], acks_address=address()).close()
        assert folder.read_geometry() == began


def test_half_a_geometry_is_a_users_mistake(context, address, tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    config = Config.model_validate({"geometry": {"distance_m": 0.3}})
    with pytest.raises(UserError, match=r"give geometry\.beam_row"):
        Sink(context, config, folder, Metrics(), addresses=[], acks_address=address())


def restless_frames(n=60):
    """Frames with spots that drift, fade, come back, split, merge, and noise."""
    rng = np.random.default_rng(4)
    frames = []
    for k in range(n):
        spots = [(20 + 0.05 * k, 20.0), (60.0, 60 - 0.08 * k), (100.0, 100.0)]
        if k % 17 < 4:
            del spots[1]
        if 15 < k < 45:
            spots.append((100.0 + 0.2 * (k - 5), 100.0))
        if k % 5 == 0:
            spots.append(tuple(rng.uniform(150, 200, 2)))
        places = [tuple(np.add(at, rng.normal(0, 0.05, 2))) for at in spots]
        frames.append((k, k, places, "", rng.noncentral_chisquare(3, 14.0)))
    return frames


@pytest.mark.parametrize("die_at", [1, 16, 20, 41, 58])
@pytest.mark.parametrize("merges", [False, True])
@pytest.mark.parametrize("kept", ["no checkpoint", "checkpoint", "damaged checkpoint"])
def test_a_sink_started_again_gives_the_same_tracks(
    context, address, tmp_path, monkeypatch, caplog, die_at, merges, kept
):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 2)
    monkeypatch.setattr("streamer.sink.checkpoint.EVERY", 10**9 if kept == "no checkpoint" else 2)
    monkeypatch.setattr("streamer.sink.checkpoint._SHARE", 1e9)
    caplog.set_level("INFO")
    results = []
    for name in ("whole", "cut"):
        rig = Rig(context, address, RunFolder.create(tmp_path / name))
        frames = restless_frames()
        a_header(rig)
        wait_for_header(rig)
        for start in range(0, die_at, 10):
            rig.send(*frames[start : min(start + 10, die_at)])
            rig.run(min(start + 10, die_at))
        if name == "cut":
            rig.sink.close()
            n_parts = rig.folder.last_part().index + 1  # some may have been merged already
            while merges and merge_next(rig.folder.path):
                pass
            assert len(rig.folder.parts("frames")) < n_parts or not merges or die_at == 1
            checkpoint = rig.folder.path / "checkpoint.msgpack"
            if kept == "damaged checkpoint" and checkpoint.exists():
                checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
            rig.start()
            if die_at > 20:
                assert ("of which 0 are known" in caplog.text) == (kept != "checkpoint")
                assert ("is damaged" in caplog.text) == (kept == "damaged checkpoint")
        rig.send(*frames[die_at:])
        rig.run(len(frames))
        finish(rig)
        peaks = rig.folder.read("peaks").select(["track", "row", "row_sigma", "flags"])
        results.append((peaks.to_pydict(), rig.folder.read_tracks()))
        rig.sink.close()
        rig.ear.close()
        rig.publisher.close()
    (whole, table), (cut, again) = results
    assert cut == whole
    for name in TRACKS.names:
        if TRACKS.field(name).type == "double":
            np.testing.assert_allclose(
                again[name].to_numpy(), table[name].to_numpy(), rtol=1e-9, err_msg=name
            )
        else:
            assert again[name].to_pylist() == table[name].to_pylist(), name
    assert max(table["parent"].to_pylist()) >= 0
    assert max(table["merged_into"].to_pylist()) >= 0


def test_tracks_are_written_while_the_run_goes_on(rig):
    rig.send(*((n, n, [(20.0, 30.0)]) for n in range(5)))
    rig.run(5)
    rig.sink.step()
    path = rig.folder.path / "tracks.parquet"
    deadline = time.monotonic() + 10
    while not path.exists() or pq.read_table(path).num_rows == 0:
        assert time.monotonic() < deadline
        rig.sink.step()
    assert rig.folder.read_tracks()["n_frames"].to_pylist() == [5]


def test_nothing_is_lost_or_acknowledged_while_the_disk_is_full(rig, monkeypatch):
    monkeypatch.setattr("streamer.sink.commit._PAUSE_S", 0.02)
    full = [True]

    def write_table(*words, **more):
        if full:
            raise OSError(errno.ENOSPC, "Error writing bytes to file")
        write(*words, **more)

    write = pq.write_table
    monkeypatch.setattr("streamer.results.folder.pq.write_table", write_table)
    rig.send(*[(n, n, [(5, 5)]) for n in range(3)])
    while rig.sink.report()[1]["disk_errors"] < 3:
        rig.publisher.pump()
        rig.sink.step()
    doing, stats, info = rig.sink.report()
    assert doing == "waiting for the disk to take results: No space left on device"
    assert info["disk"] == doing
    assert stats["done"] == 0
    rig.sink.stop()
    for _ in range(5):
        rig.sink.step()
        assert not rig.sink.finished
    assert (rig.upto, rig.frames()["frame"]) == (0, [])
    full.clear()
    rig.run(3)
    assert rig.frames()["frame"] == [0, 1, 2]
    assert rig.sink.finished
    assert rig.sink.report()[0] == "putting results on disk"


def test_no_part_is_written_before_the_state_of_the_one_before_is_copied(rig, monkeypatch):
    is_copied = False
    monkeypatch.setattr(rig.sink._checkpoint, "may_change", lambda timeout_s: is_copied)
    rig.send(*((n, n, [(20.0, 30.0)]) for n in range(5)))
    deadline = time.monotonic() + 10
    while time.monotonic() < rig.sink._committer.due:
        assert time.monotonic() < deadline
        rig.publisher.pump()
        rig.sink.step()
    rig.sink.step()
    assert len(rig.sink._committer)
    assert rig.folder.last_part() is None
    is_copied = True
    rig.run(5)


def test_tracks_and_geometry_wait_for_a_disk_that_is_full(rig, monkeypatch):
    monkeypatch.setattr("streamer.tracks.linking._WRITE_S", 0.0)
    full = [errno.EROFS]

    def rename(path, target):
        if full and target.name in ("tracks.parquet", "geometry.json"):
            raise OSError(full[0], "")
        return move(path, target)

    move = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    a_header(rig)
    while not rig.sink.report()[1]["disk_errors"]:
        rig.publisher.pump()
        rig.sink.step()
    rig.send(*[(n, n, [(50, 50)]) for n in range(3)])
    rig.run(3)
    rig.sink.stop()
    assert not rig.sink.finished
    assert not list(rig.folder.path.glob(".*"))
    full.clear()
    finish(rig)
    assert rig.folder.read_geometry().beam == pytest.approx((20, 10))
    assert rig.folder.read_tracks().num_rows == 1


def test_a_track_beyond_its_limit_is_told_in_words_and_in_the_metrics(context, address, tmp_path):
    limits = Config.model_validate({"alarms": {"drift": {"high": 0.5, "hihi": 5}}})
    rig = Rig(context, address, RunFolder.create(tmp_path / "run"), limits)
    severity = "braggstream_track_alarm_severity"
    rig.send(*((n, n, [(5 + 0.1 * n, 5), (40, 40)]) for n in range(20)))
    rig.run(20)
    rig.sink.stop()
    info = rig.sink.report()[2]
    assert info["alarms"].startswith("track 0: drift ")
    assert info["alarms"].endswith("is above high 0.5")
    assert rig.metrics.value(severity, track="0", quantity="drift") == 1
    rig.sink.close()
    rig.ear.close()
    rig.publisher.close()
