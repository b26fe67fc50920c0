"""What a command has around a run; the run itself is made up."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from rich.console import Console

from streamer.config import load_config
from streamer.errors import RunError, UserError
from streamer.results.folder import RunFolder
from streamer.run import session as module
from streamer.run.session import Session
from tests.conftest import ROOT

QUIET = {"dashboard.port": 0, "report.auto": False}
SUMMARY = {
    "state": "done",
    "source": "x.npy",
    "out": "run",
    "elapsed_s": 1.0,
    "frames": {"done": 3, "failed": 0, "missing": 0, "shed": 0, "total": 3},
    "peaks": 7,
    "tracks": 2,
    "rates": {"frames_per_s": 3.0, "peaks_per_s": 7.0, "latency_ms_median": 5.0},
    "stages": {},
    "disagreement_px": None,
    "delivery": {"redelivered": 0, "duplicates": 0, "restarts": 0, "ignored": ""},
    "geometry": "",
    "troubles": {},
}


class Compute:
    """Wants patches of 13 pixels, or cannot compute here."""

    def __init__(self, refusal=""):
        self.refusal = refusal

    def patch_size(self, config):
        if self.refusal:
            raise UserError(self.refusal)
        return 13


class Execute:
    """Stands in for a run: makes its folder, and remembers what it was asked for."""

    def __init__(self):
        self.calls = []
        self.frames = {}
        self.makes_folder = True

    def __call__(self, config, source, out, command, view, **more):
        if self.makes_folder:
            RunFolder.create(out)
        self.calls.append(
            {"config": config, "source": source, "command": command(out / "spec.json"), **more}
        )
        return SUMMARY | {"frames": SUMMARY["frames"] | self.frames}


@pytest.fixture
def execute(monkeypatch):
    made = Execute()
    monkeypatch.setattr(module, "execute", made)
    return made


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def session(said):
    def make(compute=None, report=None):
        return Session(
            compute or Compute(),
            lambda words: ["program", *words],
            report or (lambda folder: folder / "page.html"),
            Console(file=said, width=200),
        )

    return make


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((3, 32, 32), np.uint16))
    return path


def test_a_recording_is_run_with_what_is_known_of_it_and_its_summary_is_printed(
    session, execute, said, frames, tmp_path
):
    out = tmp_path / "run"
    session().replay(load_config(options=QUIET), str(frames), out)
    (call,) = execute.calls
    assert call["command"] == ["program", "node", str(out / "spec.json")]
    assert (call["source"], call["expected"], call["patch_size"]) == (str(frames), 3, 13)
    assert "3 done of 3" in said.getvalue()
    assert "report" not in said.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detect.mask": "no.npy"}, "no.npy"),
        ({"detect.dark": "no.npy"}, "no.npy"),
        ({"geometry.poni": "no.poni"}, "no.poni"),
        ({"dashboard.port": 1, "dashboard.host": "nowhere.invalid"}, "dashboard.host"),
    ],
)
def test_a_mistake_shows_before_anything_is_started(
    session, execute, frames, tmp_path, options, message
):
    with pytest.raises(UserError, match=message):
        session().replay(load_config(options=QUIET | options), str(frames), tmp_path / "run")
    assert not execute.calls


def test_so_does_a_method_that_cannot_be_used_here(session, execute, frames, tmp_path):
    with pytest.raises(UserError, match="no such device"):
        session(Compute("no such device")).run(
            load_config(options=QUIET), str(frames), tmp_path / "run"
        )
    assert not execute.calls


def test_so_does_a_recording_of_a_stream_that_cannot_be_written(session, execute, tmp_path):
    config = load_config(options=QUIET | {"source.record": tmp_path / "x.txt"})
    with pytest.raises(UserError, match="name a recording like"):
        session().attach(config, "dectris://127.0.0.1:1", tmp_path / "run")
    assert not execute.calls


def test_so_do_process_variables_without_the_package_that_serves_them(
    session, execute, frames, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    config = load_config(options=QUIET | {"publish.pva.prefix": "B:"})
    with pytest.raises(UserError, match=r"pip install 'braggstream\[pva\]'"):
        session().replay(config, str(frames), tmp_path / "run")
    assert not execute.calls


def test_process_variables_are_served_by_a_process_beside_the_run(
    session, execute, frames, tmp_path, monkeypatch
):
    beside = []
    monkeypatch.setattr(module, "companion", lambda *words: beside.append(words) or nullcontext())
    session().replay(load_config(options=QUIET), str(frames), tmp_path / "without")
    assert not beside
    config = load_config(options=QUIET | {"publish.pva.prefix": "B:"})
    session().replay(config, str(frames), tmp_path / "run")
    ((name, folder, command),) = beside
    assert (name, folder) == ("pvs", tmp_path / "run")
    assert command[:3] == ["program", "pvs", str(folder)]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ({"failed": 1}, "1 failed of 3 frames"),
        ({"failed": 1, "missing": 1234}, "1 failed, 1,234 missing of 3 frames"),
    ],
)
def test_a_run_that_lost_frames_is_no_success_but_has_its_summary_and_report(
    session, execute, said, tmp_path, lost, words
):
    execute.frames = lost
    config = load_config(options=QUIET | {"report.auto": True})
    with pytest.raises(RunError, match=words):
        session().run(config, "x.npy", tmp_path / "run")
    assert "3 done of 3" in said.getvalue()
    assert said.getvalue().splitlines()[-1] == f"report {tmp_path / 'run' / 'page.html'}"


def test_a_run_without_a_frame_has_no_report(session, execute, said, tmp_path):
    execute.frames = {"done": 0, "total": 0}
    config = load_config(options=QUIET | {"report.auto": True})
    session().run(config, "x.npy", tmp_path / "run")
    assert "report" not in said.getvalue()


def test_frames_that_were_shed_as_configured_are_no_failure(session, execute, tmp_path):
    execute.frames = {"shed": 2}
    session().run(load_config(options=QUIET), "x.npy", tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("cannot make [it]"), "cannot make [it]"),
        (ImportError("first line\nsecond line"), "first line"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_report_that_fails_is_one_line_and_no_failed_run(
    session, execute, said, tmp_path, error, reason
):
    def report(folder):
        raise error

    out = tmp_path / "run"
    session(report=report).run(load_config(options=QUIET | {"report.auto": True}), "x.npy", out)
    last = said.getvalue().splitlines()[-1]
    assert last == f"no report: {reason}; launch.py report {out} tries again"


def test_a_dashboard_stands_beside_a_run_unless_the_folder_is_another_runs(
    session, execute, monkeypatch, tmp_path
):
    beside = []

    def sidecar(listener, folder, command, announce, *, lasting):
        listener.close()
        beside.append(command(7))
        return module.nullcontext()

    monkeypatch.setattr(module, "sidecar", sidecar)
    config = load_config(options=QUIET | {"dashboard.port": 20000})
    session().run(config, "x.npy", tmp_path / "run")
    (words,) = beside
    assert words[:3] == ["program", "dashboard", str(tmp_path / "run")]
    assert words[-2:] == ["--listener", "7"]
    (tmp_path / "run" / "run.json").touch()
    with pytest.raises(UserError, match="already holds a run"):
        session().run(config, "x.npy", tmp_path / "run")
    assert len(beside) == 1


def test_a_run_is_gone_on_with_as_it_began(session, execute, said, frames, tmp_path):
    out = tmp_path / "run"
    folder = RunFolder.create(out)
    began = load_config(options=QUIET | {"detect.minval": 17})
    (out / "config.yaml").write_text(began.to_yaml())
    summary = {"state": "failed", "source": str(frames), "started": "2026-11-28T01:02:03+00:00"}
    folder.write_summary(summary)
    with pytest.raises(UserError, match="--resume goes on with it"):
        session().replay(load_config(options=QUIET), str(frames), out)
    with pytest.raises(UserError, match=r"detect\.minval is 17"):
        session().replay(load_config(options={"detect.minval": 18}), str(frames), out, resume=True)
    execute.makes_folder = False
    session().replay(load_config(), str(frames), out, resume=True)
    (call,) = execute.calls
    assert (call["config"], call["expected"]) == (began, 3)
    assert call["earlier"].incarnation == 1
    folder.write_summary(summary | {"state": "done"})
    session().replay(load_config(), str(frames), out, resume=True)
    assert said.getvalue().splitlines()[-1] == f"nothing to resume: the run in {out} is done"
    assert len(execute.calls) == 1


def test_a_mistake_that_shows_when_the_run_begins_leaves_an_empty_folder_empty(session, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "run"
    out.mkdir()
    config = load_config(options=QUIET | {"metrics.targets": tmp_path / "file" / "lists"})
    with pytest.raises(UserError, match=r"metrics\.targets"):
        session().run(config, "x.npy", out)
    assert not list(out.iterdir())


def test_a_summary_that_cannot_be_printed_is_no_failed_run(session, execute, said, tmp_path):
    def write(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    said.write = write
    session().run(load_config(None, [], QUIET), "x.npy", tmp_path / "run")
    assert len(execute.calls) == 1


def test_who_starts_a_run_waits_for_nothing_that_its_nodes_need():
    heavy = {"numba", "torch", "scipy", "pandas", "matplotlib", "starlette"}
    code = (
        "import sys, streamer.run.session; from workers.compute import patch_size;"
        "from streamer.config import Config;"
        f"print(patch_size(Config()), {heavy} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("11 set()\n", "")
