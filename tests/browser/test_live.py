"""The page on real runs: one that goes on, and one of a recording with a gap that is over."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from streamer.config import load_config
from streamer.results.folder import RunFolder
from streamer.results.reflections import reflections
from streamer.simulator.cycler import Cycler
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.browser.conftest import shown, until
from tests.served import free_port
from tests.settings import sets

pytestmark = [
    pytest.mark.xdist_group("live"),  # one worker makes the run for all
    pytest.mark.timeout(240),  # several processes start, one after the other
]
LAUNCH = Path(__file__).parents[2] / "launch.py"
SCENE = ["simulate.rows=256", "simulate.cols=256", "simulate.spots=8"]
FRAMES, PER_FILE = 180, 60
QUICK = [
    "positions.method=gaussian",
    "positions.check_share=0",
    "nodes.gpus=1",
]
"""Processes start fast without torch; fits give an error bar."""


@contextmanager
def launched(log: Path, pattern: str, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the command line until the end; yields its process and what its output says."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(LAUNCH), *words], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        while (found := re.search(pattern, log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield process, found.group(0)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def dashboard_of(pid: int) -> int | None:
    """Return the dashboard's process among those that a run started."""
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for number in child.read_text().split():
            if "dashboard" in Path(f"/proc/{number}/cmdline").read_text().split("\0"):
                return int(number)
    return None


@pytest.fixture
def live(tmp_path: Path, browser: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A live run of a simulated detector with its cell, longer than anyone looks, and its page."""
    cell = tmp_path / "cell.csv"
    simulated = launched(
        tmp_path / "simulate.log", r"dectris://\S+", "simulate", "--cell", str(cell),
        "--rate", "20", "--bind", "127.0.0.1:*", *sets(*SCENE, "simulate.frames=4000"),
    )  # fmt: skip
    with simulated as (_, uri):
        words = [uri, "--out", str(tmp_path / "run"), "--dashboard", str(free_port())]
        attached = launched(
            tmp_path / "attach.log", r"http://\S+", "attach", *words,
            *sets(*QUICK, f"cell.file={cell}"),
        )  # fmt: skip
        with attached as started:
            yield started


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[tuple[Path, str]]:
    """Folder and page of a run of a recording of which a file is gone, with its cell."""
    folder = tmp_path_factory.mktemp("ended")
    recording, cell = folder / "cycle_master.h5", folder / "cell.csv"
    scene = Scene(load_config(None, [*SCENE, f"simulate.frames={FRAMES}"]).simulate)
    write_recording(scene, recording, truth=True, images_per_file=PER_FILE)
    with Cycler(scene, cell) as cycler:
        for frame in range(FRAMES):
            cycler.note(frame, time.time() + frame * scene.frame_time)
    (folder / "cycle_data_000002.h5").unlink()
    words = ["--out", str(folder / "run"), "--dashboard", "0"]
    said = call("replay", str(recording), *words, *sets(*QUICK, f"cell.file={cell}"))
    assert f"{PER_FILE} missing of {FRAMES} frames" in said
    words = ["dashboard", str(folder / "run"), "--port", str(free_port())]
    with launched(folder / "dashboard.log", r"http://\S+", *words) as (_, url):
        yield folder, url


def call(*words: str) -> str:
    """Run the command line to its end and return what it says."""
    done = subprocess.run(
        [sys.executable, str(LAUNCH), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_live_run_is_watched(live, look, keep, tmp_path):
    process, url = live
    page = look(url + "?quantity=row&x=frame")
    until(page, "view.images > 1 && view.drift.lines.length > 0", 60)
    page.locator("#state-words", has_text=re.compile("^live$")).wait_for()
    assert page.locator("#lost-words").inner_text() == "nothing lost"
    until(page, "view.cell.voltage.length > 5")
    # The newest peaks are shown before they are on disk, and say so; the curves wait for that.
    until(page, "view.image.provisional")
    until(page, "Number(document.querySelector('#seen').textContent) > 0")
    # The drifts came in parts, and are what the run wrote.
    until(page, "view.drift.base > 5 && view.drift.lines[0].x.length > 20", 60)
    lines = shown(page)["drift"]["lines"]
    peaks = RunFolder(tmp_path / "run").read("peaks").to_pandas()
    for line in lines:
        mine = peaks[peaks.track == line["track"]].sort_values("frame")
        mine = mine[mine.frame <= line["x"][-1]]
        assert line["x"] == mine.frame.tolist()
        assert np.diff(line["y"]) == pytest.approx(np.diff(mine.row), abs=1e-5)
        assert line["sigma"] == pytest.approx(mine.row_sigma.tolist(), rel=1e-5, nan_ok=True)
    # Paused, it stays where it is while the run goes on; live, it follows again.
    page.keyboard.press("Space")
    until(page, "view.image.settled && !view.image.provisional")
    frame = shown(page)["frame"]
    until(page, f"Number(document.querySelector('#scroll').max) > {frame} + 10")
    assert shown(page)["image"]["frame"] == frame
    # The pixels of the frame that is looked at are there, though nothing is recorded.
    page.evaluate("view.point([100, 120])")
    until(page, "Number.isInteger(view.cursor.counts)")
    page.locator("#scroll").fill("5")
    until(page, "view.image.frame === 5")
    assert shown(page)["peaks"] > 0
    page.keyboard.press("l")
    until(page, f"view.image.frame > {frame} + 5")
    # Many frames at once, as they come.
    page.locator("#drawing summary").click()
    page.locator("#tool").select_option("roi")
    page.locator("#shape").fill("90 100 30 40")
    page.locator("#shape").press("Enter")
    page.locator("#stack").select_option("sum")
    until(page, "view.roiSeries.frame.length > 12 && view.image.stack === 'sum'", 60)
    told = shown(page)["roiSeries"]
    assert min(told["pixels"]) > 600
    assert min(told["sum"]) > 0
    page.locator("#stack").select_option("")
    until(page, "view.image.newest")
    keep(page)
    # The dashboard dies; the run starts it again, and the page comes back by itself.
    lines = len(shown(page)["drift"]["lines"])
    os.kill(dashboard_of(process.pid), signal.SIGKILL)
    until(page, "!view.connected")
    assert len(shown(page)["drift"]["lines"]) == lines
    before = shown(page)["image"]["frame"]
    until(page, f"view.connected && view.image.frame > {before}", 60)
    process.terminate()
    page.locator("#state-words", has_text=re.compile("^ended")).wait_for(timeout=60_000)


def test_gap_is_told(ended, look, keep):
    page = look(ended[1])
    until(page, "view.images > 0")
    lost = page.locator("#lost")
    assert f"{PER_FILE} frames missing" in lost.inner_text()
    assert f"{PER_FILE} to {2 * PER_FILE - 1}" in lost.inner_text()
    assert lost.get_attribute("data-level") == "bad"
    assert page.locator("#state-words").inner_text() == "ended"
    assert page.locator("#badge").inner_text() == "last frame"
    keep(page)


def test_image_shows_peaks_where_the_truth_has_them(ended, look):
    folder, url = ended
    page = look(url + "?frame=30&colours=grey&tracks=")
    until(page, "view.image?.frame === 30 && view.image.has_pixels")
    truth = pq.read_table(folder / "cycle_truth.parquet").to_pandas()
    truth = truth[(truth.frame == 30) & truth.visible]
    assert len(truth) >= 4
    places = truth[["row", "col"]].to_numpy()
    # Twelve pixels beside a peak it is darker.
    levels = page.evaluate(
        """(places) => {
            const canvas = document.querySelector("#pixels");
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            const ratio = width / canvas.clientWidth;
            return places.map(([row, col]) => {
                const [x, y] = view.place(row, col).map((value) => Math.floor(value * ratio));
                return data[4 * (y * width + x)];
            });
        }""",
        [*places.tolist(), *np.add(places, [0, 12]).tolist()],
    )
    peak, beside = np.array(levels).reshape(2, -1)
    assert np.all(peak > 60)
    assert np.median(peak) > np.median(beside) + 40


def test_drift_on_the_page_is_that_of_the_run_folder(ended, look, keep):
    folder, url = ended
    page = look(url + "?quantity=row&x=frame")
    until(page, "view.drift.lines.length > 0 && view.drift.x === 'frame'")
    state = shown(page)["drift"]
    peaks = RunFolder(folder / "run").read("peaks").to_pandas()
    table = RunFolder(folder / "run").read_tracks()
    tracks = table.to_pandas().set_index("track")
    # What a spot splits into goes on from where that stood.
    ref_row = dict(zip(tracks.index, tracks.ref_row[reflections(table)], strict=True))
    for line in state["lines"]:
        mine = peaks[peaks.track == line["track"]].sort_values("frame")
        assert line["x"] == mine.frame.tolist()
        drift = mine.row - ref_row[line["track"]]
        assert line["y"] == pytest.approx(drift.tolist(), abs=1e-5)
        assert line["sigma"] == pytest.approx(mine.row_sigma.tolist(), rel=1e-5, nan_ok=True)
    # What the cursor says is what is there.
    box = page.locator("#plot .u-over").bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 90)
    until(page, "view.drift.cursor !== null")
    for value in shown(page)["drift"]["values"]:
        mine = peaks[(peaks.track == value["track"]) & (peaks.frame == value["x"])].iloc[0]
        said = page.locator(f'#readout li[data-track="{value["track"]}"]').inner_text()
        number = said.replace("−", "-").split()[1]
        digits = len(number.partition(".")[2])
        drift = mine.row - ref_row[value["track"]]
        assert float(number) == pytest.approx(drift, abs=0.51 * 10**-digits)
    longest = tracks.n_frames.sort_values(ascending=False).index[:3].tolist()
    assert set(longest) <= set(shown(page)["table"])
    keep(page)


def test_cell_is_beside_the_drift(ended, look):
    folder, url = ended
    page = look(url)
    until(page, "view.cell.voltage.length > 0")
    state = shown(page)["cell"]
    cell = RunFolder(folder / "run").read_cell().to_pandas()
    assert state["time"] == pytest.approx((cell.time_ns * 1e-9).tolist(), abs=1e-3)
    assert state["voltage"] == pytest.approx(cell.voltage_v.tolist(), abs=1e-5, nan_ok=True)
    kinds = [cycle["kind"] for cycle in state["halfCycles"]]
    assert [kind for kind in kinds if kind != "rest"] == ["charge", "discharge"]
