from __future__ import annotations

from streamer.sink.account import Account


def test_a_frame_is_entered_once():
    account = Account()
    assert account.enter("1", 3)
    assert not account.enter("1", 3)
    assert account.enter("2", 3)


def test_series_stand_one_behind_the_other():
    account = Account()
    for frame in (0, 1, 2):
        account.enter("1", frame)
    account.enter("2", 5)
    account.enter("2", 7)
    places = [account.place(*where) for where in (("1", 0), ("1", 2), ("2", 5), ("2", 7))]
    assert [place - places[0] for place in places] == [0, 2, 3, 5]
    assert account.place("1", 2) == places[1], "a place once given stays"


def test_a_gap_takes_the_places_of_all_its_frames():
    account = Account()
    assert account.enter("1", 0, 2 * 10**9) == [range(2 * 10**9)]
    account.enter("2", 0)
    assert account.place("2", 0) - account.place("1", 0) == 2 * 10**9


def test_frames_that_were_not_to_be_taken_have_no_place():
    account = Account(step=10)
    account.enter("1", 4)
    account.enter("1", 34)
    assert account.place("1", 34) - account.place("1", 4) == 3
    assert account.end("1") == [range(14, 15), range(24, 25)]


def test_a_series_is_open_until_it_ends_and_its_lost_frames_are_named_once():
    account = Account()
    for series, frame in (("1", 0), ("1", 3), ("2", 0)):
        account.enter(series, frame)
    assert account.open_series == ["1", "2"]
    assert account.end("1") == [range(1, 3)]
    assert account.open_series == ["2"]
    assert not account.enter("1", 2)
    assert account.end("1") == []
    assert account.end("never heard of") == []
