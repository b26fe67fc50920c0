from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.live.arrivals import Arrivals


def test_frames_that_the_sender_lost_are_booked_at_once_however_many_they_are():
    arrivals = Arrivals(None)
    arrivals.book(0)
    arrivals.book(5)
    assert arrivals.book_lost(range(2 * 10**9)) == [range(1, 5), range(6, 2 * 10**9)]
    assert arrivals.book_lost(range(7, 90)) == []
    assert arrivals.last == 2 * 10**9 - 1
    assert arrivals.book(2 * 10**9) == "new"
    assert arrivals.book(1000) == "duplicate"
    assert (arrivals.take_gaps(), arrivals.finish()) == ([], [])


def test_a_series_that_lost_every_other_frame_is_remembered_within_bounds():
    arrivals = Arrivals(None)
    gaps = []
    for frame in range(0, 40_000, 2):
        arrivals.book(frame)
        gaps += arrivals.take_gaps()
    assert arrivals._lost.n_ranges == 4096
    assert arrivals.book(gaps[-1].start) == "late"
    assert arrivals.book(gaps[-1].start - 1) == "duplicate"
    assert arrivals.book(1) == "duplicate", "so long ago that it is not known any more"


@given(
    st.lists(
        st.one_of(
            st.integers(0, 300),
            st.tuples(st.integers(0, 300), st.integers(1, 80)),
        ),
        max_size=200,
    )
)
def test_each_frame_is_new_once_or_in_one_gap(steps):
    arrivals, seen, given_up = Arrivals(None), set(), set()
    for step in steps:
        if isinstance(step, int):
            state = arrivals.book(step)
            known = step in seen
            assert state == ("late" if step in given_up else "duplicate" if known else "new")
            seen.add(step)
        else:
            lost = range(step[0], sum(step))
            entered = [n for part in arrivals.book_lost(lost) for n in part]
            assert entered == [n for n in lost if n not in seen]
            seen.update(lost)
        for gap in arrivals.take_gaps():
            assert seen.isdisjoint(gap)
            seen.update(gap)
            given_up.update(gap)
    for gap in arrivals.finish():
        assert seen.isdisjoint(gap)
        seen.update(gap)
    assert seen == set(range(arrivals.last + 1))
