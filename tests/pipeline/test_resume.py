"""Runs whose processes are killed, and that go on where they were."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from streamer.results.folder import RunFolder
from tests.pipeline.conftest import (
    LAUNCH,
    QUICK,
    assert_each_frame_once,
    children_of,
    launch,
    summary_of,
    wait_until,
)
from tests.settings import sets

SETTINGS = [*QUICK, "source.frame_time_s=0.1", "dashboard.port=0"]
PACED = [*SETTINGS, "source.speed=4"]
"""Three seconds for all frames."""


def tables(out):
    """Return what must be the same however often a run was cut short."""
    run = RunFolder(out)
    return run.read("frames").drop_columns("latency_ms"), run.read("peaks"), run.read_tracks()


def assert_same(table, other, rtol):
    """Check that two tables have the same content."""
    assert table.schema == other.schema
    for name in table.column_names:
        got, wanted = (one[name].to_numpy(zero_copy_only=False) for one in (table, other))
        if wanted.dtype == object:
            assert got.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol, err_msg=name)


def parts(out):
    return len(RunFolder(out).parts("frames"))


def cut_short(words, out, chance, *, nodes):
    """Start a run, let it bring results, and kill it at some instant, with its nodes or alone."""
    before = parts(out)
    with subprocess.Popen([sys.executable, str(LAUNCH), *words], stdout=subprocess.DEVNULL) as run:
        wait_until(lambda: parts(out) > before)
        time.sleep(chance.uniform(0.0, 0.6))  # the instant, not something to wait for
        victims = [run.pid, *(children_of(run.pid) if nodes else ())]
        chance.shuffle(victims)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = launch("replay", str(recording), "--out", str(out), *sets(*SETTINGS))
    assert done.returncode == 0, done.stderr
    return tables(out)


@pytest.mark.timeout(400)  # seven starts of all processes
@pytest.mark.parametrize(("times", "nodes"), [(3, True), (1, False)])
def test_a_replay_that_was_killed_gives_what_one_gives_that_was_not(
    recording, undisturbed, tmp_path, times, nodes
):
    out, chance = tmp_path / "run", random.Random(20261128 + nodes)
    words = ["replay", str(recording), "--out", str(out)]
    cut_short([*words, *sets(*PACED)], out, chance, nodes=nodes)
    for _ in range(times - 1):
        cut_short([*words, "--resume"], out, chance, nodes=nodes)
    refused = launch(*words)
    assert (refused.returncode, "--resume goes on with it" in refused.stderr) == (2, True)
    done = launch(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert_each_frame_once(out)
    for table, other, rtol in zip(tables(out), undisturbed, (0.0, 0.0, 1e-9), strict=True):
        assert_same(table, other, rtol)  # of tracks, sums go by parts, which are others each time
    summary = summary_of(out)
    assert (summary["state"], len(summary["resumed"])) == ("done", times)
    again = launch(*words, "--resume")
    assert (again.returncode, "nothing to resume" in again.stdout) == (0, True)
