from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from streamer.frames.flags import NEIGHBOUR, POOR_FIT
from streamer.frames.peaks import PEAK, POSITION
from streamer.tracks.linker import Linker
from streamer.tracks.multiplicity import Multiplicity, look

ALONE, BESIDE = 50.0, 50.6
"""Where a spot stands as the only one, and beside another."""


def doubtful(evidence, flags=NEIGHBOUR):
    """Make the one position of a frame; without evidence it is the only answer."""
    position = np.zeros(1, POSITION)
    position["row"], position["col"] = BESIDE, 20.0
    position["row_sigma"] = position["col_sigma"] = 0.1
    position["single"][0] = (ALONE, 20.0, 0.05, 0.05, evidence)
    position["flags"] = flags
    if np.isnan(evidence):
        position["row"], position["flags"], position["single"] = ALONE, 0, np.nan
    return position


def decide(multiplicity, frame, position, said=0):
    """Decide for the one track of a frame."""
    peak = np.zeros(1, PEAK)
    peak["flags"] = said
    _, kinds = look(peak, position)
    track = np.zeros(1, np.int64)
    return multiplicity.decide(frame, track, min(frame, 1), kinds, peak, position).applied(position)


def decided(evidence, multiplicity=None, first=0):
    """Decide for the one track of frames that follow each other."""
    multiplicity = multiplicity or Multiplicity()
    frames = [
        decide(multiplicity, frame, doubtful(one)) for frame, one in enumerate(evidence, first)
    ]
    return np.concatenate(frames)


def switches(positions):
    return int(np.abs(np.diff(positions["row"] == BESIDE)).sum())


@pytest.mark.parametrize("mean", [8.0, 14.0, 20.0, 31.0, 60.0])
def test_a_spot_on_the_verge_keeps_its_answer(mean):
    rng = np.random.default_rng(4)
    evidence = rng.noncentral_chisquare(3, mean - 3, (50, 60))
    runs = [decided(each) for each in evidence]
    assert np.mean([switches(run[10:]) for run in runs]) < 0.5
    frame_by_frame = np.abs(np.diff(evidence > 31, axis=1)).sum(axis=1).mean()
    if mean == 31.0:
        assert frame_by_frame > 20


def test_a_neighbour_that_rises_is_seen_once_and_before_one_frame_tells():
    rng = np.random.default_rng(2)
    growing = 1.2 * np.arange(60)
    runs = [decided(rng.noncentral_chisquare(3, growing)) for _ in range(50)]
    seen = [int(np.argmax(run["row"] == BESIDE)) for run in runs]
    assert all(switches(run) == 1 for run in runs)
    assert max(seen) < 31 / 1.2
    last = runs[0][-1]
    assert last["row_sigma"] == pytest.approx(0.1)
    assert last["flags"] == NEIGHBOUR


def test_while_undecided_the_sigma_holds_the_other_answer():
    evidence = np.r_[np.full(20, 5.0), np.full(12, 22.0)]
    positions = decided(evidence)
    assert positions["row_sigma"][19] == pytest.approx(0.05)
    switch = int(np.argmax(positions["row"] == BESIDE))
    assert (positions["row_sigma"][switch - 2 : switch] > 0.55).all()
    assert (positions["col_sigma"][switch - 2 : switch] < 0.11).all()
    assert not positions["flags"][:switch].any()


def test_what_appears_at_once_is_in_the_sigma_of_the_first_frame():
    positions = decided([*[4.0] * 20, *[28.0] * 2])
    assert (positions["row"] == ALONE).all()
    assert positions["row_sigma"][19] == pytest.approx(0.05)
    assert (positions["row_sigma"][20:] > 0.55).all()


def test_a_first_frame_decides_alone_as_a_single_frame_would():
    clear, unclear, single = (decided([one])[0] for one in (40.0, 22.0, 4.0))
    assert (clear["row"], unclear["row"], single["row"]) == (BESIDE, ALONE, ALONE)
    assert clear["row_sigma"] == pytest.approx(0.1, rel=0.01)
    assert unclear["row_sigma"] > 0.55
    assert single["row_sigma"] < 0.1


def test_frames_without_doubt_speak_for_one_peak_in_the_long_run():
    positions = decided([*[40.0] * 5, *[np.nan] * 40, 20.0])
    assert (positions["row"][:5] == BESIDE).all()
    assert positions["row"][-1] == ALONE
    assert positions["row_sigma"][44] == pytest.approx(0.1)


def test_where_two_are_likely_a_frame_with_no_other_answer_than_one_is_unsure():
    positions = decided([*[60.0] * 5, np.nan, 60.0])
    assert positions["row"].tolist() == [BESIDE] * 5 + [ALONE, BESIDE]
    assert positions["row_sigma"][5] == pytest.approx(np.hypot(0.1, 0.6), rel=1e-3)
    assert positions["col_sigma"][5] == pytest.approx(0.1)


def test_what_the_finder_sees_stays_flagged_and_what_is_no_peak_is_left():
    multiplicity = Multiplicity()
    said = decide(multiplicity, 0, doubtful(2.0), NEIGHBOUR)
    assert (said["row"][0], said["flags"][0]) == (ALONE, NEIGHBOUR)
    poor = doubtful(2.0, flags=POOR_FIT)
    assert decide(multiplicity, 1, poor)["row"][0] == BESIDE


@pytest.mark.parametrize(
    ("evidence", "variance"),
    [
        ([*[4.0] * 10, *[40.0] * 20], 0.36),  # another answer of what may be one spot
        ([*[40.0] * 10, *[np.nan] * 20], 0.36),
        ([*[4.0] * 10, *[40.0] * 20, *[4.0] * 20], 0.0),  # and back again
        ([*[4.0] * 10, *[40.0] * 5, *[900.0] * 5], 0.0),  # a second peak has come
        ([40.0] * 20, None),
    ],
)
def test_a_change_of_the_answer_is_no_drift(evidence, variance):
    multiplicity = Multiplicity()
    decided(evidence, multiplicity)
    told = multiplicity.steps.get(0)
    assert told == (None if variance is None else pytest.approx((variance, 0.0)))


def test_tracks_are_let_go_of():
    multiplicity = Multiplicity()
    decided([40.0] * 3, multiplicity)
    multiplicity.forget(2)
    assert len(multiplicity.state()) == 1
    multiplicity.forget(3)
    assert not len(multiplicity.state())


def linked(linker, frames, evidence):
    """Link two spots of which one is in doubt."""
    rows = []
    for frame in frames:
        positions = np.concatenate([doubtful(evidence[frame]), doubtful(np.nan)])
        positions["col"][1] = 80.0
        peaks = np.zeros(2, PEAK)
        rows.append(linker.link(frame, peaks, positions).positions)
    return np.concatenate(rows)


@pytest.mark.parametrize("cut", [1, 7, 23])
def test_who_takes_over_decides_as_if_nothing_had_happened(cut):
    evidence = np.random.default_rng(0).noncentral_chisquare(3, 15.0, 40)
    whole = linked(Linker(3.0, 5, confirm=3), range(40), evidence)
    first = Linker(3.0, 5, confirm=3)
    start = linked(first, range(cut), evidence)
    noted, state = first.note(), first.state()
    by_note, by_state = Linker(3.0, 5, confirm=3), Linker(3.0, 5, confirm=3)
    for successor in (by_note, by_state):
        successor.tracker.restore(state["tracker"])
    by_note.recall(["", noted])
    by_state.restore(state, tracker=True)
    assert json.loads(noted)["multiplicity"]
    for successor in (by_note, by_state):
        rest = linked(successor, range(cut, 40), evidence)
        for name in ("row", "col", "row_sigma", "col_sigma", "flags"):
            np.testing.assert_array_equal(np.concatenate([start, rest])[name], whole[name])


def test_a_state_stays_as_it_is_while_frames_are_linked():
    linker = Linker(3.0, 5, confirm=3)
    linked(linker, range(3), np.full(6, 20.0))
    state = linker.state()
    then = copy.deepcopy(state)
    linked(linker, range(3, 6), np.full(6, 20.0))
    np.testing.assert_array_equal(state["tracker"]["live"], then["tracker"]["live"])
    np.testing.assert_array_equal(state["multiplicity"], then["multiplicity"])
    assert (linker.state()["tracker"]["live"] != then["tracker"]["live"]).all()
