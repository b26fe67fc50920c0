from __future__ import annotations

import errno
import math
import os
import time

import numpy as np
import pytest

from streamer.config import Config
from streamer.errors import RunError
from streamer.frames.peaks import PEAK, POSITION
from streamer.results.folder import RunFolder
from streamer.sink.commit import Committer
from streamer.sink.tables import Result, Row, read_results
from streamer.tracks.linking import Tracking
from streamer.transport.messages import FramePeaks, Positions


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run")


@pytest.fixture
def tracking(folder):
    return Tracking(Config(), folder)


@pytest.fixture
def committer(folder, tracking, clock):
    return Committer(folder, tracking, first=0, upto=0, commit_s=2.0, most_rows=3, clock=clock)


def a_row(series="1", frame=0, state="missing", received_ns=0):
    return Row(series, frame, 1000 + frame, state, "a reason", received_ns)


def test_rows_are_due_when_the_first_has_waited_long_enough(committer, clock):
    assert committer.due == math.inf
    committer.add(a_row(frame=0))
    clock.now += 1.0
    committer.add(a_row(frame=1))
    assert committer.due == 102.0
    committer.write(upto=2)
    assert committer.due == math.inf
    committer.add(a_row(frame=2))
    assert committer.due == 103.0


def test_rows_are_due_at_once_when_there_are_enough_or_nothing_more_will_come(committer):
    committer.hurry()
    assert committer.due == math.inf, "there is nothing to hurry"
    for frame in range(3):
        assert not committer.full
        committer.add(a_row(frame=frame))
    assert committer.full
    assert committer.due == -math.inf
    committer.write(upto=3)
    committer.add(a_row(frame=3))
    committer.hurry()
    assert committer.due == -math.inf


def test_parts_are_numbered_and_say_what_a_successor_goes_on_from(folder, tracking, clock):
    committer = Committer(folder, tracking, first=4, upto=9, commit_s=2.0, most_rows=3, clock=clock)
    for frame, upto in ((0, 7), (1, 9)):
        committer.add(a_row(frame=frame))
        committer.write(upto)
    assert [path.stem for path in folder.parts("frames")] == ["part-00000004", "part-00000005"]
    last = folder.last_part()
    assert (last.index, last.upto) == (5, 9)
    assert folder.read("frames")["frame"].to_pylist() == [0, 1]
    assert not len(committer)


def test_a_part_holds_its_rows_and_peaks_with_their_series(folder, tracking, committer):
    peaks, positions = np.zeros(3, PEAK), np.zeros(3, POSITION)
    positions["row"] = [1.0, 2.0, 3.0]
    positions["single"]["evidence"] = np.nan
    heads = [FramePeaks(0, "a", 0, 0, 0, 2), FramePeaks(1, "b", 5, 0, 0, 1, "bad")]
    buffers = [memoryview(one.tobytes()) for one in (peaks, positions)]
    for place, result in enumerate(read_results(Positions(heads), buffers)):
        row = Row.of(result)
        row.linked = tracking.link(place, result.peaks, result.positions)
        committer.add(row)
    part = committer.write(upto=2)
    assert part.series == ["a", "b"]
    assert part.frames["state"].tolist() == [b"done", b"failed"]
    assert part.peaks["row"].tolist() == [1.0, 2.0, 3.0]
    assert part.peaks["frame"].tolist() == [0, 0, 5]
    assert folder.read("frames")["reason"].to_pylist() == ["", "bad"]
    assert folder.read("peaks")["series"].to_pylist() == ["a", "a", "b"]


def test_latency_and_span_are_those_of_frames_that_arrived(committer):
    committer.add(a_row(frame=0))
    committer.write(upto=1)
    assert (committer.latency_ms, committer.span_s) == (0.0, 0.0)
    now = time.time_ns()
    for frame, ago_s in ((1, 30), (2, 10), (3, 20)):
        committer.add(a_row(frame=frame, received_ns=now - ago_s * 1_000_000_000))
    committer.write(upto=4)
    assert committer.latency_ms == pytest.approx(20_000, rel=0.2)
    assert committer.span_s == pytest.approx(30, rel=0.2)
    committer.add(a_row(frame=4, received_ns=now))
    committer.write(upto=5)
    assert committer.span_s >= 30


def test_a_part_that_another_sink_wrote_is_left_alone(folder, tracking, committer, clock):
    other = Committer(folder, tracking, first=0, upto=0, commit_s=2.0, most_rows=3, clock=clock)
    other.add(a_row(frame=8))
    other.write(upto=9)
    committer.add(a_row(frame=0))
    with pytest.raises(RunError, match="another sink"):
        committer.write(upto=1)
    assert folder.read("frames")["frame"].to_pylist() == [8]


@pytest.fixture
def full(monkeypatch):
    """Has the disk fail as often as there are errors in the list."""
    errors = []

    def fsync(number):
        if errors:
            error = errors.pop(0)
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr("streamer.results.parts.os.fsync", fsync)
    return errors


def test_a_full_disk_takes_no_row_and_is_tried_again_after_a_pause(
    folder, committer, clock, full, caplog
):
    for frame in range(3):
        committer.add(a_row(frame=frame))
    full += [errno.ENOSPC, errno.ENOSPC]
    for tries in (1, 2):
        assert committer.write(upto=3) is None
        assert (len(committer), committer.upto) == (3, 0)
        assert committer.held
        assert committer.due > clock.now
        assert not list(folder.path.glob("*/.*")), "room is taken by what is no part"
        assert (committer.disk_errors, committer.trouble) == (tries, "No space left on device")
        clock.now = committer.due
    assert not committer.held
    committer.add(a_row(frame=3))
    assert len(committer.write(upto=4).rows) == 4
    assert (committer.trouble, committer.due) == ("", math.inf)
    assert folder.read("frames")["frame"].to_pylist() == [0, 1, 2, 3]
    assert len([record for record in caplog.records if "No space left" in record.message]) == 1


def test_a_disk_that_will_not_do_better_is_no_disk_to_wait_for(committer, full):
    committer.add(a_row())
    full.append(errno.EACCES)
    with pytest.raises(PermissionError):
        committer.write(upto=1)


def test_few_frames_with_many_peaks_make_a_part(folder, tracking, clock, monkeypatch):
    monkeypatch.setattr("streamer.sink.commit._MOST_PEAKS", 5)
    committer = Committer(
        folder, tracking, first=0, upto=0, commit_s=2.0, most_rows=99, clock=clock
    )
    for frame in range(2):
        head = FramePeaks(frame, "1", frame, 1, 1, 3)
        result = Result(head, np.zeros(3, PEAK), np.zeros(3, POSITION))
        row = Row.of(result)
        row.linked = tracking.link(frame, result.peaks, result.positions)
        assert not committer.full
        committer.add(row)
    assert committer.full
    committer.write(upto=2)
    assert not committer.full
