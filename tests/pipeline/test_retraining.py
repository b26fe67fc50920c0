"""Retraining as a user starts it, on what a run has read."""

from __future__ import annotations

import json

import numpy as np

from tests.pipeline.conftest import launch
from tests.settings import sets
from tests.unit.workers.learn.test_retraining import SETTINGS, odd_frames

WORDS = sets(*SETTINGS)


def test_a_run_is_learnt_from_with_its_own_settings_and_its_weights_are_used(tmp_path):
    np.save(tmp_path / "odd.npy", odd_frames())
    done = launch(
        "replay", "odd.npy", "--out", "run", *WORDS, "--set", "positions.method=centroid",
        "--set", "nodes.gpus=1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = launch("train", "--from", "run", "--out", "mine.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sigma / the fit's" in done.stdout
    assert "clean peaks of" in done.stdout
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["recording"] == "odd.npy"
    assert card["detect"]["minval"] == 120
    assert card["noise"]["gain"] == 4.0
    before, after = (card["assessments"][name]["held_out"] for name in ("before", "after"))
    assert after["rmse"] < before["rmse"]

    spoilt = launch(
        "train", "--from", "run", "--out", "mine.pt", "--set", "train.lr=100", "--patches", "256",
        cwd=tmp_path,
    )  # fmt: skip
    assert spoilt.returncode == 1
    assert len(spoilt.stderr.strip().splitlines()) == 1, spoilt.stderr
    assert "mine.pt was not written" in spoilt.stderr
    assert json.loads((tmp_path / "mine.json").read_text()) == card
