"""What a run says of peaks that are none."""

import json
import math

import pyarrow as pa
import pytest

from streamer.run.advice import advice, findings, width_advice


def told(**more):
    one = {"frames": 20, "peaks": 0, "poor": 0, "brightest": None, "thresholds": None, **more}
    return {"found/s": json.dumps(one), "series/s": "{}"}


def test_what_workers_tell_is_put_together():
    found = findings(
        [
            told(brightest=13, thresholds={"noise": [1, 2]}),
            told(peaks=5, brightest=7, thresholds={"noise": [0.5, 1]}),
            {"found/s": "nonsense"},
        ]
    )
    assert found["s"]["frames"] == 40
    assert found["s"]["peaks"] == 5
    assert found["s"]["brightest"] == 13
    assert found["s"]["thresholds"] == {"noise": [0.5, 2]}


def test_where_no_pixel_reaches_minval_the_run_says_so():
    (line,) = advice(findings([told(brightest=13)]), 40, 60)
    assert "no pixel reaches detect.minval = 40; the brightest pixel has 13 counts" in line


def test_where_no_peak_reaches_minscore_the_run_says_so():
    (line,) = advice(findings([told(brightest=50)]), 40, 60)
    assert "no peak reaches detect.minscore = 60" in line


def test_thousands_of_peaks_that_look_like_nothing_are_told_of():
    (line,) = advice(findings([told(peaks=50000, poor=40000)]), 40, 60)
    assert "2,500 peaks a frame, 80% of them a pixel alone" in line


def test_peaks_as_they_should_be_need_no_word():
    assert advice(findings([told(peaks=500)]), "auto", "auto") == []
    assert advice(findings([told(frames=3)]), 40, 60) == []


def test_peaks_that_are_left_out_beside_higher_ones_are_told_of():
    (line,) = advice(findings([told(peaks=60, merged=100), told(peaks=40, merged=200)]), 40, 60)
    assert line.startswith("300 peaks, 75% of those found, are left out")
    assert "detect.merge_px" in line


def test_pixels_that_are_gaps_and_not_marked_are_told_once():
    infos = [told(gaps=[[4294967295.0, 640]], masked=7), told(gaps=[[4294967295.0, 640]])]
    (line,) = advice(findings(infos), "auto", "auto")[:1]
    assert line.startswith("series s: of its pixels 640 are 4294967295 and none is near")
    assert findings(infos)["s"]["masked"] == 7
    several = {name: {**findings(infos)["s"]} for name in "abc"}
    (line,) = [line for line in advice(several, "auto", "auto") if "of its pixels" in line]
    assert line.startswith("series a and 2 more: of its pixels 640 are 4294967295")


@pytest.mark.parametrize(
    ("widths", "binning", "told"),
    [
        ([11.8, 12.2, 3.0], 1, "detect.binning = 2"),
        ([11.8, 12.2, 3.0], 2, None),
        ([3.5, 20.0, math.nan], 1, None),
        ([math.nan], 1, None),
        ([], 1, None),
    ],
)
def test_a_run_of_wide_spots_is_told_to_bin_pixels(widths, binning, told):
    tracks = pa.table(
        {"fwhm_minor": pa.array(widths, pa.float64()), "n_frames": [50] * len(widths)}
    )
    lines = width_advice(tracks, binning)
    assert lines == [] if told is None else told in lines[0]
