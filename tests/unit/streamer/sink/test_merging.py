from __future__ import annotations

import errno
import os
import threading

import pytest

from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, PEAKS
from streamer.sink.merging import Merging


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 4)
    monkeypatch.setattr("streamer.sink.merging.AT_ONCE", 4)
    monkeypatch.setattr("streamer.sink.merging._SHARE", 1.0)
    made = RunFolder.create(tmp_path / "run")
    for index in range(10):
        made.write_part(index, FRAMES.empty_table(), PEAKS.empty_table(), upto=index, next_track=0)
    return made


@pytest.fixture
def turns(monkeypatch):
    """Counts the ends of attempts to merge; what is in the list goes wrong first."""
    errors, ended = [], threading.Semaphore(0)

    def attempt(path):
        try:
            if errors:
                raise errors.pop(0)
            return merge_next(path)
        finally:
            ended.release()

    from streamer.results.merging import merge_next

    monkeypatch.setattr("streamer.sink.merging.merge_next", attempt)
    return errors, ended


def names(folder):
    return [path.stem for path in folder.parts("frames")]


def test_what_an_earlier_sink_left_is_merged_until_nothing_is_left(folder, turns):
    merging = Merging(folder)
    while len(names(folder)) > 4:
        merging.committed()
    merging.close()
    assert names(folder)[:2] == ["part-00000000-00000003", "part-00000004-00000007"]


def test_a_disk_that_is_full_is_tried_again_and_one_that_fails_for_good_is_not(
    folder, turns, monkeypatch, caplog
):
    monkeypatch.setattr("streamer.sink.merging._PAUSE_S", 0.0)
    errors, ended = turns
    errors += [OSError(errno.ENOSPC, "full"), OSError(errno.EACCES, "forbidden")]
    merging = Merging(folder)
    for message in ("cannot be merged: No space", "and stay as they are: Permission denied"):
        merging.committed()
        while not ended.acquire(timeout=0.01):
            merging.committed()
        while message not in caplog.text:
            pass
    for _ in range(9):
        merging.committed()
    merging.close()
    assert len(names(folder)) == 10
    assert not ended.acquire(blocking=False)
    assert not list(folder.path.rglob(".*"))


def test_a_part_that_cannot_be_read_ends_the_merging_and_nothing_else(folder, caplog):
    folder.parts("frames")[2].write_bytes(os.urandom(100))
    merging = Merging(folder)
    merging.committed()
    merging.close()
    assert "parts cannot be merged and stay as they are" in caplog.text
    assert len(names(folder)) == 10
    merging.committed()
