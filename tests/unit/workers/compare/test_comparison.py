"""Comparing position methods: what is counted, what is refused, what is written."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from streamer.config import Config, DetectConfig, load_config
from streamer.errors import UserError
from streamer.frames.flags import EDGE, NEIGHBOUR, POOR_FIT
from streamer.frames.peaks import PEAK, POSITION
from streamer.report.evaluation_figures import Example, draw_errors_by_frame, draw_examples
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.patches import PeakRanges, draw_peaks, expected_counts
from streamer.simulator.scene import Scene
from workers.compare import comparison
from workers.compare.agreement import agreements, clean_peaks, true_positions
from workers.compare.candidates import Candidate
from workers.compare.evaluation import CASES
from workers.compare.examples import choose_examples
from workers.detect.correction import Correction
from workers.detect.survey import Observations, Pair, RecordedFootage, SimulatedFootage, find_peaks
from workers.place.base import Positions
from workers.place.centroid import Centroid
from workers.place.fit.methods import GaussianFit, Noise

SMALL = ["simulate.frames=12", "simulate.rows=128", "simulate.cols=128", "simulate.spots=3"]


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None, SMALL)


class Ramp:
    """Answers with what stands in the first pixel, and remembers the batches."""

    name, patch_size = "ramp", 3

    def __init__(self):
        self.batches = []

    def place(self, patches, valid):
        self.batches.append(len(patches))
        first = patches[:, 0, 0].astype(np.float64)
        flags = np.zeros(len(first), np.int32)
        return Positions(first, -first, first, first, flags, flags > 0)


@pytest.mark.parametrize(("n", "batches"), [(0, [0]), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_a_contender_works_in_batches_and_keeps_the_order(n, batches):
    ramp = Ramp()
    candidate = Candidate("one", ramp, 4)
    placed = candidate.place(np.ones((n, 3, 3)) * np.arange(n)[:, None, None], np.ones((n, 3, 3)))
    assert ramp.batches == batches
    assert placed.row.tolist() == list(range(n))
    assert placed.col.tolist() == [-k for k in range(n)]
    assert candidate.name == "one"


def test_the_time_is_that_of_the_quickest_full_batch():
    ticks = iter([0.0, 8.0, 8.0, 12.0, 12.0, 12.001])
    candidate = Candidate("one", Ramp(), 4, clock=lambda: next(ticks))
    candidate.place(np.ones((9, 3, 3)), np.ones((9, 3, 3)))
    assert candidate.us_per_peak == pytest.approx(1e6)


def test_without_a_peak_there_is_no_time():
    candidate = Candidate("one", Ramp(), 4)
    candidate.place(np.ones((0, 3, 3)), np.ones((0, 3, 3)))
    assert math.isnan(candidate.us_per_peak)


def test_pair_from_words():
    assert Pair.parse("40:60.5") == Pair(40.0, 60.5)
    assert Pair.parse("0:1") == Pair(0.0, 1.0)


@pytest.mark.parametrize(
    "text", ["", "40", "40:", "40:60:80", "a:b", "-1:60", "40:0", "nan:1", "1:inf"]
)
def test_pair_that_is_none(text):
    with pytest.raises(UserError, match="MINVAL:MINSCORE"):
        Pair.parse(text)


def observations(frame, rows=None, cols=None, flags=0):
    frame = np.asarray(frame, np.int64)
    peaks = np.zeros(len(frame), PEAK)
    peaks["row"] = 0 if rows is None else rows
    peaks["col"] = 0 if cols is None else cols
    peaks["flags"] = flags
    shape = (len(frame), 11, 11)
    return Observations(Pair(1, 1), frame, peaks, {11: np.zeros(shape)}, {11: np.ones(shape, bool)})


def positions(rows, cols=0.0, sigma=0.1, flags=0):
    table = np.zeros(len(rows), POSITION)
    table["row"], table["col"] = rows, cols
    table["row_sigma"] = table["col_sigma"] = sigma
    table["flags"] = flags
    return table


def test_distances_by_population_and_frame():
    seen = observations([3, 3, 3, 9, 9], flags=[0, 0, 0, 0, EDGE])
    fit = positions(np.zeros(5), sigma=[0.1, 0.1, 0.1, 0.1, 0.1])
    other = positions([0.1, 0.2, 0.3, 0.0, 3.0], cols=[0.0, 0.0, 0.4, 0.5, 4.0])
    found = {
        (one.method, one.population): one
        for one in agreements(seen, {"gaussian": fit, "other": other}, None)
    }
    assert set(found) == {("other", "clean"), ("other", "all")}
    clean, everything = found["other", "clean"], found["other", "all"]
    assert clean.n == 4
    assert clean.percentiles == pytest.approx(np.percentile([0.1, 0.2, 0.5, 0.5], (50, 75, 95)))
    assert clean.outliers == 0.0
    assert clean.frame.tolist() == [3, 9]
    assert clean.n_of_frame.tolist() == [3, 1]
    assert clean.percentiles_of_frame[:, 0] == pytest.approx([0.2, 0.5])
    assert everything.n == 5
    assert everything.outliers == pytest.approx(0.2)
    assert everything.n_of_frame.tolist() == [3, 2]


def test_agreement_within_combined_standard_deviations():
    seen = observations([0] * 4)
    fit = positions(np.zeros(4), sigma=0.3)
    # 0.3 and 0.4 combine to 0.5: these stand 1.9, 2.1, diagonally just over 2, and 1.8 of it apart.
    other = positions([0.95, 1.05, 1.5, 0.0], cols=[0.0, 0.0, 1.5, 0.9], sigma=0.4)
    other["row_sigma"][2] = other["col_sigma"][2] = 1.0
    unknown = positions(np.zeros(4), sigma=np.nan)
    found = {
        (one.method, one.reference): one
        for one in agreements(
            seen, {"gaussian": fit, "other": other, "unknown": unknown}, np.zeros((4, 2))
        )
        if one.population == "all"
    }
    assert found["other", "gaussian"].within == pytest.approx(0.5)
    # The truth has no standard deviation of its own.
    assert found["other", "truth"].within == pytest.approx(0.0)
    assert np.isnan(found["unknown", "gaussian"].within)
    assert found["unknown", "gaussian"].n == 4


def test_independent_gaussian_errors_agree_as_stated():
    rng, n = np.random.default_rng(3), 20_000
    fit = positions(rng.normal(0.0, 0.3, n), rng.normal(0.0, 0.3, n), sigma=0.3)
    other = positions(rng.normal(0.0, 0.2, n), rng.normal(0.0, 0.2, n), sigma=0.2)
    found = agreements(observations(np.zeros(n)), {"gaussian": fit, "other": other}, None)
    assert [one.within for one in found] == pytest.approx([1.0 - np.exp(-2.0)] * 2, abs=0.01)


@pytest.mark.parametrize(("binning", "middle"), [(1, 8.0), (2, 8.5), (4, 9.5)])
def test_a_clean_peak_is_the_one_its_patch_was_cut_around(binning, middle):
    seen = observations([0] * 4, rows=8, cols=8)
    rows = middle + binning * np.array([0.0, 0.99, 1.01, -0.99])
    fit = positions(rows, cols=middle + binning * np.array([0.99, 0.0, 0.0, -1.01]))
    assert clean_peaks(seen.peaks, fit, binning).tolist() == [True, True, False, False]


def test_where_the_fit_failed_nothing_is_held_against_it():
    seen = observations([0, 0])
    fit = positions([0.0, 9.0], sigma=[0.1, np.nan])
    found = agreements(seen, {"gaussian": fit, "other": positions([0.5, 0.0])}, None)
    assert [one.n for one in found] == [1, 1]
    assert [one.percentiles[0] for one in found] == [0.5, 0.5]


def test_the_truth_is_held_against_the_fit_too():
    seen = observations([0, 0])
    truth = np.array([[0.25, 0.0], [np.nan, np.nan]])
    found = agreements(seen, {"gaussian": positions([0.0, 0.0])}, truth)
    assert [(one.method, one.reference, one.population, one.n) for one in found] == [
        ("gaussian", "truth", "clean", 1),
        ("gaussian", "truth", "all", 1),
    ]
    assert found[0].percentiles == pytest.approx([0.25] * 3)


def test_no_peaks_is_no_number():
    for one in agreements(observations([]), {"gaussian": positions([]), "x": positions([])}, None):
        assert one.n == 0
        assert np.isnan(one.percentiles).all()
        assert one.percentiles_of_frame.shape == (0, 3)


def test_clean_is_what_neither_the_patch_nor_the_fit_complains_of():
    seen = observations([0] * 5, flags=[0, EDGE, 0, 0, 0])
    fit = positions(np.zeros(5), sigma=[1, 1, np.nan, 1, 1], flags=[0, 0, 0, NEIGHBOUR, POOR_FIT])
    assert clean_peaks(seen.peaks, fit).tolist() == [True, False, False, False, False]


def test_truth_is_that_of_the_same_frame():
    truth = pa.table(
        {
            "frame": [0, 1, 2],
            "row": [50.3, 51.2, 50.0],
            "col": [50.0, 50.1, 50.0],
            "visible": [True, True, True],
            "amplitude": [100.0, 100.0, 100.0],
        }
    )
    seen = observations([0, 1, 1], rows=[50, 51, 80], cols=[50, 50, 80])
    true = true_positions(seen, truth)
    assert true[:2] == pytest.approx(np.array([[50.3, 50.0], [51.2, 50.1]]))
    assert np.isnan(true[2]).all()


def test_frames_are_spread_and_rendered_as_the_detector_would(config):
    footage = SimulatedFootage(config, 5)
    frames = list(footage.frames())
    assert [number for number, _, _ in frames] == [0, 3, 6, 9]
    assert footage.n_taken == 4
    scene = Scene(config.simulate)
    for number, pixels, correction in frames:
        assert (pixels == scene.render(number)).all()
        assert (correction.bad == scene.pixel_mask).all()


def test_a_recording_gives_the_same_peaks_and_truth_as_the_scene(config, tmp_path):
    path = tmp_path / "a_master.h5"
    write_recording(Scene(config.simulate), path, truth=True)
    pairs = [Pair(40, 60), Pair(80, 120)]
    recorded, simulated = RecordedFootage(str(path), config, 4), SimulatedFootage(config, 4)
    ours, lost = find_peaks(recorded.frames(), pairs, config.detect, [11, 9])
    theirs, _ = find_peaks(simulated.frames(), pairs, config.detect, [11, 9])
    assert not lost
    assert recorded.truth.equals(simulated.truth)
    assert len(ours[0]) >= len(ours[1]) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert (one.frame == other.frame).all()
        assert (one.peaks == other.peaks).all()
        for size in (9, 11):
            assert one.counts[size].shape == (len(one), size, size)
            assert (one.counts[size] == other.counts[size]).all()
        assert (one.counts[11][:, 1:-1, 1:-1] == one.counts[9]).all()


def test_frames_that_cannot_be_used_are_named():
    dark = Correction()
    frames = [(0, "damaged", dark), (1, np.zeros((32, 32), np.uint16), dark), (2, "gone", dark)]
    found, lost = find_peaks(iter(frames), [Pair(1, 1)], DetectConfig(), [11])
    assert lost == {0: "damaged", 2: "gone"}
    assert len(found[0]) == 0
    found, lost = find_peaks(iter(frames[:1]), [Pair(1, 1)], DetectConfig(), [11])
    assert found[0].counts[11].shape == (0, 11, 11)


def test_a_mask_of_another_shape():
    correction = Correction(bad=np.zeros((31, 32), bool))
    frames = [(0, np.zeros((32, 32), np.uint16), correction)]
    with pytest.raises(UserError, match="31 x 32 pixels, the frames have 32 x 32"):
        find_peaks(iter(frames), [Pair(1, 1)], DetectConfig(), [11])


def test_a_live_stream_is_not_touched():
    with pytest.raises(UserError, match="live stream"):
        RecordedFootage("dectris://127.0.0.1:1", Config(), 4)


@pytest.fixture
def conventional(monkeypatch):
    """Only methods that need no network."""
    made = [Candidate("gaussian", GaussianFit(), 64), Candidate("centroid", Centroid(), 64)]
    monkeypatch.setattr(comparison, "candidates", lambda _: made)


def compare(config, out, recording=None, **more):
    console = Console(quiet=True)
    comparison.compare_methods(
        config, out, recording, console, peaks=64, frames=4, cases=CASES[:2], **more
    )


@pytest.mark.usefixtures("conventional")
def test_everything_is_written_with_its_numbers(config, tmp_path):
    out = tmp_path / "new" / "evaluation"
    compare(config, out, pairs=["40:60", "40:60", "30:2000"])
    content = json.loads((out / "evaluation.json").read_text())
    assert content["figures"] == sorted(path.name for path in out.glob("*.png"))
    assert len(content["figures"]) == 6
    assert [path.name for path in out.parent.iterdir()] == ["evaluation"]
    assert len(content["simulated"]) == 6
    for row in content["simulated"]:
        assert row["rmse_over_bound"] == pytest.approx(row["rmse_px"] / row["bound_px"])
        assert row["time_us_per_peak"] > 0
        assert (row["pull"] is None) == (row["method"] == "centroid")
    low, high = content["recorded"]
    assert (low["minval_counts"], low["minscore_counts"]) == (40.0, 60.0)
    assert low["n_peaks"] > high["n_peaks"]
    held = {(one["method"], one["reference"], one["population"]) for one in low["agreements"]}
    assert held == {
        (method, reference, population)
        for method, reference in (
            ("centroid", "gaussian"), ("gaussian", "truth"), ("centroid", "truth"),
            ("as a run", "gaussian"), ("as a run", "truth"),
        )
        for population in ("clean", "all")
    }  # fmt: skip
    for one in low["agreements"]:
        assert one["p50_px"] <= one["p75_px"] <= one["p95_px"]
        assert sum(one["by_frame"]["n"]) == one["n"]
        share = one["within_2_combined_sigma_share"]
        assert share is None if one["method"] == "centroid" else 0.5 < share <= 1.0


@pytest.mark.usefixtures("conventional")
def test_what_fails_leaves_nothing(config, tmp_path):
    with pytest.raises(UserError, match="no peaks"):
        compare(config, tmp_path / "a" / "b", pairs=["60000:60000"])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("conventional")
def test_a_folder_that_is_taken_is_left_alone(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        compare(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_figures_without_peaks_are_drawn_all_the_same(tmp_path):
    nothing = (np.empty(0, np.int64), np.empty((0, 3)))
    draw_errors_by_frame(tmp_path / "a.png", "title", {"pair": {"braggnn": nothing}})
    draw_examples(tmp_path / "b.png", {"sharp": []}, "gaussian")
    example = Example("one", np.ones((5, 5)), np.zeros((5, 5), bool), {"gaussian": (0.0, 0.1)})
    draw_examples(tmp_path / "c.png", {"sharp": [], "broad": [example]}, "gaussian")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "c.png"]


def test_specimens_are_of_their_kind_and_no_spot_twice():
    n, rng = 60, np.random.default_rng(4)
    ranges = PeakRanges(amplitude=(2000, 2000), background=(10, 10), offset=0.4, voigt_share=0)
    peaks = draw_peaks(n, ranges, rng)
    counts = rng.poisson(expected_counts(peaks)).astype(np.float32)
    seen = observations(np.arange(n), rows=40 * np.arange(n), cols=50)
    # The same spot once more, on the next frame.
    seen.peaks["row"][1::2] = seen.peaks["row"][::2]
    seen = Observations(seen.pair, seen.frame, seen.peaks, {11: counts}, seen.valid)
    answers = {"gaussian": np.zeros((n, 2)), "truth": np.full((n, 2), np.nan)}
    chosen = choose_examples(seen, np.arange(n), answers, Noise())
    assert {kind: len(some) for kind, some in chosen.items()} == {
        "sharp": 3, "elongated": 3, "broad": 3
    }  # fmt: skip
    spots, widths = [], {}
    for kind, some in chosen.items():
        for one in some:
            k = int(np.flatnonzero((counts == one.counts).all(axis=(1, 2)))[0])
            spots.append(int(seen.peaks["row"][k]))
            widths.setdefault(kind, []).append((peaks.major[k], peaks.minor[k]))
            assert one.placed == {"gaussian": (0.0, 0.0)}
    assert len(set(spots)) == 9
    area = {kind: np.mean([a * b for a, b in some]) for kind, some in widths.items()}
    assert area["sharp"] < area["elongated"] < area["broad"]
    ratio = {kind: np.mean([max(w) / min(w) for w in some]) for kind, some in widths.items()}
    assert ratio["elongated"] > max(ratio["sharp"], ratio["broad"])


def test_no_clean_peak_is_no_specimen():
    seen = observations([0, 1])
    chosen = choose_examples(seen, np.empty(0, np.intp), {"gaussian": np.zeros((2, 2))}, Noise())
    assert not any(chosen.values())
