"""Runs with what another package adds: a protocol, a file format, a finder, a position method."""

from __future__ import annotations

import os
import runpy

import pytest

from streamer.results.folder import RunFolder
from tests.pipeline.conftest import frames_of, launch, summary_of
from tests.settings import sets
from tests.unit.plugins import install_lab

SETS = sets(
        "detect.finder=brightest", "detect.finders.brightest.most=2", "positions.method=shifted",
        "positions.methods.shifted.rows=0.25", "source.protocols.drum.frames=40",
        "source.readers.sheet.skip=4", "nodes.detectors=2", "nodes.gpus=1",
        "detect.minval=40", "detect.minscore=60",
)  # fmt: skip


@pytest.fixture
def lab(tmp_path):
    """The environment of a process that has the package."""
    return os.environ | {"PYTHONPATH": str(install_lab(tmp_path / "lab"))}


def assert_placed(out, frames):
    assert frames_of(out) == [(frame, "done") for frame in range(frames)]
    peaks = RunFolder(out).read("peaks")
    peaks = peaks.sort_by([("frame", "ascending"), ("score", "descending")])
    assert peaks["frame"].to_pylist() == [frame for frame in range(frames) for _ in range(2)]
    assert peaks["peak_row"].to_pylist() == frames * [20, 33]
    assert peaks["row"].to_pylist() == frames * [20.25, 33.25]
    assert peaks["col"].to_pylist() == frames * [30, 41]
    assert peaks["score"].to_pylist() == frames * [900, 700]
    assert peaks["track"].to_pylist() == frames * peaks["track"].to_pylist()[:2]


def test_a_stream_of_another_package_is_processed_by_what_it_brings(lab, tmp_path):
    out = tmp_path / "run"
    ran = launch("attach", "drum://here", "--out", str(out), *SETS, "--dashboard", "0", env=lab)
    assert ran.returncode == 0, ran.stderr
    assert_placed(out, 40)
    assert summary_of(out)["frames"]["done"] == 40
    assert "no report" not in ran.stdout
    # It goes by the name that the user chose, also where the package is not installed.
    status = launch("status", str(out))
    assert status.returncode == 0, status.stderr
    assert "shifted" in (out / "report" / "report.html").read_text(encoding="utf-8")


def test_a_file_of_another_package_is_replayed(lab, tmp_path):
    path, out = tmp_path / "nine.sheet", tmp_path / "run"
    pixels = runpy.run_path(str(tmp_path / "lab" / "lab.py"))["pixels"]
    path.write_bytes(b"head" + b"".join(map(pixels, range(9))))
    quick = ["--dashboard", "0", "--set", "report.auto=false"]
    ran = launch("replay", str(path), "--out", str(out), *SETS, *quick, env=lab)
    assert ran.returncode == 0, ran.stderr
    assert_placed(out, 9)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("detect.finder=brigtest", "unknown finder 'brigtest'; did you mean brightest? known are"),
        ("positions.method=shiftd", "unknown position method 'shiftd'; did you mean shifted?"),
        ("detect.finders.brightest.moist=2", "did you mean detect.finders.brightest.most?"),
        ("positions.methods.shifted.rows=up", "positions.methods.shifted.rows = 'up' does not fit"),
        ("source.protocols.drum.frames=a", "source.protocols.drum.frames = 'a' does not fit"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_starts(lab, tmp_path, setting, message):
    out = tmp_path / "run"
    ran = launch("attach", "drum://here", "--out", str(out), *SETS, "--set", setting, env=lab)
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert message in ran.stderr
    assert not out.exists()
