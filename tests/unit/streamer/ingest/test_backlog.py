from __future__ import annotations

import errno
import os

import pytest

from streamer.config import Config
from streamer.ingest.backlog import Newest, Wait, make_backlog
from streamer.ingest.spool import Spool
from tests.unit.streamer.ingest.frames import frames


@pytest.fixture(params=["wait", "spool", "newest"])
def backlog(request, tmp_path):
    made = make_backlog(Config(overload=request.param), tmp_path, live=True, window_bytes=1 << 30)
    yield made
    made.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overload", "live", "kind", "holds_back"),
    [
        ("auto", True, Spool, False),
        ("auto", False, Wait, True),
        ("wait", True, Wait, True),
        ("spool", False, Spool, False),
        ("newest", True, Newest, False),
    ],
)
def test_overload_chooses_where_frames_wait(tmp_path, overload, live, kind, holds_back):
    backlog = make_backlog(Config(overload=overload), tmp_path, live=live, window_bytes=1 << 30)
    assert isinstance(backlog, kind)
    assert backlog.holds_back == holds_back
    backlog.close()


def test_frames_come_back_as_they_were_and_in_order(backlog):
    given = frames(0, 5)
    for frame in given[:3]:
        assert backlog.push(frame) == []
    got = [backlog.pop()]
    for frame in given[3:]:
        backlog.push(frame)
    while backlog:
        got.append(backlog.pop())
    assert got == given
    backlog.push(given[0])
    assert len(backlog) == 1
    assert backlog.pop() == given[0]
    backlog.settle(100)


def test_the_spool_knows_its_size(tmp_path):
    spool = Spool(tmp_path / "spool.bin")
    assert spool.size == 0
    spool.push(*frames(0, 1))
    assert spool.size == 8, "what waits counts, not what is kept for a successor"
    spool.pop()
    assert spool.size == 0
    spool.close()


@pytest.mark.parametrize(("most", "most_bytes"), [(3, 1000), (1000, 3 * 8)])
def test_newest_sheds_the_oldest_by_number_and_by_size(most, most_bytes):
    backlog = Newest(most, most_bytes)
    shed = [gone for frame in frames(0, 10) for gone in backlog.push(frame)]
    assert shed == frames(0, 7)
    assert [backlog.pop() for _ in range(3)] == frames(7, 10)


def test_newest_keeps_one_frame_however_large():
    backlog = Newest(3, 4)
    assert backlog.push(*frames(0, 1)) == []
    assert backlog.push(*frames(1, 2)) == frames(0, 1)
    assert len(backlog) == 1


def test_frames_are_kept_and_the_source_waits_while_the_disk_is_full(tmp_path, monkeypatch, caplog):
    full, now = [], [0.0]

    def pwritev(number, parts, at):
        if not full:
            return write(number, parts, at)
        if full.pop() == "short":
            return write(number, [b"half of"], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    write = os.pwritev
    monkeypatch.setattr("streamer.ingest.spool.os.pwritev", pwritev)
    spool = Spool(tmp_path / "spool.bin", clock=lambda: now[0])
    given = frames(0, 8)
    spool.push(given[0])
    full += ["none", "short"]
    for frame in given[1:3]:
        spool.push(frame)
    assert spool.holds_back
    assert len(spool) == 3
    got = [spool.pop()]
    spool.push(given[3])
    now[0] += 60.0
    spool.retry()
    assert spool.holds_back
    spool.retry()
    assert spool.holds_back, "the disk is left alone for a while"
    got.append(spool.pop())
    now[0] += 60.0
    spool.retry()
    assert not spool.holds_back
    for frame in given[4:]:
        spool.push(frame)
    while spool:
        got.append(spool.pop())
    assert got == given
    assert len(caplog.records) == 1
    spool.settle(100)
    spool.close()
    assert not list(tmp_path.iterdir())


def test_a_spool_that_cannot_be_made_is_none(tmp_path):
    spool = Spool(tmp_path / "no folder" / "spool.bin")
    for frame in frames(0, 3):
        spool.push(frame)
    assert spool.holds_back
    assert [spool.pop() for _ in range(3)] == frames(0, 3)
    assert not spool.holds_back
    spool.close()
