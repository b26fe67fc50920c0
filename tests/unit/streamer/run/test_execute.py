"""What goes wrong beside a run; its processes are made up."""

from __future__ import annotations

import errno
import json
import shutil

import pytest

from streamer.config import Config
from streamer.errors import RunError
from streamer.results import folder as folder_module
from streamer.results.folder import RunFolder
from streamer.run import execute as module
from streamer.run import journal
from streamer.run.summary import summarise
from streamer.run.supervisor import Phase
from tests.unit.streamer.run.test_snapshot import Node
from tests.unit.streamer.run.test_snapshot import Supervisor as Nodes

TURNS = 4


class Supervisor(Nodes):
    """Is at work in the second and at the end after a few turns; `act` is called in each."""

    asked_to_stop = killed = mistake = False
    reason = ""
    act = None

    def __init__(self, *_, **__):
        super().__init__()
        self.turns = 0

    @property
    def over(self):
        return self.phase is not Phase.RUNNING

    @property
    def at_work(self):
        return self.turns >= 2

    def start(self):
        pass

    def poll(self, timeout_s):
        self.turns += 1
        if type(self).act is not None:
            type(self).act(self.turns)
        if self.turns == TURNS:
            self.phase = Phase.DONE

    def kill(self):
        self.phase = Phase.FAILED

    def close(self):
        pass


class View:
    """Shows nothing, or cannot."""

    def __init__(self, error=None):
        self.error = error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, now):
        if self.error is not None:
            raise self.error


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def run(out, monkeypatch):
    def run(view=None, act=None, **more):
        monkeypatch.setattr(Supervisor, "act", act)
        view = view or View()
        return module.execute(Config(), "x.h5", out, lambda spec: [], view, patch_size=11, **more)

    monkeypatch.setattr(module, "Supervisor", Supervisor)
    monkeypatch.setattr(module, "_NOTE_S", 0.0)
    monkeypatch.setattr(journal, "_LAST_PAUSES_S", (0.0,) * 4)
    return run


@pytest.fixture
def full_disk(monkeypatch):
    """Has the writing of some files fail, so many times each."""
    left = {}

    def write(path, content, *mode):
        if left.get(path.name, 0):
            left[path.name] -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        folder_write(path, content, *mode)

    folder_write = folder_module.write_atomically
    monkeypatch.setattr(journal, "write_atomically", write)
    monkeypatch.setattr(folder_module, "write_atomically", write)
    monkeypatch.setattr("streamer.run.targets.write_atomically", write)
    return left


def test_who_waits_for_the_nodes_is_told_once(run):
    turns, told = [], []
    run(act=turns.append, at_work=lambda: told.append(turns[-1]))
    assert told == [2]


def test_a_disk_that_is_full_for_a_while_ends_no_run(run, out, full_disk):
    full_disk |= {"live.json": 2, "prometheus_targets.json": 1}
    seen = []

    def act(turn):
        if turn == TURNS:
            seen.append(json.loads((out / "live.json").read_text())["troubles"])

    summary = run(act=act)
    assert summary["state"] == "done"
    assert summary["troubles"]["live.json cannot be written: No space left on device"] == 2
    assert seen == [summary["troubles"]]


def test_how_a_run_ended_is_written_when_there_is_room_again(run, out, full_disk):
    def act(turn):
        full_disk["run.json"] = 3

    assert run(act=act)["state"] == "done"
    assert json.loads((out / "run.json").read_text())["state"] == "done"


def test_a_run_whose_end_cannot_be_written_says_so(run, out, full_disk):
    def act(turn):
        full_disk["run.json"] = 100

    with pytest.raises(RunError, match=r"does not say how the run ended"):
        run(act=act)


def test_a_disk_that_is_full_from_the_start_is_one_line(run, full_disk):
    full_disk["config.yaml"] = 1
    with pytest.raises(RunError, match=r"cannot write to .*run: No space left on device"):
        run()


def test_a_view_that_cannot_show_ends_no_run(run):
    assert run(View(ValueError("odd")))["troubles"] == {"the run cannot be shown: odd": TURNS}


def test_a_folder_that_is_removed_ends_the_run_in_one_line(run, out):
    def act(turn):
        if turn == 2:
            shutil.rmtree(out)

    with pytest.raises(RunError, match=r"run was removed while the run went on"):
        run(act=act)
    assert not out.exists()


@pytest.mark.parametrize("text", ["no json", "[1]", "1", "[" * 100_000])
def test_what_nobody_can_read_of_the_series_is_left_out(tmp_path, text):
    supervisor = Nodes()
    supervisor.nodes["ingest"] = Node("ingest", {"series/a": text})
    folder = RunFolder.create(tmp_path / "run")
    assert summarise(folder, "x.h5", 0.0, 1.0, supervisor, "done")["series"] == {}
