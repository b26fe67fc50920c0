from __future__ import annotations

import errno

import pytest

from streamer.run.best_effort import BestEffort


def fails_with(error):
    def do():
        raise error

    return do


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.1"), "No space left on device"),
        (ValueError("one\ntwo"), "one"),
        (IndexError(), "IndexError"),
        (SystemExit(1), "nobody reads it any more"),
    ],
)
def test_what_fails_is_said_once_and_counted(error, reason, caplog):
    beside = BestEffort()
    assert beside("done", lambda: None)
    for _ in range(3):
        assert not beside("not done", fails_with(error))
    assert beside.troubles == {f"not done: {reason}": 3}
    assert [record.getMessage() for record in caplog.records] == [
        f"not done: {reason}; the run goes on"
    ]


def test_reasons_without_end_take_no_memory_without_end():
    beside = BestEffort()
    for number in range(1000):
        beside("not done", fails_with(ValueError(str(number))))
    assert len(beside.troubles) < 30
    assert sum(beside.troubles.values()) == 1000


def test_a_signal_that_ends_the_program_is_no_trouble():
    with pytest.raises(KeyboardInterrupt):
        BestEffort()("not done", fails_with(KeyboardInterrupt()))
