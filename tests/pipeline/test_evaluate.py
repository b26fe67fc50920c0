"""The command that compares the position methods, as a user starts it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.pipeline.conftest import launch

METHODS = ["braggnn", "gaussian", "pseudovoigt", "centroid"]


def test_methods_on_a_recording_with_its_truth(recording, tmp_path):
    out = tmp_path / "methods"
    done = launch(
        "evaluate", str(recording), "--out", str(out), "--peaks", "300", "--frames", "6",
        "--pair", "40:60", "--pair", "80:120",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"figures and evaluation.json in {out}"
    content = json.loads((out / "evaluation.json").read_text())
    assert content["frames_taken"] == 6
    assert content["frames_lost"] == {}
    assert set(METHODS) <= {row["method"] for row in content["simulated"]}
    of = {(row["method"], row["case"]): row for row in content["simulated"]}
    for method in METHODS:
        assert 0.7 < of[method, "SNR 100"]["rmse_over_bound"] < 1.6
    for pair in content["recorded"]:
        assert pair["n_clean_peaks"] > 10
        for one in pair["agreements"]:
            if one["population"] == "clean" and one["method"] != "centroid":
                assert one["p50_px"] < 0.1
    assert {path.name for path in out.iterdir()} == {*content["figures"], "evaluation.json"}
    assert "error_by_frame_gaussian_clean.png" in content["figures"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.h5"], "nowhere.h5 does not exist"),
        (["--pair", "40"], "MINVAL:MINSCORE"),
        (["--peaks", "0"], "at least 1"),
        (["dectris://127.0.0.1:1"], "live stream"),
        (["empty.npy"], "no peaks"),
        (["--set", "positions.checkpoint=empty.npy"], "empty.npy"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, words, message):
    np.save(tmp_path / "empty.npy", np.zeros((3, 32, 32), np.uint16))
    done = launch("evaluate", *words, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert message in done.stderr
    # What it is at is said, should it take long.
    assert all(": " in line for line in done.stdout.splitlines())
    assert [path.name for path in tmp_path.iterdir()] == ["empty.npy"]
