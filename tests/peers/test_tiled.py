"""Exports of a run, as a Tiled server serves them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.export.formats import export_run
from streamer.export.tiled import KEY
from streamer.results.schema import TABLES
from tests.peers.conftest import ROOT
from tests.unit.runs import make_run

READERS = Path(__file__).parent / "readers"
READER = READERS / "tiled_tables.py"
SECRET = "secret"
META = {"sample": "NMC811", "proposal": "2026-1", "crate": 7}


def test_tiled_serves_what_a_run_exports_as_it_is(tmp_path, sender_python, start, free_port):
    run = make_run(tmp_path / "today")
    for format_ in ("nexus", "parquet"):
        out = export_run(run.path, format_)
    python, port = sender_python("tiled"), free_port()
    serve = [Path(python).with_name("tiled"), "serve", "directory", out.parent, "--public"]
    server = start([*serve, "--host", "127.0.0.1", "--port", port])
    server.wait_for("Indexing complete", 100)
    done = subprocess.run(
        [python, READER, f"http://127.0.0.1:{port}/api/v1", "today"],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    peaks = run.read("peaks")
    assert {"cell", "frames", "peaks", "tracks"} <= set(said["tables"])
    for name, values in said["parquet"].items():
        assert values == peaks[name].to_pylist()
    assert said["nexus"]["d"] == peaks["d"].to_pylist()
    assert said["nexus"]["observed_px_y"] == peaks["row"].to_pylist()
    assert said["units"] == "angstrom"


@pytest.fixture
def catalog(tmp_path, sender_python, start, free_port):
    """Return the address of a server that may read what lies in a folder for runs."""
    tiled, port = Path(sender_python("tiled")).with_name("tiled"), free_port()
    (tmp_path / "runs").mkdir()
    words = ["--temp", "--read", tmp_path / "runs", "--api-key", SECRET]
    start([tiled, "serve", "catalog", *words, "--port", port], "Uvicorn running")
    return f"http://127.0.0.1:{port}"


def export(run, url, key=SECRET):
    return subprocess.run(
        [sys.executable, ROOT / "launch.py", "export", run.path, "--tiled", url],
        env={KEY: key, "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_run_is_registered_with_what_it_is_of(tmp_path, sender_python, catalog):
    run = make_run(tmp_path / "runs" / "of today")
    (run.path / "config.yaml").write_text(Config.model_validate({"meta": META}).to_yaml())
    done = export(run, catalog)
    assert done.returncode == 0, done.stderr
    assert f"{catalog}/api/v1/metadata/of%20today" in done.stdout
    words = [sender_python("tiled"), READERS / "tiled_run.py", f"{catalog}/api/v1", SECRET]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=60)
    (said,) = json.loads(done.stdout.splitlines()[-1])
    assert said["metadata"]["meta"] == META
    assert said["metadata"]["frames"]["missing"] == 2
    assert said["tables"] == sorted(TABLES)
    for name in ("frames", "peaks"):
        table = run.read(name)
        assert said["rows"][name] == len(table)
    assert said["row"] == run.read("peaks")["row"].to_pylist()
    assert said["unit of d"] == "angstrom"
    again = export(run, catalog)
    assert again.returncode == 2
    assert "there already" in again.stderr


@pytest.mark.parametrize(
    ("where", "key", "why"), [("runs", "wrong", KEY), ("away", SECRET, "read")]
)
def test_what_the_server_does_not_take_leaves_nothing_behind(tmp_path, catalog, where, key, why):
    run = make_run(tmp_path / where / "today")
    done = export(run, catalog, key)
    assert done.returncode == 2
    assert why in done.stderr
    assert not (run.path / "export" / "tiled").exists()
    assert "there already" not in export(run, catalog).stderr
