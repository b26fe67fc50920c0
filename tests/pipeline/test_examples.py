"""The example scripts, started as a reader would start them, on real runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from streamer.config import SourceConfig, load_config
from streamer.results import open_run
from streamer.simulator.cycler import Cycler
from streamer.simulator.scene import Scene
from streamer.sources.files.open import open_recording
from tests.conftest import ROOT
from tests.pipeline.conftest import FRAMES, SCENE, run
from tests.pipeline.test_runs import PACED

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.xdist_group("examples")  # one worker makes the run for all
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(name: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *words],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cycled(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with standard deviations and a cell."""
    folder = tmp_path_factory.mktemp("cycled")
    scene = Scene(load_config(None, SCENE).simulate)
    with (
        closing(open_recording(str(recording), SourceConfig())) as source,
        Cycler(scene, folder / "cell.csv") as cycler,
    ):
        for index in range(FRAMES):
            cycler.note(index, source.picture(index).time_ns * 1e-9)
    out = folder / "run"
    run(recording, out, "positions.method=gaussian", f"cell.file={folder / 'cell.csv'}")
    return out


def test_the_drift_of_a_reflection_is_drawn_and_told_beside_the_voltage(cycled, tmp_path):
    picture = tmp_path / "drift.png"
    process = start("drift_beside_voltage.py", str(cycled), str(picture))
    said, wrong = process.communicate(timeout=60)
    assert (process.returncode, wrong) == (0, "")
    with Image.open(picture) as image:
        assert image.size == (1200, 750)
    results = open_run(cycled)
    told = {int(track) for track in re.findall(r"^track (\d+):", said, re.MULTILINE)}
    assert told == set(results.reflection(min(told))["track"].to_pylist())
    (first,) = [one for one in results.tracks.to_pylist() if one["track"] == min(told)]
    wanted = f"  drift  {first['drift']:+.4f} +- {first['drift_sigma']:.4f} px"
    assert wanted in said.splitlines()
    rows = re.findall(r"^ +([\d.]+) +(-?[\d.]+) +([\d.]+) +([\d.]+)$", said, re.MULTILINE)
    assert len(rows) >= 10
    volts = results.cell["voltage_v"].to_pylist()
    assert all(float(sigma) > 0 and min(volts) <= float(volt) <= max(volts)
               for _, _, sigma, volt in rows)  # fmt: skip


def test_a_folder_that_is_no_run_is_named_and_nothing_drawn(tmp_path):
    process = start("drift_beside_voltage.py", str(tmp_path / "gone"), str(tmp_path / "drift.png"))
    said, wrong = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert re.fullmatch(r"error: .*gone: there is no such folder; .*\n", wrong)
    assert not (tmp_path / "drift.png").exists()


def test_a_run_that_goes_on_is_read_and_its_feed_until_it_is_over(recording, tmp_path):
    readers: list[subprocess.Popen[str]] = []
    counts = []

    def read(now):
        if now.feed and not readers:
            readers.append(start("peaks_feed.py", now.feed))
        results = open_run(tmp_path / "run")
        peaks = Counter(results.peaks["frame"].to_pylist())
        frames = {one["frame"]: one["n_peaks"] for one in results.frames.to_pylist()}
        assert len(frames) == results.frames.num_rows
        assert peaks == {frame: n for frame, n in frames.items() if n}
        counts.append(len(frames))

    try:
        run(recording, tmp_path / "run", *PACED, act=read)
        said, wrong = readers[0].communicate(timeout=60)
    finally:
        for process in readers:
            process.kill()
            process.wait()
    assert counts == sorted(counts)
    assert len(set(counts)) > 3, "it was read while it went on"
    assert (readers[0].returncode, wrong) == (0, "")
    peaks = open_run(tmp_path / "run").peaks
    names = ["series", "frame", "track", "row", "row_sigma", "col", "col_sigma"]
    rows = [" ".join(map(str, row.values())) for row in peaks.select(names).to_pylist()]
    lines = said.splitlines()
    assert len(lines) > 10, "it was there in time"
    assert lines == rows[-len(lines) :]


def test_what_the_page_on_reading_runs_says_can_be_typed(cycled, tmp_path):
    page = (ROOT / "docs" / "reading-runs.md").read_text(encoding="utf-8")
    boxes = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(boxes) > 3
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "today").symlink_to(cycled)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join(boxes)],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    results = open_run(cycled)
    assert f"{FRAMES} frames, {results.peaks.num_rows} peaks" in ran.stdout
