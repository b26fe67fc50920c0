from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamer.frames.events import Gap, Series, SeriesEnd, Taken
from streamer.ingest.accounts import SeriesAccounts
from tests.unit.streamer.ingest.frames import frames

PIXELS = {"pixels": "2 x 2 uint16, little-endian"}


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
    assert accounts.news() == {
        "a": {"announced": 3, "received": 2, **PIXELS, "end": "abort: why", "stray": 2},
        "b": {"announced": None, "received": 5, **PIXELS},
    }


def test_what_was_taken_of_a_recording_is_told():
    accounts = SeriesAccounts()
    taken = Taken(source="a.h5::/data", times="none", left_out=["/dark"])
    accounts.begin(Series(name="a", n_frames=3, taken=taken))
    assert accounts.news()["a"] == {
        "announced": 3,
        "received": 0,
        "source": "a.h5::/data",
        "times": "none",
        "left_out": ["/dark"],
    }


def test_what_the_source_warns_of_and_what_contradicts_it_is_told():
    accounts = SeriesAccounts()
    says = {"warnings": ["its mask is not used"], "image_size_x": 3, "image_size_y": 2}
    accounts.begin(Series(name="a", metadata=says))
    (frame,) = frames(0, 1, "a")
    hour_ns = 3600 * 10**9
    accounts.receive(replace(frame, time_ns=10**18, received_ns=10**18 + hour_ns))
    mask, size, clock = accounts.news()["a"]["warnings"]
    assert mask == "its mask is not used"
    assert "the header says images of 2 x 3, and they are 2 x 2" in size
    assert "the times of frames lie 3,600 s before the clock of this machine" in clock


@pytest.mark.parametrize(
    ("taken", "time_ns"), [(Taken(times="the detector's"), 10**17), (Taken(), 10**18 - 10**9)]
)
def test_times_of_recordings_and_of_good_clocks_are_no_matter(taken, time_ns):
    accounts = SeriesAccounts()
    accounts.begin(Series(name="a", taken=taken))
    (frame,) = frames(0, 1, "a")
    accounts.receive(replace(frame, time_ns=time_ns, received_ns=10**18))
    assert "warnings" not in accounts.news()["a"]


def test_a_series_that_is_closed_by_another_has_no_end_of_its_own():
    accounts = SeriesAccounts()
    accounts.begin(Series(name="a", n_frames=3))
    accounts.close("a")
    assert accounts.news() == {"a": {"announced": 3, "received": 0}}


def test_what_a_predecessor_counted_is_gone_on_with():
    first, second = SeriesAccounts(), SeriesAccounts()
    first.begin(Series(name="a", n_frames=9))
    first.receive(*frames(0, 1, "a"))
    second.adopt(first.by_name)
    second.begin(Series(name="a", n_frames=9))
    second.receive(*frames(1, 2, "a"))
    assert second.news() == {"a": {"announced": 9, "received": 2, **PIXELS}}
    assert second.n_frames == 1


def test_what_was_announced_and_has_not_come_is_named():
    accounts = SeriesAccounts()
    assert accounts.awaited() == ""
    accounts.begin(Series(name="a", n_frames=12))
    accounts.begin(Series(name="b"))
    accounts.receive(*frames(3, 4, "a"))
    assert accounts.awaited() == "8 announced and not come (a: 4 to 11)"
    accounts.skip(Gap(series="a", first=4, count=7, reason="lost"))
    accounts.skip(Gap(series="gone", first=4, count=7, reason="lost"))
    assert accounts.awaited() == "1 announced and not come (a: 11)"
    accounts.receive(*frames(11, 12, "a"))
    assert accounts.awaited() == ""
    accounts.begin(Series(name="c", n_frames=2_000_000_000))
    assert accounts.awaited() == "2,000,000,000 announced and not come (c: 0 to 1999999999)"
    accounts.close("c")
    assert accounts.awaited() == ""


def test_what_has_not_changed_is_told_no_more():
    accounts = SeriesAccounts()
    for number in range(1000):
        accounts.begin(Series(name=str(number)))
        accounts.receive(*frames(0, 1, str(number)))
        if number < 998:
            accounts.close(str(number))
        if number % 10 == 0:
            accounts.news()
    told = [accounts.news() for _ in range(20)]
    assert [set(one) for one in told[8:]] == [{"998", "999"}] * 12
    assert "997" in told[7], "a report or two may be lost"
    accounts.receive(*frames(1, 2, "999"))
    assert accounts.news()["999"]["received"] == 2
    accounts.end(SeriesEnd(series="999"))
    accounts.close("999")
    assert accounts.news()["999"]["end"] == "end"
