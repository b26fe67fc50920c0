"""Whole runs on a Dask cluster of three workers, which stand for hosts, on this machine."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cluster.conftest import FRAMES, Run, children_of, end_at_once, parent_of
from tests.pipeline.conftest import assert_each_frame_once, assert_whole, is_alive, wait_until

pytestmark = pytest.mark.timeout(300)

PLACED = ("placement.scheduler=local:3", "placement.hosts=3", "source.speed=0.8")
APART = "placement.pin={sink: ['0'], ingest: ['0', '2'], gpu: ['1', '2'], detector: ['1', '2']}"
"""Workers of Dask by their names."""


@pytest.mark.parametrize("victim", ["detector-0", "ingest"])
def test_what_is_lost_with_a_host_is_started_on_another_and_no_frame_is(
    recording, tmp_path, started, victim
):
    run = Run(started, str(recording), tmp_path / "run", [*PLACED, APART])
    run.await_frames(40)
    worker = parent_of(run.nodes()[victim]["pid"])
    gone = {name for name, node in run.nodes().items() if parent_of(node["pid"]) == worker}
    end_at_once([worker, *children_of(worker)])
    assert run.end() == 0
    assert_each_frame_once(run.out, FRAMES)
    assert run.summary["delivery"]["restarts"] >= len(gone) >= 1


def test_ctrl_c_is_for_the_launcher_which_has_what_came_brought_to_an_end(
    recording, tmp_path, started
):
    run = Run(started, str(recording), tmp_path / "run", PLACED)
    run.await_frames(40)
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    assert run.end() == 0
    assert run.summary["state"] == "stopped"
    assert run.summary["delivery"]["restarts"] == 0
    assert_whole(run.out)


def test_nodes_end_with_their_launcher_and_the_run_goes_on_later(recording, tmp_path, started):
    run = Run(started, str(recording), tmp_path / "run", PLACED)
    run.await_frames(40)
    nodes = [node["pid"] for node in run.nodes().values()]
    assert all(map(is_alive, nodes))
    run.process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, nodes)))
    assert run.resume() == 0
    assert_each_frame_once(run.out, FRAMES)
