"""Retraining: what is learnt from, what is held out, and that nothing gets worse."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from streamer.config import Config, load_config
from streamer.errors import RunError, UserError
from streamer.simulator.patches import PeakRanges, draw_peaks, expected_counts
from streamer.simulator.profiles import draw_spots
from workers.detect.survey import Pair, RecordedFootage, find_peaks
from workers.learn.assessment import Assessment, Simulated, grew_worse
from workers.learn.examples import draw_examples, join, measured_examples, noisy_counts
from workers.learn.labels import Labels, draw_like, held_out, integrated_counts, label
from workers.learn.objective import loss_of
from workers.learn.retraining import recording_of, retrain
from workers.place.fit.methods import Noise
from workers.place.network.architecture import WEIGHTS, Architecture
from workers.place.network.braggnn import BraggNN
from workers.place.network.checkpoints import load_network

GAIN = 4.0
SETTINGS = [
    "detect.minval=120", "detect.minscore=200", f"positions.gain={GAIN}",
    "train.patches=40960", "train.batch=256", "train.device=cpu",
]  # fmt: skip


def odd_frames(n: int = 16, side: int = 200, seed: int = 3) -> np.ndarray:
    """Frames of a detector that gives 4 counts per photon, with spots narrower than usual.

    The spots stay where they are on average and move a little from frame to frame.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(14, side - 10, 22.0)] * 2), axis=-1).reshape(-1, 2)
    home = grid + rng.uniform(-2, 2, grid.shape)
    shape = np.stack([
        np.exp(rng.uniform(np.log(60), np.log(1500), len(grid))),
        rng.uniform(0.8, 2.0, len(grid)),
        rng.uniform(0.3, 0.5, len(grid)),
        rng.uniform(0, np.pi, len(grid)),
        np.zeros(len(grid)),
    ], axis=1)  # fmt: skip
    frames = np.empty((n, side, side), np.int32)
    for number in range(n):
        image = np.full((side, side), 5.0, np.float32)
        draw_spots(image, np.hstack([home + rng.normal(0, 0.5, home.shape), shape]))
        frames[number] = GAIN * rng.poisson(image)
    return frames


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "odd.npy"
    np.save(path, odd_frames())
    return path


@pytest.fixture(scope="module")
def retrained(odd, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("retrained") / "mine.pt"
    retrain(load_config(None, SETTINGS), str(odd), out, quiet())
    return out


def quiet() -> Console:
    return Console(file=io.StringIO(), width=120)


def settings(*more: str) -> Config:
    return load_config(None, [*SETTINGS, *more])


@pytest.fixture(scope="module")
def labels(odd) -> Labels:
    config = settings()
    footage = RecordedFootage(str(odd), config, 100)
    pair = Pair(config.detect.minval, config.detect.minscore)
    (found,), _ = find_peaks(footage.frames(), [pair], config.detect, [11])
    return label(found, Noise(GAIN))


def before_and_after(weights: Path) -> list[dict]:
    card = json.loads(weights.with_suffix(".json").read_text())
    return [card["assessments"][name] for name in ("before", "after")]


def test_a_network_comes_nearer_to_the_fit_on_frames_it_has_not_seen(retrained):
    before, after = (assessment["held_out"] for assessment in before_and_after(retrained))
    assert before["rmse"] > 0.02
    assert after["p50"] < 0.8 * before["p50"]
    assert after["rmse"] < 0.9 * before["rmse"]
    assert after["over_combined_sigma"] < 0.7 * before["over_combined_sigma"]
    assert before["poor"] > 0.2
    assert after["poor"] < 0.02
    network, _ = load_network(retrained)
    assert network.architecture == load_network(WEIGHTS / "compact.pt")[0].architecture


def test_sigma_stays_honest_though_labels_share_their_error_with_the_counts(retrained):
    """The default network knows nothing of the gain: it believes itself twice too exact."""
    before, after = before_and_after(retrained)
    assert before["simulated"]["pull"] > 1.5
    assert 0.85 < after["simulated"]["pull"] < 1.15
    assert 0.85 < after["held_out"]["sigma_over_fit"] < 1.15


def test_the_card_says_what_was_learnt_from(retrained, odd):
    card = json.loads(retrained.with_suffix(".json").read_text())
    assert card["recording"] == str(odd)
    assert card["recipe"]["start"] == "compact.pt"
    assert card["noise"] == {"gain": GAIN, "read_noise": 0.0}
    assert 0.15 < card["held_out"] / (card["held_out"] + card["learnt_from"]) < 0.3
    first, last = card["held_out_frames"]
    assert 0 <= first <= last < 16
    assert card["fitted"]["minor"][1] < 0.6


def test_same_recording_and_seed_give_the_same_weights(odd, tmp_path):
    few = settings("train.patches=1024")
    for name in ("one", "two"):
        retrain(few, str(odd), tmp_path / f"{name}.pt", quiet())
    one, two = (load_network(tmp_path / f"{name}.pt")[0].state_dict() for name in ("one", "two"))
    start = load_network(WEIGHTS / "compact.pt")[0].state_dict()
    assert all(torch.equal(one[name], two[name]) for name in start)
    assert not all(torch.equal(one[name], start[name]) for name in start)


def test_the_published_network_is_retrained_too(odd, tmp_path):
    config = settings("train.architecture=published", "train.patches=4096", "train.lr=5e-4")
    retrain(config, str(odd), tmp_path / "mine.pt", quiet())
    before, after = before_and_after(tmp_path / "mine.pt")
    assert after["held_out"]["poor"] < before["held_out"]["poor"]
    assert len(load_network(tmp_path / "mine.pt")[0].architecture.channels) == 3


def test_weights_that_got_worse_are_not_written(odd, tmp_path):
    console = quiet()
    with pytest.raises(RunError, match=r"mine.pt was not written.*worse than before: .* grew from"):
        retrain(
            settings("train.patches=4096", "train.lr=100"),
            str(odd),
            tmp_path / "new" / "mine.pt",
            console,
        )
    assert list(tmp_path.iterdir()) == []
    assert "Before and after" in console.file.getvalue()


def test_better_weights_are_not_replaced(odd, retrained, tmp_path):
    """One step from the default weights: no worse than these, but worse than what is there."""
    out = Path(shutil.copy(retrained, tmp_path / "good.pt"))
    with pytest.raises(RunError, match=r"worse than that of good\.pt"):
        retrain(settings("train.patches=1", "train.lr=1e-6"), str(odd), out, quiet())
    assert out.read_bytes() == retrained.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["good.pt"]


def test_retraining_goes_on_from_given_weights(odd, retrained, tmp_path):
    config = settings(f"train.start={retrained}", "train.patches=1", "train.lr=1e-9")
    retrain(config, str(odd), tmp_path / "mine.pt", quiet())
    old, new = (load_network(path)[0].state_dict() for path in (retrained, tmp_path / "mine.pt"))
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, atol=1e-6, rtol=0)


def test_labels_are_clean_and_know_their_error(labels):
    spots = 9 * 9 * 16
    assert 0.4 * spots < len(labels) < spots
    assert (labels.sigma < 0.25).all()
    assert (np.abs(labels.offsets) <= 1.0).all()
    assert labels.valid.all()
    assert 0.3 < np.median(labels.peaks.minor) < 0.5


def test_the_wrong_noise_leaves_few_labels(odd):
    with pytest.raises(UserError, match=r"are clean and well fitted, 200 are needed.*gain"):
        retrain(settings("positions.gain=1"), str(odd), Path("never.pt"), quiet())


def test_held_out_peaks_are_those_of_one_stretch_of_frames():
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(1, 40, rng.integers(2, 60))
        numbers = np.sort(rng.choice(500, len(counts), replace=False))
        frame = np.repeat(numbers, counts)
        test = held_out(frame, 0.2, rng)
        chosen = np.flatnonzero(np.isin(numbers, frame[test]))
        assert (np.diff(chosen) == 1).all()
        assert not set(frame[test]) & set(frame[~test])
        assert 0 < test.sum() < len(frame)
        if len(counts) > 20:
            assert 0.15 < test.mean() < 0.35


def test_the_seed_chooses_the_stretch():
    frame = np.repeat(np.arange(50), 10)
    chosen = {held_out(frame, 0.2, np.random.default_rng(seed)).argmax() for seed in range(20)}
    assert len(chosen) > 5


def test_one_frame_cannot_be_split():
    with pytest.raises(UserError, match="fewer than two frames"):
        held_out(np.full(500, 7), 0.2, np.random.default_rng(0))


def test_peaks_drawn_anew_keep_what_belongs_together(labels):
    rng = np.random.default_rng(1)
    drawn = draw_like(labels.peaks, 5000, 0.7, rng)
    known = set(zip(labels.peaks.major, labels.peaks.minor, labels.peaks.angle, strict=True))
    assert set(zip(drawn.major, drawn.minor, drawn.angle, strict=True)) <= known
    assert np.abs(drawn.row).max() <= 0.7
    assert np.abs(np.corrcoef(drawn.row, drawn.col)[0, 1]) < 0.05
    medians = np.median(drawn.amplitude), np.median(labels.peaks.amplitude)
    assert medians[0] == pytest.approx(medians[1], rel=0.1)


def test_narrow_peaks_are_integrated_over_their_pixels():
    narrow = PeakRanges(width=(0.35, 0.69), amplitude=(100, 100), background=(1, 1))
    peaks = draw_peaks(50, narrow, np.random.default_rng(2))
    nodes = (np.arange(20) + 0.5) / 20 - 0.5
    wanted = np.mean(
        [
            expected_counts(replace(peaks, row=peaks.row - y, col=peaks.col - x))
            for y in nodes
            for x in nodes
        ],
        axis=0,
    )
    found = integrated_counts(peaks, 11)
    assert np.abs(found - wanted).max() < 0.6
    assert np.abs(expected_counts(peaks) - wanted).max() > 5.0
    broad = draw_peaks(50, PeakRanges(width=(0.8, 2.0)), np.random.default_rng(2))
    np.testing.assert_array_equal(integrated_counts(broad, 11), expected_counts(broad))


@pytest.mark.parametrize(("gain", "read_noise"), [(1.0, 0.0), (5.0, 0.0), (2.0, 3.0), (0.0, 4.0)])
def test_counts_scatter_as_the_noise_says(gain, read_noise):
    expected = np.full((400, 11, 11), 60.0)
    counts = noisy_counts(expected, Noise(gain, read_noise), np.random.default_rng(3))
    assert counts.mean() == pytest.approx(60.0, abs=0.3)
    assert counts.var() == pytest.approx(60.0 * gain + read_noise**2, rel=0.03)


def test_recorded_patches_teach_sigma_nothing():
    rng = np.random.default_rng(4)
    patches = rng.poisson(20.0, (6, 11, 11)).astype(np.float32)
    recorded = measured_examples(patches, np.ones(patches.shape, np.bool_), np.zeros((6, 2)))
    both = join([draw_examples(6, 11, PeakRanges(), rng), recorded])
    assert both.measured.tolist() == [False] * 6 + [True] * 6
    answers = torch.full((12, 5), 0.1, requires_grad=True)
    loss_of(
        answers,
        torch.from_numpy(both.inputs.guess[:, None]),
        torch.from_numpy(both.offsets),
        torch.from_numpy(both.spoilt),
        torch.from_numpy(both.measured),
    ).backward()
    clean = torch.from_numpy(~both.spoilt)
    assert (answers.grad[6:, 2:4] == 0.0).all()
    assert (answers.grad[:6][clean[:6], 2:4] != 0.0).all()
    assert (answers.grad[6:, :2] != 0.0).all()


def assessment(rng, error=0.05, sigma=0.1, poor=0.02, n=600, places=60) -> Assessment:
    """A network's assessment: `error` in pixels, sigma against a fit's of 0.1 px."""
    return Assessment(
        error=rng.normal(0.0, error, (n, 2)),
        sigma=np.full((n, 2), sigma) * np.exp(rng.normal(0, 0.05, (n, 2))),
        fit_sigma=np.full((n, 2), 0.1),
        poor=rng.random(n) < poor,
        place=np.arange(n) % places,
        simulated=Simulated(1.0, 1.0, 0.0),
        cases=[],
    )


def test_no_network_is_worse_than_itself():
    one = assessment(np.random.default_rng(5))
    assert grew_worse(one, one) is None


def test_chance_is_not_taken_for_a_loss():
    """Networks that are equally good: with two standard errors few pairs of them seem not to be."""
    rng = np.random.default_rng(6)
    worse = [grew_worse(assessment(rng), assessment(rng)) is not None for _ in range(300)]
    assert np.mean(worse) < 0.12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": 0.07}, "distance from the fit"),
        ({"error": np.nan}, "distance from the fit"),
        ({"sigma": 0.15}, "sigma over the fit's"),
        ({"sigma": np.nan}, "sigma over the fit's"),
        ({"poor": 0.10}, "poor fit"),
    ],
)
def test_a_loss_is_seen_and_a_gain_is_none(change, words):
    rng = np.random.default_rng(7)
    good, bad = assessment(rng), assessment(rng, **change)
    assert words in grew_worse(good, bad)
    assert grew_worse(bad, good) is None


def test_what_happens_at_one_place_is_one_witness():
    """A loss on one spot of sixty, on all its frames, may be chance; on half of them it is not."""
    before = assessment(np.random.default_rng(8))
    for places, seen in ((1, False), (30, True)):
        far = np.where(before.place < places, 3.0, 1.0)[:, None] * before.error
        assert (grew_worse(before, replace(before, error=far)) is not None) == seen


def test_what_hardly_matters_is_no_loss():
    before = assessment(np.random.default_rng(9), n=100_000, places=50_000)
    assert grew_worse(before, replace(before, error=1.005 * before.error)) is None
    assert grew_worse(before, replace(before, error=1.05 * before.error)) is not None


def make_run(folder: Path, source: str) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"source": source}))
    (folder / "config.yaml").write_text("detect:\n  minval: 77\n")
    return folder


def test_a_run_leads_to_its_recording_and_configuration(odd, tmp_path):
    folder = make_run(tmp_path / "run", str(odd))
    assert recording_of(str(folder)) == (str(odd), folder / "config.yaml")
    assert recording_of(str(odd)) == (str(odd), None)
    live = make_run(tmp_path / "live", "dectris://host:31001")
    (live / "config.yaml").write_text(f"source:\n  record: {odd}\n")
    assert recording_of(str(live)) == (str(odd), live / "config.yaml")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dectris://host:31001", "was attached to dectris://host:31001 and kept no frames: record"),
        ("gone.npy", r"what this run read is gone \(gone.npy does not exist\); give --from it"),
    ],
)
def test_runs_without_frames(tmp_path, source, message):
    with pytest.raises(UserError, match=message):
        recording_of(str(make_run(tmp_path / "run", source)))


def test_a_damaged_run(tmp_path):
    for content in ("{", "[]", "{}"):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(UserError, match=r"run\.json is damaged"):
            recording_of(str(tmp_path))


def test_a_live_stream_has_no_frames_yet():
    with pytest.raises(UserError, match="is a live stream: record"):
        recording_of("dectris://host:31001")


def test_mistakes(odd, tmp_path):
    frames = odd_frames(2)
    np.save(tmp_path / "empty.npy", np.zeros((3, 64, 64), np.uint16))
    np.save(tmp_path / "one.npy", np.concatenate([frames[:1], np.zeros_like(frames[:1])]))
    np.save(tmp_path / "short.npy", frames)
    torch.save(BraggNN(Architecture()).state_dict(), tmp_path / "untrained.pth")
    out = tmp_path / "mine.pt"
    for path, more, message in (
        ("nowhere.npy", [], "does not exist"),
        ("empty.npy", [], "no peaks"),
        ("one.npy", [], "200 are needed: take more frames"),
        ("short.npy", [], "200 are needed: take more frames"),
        (odd, ["positions.gain=0"], "one must be above 0"),
        (odd, [f"train.start={odd}"], "not a checkpoint"),
        (odd, [f"train.start={tmp_path / 'untrained.pth'}"], "px off on known peaks|another make"),
    ):
        with pytest.raises(UserError, match=message):
            retrain(settings(*more), str(tmp_path / path), out, quiet())
    for place, message in ((tmp_path, "is a folder"), (odd, "not a checkpoint")):
        before = odd.read_bytes()
        with pytest.raises(UserError, match=message):
            retrain(settings(), str(odd), place, quiet())
        assert odd.read_bytes() == before
    assert not out.exists()
