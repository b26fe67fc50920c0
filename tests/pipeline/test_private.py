"""Whose files a run's are."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.pipeline.conftest import QUICK, launch, run
from tests.settings import sets


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> set[int]:
    """Return the modes of a folder and all that is in it."""
    return {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def test_a_run_is_its_users_alone(recording, tmp_path):
    runs = tmp_path / "runs"
    run(recording, runs / "run", f"metrics.targets={tmp_path / 'all' / 'targets'}")
    assert modes(runs / "run") == {0o700, 0o600}
    assert stat.S_IMODE(runs.stat().st_mode) == 0o755  # of other runs, too
    assert modes(tmp_path / "all") == {0o755}  # a Prometheus is another user
    assert os.umask(0o022) == 0o022


def test_a_run_is_shared_where_its_user_says_so(recording, tmp_path):
    run(recording, tmp_path / "run", "shared=true")
    assert modes(tmp_path / "run") == {0o755, 0o644}


def test_a_recording_of_a_stream_is_its_users_alone(detector, tmp_path):
    done = launch("record", detector("--rate", "max"), "--out", str(tmp_path / "kept" / "x.h5"))
    assert done.returncode == 0, done.stderr
    assert modes(tmp_path / "kept" / "x.h5") == {0o600}


def test_a_demo_is_its_users_alone_and_its_detector_waits_for_the_workers(tmp_path):
    settings = [*QUICK, "simulate.rate_hz=200", "simulate.frames=120"]
    out = tmp_path / "demo"
    done = launch("demo", "--out", str(out), "--dashboard", "0", *sets(*settings))
    assert done.returncode == 0, done.stderr
    assert modes(out) == {0o700, 0o600}
    summary = json.loads((out / "run" / "run.json").read_text())
    assert (summary["frames"]["done"], summary["delivery"]["early"]) == (120, 0)
