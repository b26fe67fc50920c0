"""What a run says of peaks that are none."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.frames.flags import POOR_FIT, SATURATED
from streamer.results.folder import RunFolder
from streamer.run.advice import advice, findings, noise_advice, width_advice


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


def test_frames_of_which_all_pixels_are_masked_have_no_thresholds():
    """JSON has no infinity: what workers say of such frames is null."""
    found = findings(
        [told(thresholds={"noise": [None, None]}), told(thresholds={"noise": [1, None]})]
    )
    assert found["s"]["frames"] == 40
    assert found["s"]["thresholds"] == {}
    assert len(advice(found, "auto", "auto")) == 1


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


def run_of(tmp_path, scatter, flags=0, n_frames=100, drift=0.2, told=1.0):
    """Write the peaks of ten spots that move, and scatter by some of their standard deviations."""
    rng = np.random.default_rng(5)
    frame, track = (x.ravel() for x in np.mgrid[:n_frames, :10])
    sigma = 0.01 * (1 + track)
    places = {
        axis: 50 * track + drift * frame + scatter * sigma * rng.normal(size=len(frame))
        for axis in ("row", "col")
    }
    (tmp_path / "peaks").mkdir(parents=True)
    table = pa.table(
        {
            "series": ["s"] * len(frame),
            "frame": frame,
            "track": track,
            "flags": np.full(len(frame), flags, np.int32),
            **places,
            "row_sigma": told * sigma,
            "col_sigma": told * sigma,
        }
    )
    half = len(table) // 2  # as a run that commits twice
    pq.write_table(table[:half], tmp_path / "peaks" / "part-00000000.parquet")
    pq.write_table(table[half:], tmp_path / "peaks" / "part-00000001.parquet")
    (tmp_path / "frames").mkdir()
    for number in (0, 1):
        pq.write_table(pa.table({"x": [1]}), tmp_path / "frames" / f"part-{number:08d}.parquet")
    return RunFolder(tmp_path)


def test_standard_deviations_that_are_too_large_are_told_of(tmp_path):
    (line,) = noise_advice(run_of(tmp_path, 0.3), 1.0)
    assert line.startswith("positions scatter from frame to frame by 0.")
    gain = float(line.rpartition("positions.gain = ")[2])
    assert gain == pytest.approx(0.09, rel=0.25)


@pytest.mark.parametrize("scatter", [0.8, 1.0, 3.0])
def test_honest_standard_deviations_and_spots_that_shake_need_no_word(tmp_path, scatter):
    assert noise_advice(run_of(tmp_path, scatter), 1.0) == []


def test_frames_that_are_all_the_same_tell_nothing_of_noise(tmp_path):
    assert noise_advice(run_of(tmp_path, 0.0, drift=0.0), 1.0) == []


def test_too_few_peaks_tell_nothing_of_noise(tmp_path):
    assert noise_advice(run_of(tmp_path / "a", 0.3, n_frames=20), 1.0) == []
    assert noise_advice(run_of(tmp_path / "b", 1.0, POOR_FIT, n_frames=20), 1.0) == []
    (tmp_path / "c").mkdir()
    assert noise_advice(RunFolder(tmp_path / "c"), 1.0) == []


def test_places_without_standard_deviations_tell_nothing_of_noise(tmp_path):
    assert noise_advice(run_of(tmp_path / "a", 0.3, told=np.nan), 1.0) == []
    assert noise_advice(run_of(tmp_path / "b", 0.3, told=0.0), 1.0) == []


def test_peaks_that_mostly_do_not_fit_are_told_of(tmp_path):
    (line,) = noise_advice(run_of(tmp_path / "a", 1.0, POOR_FIT), 1.0)
    assert line.startswith("100% of the peaks do not look like one peak (flag 16)")
    # Saturated ones have been told of by their own flag.
    assert noise_advice(run_of(tmp_path / "b", 1.0, POOR_FIT | SATURATED), 1.0) == []
