from __future__ import annotations

import time

import numpy as np
import pytest
import zmq

from streamer.config import Config
from streamer.feed import read_message
from streamer.messages import (
    EPOCH,
    PEAK,
    POSITION,
    Acks,
    FramePeaks,
    Positions,
    Record,
    Records,
    pack,
    unpack,
)
from streamer.metrics import Metrics
from streamer.pubsub import FAR_END, Parcel, Publisher
from streamer.sink import Sink
from streamer.store import RunFolder

CONFIG = Config.model_validate({"sink": {"commit_s": 0.01}})


def a_frame(seq, frame, where, reason=""):
    """Make the parcel of a frame with peaks at given positions."""
    peaks, positions = np.zeros(len(where), PEAK), np.zeros(len(where), POSITION)
    positions["row"] = [row for row, _ in where]
    positions["col"] = [col for _, col in where]
    head = FramePeaks(seq, "1", frame, 1000 + frame, time.time_ns(), len(where), reason)
    parts = pack(Positions([head]), peaks.view(np.uint8).data, positions.view(np.uint8).data)
    return Parcel(keys=[seq], parts=parts)


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
        """Start a sink, or the successor of one."""
        self.sink = Sink(
            self.context,
            self.config,
            self.folder,
            self.metrics,
            addresses=[self.publisher.address],
            acks_address=self.acks_address,
        )
        if self.ear is not None:
            self.ear.close()
        self.ear = self.context.socket(zmq.SUB)
        self.ear.subscribe(b"")
        self.ear.connect(self.acks_address)
        self.upto, self.received, self.failed = 0, [], []

    def send(self, *items):
        """Send frames given by (seq, frame, positions) and records."""
        for item in items:
            if isinstance(item, Record):
                parcel = Parcel(keys=[item.seq], parts=pack(Records([item])))
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
                assert acks.upto <= (last.upto if last else 0) or not self.sink._rows
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


def test_peaks_are_linked_over_frames_in_order(rig):
    rig.send((1, 1, [(50.5, 50), (10.5, 10)]), (0, 0, [(10, 10), (50, 50)]))
    rig.run(2)
    assert rig.folder.read("peaks")["track"].to_pylist() == [0, 1, 1, 0]


def test_every_frame_that_brings_no_result_has_its_state_and_reason(rig):
    rig.send(
        (0, 0, []),
        Record(1, "1", "missing", 1, 2, 7, "not received"),
        Record(2, "1", "shed", 3, 1, 7, "newer frames came"),
        (3, 4, [], "cannot be decoded"),
        Record(4, "1", "failed", 5, 1, 7, "no result after 3 tries"),
        Record(5, "1", "end", 0, 0, 7, "end"),
    )
    rig.run(6)
    frames = rig.frames()
    assert frames["frame"] == [0, 1, 2, 3, 4, 5]
    assert frames["state"] == ["done", "missing", "missing", "shed", "failed", "failed"]
    assert frames["reason"][4] == "cannot be decoded"
    assert rig.failed == [(3, "cannot be decoded")]


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
    rig.send((EPOCH, 5, []), Record(EPOCH + 1, "1", "end", 0, 0, 7, "end"))
    rig.run(EPOCH + 2)
    frames = rig.frames()
    assert sorted(zip(frames["frame"], frames["state"], strict=True)) == [
        (0, "done"),
        (1, "missing"),
        (2, "done"),
        (3, "missing"),
        (4, "missing"),
        (5, "done"),
    ]


def test_a_message_that_does_not_fit_is_counted_and_dropped(rig):
    rig.publisher.send(FAR_END, Parcel(keys=[9], parts=[b"rubbish"]))
    rig.send((0, 0, []))
    rig.run(1)
    assert rig.sink.report()[1]["refused"] == 1


def test_stopping_commits_what_is_there(rig):
    rig.send((0, 0, [(1, 1)]))
    rig.sink.step()
    while not rig.sink._rows:
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


def test_a_gap_of_any_length_is_entered_in_pieces(rig):
    rig.send(Record(0, "1", "missing", 0, 5000, 7, "not received"), (1, 5000, []))
    rig.run(2)
    assert rig.frames()["frame"] == list(range(5001))
    assert len(rig.folder.parts("frames")) >= 4


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
    assert set(columns) == {
        "series", "frame", "time_ns", "peak_row", "peak_col", "score", "intensity", "row", "col",
        "row_sigma", "col_sigma", "flags", "track",
    }  # fmt: skip
    anyone.close()
