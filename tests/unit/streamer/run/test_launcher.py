from __future__ import annotations

import os
import subprocess
import sys

import pytest

from streamer.run.launcher import _start_of, has_died, this_process


def running(**changes):
    return {"state": "running", "launcher": this_process() | changes}


def test_a_launcher_that_runs_may_be_silent_for_as_long_as_it_likes():
    assert not has_died(running(), 1e6)


def test_a_launcher_that_was_killed_is_dead_at_once():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        summary = running(pid=process.pid, start=_start_of(process.pid))
        assert not has_died(summary, 0.0)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_died(summary, 0.0), "nobody has asked for its exit status"
    assert has_died(summary, 0.0)


def test_another_process_with_the_same_number_is_no_launcher():
    assert has_died(running(start=this_process()["start"] - 1), 0.0)


@pytest.mark.parametrize("changes", [{"where": "another machine"}, {"start": None}])
def test_a_launcher_that_cannot_be_looked_at_is_known_by_its_silence(changes):
    assert not has_died(running(**changes), 5.0)
    assert has_died(running(**changes), 60.0)


@pytest.mark.parametrize("summary", [running() | {"state": "done"}, {"state": "running"}, {}])
def test_a_run_that_is_over_or_names_no_launcher_has_not_died(summary):
    assert not has_died(summary, 1e6)
