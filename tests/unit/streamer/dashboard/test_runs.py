"""A folder of runs: what is listed of it, and which of them a page gets."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from streamer.config import Config
from streamer.dashboard import hubs as module
from streamer.dashboard.hub import Hub
from streamer.dashboard.hubs import MOVED, Hubs
from streamer.dashboard.runs import RunList
from streamer.dashboard.server import application_of_runs
from streamer.dashboard.view import RunView
from streamer.results.folder import RunFolder
from streamer.run.launcher import this_process
from tests.served import Served
from tests.unit.streamer.dashboard.test_server import decode, make_run


def begin(folder, name, day, *parts, **summary):
    """Have a run that began on some day of a month appear, with all that it has."""
    started = f"2026-11-{day:02d}T01:02:03.000+00:00"
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as place:
        made = make_run(Path(place, name), *parts, started=started, **summary)
        (made.path / "config.yaml").write_text(Config().to_yaml())
        made.path.rename(folder / name)
    return RunFolder.open(folder / name)


@pytest.fixture
def runs(tmp_path):
    begin(tmp_path, "old", 1, frames={"done": 7, "missing": 2}, peaks=30, source="a.h5")
    begin(tmp_path, "an older one", 2, state="failed")
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


def names(runs):
    return [row["name"] for row in runs.rows()]


def test_runs_are_listed_the_newest_first(runs):
    found = RunList(runs)
    found.refresh()
    assert names(found) == ["an older one", "old"]
    assert found.rows()[1] == {
        "name": "old", "state": "done", "live": False, "started": "2026-11-01T01:02:03.000+00:00",
        "elapsed_s": 0.0, "frames": {"done": 7, "failed": 0, "missing": 2, "shed": 0},
        "peaks": 30, "source": "a.h5",
    }  # fmt: skip
    assert found.newest == "an older one"


def test_the_list_follows_what_is_in_the_folder(runs):
    found = RunList(runs)
    found.refresh()
    folder = begin(runs, "new", 3, state="running", launcher=this_process())
    live = folder.path / "live.json"
    for done in (5, 9):
        live.write_text(json.dumps({"phase": "running", "frames": {"done": done}}))
        os.utime(live, (time.time() + done, time.time() + done))
        found.refresh()
        row = found.rows()[0]
        assert (row["name"], row["live"], row["frames"]["done"]) == ("new", True, done)
    folder.write_summary(folder.read_summary() | {"state": "done", "frames": {"done": 11}})
    found.refresh()
    assert (found.rows()[0]["live"], found.rows()[0]["frames"]["done"]) == (False, 11)
    before = found.identity("new")
    shutil.rmtree(folder.path)
    found.refresh()
    assert names(found) == ["an older one", "old"]
    begin(runs, "new", 4)
    found.refresh()
    assert found.newest == "new"
    assert found.identity("new") not in ("", before)


class Page(Served):
    """What is served of a folder of runs, as a page asks for it."""

    def __init__(self, folder):
        self.hubs = Hubs(folder, lambda run: Hub(RunView(run), listed=True))
        super().__init__(application_of_runs(self.hubs))

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return answer.read().decode()

    def connect(self, path="ws"):
        return connect(self.url.replace("http", "ws") + path, proxy=None)


@pytest.fixture
def page(runs, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.05)
    with Page(runs) as served:
        yield served


def hear(socket, kind):
    """Return the header of the next message of a kind."""
    while (header := decode(socket.recv(20))[0])["type"] != kind:
        pass
    return header


def closed(socket):
    """Return the code with which a connection is closed."""
    try:
        while True:
            socket.recv(20)
    except ConnectionClosed as error:
        return error.rcvd.code


def test_who_shows_the_newest_run_is_sent_to_a_newer_one(page, runs):
    with page.connect() as socket:
        assert hear(socket, "hello")["run"] == "an older one"
        begin(runs, "new", 3)
        assert closed(socket) == MOVED
    with page.connect() as socket:
        told = hear(socket, "hello")
        assert (told["run"], told["listed"]) == ("new", True)


def test_each_run_has_a_page_of_its_own(page, runs):
    for path in ("", "runs/", "runs/old/", "runs/an%20older%20one/"):
        assert "<html" in page.get(path)
    listed = json.loads(page.get("runs/runs.json"))["runs"]
    assert [run["name"] for run in listed] == ["an older one", "old"]
    with page.connect("runs/old/ws") as socket:
        assert hear(socket, "hello")["run"] == "old"
        begin(runs, "new", 3)
        while page.hubs.runs.newest != "new":
            time.sleep(0.01)
        hear(socket, "health")  # it stays


@pytest.mark.parametrize("name", ["nowhere", "no%20run", "file"])
def test_of_what_is_no_run_there_is_a_word(page, name):
    with page.connect(f"runs/{name}/ws") as socket:
        assert "no run" in hear(socket, "problem")["text"]


def test_a_run_that_cannot_be_opened_says_why(page, runs):
    (runs / "old" / "config.yaml").write_text("detect: 3")
    with page.connect("runs/old/ws") as socket:
        assert "detect" in hear(socket, "problem")["text"]


def test_the_first_run_of_an_empty_folder_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.05)
    with Page(tmp_path) as page:
        with page.connect() as socket:
            assert "no run" in hear(socket, "problem")["text"]
            begin(tmp_path, "first", 1)
            assert closed(socket) == MOVED
        with page.connect() as socket:
            assert hear(socket, "hello")["run"] == "first"


def test_a_run_that_took_the_name_of_another_is_opened_anew(page, runs):
    with page.connect("runs/old/ws") as socket:
        assert hear(socket, "hello")["started"].startswith("2026-11-01")
    shutil.rmtree(runs / "old")
    begin(runs, "old", 9)
    while "11-09" not in page.hubs.runs.identity("old"):
        time.sleep(0.01)
    with page.connect("runs/old/ws") as socket:
        assert hear(socket, "hello")["started"].startswith("2026-11-09")
