from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.tracks import Tracker


def at(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, float).reshape(-1, 2)


def test_a_moving_peak_is_one_track():
    tracker = Tracker(gate=3, memory=2)
    tracks = [tracker.link(f, at((f * 0.5, 10), (100, 100 - f)))[[0, 1]] for f in range(20)]
    assert (np.array(tracks) == [0, 1]).all()


def test_a_peak_beyond_the_gate_begins_a_track():
    tracker = Tracker(gate=3, memory=2)
    tracker.link(0, at((10, 10)))
    assert tracker.link(1, at((13.1, 10))).tolist() == [1]


@pytest.mark.parametrize(("gap", "same"), [(1, True), (3, True), (4, False)])
def test_a_track_lives_through_as_many_missed_frames_as_it_may(gap, same):
    tracker = Tracker(gate=3, memory=2)
    tracker.link(5, at((10, 10)))
    assert (int(tracker.link(5 + gap, at((10, 10)))[0]) == 0) is same


def test_of_two_peaks_near_one_track_the_nearer_takes_it():
    tracker = Tracker(gate=5, memory=2)
    tracker.link(0, at((10, 10)))
    assert tracker.link(1, at((12, 10), (11, 10))).tolist() == [1, 0]


def test_a_frame_without_peaks_is_no_trouble():
    tracker = Tracker(gate=5, memory=2)
    assert tracker.link(0, at()).tolist() == []
    tracker.link(1, at((1, 1)))
    assert tracker.link(2, at()).tolist() == []
    assert tracker.link(3, at((1, 1))).tolist() == [0]


def test_tracks_go_on_where_an_earlier_tracker_left_off():
    tracker = Tracker(gate=3, memory=2, first=7)
    tracker.resume(3, at((10, 10), (50, 50)), np.array([2, 5]))
    assert tracker.link(4, at((50, 51), (200, 200), (10, 10))).tolist() == [5, 7, 2]


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), max_size=8), min_size=1, max_size=8
    )
)
def test_no_track_has_two_peaks_on_a_frame_and_every_peak_has_one(frames):
    tracker = Tracker(gate=4, memory=1)
    seen = 0
    for number, points in enumerate(frames):
        tracks = tracker.link(number, at(*points))
        assert len(set(tracks.tolist())) == len(points)
        assert (tracks >= 0).all()
        seen = max(seen, *tracks.tolist(), 0) if len(tracks) else seen
    assert tracker.next_track >= seen
