"""Thresholds that are changed while a run goes on, with all its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from streamer.results import open_run
from streamer.results.thresholds import read_changes
from tests.pipeline.conftest import (
    LAUNCH,
    QUICK,
    assert_each_frame_once,
    children_of,
    launch,
    summary_of,
    wait_until,
)
from tests.served import free_port
from tests.settings import sets

SETS = [*QUICK, "detect.minval=20", "detect.minscore=30", "source.frame_time_s=0.1",
        "nodes.detectors=2"]  # fmt: skip
MANY, FEW = (20, 30), (2000, 2000)


def start(recording, out, *words):
    """Start a run; returns its process and the page's address with the control token."""
    command = [sys.executable, str(LAUNCH), "replay", str(recording), "--out", str(out),
               "--dashboard", str(free_port()), *words]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "#control=" in line:
            url, _, token = line.split()[-1].partition("#control=")
            return process, url, token
    raise AssertionError(process.wait())


def post(url, token, minval, minscore, **headers):
    body = json.dumps({"minval": minval, "minscore": minscore}).encode()
    more = {"Content-Type": "application/json", "X-Braggstream-Control": token, **headers}
    request = urllib.request.Request(f"{url}api/runs/run/thresholds", body, more)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def changed(out, count):
    return len(read_changes(out)) == count and read_changes(out)[-1].frame >= 0


@pytest.fixture(scope="module")
def counts(recording, tmp_path_factory):
    """Peaks on each frame, by thresholds, of runs whose thresholds stay."""
    found = {}
    for pair in (MANY, FEW):
        out = tmp_path_factory.mktemp("steady") / "run"
        limits = [f"detect.minval={pair[0]}", f"detect.minscore={pair[1]}"]
        done = launch("replay", str(recording), "--out", str(out), "--dashboard", "0",
                      *sets(*QUICK, *limits))  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[pair] = open_run(out).frames["n_peaks"].to_numpy()
    assert (found[MANY] > found[FEW]).all()
    return found


def assert_as_recorded(out, counts):
    """Check each frame's peaks against the thresholds that the run says it had."""
    wanted, limits = np.empty(len(counts[MANY]), int), MANY
    changes = {one.frame: (one.minval, one.minscore) for one in read_changes(out)}
    for frame in range(len(wanted)):
        limits = changes.get(frame, limits)
        wanted[frame] = counts[limits][frame]
    assert open_run(out).frames["n_peaks"].to_numpy().tolist() == wanted.tolist()


@pytest.mark.timeout(400)  # at a pace, and resumed
def test_thresholds_hold_from_the_frame_that_is_recorded_whatever_dies(recording, counts, tmp_path):
    out = tmp_path / "run"
    process, url, token = start(recording, out, *sets(*SETS, "source.speed=0.2"))
    wait_until(lambda: (out / "peaks").is_dir() and any((out / "peaks").iterdir()))
    assert post(url, "no token of this run", *FEW) == 403
    assert post(url, token, *FEW, Origin="http://evil.example") == 403
    assert post(url, token, *FEW) == 202
    wait_until(lambda: changed(out, 1))
    # A worker that dies is told by who sends it frames, wherever it is then.
    names = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children_of(process.pid)}
    victim = next(pid for pid, name in names.items() if "detector-0" in name)
    os.kill(victim, signal.SIGKILL)
    assert post(url, token, *MANY) == 202
    wait_until(lambda: changed(out, 2))
    assert post(url, token, *FEW) == 202
    wait_until(lambda: changed(out, 3))
    # The launcher and all nodes die, and another launcher goes on.
    for pid in [*children_of(process.pid), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    done = launch("replay", str(recording), "--out", str(out), "--resume")
    assert done.returncode == 0, done.stderr
    assert_each_frame_once(out)
    assert_as_recorded(out, counts)
    assert summary_of(out)["delivery"]["duplicates"] >= 0
    told = summary_of(out)["threshold_changes"]
    assert [line.split("UTC: ")[1].partition(" from")[0] for line in told] == [
        f"minval {minval}, minscore {minscore}" for minval, minscore in (FEW, MANY, FEW)
    ]
    table = open_run(out).thresholds.to_pandas()
    assert table["minval"].tolist() == [FEW[0], MANY[0], FEW[0]]
    assert table["frame"].is_monotonic_increasing
    assert "thresholds" in launch("status", str(out)).stdout
    assert not (out / "control.token").exists()


@pytest.mark.timeout(120)
def test_a_run_can_be_had_that_nobody_changes(recording, tmp_path):
    out = tmp_path / "run"
    done = launch("replay", str(recording), "--out", str(out), "--dashboard", str(free_port()),
                  *sets(*SETS, "dashboard.control=false"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "#control" not in done.stdout
