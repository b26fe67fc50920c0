"""Exports of a run, as a Tiled server serves them."""

import json
import subprocess
from pathlib import Path

from streamer.export.formats import export_run
from tests.unit.runs import make_run

READER = Path(__file__).parent / "readers" / "tiled_tables.py"


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
