"""Which runs can be gone on with; the runs themselves are made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from streamer.config import load_config
from streamer.errors import UserError
from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES, PEAKS
from streamer.run.launcher import this_process
from streamer.run.resume import refuse_unfinished, take_up
from streamer.run.snapshot import LIVE_FILE
from streamer.transport.messages import EPOCH

STARTED = "2026-11-28T01:02:03.000+00:00"
DEAD = this_process() | {"start": 0}


@pytest.fixture
def make(tmp_path):
    def make(state="running", launcher=DEAD, source="x.h5", settings=(), upto=None):
        folder = RunFolder.create(tmp_path / "run")
        says = {"state": state, "launcher": launcher, "source": source, "started": STARTED}
        folder.write_summary(says)
        (folder.path / "config.yaml").write_text(load_config(None, list(settings)).to_yaml())
        if upto is not None:
            empty = [table.empty_table() for table in (FRAMES, PEAKS)]
            folder.write_part(0, *empty, upto=upto, next_track=0)
        return folder.path

    return make


@pytest.mark.parametrize("state", ["running", "failed", "stopped"])
def test_a_run_that_did_not_end_goes_on_as_it_began(make, state):
    out = make(state, settings=["detect.minval=50"])
    earlier = take_up(out, "x.h5", load_config())
    assert earlier.config.detect.minval == 50
    assert (earlier.started, earlier.resumed, earlier.incarnation) == (1795827723.0, [], 1)


@pytest.mark.parametrize(("upto", "incarnation"), [(7, 1), (2 * EPOCH + 7, 3)])
def test_numbers_of_a_detector_begin_after_all_that_is_on_disk(make, upto, incarnation):
    out = make(source="dectris://a:1", upto=upto)
    assert take_up(out, "dectris://a:1", load_config()).incarnation == incarnation


def test_a_run_that_is_done_has_nothing_to_resume(make):
    assert take_up(make("done"), "x.h5", load_config()) is None


def test_a_run_that_goes_on_is_left_alone(make):
    with pytest.raises(UserError, match=r"goes on: there is nothing to resume"):
        take_up(make(launcher=this_process()), "x.h5", load_config())


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        take_up(tmp_path, "x.h5", load_config())


def test_another_source_is_refused_and_another_way_to_write_it_is_not(make, tmp_path, monkeypatch):
    out = make()
    with pytest.raises(UserError, match=r"is one of x\.h5, not of y\.h5"):
        take_up(out, "y.h5", load_config())
    monkeypatch.chdir(tmp_path)
    assert take_up(out, str(tmp_path / "x.h5"), load_config()) is not None


def test_another_setting_is_refused_by_its_key_and_the_same_one_is_not(make):
    out = make(settings=["detect.minval=50", "positions.method=centroid"])
    for setting, words in (
        ("detect.minval=51", r"detect\.minval is 50\.0 in .*, not 51\.0"),
        ("detect.minscore=5", r"detect\.minscore is auto in .*, not 5\.0"),
    ):
        with pytest.raises(UserError, match=words):
            take_up(out, "x.h5", load_config(None, ["positions.method=centroid", setting]))
    assert take_up(out, "x.h5", load_config(None, ["detect.minval=50"])) is not None


def test_the_hosts_may_be_others(make):
    dask = ["placement.engine=dask", "placement.pin={sink: [b]}"]
    out = make(settings=[*dask, "placement.scheduler=tls://a:1", "placement.lease_s=9"])
    now = [*dask, "placement.scheduler=tls://b:2", "placement.hosts=3", "placement.pin={}"]
    placement = take_up(out, "x.h5", load_config(None, now)).config.placement
    assert (placement.scheduler, placement.hosts, placement.pin) == ("tls://b:2", 3, {})
    assert placement.lease_s == 9
    with pytest.raises(UserError, match=r"placement.lease_s is 9.0 .* not 5.0"):
        take_up(out, "x.h5", load_config(None, [*now, "placement.lease_s=5"]))


def test_nodes_that_still_work_are_not_joined_by_others(make, monkeypatch, tmp_path):
    out = make()
    monkeypatch.setattr("streamer.run.resume._PATIENCE_S", 0.1)
    words = [sys.executable, "-c", "print(flush=True); input()", str(tmp_path / "sink.json")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        pid = process.pid
        process.stdout.readline()  # it has begun
        live = {"nodes": [{"name": "sink", "pid": pid}, {"name": "ingest", "pid": pid}]}
        (out / LIVE_FILE).write_text(json.dumps(live))
        with pytest.raises(UserError, match=rf"^sink \(process {pid}\) of the run in .* end them"):
            take_up(out, "x.h5", load_config())
        process.stdin.write(b"\n")
    assert take_up(out, "x.h5", load_config()) is not None


def test_nodes_of_other_hosts_are_waited_for_as_long_as_their_leases_may_last(make, monkeypatch):
    out = make(settings=["placement.lease_s=7"])
    nodes = [{"name": "sink", "pid": 1, "host": "10.0.0.2"}]
    (out / LIVE_FILE).write_text(json.dumps({"nodes": nodes}))
    waited = []
    monkeypatch.setattr("streamer.run.resume.time.sleep", waited.append)
    for age, least, most in ((0, 5, 7), (60, 0, 0)):
        then = time.time() - age
        os.utime(out / LIVE_FILE, (then, then))
        take_up(out, "x.h5", load_config())
        assert least <= waited.pop() <= most


def test_a_taken_folder_says_how_to_go_on_only_if_that_would_work(make):
    out = make()
    with pytest.raises(UserError, match=r"holds a run that did not end: --resume goes on with it"):
        refuse_unfinished(out, "x.h5")
    refuse_unfinished(out, "y.h5")
    folder = RunFolder(out)
    for changes in ({"state": "done"}, {"launcher": this_process()}, {"source": None}):
        folder.write_summary(folder.read_summary() | changes)
        refuse_unfinished(out, "x.h5")
    (out / "run.json").unlink()
    refuse_unfinished(out, "x.h5")
