from __future__ import annotations

from streamer.frames.events import Series, SeriesEnd
from streamer.ingest.accounts import SeriesAccounts
from tests.unit.streamer.ingest.frames import frames


def test_each_series_has_an_account_of_its_own():
    accounts = SeriesAccounts()
    accounts.begin(Series(name="a", n_frames=3))
    accounts.begin(Series(name="b"))
    for frame in (*frames(0, 2, "a"), *frames(0, 5, "b")):
        accounts.receive(frame)
    accounts.end(SeriesEnd(series="a", reason="abort: why", counters={"stray": 2}))
    accounts.close("a")
    assert accounts.open == ["b"]
    assert (accounts.n_frames, accounts.n_bytes) == (7, 56)
    assert accounts.as_dict() == {
        "a": {"announced": 3, "received": 2, "end": "abort: why", "stray": 2},
        "b": {"announced": None, "received": 5},
    }


def test_a_series_that_is_closed_by_another_has_no_end_of_its_own():
    accounts = SeriesAccounts()
    accounts.begin(Series(name="a", n_frames=3))
    accounts.close("a")
    assert accounts.as_dict() == {"a": {"announced": 3, "received": 0}}


def test_what_a_predecessor_counted_is_gone_on_with():
    first, second = SeriesAccounts(), SeriesAccounts()
    first.begin(Series(name="a", n_frames=9))
    first.receive(*frames(0, 1, "a"))
    second.by_name |= first.by_name
    second.begin(Series(name="a", n_frames=9))
    second.receive(*frames(1, 2, "a"))
    assert second.as_dict() == {"a": {"announced": 9, "received": 2}}
    assert second.n_frames == 1
