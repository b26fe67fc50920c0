"""Of peaks that stand close together the highest stays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import DetectConfig, load_config
from streamer.errors import UserError
from workers.detect.adaptive import AdaptivePeaks
from workers.detect.base import Peaks
from workers.detect.choice import finder_of
from workers.detect.correction import Correction
from workers.detect.findings import Findings
from workers.detect.merging import merged
from workers.detect.node import find_in_frame
from workers.detect.survey import Pair, find_peaks


def by_definition(peaks, distance):
    """Indices of the peaks that stay, each compared with all that stay before it."""
    ranks = sorted(
        range(len(peaks)), key=lambda k: (-peaks.score[k], peaks.row[k], peaks.col[k])
    )  # fmt: skip
    stay = []
    for k in ranks:
        if all(
            (int(peaks.row[k]) - int(peaks.row[i])) ** 2
            + (int(peaks.col[k]) - int(peaks.col[i])) ** 2
            > distance**2
            for i in stay
        ):
            stay.append(k)
    return sorted(stay)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 120),
    distance=st.sampled_from([0.5, 1.0, 2.5, 8.0, 13.0, 400.0]),
)
def test_what_stays_is_what_greed_by_falling_score_leaves(seed, n, distance):
    rng = np.random.default_rng(seed)
    row, col = rng.integers(0, 90, (2, n)).astype(np.int32)
    peaks = Peaks(row, col, rng.integers(1, 30, n).astype(float))
    stay = by_definition(peaks, distance)
    left = merged(peaks, distance)
    assert left.row.tolist() == row[stay].tolist()
    assert left.col.tolist() == col[stay].tolist()
    assert left.merged == n - len(stay)
    order = rng.permutation(n)
    again = merged(Peaks(row[order], col[order], peaks.score[order]), distance)
    if len({*zip(row.tolist(), col.tolist(), strict=True)}) == n:
        at = [sorted(zip(one.row, one.col, strict=True)) for one in (left, again)]
        assert at[0] == at[1]


def fringed_frame():
    """Two spots with side maxima 8 px beside them, and one without."""
    row, col = np.mgrid[:120, :120]
    frame = np.full(row.shape, 4.0)
    spots = [
        (30, 30, 900),
        (30, 38, 120),
        (30, 22, 120),
        (80, 60, 500),
        (88, 60, 90),
        (90, 100, 200),
    ]
    for r, c, height in spots:
        frame += height * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 4.5)
    return np.random.default_rng(0).poisson(frame).astype(np.uint16)


@pytest.mark.parametrize("thresholds", [{}, {"minval": 15, "minscore": 40}])
def test_a_frame_has_one_peak_for_each_spot_and_says_what_was_left_out(thresholds):
    frame = fringed_frame()
    assert (
        len(find_in_frame(frame, Correction(), finder_of(DetectConfig(**thresholds)), 11)[0]) == 6
    )
    findings = Findings()
    finder = finder_of(DetectConfig(merge_px=9, **thresholds))

    def note(found, *rest):
        assert isinstance(found, AdaptivePeaks) == (not thresholds)
        findings.note("s", 0, found, *rest)

    peaks, patches = find_in_frame(frame, Correction(), finder, 15, note=note)
    places = sorted(zip(peaks["row"].tolist(), peaks["col"].tolist(), strict=True))
    assert np.abs(np.array(places) - [(30, 30), (80, 60), (90, 100)]).max() <= 1
    assert len(patches.counts) == 3
    assert not (peaks["flags"] & 4).any()  # what is left out is nobody's neighbour
    told = json.loads(findings.info()["found/s"])
    assert (told["peaks"], told["merged"]) == (3, 3)


def test_the_distance_is_one_of_detector_pixels():
    frame = np.kron(fringed_frame(), np.ones((2, 2), np.uint16))
    near, far = (finder_of(DetectConfig(merge_px=px, binning=2)) for px in (14, 18))
    assert len(find_in_frame(frame, Correction(binning=2), near, 11)[0]) == 6
    assert len(find_in_frame(frame, Correction(binning=2), far, 11)[0]) == 3


def test_comparisons_see_the_same_peaks():
    detect = DetectConfig(merge_px=9)
    frames = [(0, fringed_frame(), Correction())]
    pairs = [Pair("auto", "auto"), Pair(15.0, 40.0)]
    for one in find_peaks(iter(frames), pairs, detect, [11])[0]:
        assert len(one) == 3


@pytest.mark.parametrize("value", ["-1", "nan", ".inf", "many"])
def test_a_distance_that_is_none_is_refused(value):
    with pytest.raises(UserError, match=r"detect\.merge_px = .* does not fit"):
        load_config(None, [f"detect.merge_px={value}"])
