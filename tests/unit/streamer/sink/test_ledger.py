from __future__ import annotations

import pytest

from streamer.sink.ledger import Ledger


def unaccounted(ledger, series, step=1):
    return [frame for frames in ledger.unaccounted(series, step) for frame in frames]


def test_each_frame_of_a_series_is_entered_once():
    ledger = Ledger()
    assert ledger.enter("1", 3) == [range(3, 4)]
    assert ledger.enter("2", 3)
    assert not ledger.enter("1", 3)
    assert ledger.enter("1", 6)
    assert unaccounted(ledger, "1") == [4, 5]
    assert ledger.enter("1", 15)
    assert unaccounted(ledger, "1", 3) == [9, 12], "those that were not to be taken are not missing"
    assert unaccounted(ledger, "never heard of") == []


def test_frames_that_follow_each_other_are_accounted_for_at_once():
    ledger = Ledger()
    ledger.enter("1", 10)
    assert ledger.enter("1", 0, 2 * 10**9) == [range(10), range(11, 2 * 10**9)]
    ledger.enter("1", 4 * 10**9)
    assert list(ledger.unaccounted("1")) == [range(2 * 10**9, 4 * 10**9)]


@pytest.mark.parametrize("step", [1, 2])
def test_what_was_taken_and_is_not_known_of_is_unaccounted_at_either_end_as_well(step):
    ledger = Ledger()
    for frame in (6, 8):
        ledger.enter("1", frame)
    assert [f for gap in ledger.unaccounted("1", step, (2, 11)) for f in gap] == [
        frame for frame in range(2, 12) if frame not in (6, 8) and frame % step == 0
    ]
    assert list(ledger.unaccounted("1", step, (7, 7))) == ([range(7, 8)] if step == 1 else [])
    never = [f for gap in ledger.unaccounted("2", step, (4, 8)) for f in gap]
    assert never == list(range(4, 9, step))
