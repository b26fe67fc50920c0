from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.sink.ledger import Ledger, Ranges


@given(st.lists(st.integers(-5, 40)))
def test_ranges_are_a_set(numbers):
    ranges, model = Ranges(), set()
    for number in numbers:
        assert ranges.add(number) == (number not in model)
        model.add(number)
        assert len(ranges) == len(model)
    assert [n for n in range(-7, 43) if n in ranges] == sorted(model)
    holes = set(range(min(model), max(model))) - model if model else set()
    assert {n for gap in ranges.gaps() for n in gap} == holes
    assert all(len(gap) for gap in ranges.gaps())


def test_each_frame_of_a_series_is_entered_once():
    ledger = Ledger()
    assert ledger.enter("1", 3)
    assert ledger.enter("2", 3)
    assert not ledger.enter("1", 3)
    assert ledger.enter("1", 6)
    assert ledger.unaccounted("1") == [4, 5]
    assert ledger.enter("1", 15)
    assert ledger.unaccounted("1", 3) == [9, 12], "frames that were not to be taken are not missing"
    assert ledger.unaccounted("never heard of") == []
