from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamer.frames.ranges import Ranges


@given(st.lists(st.tuples(st.integers(-5, 40), st.integers(0, 9))))
def test_ranges_are_a_set(added):
    ranges, model = Ranges(), set()
    for first, count in added:
        new = ranges.add(first, count)
        assert [n for part in new for n in part] == sorted({*range(first, first + count)} - model)
        assert all(part.stop < after.start for part, after in pairwise(new))
        model.update(range(first, first + count))
        assert ranges.total == len(model)
        assert bool(ranges) == bool(model)
    assert [n for n in range(-7, 60) if n in ranges] == sorted(model)
    holes = set(range(min(model), max(model))) - model if model else set()
    assert {n for gap in ranges.gaps() for n in gap} == holes
    assert all(len(gap) for gap in ranges.gaps())
    assert ranges.n_ranges == (len(ranges.gaps()) + 1 if model else 0)


def test_a_range_without_end_is_one_entry():
    ranges = Ranges()
    ranges.add(7)
    assert ranges.add(0, 10**15) == [range(7), range(8, 10**15)]
    assert (ranges.n_ranges, ranges.total) == (1, 10**15)
    ranges.add(2 * 10**15)
    assert ranges.pop_first() == range(10**15)
    assert 7 not in ranges
    assert 2 * 10**15 in ranges
