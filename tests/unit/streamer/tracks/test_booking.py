from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.frames.flags import POOR_FIT
from streamer.tracks.booking import REMEMBERED, find
from streamer.tracks.catalogue import TrackCatalogue

SIZE = 4


@given(
    st.lists(st.integers(0, 10**12), unique=True, max_size=40),
    st.lists(st.integers(0, 10**12), max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_tracks_are_found_in_whatever_order_they_are_asked_for(known, others, seed):
    number = np.sort(np.array(known, np.int64))
    asked = np.random.default_rng(seed).permutation(np.array(known * 3 + others, np.int64))
    remembered = np.zeros(REMEMBERED, np.int64)
    for there in (number, number[::2], number[:3]):  # some were forgotten since they were found
        where = {track: i for i, track in enumerate(there.tolist())}
        at = find(np.ascontiguousarray(there), asked, remembered)
        assert at.tolist() == [where.get(track, -1) for track in asked.tolist()]


def of_track(peaks, track):
    """Return which peaks of a track count, a good one making all poor ones before it void."""
    mine = np.flatnonzero(peaks["track"] == track)
    good = mine[(peaks["flags"][mine] & POOR_FIT) == 0]
    counted = good if len(good) else mine
    return mine, counted[np.isfinite(peaks["row"][counted])]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 40]), st.sampled_from([None, 15]))
@settings(max_examples=40)
def test_what_is_kept_of_a_track_is_what_all_its_peaks_say(seed, frames_at_once, reference):
    rng = np.random.default_rng(seed)
    begins = np.sort(rng.integers(0, 30, 12))
    lives = [begins + rng.integers(1, 30, 12) > f for f in range(40)]
    alive = [np.flatnonzero((begins <= f) & lives[f] & (rng.random(12) < 0.9)) for f in range(40)]
    frame = np.repeat(np.arange(40), [len(tracks) for tracks in alive])
    number = {}
    track = np.array([number.setdefault(t, len(number)) for t in np.concatenate(alive).tolist()])
    n = len(track)
    timed = rng.random() < 0.7
    peaks = {
        "series": np.zeros(n, np.int32),
        "frame": frame,
        "time_ns": timed * (frame + 1) * 36 * 10**11,
        "score": rng.uniform(1, 9, n),
        "row": np.where(rng.random(n) < 0.05, np.nan, 50.0 * track + rng.normal(0, 1, n)),
        "col": rng.normal(0, 1, n),
        "row_sigma": np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0.1, 1, n)),
        "col_sigma": rng.uniform(0.1, 1, n),
        "flags": np.where(rng.random(n) < 0.3, POOR_FIT, 0) | rng.choice([0, 1, 4], n),
        "track": np.where(rng.random(n) < 0.05, -1, track),
        "intensity": rng.uniform(1, 9, n),
    }
    seen = dict.fromkeys(peaks["track"][peaks["track"] >= 0].tolist())
    again = {t: i for i, t in enumerate(seen)}  # numbers grow with the frames on which tracks begin
    peaks["track"] = np.array([again.get(t, -1) for t in peaks["track"].tolist()])
    catalogue = TrackCatalogue(1, SIZE, reference)
    for start in range(0, 40, frames_at_once):
        part = (frame >= start) & (frame < start + frames_at_once)
        catalogue.extend(["a"], {name: column[part] for name, column in peaks.items()})
    numbers, account, first, newest, first_shape, newest_shape = catalogue.state()["tracks"]
    assert numbers.tolist() == list(range(len(again)))
    for t, kept in enumerate(account):
        mine, used = of_track(peaks, t)
        assert kept["n_frames"] == len(mine)
        assert (kept["first_frame"], kept["last_frame"]) == (frame[mine[0]], frame[mine[-1]])
        assert kept["score"] == pytest.approx(peaks["score"][mine].sum(), rel=1e-12)
        for bit in range(8):
            assert kept["flags"][bit] == ((peaks["flags"][mine] >> bit) & 1).sum()
        assert kept["n_newest"] == len(used)
        hours = (frame - frame[mine[0]]).astype(float)
        names = ("row", "col", "row_sigma", "col_sigma")
        table = np.stack([*(peaks[name] for name in names), hours], axis=1)
        stop = 0 if reference is None else reference + (SIZE + 1) // 2
        early = used[(np.arange(len(used)) < SIZE) | (frame[used] < stop)]
        assert kept["n_first"] == len(early)
        for ring, shapes, rows in ((newest, newest_shape, used), (first, first_shape, early)):
            at = np.arange(len(rows))[-SIZE:] % SIZE
            np.testing.assert_array_equal(ring[at, t], table[rows[-SIZE:]])
            np.testing.assert_allclose(shapes[at, t, 0], peaks["intensity"][rows[-SIZE:]], 1e-6)
            assert np.isnan(shapes[at, t, 1:]).all()
        for axis in range(2):
            x, sigma, h = table[used, axis] - kept["origin"][axis], table[used, 2 + axis], hours
            known = sigma > 0
            w = np.where(known, 1 / sigma**2, 1.0)
            h = h[used]
            terms = [w, w * h, w * h * h, w * x, w * h * x, w * x * x, np.ones(len(x)), known]
            sums = [term.sum() for term in terms]
            np.testing.assert_allclose(kept["line"][axis], sums, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_the_farthest_place_is_that_of_a_whole_window_of_what_looks_like_a_peak(at_once):
    n_poor, rows = SIZE + 1, [50.0] * SIZE + [40.0] * SIZE + [44.0] * (SIZE - 1)
    n = n_poor + len(rows)
    peaks = {
        **{name: np.zeros(n, np.int64) for name in ("series", "time_ns", "track")},
        "frame": np.arange(n),
        "flags": np.where(np.arange(n) < n_poor, POOR_FIT, 0),
        "row": np.array([50.0] + [900.0] * (n_poor - 1) + rows),
        **{name: np.full(n, 1.0) for name in ("col", "row_sigma", "col_sigma", "score")},
    }
    catalogue = TrackCatalogue(1, SIZE)
    for start in range(0, n, at_once):
        part = {name: column[start : start + at_once] for name, column in peaks.items()}
        catalogue.extend(["a"], part)
        distance = catalogue.state()["tracks"][1]["far_distance"][0]
        assert start + at_once <= n_poor or distance < 100.0
    account = catalogue.state()["tracks"][1]
    assert account["far_distance"] == 10.0
    np.testing.assert_array_equal(account["far"][0, 0], [40.0, 1.0])
