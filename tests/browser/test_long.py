"""The page of a run of 100,000 frames, that is over or goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from streamer.dashboard.hub import Hub
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from streamer.results.folder import RunFolder
from tests.browser.conftest import shown, until
from tests.served import Served

pytestmark = [
    pytest.mark.xdist_group("long"),  # one worker makes the run for all
    pytest.mark.timeout(240),  # two million peaks are written
]

N_FRAMES, PERIOD_NS, TRACK = 100_000, 2_000_000, 3
MOST_POINTS, MOST_MIB = 4000, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    path = tmp_path_factory.mktemp("long") / "run"
    words = [sys.executable, "-m", "tests.benchmarks.long_folder", str(path), str(N_FRAMES)]
    subprocess.run(words, check=True)
    return RunFolder.open(path)


@pytest.fixture(scope="module")
def truth(folder) -> dict[str, np.ndarray]:
    """Rows of the track as they are on disk, frame by frame."""
    columns = ["frame", "row", "row_sigma"]
    files = sorted((folder.path / "peaks").glob("*.parquet"))
    read = [pq.read_table(file, columns=columns, filters=[("track", "=", TRACK)]) for file in files]
    table = pa.concat_tables(one.select(columns) for one in read).sort_by("frame")
    assert table["frame"].to_pylist() == list(range(N_FRAMES))
    return {name: table[name].to_numpy() for name in columns}


@pytest.fixture
def served(folder):
    with Served(application(Hub(RunView(folder.path)))) as server:
        yield server


def line(page: Any) -> dict[str, np.ndarray]:
    """Return the one curve that a page has, which must be the track's."""
    [found] = shown(page)["drift"]["lines"]
    assert found["track"] == TRACK
    return {name: np.array(found[name], np.float64) for name in ("x", "y", "sigma")}


def held_mib(page: Any) -> float:
    """Return what the page's script holds after what it holds no more was thrown away."""
    line = page.context.new_cdp_session(page)
    line.send("Performance.enable")
    line.send("HeapProfiler.collectGarbage")
    told = line.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in told if one["name"] == "JSHeapUsedSize") / 2**20


def grow(folder: RunFolder) -> int:
    """Commit as many frames again as the last part has; returns how many there are then."""
    last = folder.last_part()
    frames, peaks = (
        pq.read_table(
            folder.path / name / f"part-{last.index:08d}.parquet"
        ).replace_schema_metadata()
        for name in ("frames", "peaks")
    )
    n = len(frames)
    later = {"frame": n, "time_ns": n * PERIOD_NS}
    for name, by in later.items():
        frames, peaks = (
            table.set_column(table.column_names.index(name), name, pc.add(table[name], by))
            for table in (frames, peaks)
        )
    upto = last.upto + n
    folder.write_part(last.index + 1, frames, peaks, upto=upto, next_track=last.next_track)
    return upto


def whole(page: Any, frames: int) -> None:
    """Wait until the curve goes over all frames."""
    last = "view.drift.lines[0].x.at(-1)"
    until(page, f"view.drift.lines.length === 1 && {last} > {frames} - 100", 120)


def test_of_100_000_frames_both_ends_are_right_and_little_is_held(served, truth, look, keep):
    page = look(f"{served.url}?tracks={TRACK}&quantity=row&x=frame")
    whole(page, N_FRAMES)
    until(page, "view.images > 0 && view.table.length > 0")
    curve = line(page)
    assert 1000 < len(curve["x"]) <= MOST_POINTS
    assert (np.diff(curve["x"]) > 0).all()
    n = N_FRAMES // len(curve["x"])
    assert curve["x"][0] < 2 * n
    assert curve["x"][-1] > N_FRAMES - 1 - 2 * n
    # From its one end to the other, whatever drifts are counted from.
    weight = truth["row_sigma"] ** -2
    ends = [np.average(truth["row"][part], weights=weight[part])
            for part in (slice(None, 500), slice(-500, None))]  # fmt: skip
    few = max(500 // n, 1)
    drawn = [curve["y"][part].mean() for part in (slice(None, few), slice(-few, None))]
    apart = 5 * 0.02 * np.sqrt(2 / 500)  # the noise of the positions
    assert drawn[1] - drawn[0] == pytest.approx(ends[1] - ends[0], abs=apart)
    # Each point is the mean of its frames, and no error bar is wider than one frame's.
    assert (curve["sigma"] > 0).all()
    assert curve["sigma"].max() < truth["row_sigma"].max()
    assert held_mib(page) < MOST_MIB
    keep(page)


def test_single_frames_are_exact_where_it_is_zoomed_to_them(served, truth, look):
    at = N_FRAMES // 2
    page = look(f"{served.url}?tracks={TRACK}&quantity=row&x=frame&from={at}&to={at + 40}")
    until(page, f"view.drift.lines[0]?.x.includes({at}) && view.drift.lines[0].x.at(-1) > {at}", 60)
    until(page, "view.drift.lines[0].x.length > 100", 60)
    curve = line(page)
    frames = curve["x"].astype(int)
    assert (curve["x"] == frames).all()
    assert (np.diff(frames) == 1).all()
    assert frames[0] <= at
    assert frames[-1] >= at + 40
    row = truth["row"][frames]
    assert np.diff(curve["y"]) == pytest.approx(np.diff(row), abs=1e-6)
    page.locator("#zoom-reset").click()
    whole(page, N_FRAMES)


def test_such_a_run_that_goes_on_is_followed_to_its_newest_frame(folder, look):
    summary = json.loads((folder.path / "run.json").read_text())
    going = summary | {"state": "running", "ended": None}
    try:
        folder.write_summary(going)
        with Served(application(Hub(RunView(folder.path)))) as server:
            page = look(f"{server.url}?tracks={TRACK}&quantity=row&x=frame")
            whole(page, N_FRAMES)
            before = held_mib(page)
            for _ in range(3):
                stop = grow(folder)
                until(page, f"view.drift.lines[0].x.at(-1) > {stop} - 100", 60)
            assert len(line(page)["x"]) <= MOST_POINTS
            assert held_mib(page) < before + MOST_MIB / 4
    finally:
        folder.write_summary(summary)
