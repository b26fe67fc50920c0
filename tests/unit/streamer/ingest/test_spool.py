"""What the spool of a node that died leaves to the next."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.config import Config
from streamer.frames.events import Frame, Series
from streamer.ingest.backlog import make_backlog
from streamer.ingest.spool import Spool
from tests.unit.streamer.ingest.frames import frames

MASKED = Series(name="a", pixel_mask=np.eye(3, dtype=np.bool_))
PLAIN = Series(name="b", metadata={"x": 1})


MADE: list[Spool] = []
"""Those of a test; they are closed after it, for none that dies closes its file."""


@pytest.fixture
def path(tmp_path):
    yield tmp_path / "spool.bin"
    while MADE:
        MADE.pop().close()


def filled(path):
    """Return a spool with ten frames of two series in it."""
    MADE.append(spool := Spool(path))
    for series, some in ((MASKED, frames(0, 4, "a")), (PLAIN, frames(4, 10, "b"))):
        spool.begin(series)
        for frame in some:
            spool.push(frame)
    return spool


def taken_over(path):
    """Return what a successor finds: names of series, and numbers of frames under new `seq`."""
    MADE.append(spool := Spool(path))
    numbers = iter(range(1000, 2000))
    order, series = [], []
    for one in spool.take_over(lambda: order.append(next(numbers)) or order[-1]):
        order.append(one.name)
        series.append(one)
    found = [spool.pop() for _ in range(len(spool))]
    return spool, series, order, found


def test_all_frames_come_first_under_new_numbers_each_after_its_series(path):
    filled(path)  # and is not closed
    _, series, order, found = taken_over(path)
    assert order == ["a", *range(1000, 1004), "b", *range(1004, 1010)]
    assert [(frame.series, frame.frame) for frame in found] == [
        ("a" if number < 4 else "b", number) for number in range(10)
    ]
    assert [frame.seq for frame in found] == list(range(1000, 1010))
    assert [bytes(frame.data) for frame in found] == [bytes([n] * 8) for n in range(10)]
    np.testing.assert_array_equal(series[0].pixel_mask, MASKED.pixel_mask)
    assert series[1] == PLAIN


@pytest.mark.parametrize(
    ("given", "upto", "left", "names"),
    [
        (0, 0, range(10), ["a", "b"]),
        (6, 0, range(10), ["a", "b"]),
        (6, 2, range(2, 10), ["a", "b"]),
        (6, 5, range(5, 10), ["b"]),
        (9, 9, range(9, 10), ["b"]),
    ],
)
def test_what_is_on_disk_is_not_taken_over_and_what_was_only_sent_is(
    path, given, upto, left, names
):
    spool = filled(path)
    for _ in range(given):
        spool.pop()
    spool.settle(upto)
    spool.close()
    _, series, _, found = taken_over(path)
    assert [frame.frame for frame in found] == list(left)
    assert [one.name for one in series] == names


def test_a_successor_leaves_what_it_did_not_finish_and_its_own_to_the_next(path):
    filled(path)
    MADE.append(spool := Spool(path))
    for _ in spool.take_over(iter(range(100)).__next__):
        pass
    for _ in range(5):
        spool.pop()
    spool.settle(4)
    for frame in frames(10, 12, "b"):
        spool.push(frame)
    _, series, _, found = taken_over(path)
    assert [frame.frame for frame in found] == list(range(4, 12))
    assert [one.name for one in series] == ["b"]


def test_when_all_is_on_disk_nothing_is_left(path):
    spool = filled(path)
    while spool:
        spool.pop()
    spool.settle(10)
    assert path.stat().st_size == 0
    spool.push(*frames(10, 11, "b"))
    assert taken_over(path)[2] == ["b", 1000], "the series is told again"
    spool.pop()
    spool.settle(11)
    spool.close()
    assert not path.exists()
    assert taken_over(path)[2:] == ([], [])


def test_a_tail_that_is_cut_anywhere_costs_its_frame_alone_and_is_told(path, caplog):
    filled(path).close()
    whole = path.read_bytes()
    last = (len(whole) - len(b"".join(whole.split(b"rec1")[-1:]))) - 4
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        caplog.clear()
        spool, _, _, found = taken_over(path)
        assert [frame.frame for frame in found] == list(range(9))
        told = f"the last {size - last} bytes" in caplog.text
        assert told == (size > last)
        spool.push(*frames(9, 10, "b"))
        assert len(taken_over(path)[3]) == 10


@pytest.mark.parametrize("at", [0, 30, 60, -100, -12])
def test_bytes_that_were_changed_are_not_taken_for_another_frame(path, at):
    filled(path).close()
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    found = taken_over(path)[3]
    assert [frame.frame for frame in found] == list(range(len(found)))


@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(1000)])
def test_what_is_no_spool_is_written_over(path, content):
    path.write_bytes(content)
    spool, _, _, found = taken_over(path)
    assert found == []
    spool.begin(PLAIN)
    spool.push(*frames(0, 1, "b"))
    (frame,) = taken_over(path)[3]
    assert isinstance(frame, Frame)


def test_a_recording_is_read_again_so_nothing_is_left_to_it(path):
    filled(path).close()
    make_backlog(Config(overload="spool"), path.parent, live=False, window_bytes=1 << 30)
    assert not path.exists()


def test_what_was_sent_at_once_is_left_to_a_successor_until_it_is_on_disk(path):
    MADE.append(spool := Spool(path))
    spool.begin(PLAIN)
    assert all(spool.log(frame) for frame in frames(0, 6, "b"))
    assert (len(spool), spool.size) == (0, 0), "nothing of it waits"
    for frame in frames(6, 8, "b"):
        spool.push(frame)
    spool.settle(2)
    assert [frame.frame for frame in taken_over(path)[3]] == [2, 3, 4, 5, 6, 7]


def test_a_long_run_keeps_no_more_files_than_hold_what_is_not_on_disk(path):
    MADE.append(spool := Spool(path, file_bytes=1000))
    spool.begin(PLAIN)
    most = 0
    for number, frame in enumerate(frames(0, 200, "b")):
        assert spool.log(frame)
        spool.settle(number - 10)
        most = max(most, sum(file.stat().st_size for file in path.parent.glob("spool*")))
    assert most < 5000
    _, series, order, found = taken_over(path)
    assert [frame.frame for frame in found] == list(range(189, 200))
    assert (order[0], series) == ("b", [PLAIN]), "told once, in however many files it is"
    spool.settle(200)
    assert [file.stat().st_size for file in path.parent.glob("spool*")] == [0]


def test_a_frame_that_cannot_be_written_has_to_wait(path, monkeypatch):
    MADE.append(spool := Spool(path))
    monkeypatch.setattr("os.pwritev", lambda *_: 0)
    (frame,) = frames(0, 1, "b")
    assert not spool.log(frame)
    spool.push(frame)
    assert spool.holds_back
