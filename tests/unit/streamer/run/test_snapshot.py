from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from rich.console import Console

from streamer.errors import RunError
from streamer.results.folder import RunFolder
from streamer.results.summary import Delivery
from streamer.run.launcher import this_process
from streamer.run.snapshot import LIVE_FILE, _announced, take_snapshot
from streamer.run.status import print_status, status_json
from streamer.run.supervisor import Phase
from streamer.run.topology import NodeSpec
from streamer.transport.messages import Status
from tests.conftest import ROOT


class Node:
    """A node that has said what it has counted."""

    process, alive, restarts = None, True, 0

    def __init__(self, name, info=None, **stats):
        self.spec = NodeSpec(
            name=name, source="", out="", endpoints={}, detectors=1, gpus=1, patch_size=11
        )
        self.info = info or {}
        self.status = Status(name, 1, "running", "", 0, stats, self.info)

    def stat(self, name):
        return self.status.stats.get(name, 0.0)


class Supervisor:
    """Looks after nodes that are made up."""

    phase, restarted = Phase.RUNNING, 2

    def __init__(self):
        self.nodes = {
            "sink": Node(
                "sink",
                {"feed": "tcp://x:1"},
                done=30,
                missing=2,
                duplicate=3,
                refused=1,
                disk_errors=9,
            ),
            "gpu-0": Node("gpu-0", redelivered=5, disagreement_px=0.01),
            "gpu-1": Node("gpu-1", redelivered=6, disagreement_px=0.02, refused=3),
            "ingest": Node("ingest", {"ignored": "4 stray"}, redelivered=7, received=40),
        }


def test_a_snapshot_sums_what_the_nodes_have_counted_and_status_reads_it_from_its_file(tmp_path):
    now = take_snapshot(Supervisor(), "x.h5", 0.0, 480)
    assert now.delivery == Delivery(
        redelivered=18, duplicates=3, restarts=2, refused=4, ignored="4 stray", disk_errors=9
    )
    assert (now.settled, now.received, now.disagreement_px) == (32, 40, 0.02)
    run = RunFolder.create(tmp_path / "run")
    run.write_summary({"state": "running"})
    (run.path / LIVE_FILE).write_text(json.dumps(asdict(now)))
    said = io.StringIO()
    print_status(run.path, Console(file=said, width=200))
    lines = said.getvalue().splitlines()
    for name, words in (("sent again", " 18 "), ("frames", " 32 of 480 settled ")):
        assert any(name in line and words in line for line in lines)


def test_what_a_node_does_before_it_is_at_work_is_in_the_snapshot():
    supervisor = Supervisor()
    assert take_snapshot(supervisor, "x.h5", 0.0, 480).start == ""
    for doing in ("starting", "compiling"):
        supervisor.nodes["sink"].status = Status("sink", 1, "starting", doing, 0, {})
        now = take_snapshot(supervisor, "x.h5", 0.0, 480)
        assert now.start == ("" if doing == "starting" else doing)


@pytest.mark.parametrize("is_written", [True, False])
def test_status_tells_a_run_whose_launcher_died_from_one_that_goes_on(tmp_path, is_written):
    run = RunFolder.create(tmp_path / "run")
    running = {"state": "running", "started": "then", "launcher": this_process()}
    if is_written:
        now = take_snapshot(Supervisor(), "x.h5", 0.0, 480)
        (run.path / LIVE_FILE).write_text(json.dumps(asdict(now)))
    said = io.StringIO()
    run.write_summary(running)
    print_status(run.path, Console(file=said, width=200))
    assert ("Run running" if is_written else "starting since then") in said.getvalue()
    running["launcher"]["start"] -= 1  # a process of that number that is not there any more
    run.write_summary(running)
    with pytest.raises(RunError, match=r"^the launcher died; what is in .*run is whole$"):
        print_status(run.path, Console(file=said, width=200))
    assert ("Run when last heard of" in said.getvalue()) == is_written


def test_programs_read_how_a_run_stands(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    running = {"state": "running", "started": "then", "launcher": this_process()}
    run.write_summary(running)
    now = take_snapshot(Supervisor(), "x.h5", 0.0, 480)
    (run.path / LIVE_FILE).write_text(json.dumps(asdict(now)))
    text, is_well = status_json(run.path)
    said = json.loads(text)
    assert (said["state"], said["live"]["expected"], is_well) == ("running", 480, True)
    assert said["heard_s_ago"] >= 0
    running["launcher"]["start"] -= 1
    run.write_summary(running)
    text, is_well = status_json(run.path)
    assert (json.loads(text)["state"], is_well) == ("died", False)
    run.write_summary({"state": "done", "peaks": 7})
    text, is_well = status_json(run.path)
    said = json.loads(text)
    assert (said["state"], said["peaks"], said["live"], is_well) == ("done", 7, None, True)


def test_who_asks_how_a_run_stands_waits_for_nothing_heavy():
    heavy = {"numpy", "pyarrow", "zmq", "pydantic"}
    code = f"import sys, streamer.run.status; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    ("books", "total"),
    [
        ({"series/1": '{"announced": 6000}', "gone": ""}, 6000),
        ({"series/1": '{"announced": 6000}', "series/2": '{"announced": 40}'}, 6040),
        ({"series/1": '{"announced": 6000}', "series/2": '{"announced": null}'}, None),
        ({"series/1": "{"}, None),
        ({}, None),
    ],
)
def test_frames_of_a_stream_are_those_that_its_series_announced(books, total):
    assert _announced(books) == total
