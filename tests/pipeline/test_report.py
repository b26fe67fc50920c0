"""Reports and exports by the command line."""

from __future__ import annotations

import h5py
import pytest

from streamer.results.folder import RunFolder
from tests.pipeline.conftest import QUICK, launch, run
from tests.settings import sets

SETS = sets(*QUICK)


@pytest.fixture(scope="module")
def done(recording, tmp_path_factory):
    """A run without a report."""
    out = tmp_path_factory.mktemp("report") / "run"
    run(recording, out)
    return out


@pytest.mark.timeout(120)  # fits may have to be compiled
def test_a_run_ends_with_its_report(recording, tmp_path):
    out = tmp_path / "run"
    ran = launch("replay", str(recording), "--out", str(out), *SETS, "--set", "report.auto=true")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == f"report {out / 'report' / 'report.html'}"
    page = (out / "report" / "report.html").read_text()
    assert "120</b><span>frames done of 120" in page
    assert "Without pixels" not in page
    assert "maximum-likelihood Gaussian fit" in page
    assert sorted(path.name for path in (out / "report" / "figures").glob("*.pdf")) == [
        "agreement.pdf", "drift.pdf", "frames.pdf", "motion.pdf", "patches.pdf",
        "quiver.pdf", "shapes.pdf",
    ]  # fmt: skip


def test_a_report_and_a_movie_of_chosen_frames(done, tmp_path):
    out, movie = tmp_path / "page", tmp_path / "run.gif"
    ran = launch(
        "report", str(done), "--frames", "10,90", "--tracks", "2", "--out", str(out),
        "--movie", str(movie), "--movie-frames", "5",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert f"movie  {movie} of 5 frames" in ran.stdout
    page = (out / "report.html").read_text()
    assert page.count('class="swatch"') == 2
    wrong = launch("report", str(done), "--frames", "10,500", "--out", str(out))
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "error: --frames 500: the run has no such frame; it has 0 to 119\n"
    )  # fmt: skip


def test_an_export_says_where_it_is(done, tmp_path):
    out = tmp_path / "peaks.nxs"
    ran = launch("export", str(done), "--format", "nexus", "--out", str(out))
    assert (ran.returncode, ran.stdout) == (0, f"nexus {out}\n")
    with h5py.File(out) as file:
        assert len(file["entry/peaks/reflections/d"]) == RunFolder(done).read("peaks").num_rows
    again = launch("export", str(done), "--format", "nexus", "--out", str(out))
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
