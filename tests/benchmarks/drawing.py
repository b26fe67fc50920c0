"""How many updates a second the dashboard's page draws, when 30 are sent.

An update is a frame of 512 x 512 with 500 peaks, and what is new of 20 lines of 3,000 points that
go on by one: the drifts are made by the parts of the real server, as for a run that has one more
frame each time. Beside it, the same with the whole of the lines in each update. An update counts as
drawn when both its image and its lines were; of those that came together, one counts.
"""

import importlib.util
import json
import shutil
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from streamer.dashboard.archive import Archive
from streamer.dashboard.drifts import Drifts, Plot
from streamer.dashboard.messages import Lines
from streamer.dashboard.requests import Watch, read_request
from tests.benchmarks.measure import Table
from tests.browser.fake import FakeRun, FakeServer

__all__ = ["tables"]

SIZE, PEAKS, LINES, POINTS = 512, 500, 20, 3000
RATES_HZ = (10, 30)
SECONDS = 6.0
IMAGES = 40
MOST = int(POINTS + 1.5 * sum(RATES_HZ) * 2 * SECONDS)
GOAL_HZ = 25


class GrowingRun(FakeRun):
    """A run whose drifts are made as the real server does."""

    def __init__(self) -> None:
        super().__init__(spots=PEAKS, frames=MOST, size=SIZE)
        self.archive = Archive(Path())
        self.source = Drifts(self.archive)
        self.n_known = 0
        self.grow(POINTS)

    def grow(self, n: int) -> None:
        """Take in so many frames."""
        frames = np.arange(self.n_known, self.n_known + n)
        self.n_known += n
        tracks = np.arange(LINES)
        places = np.array([self.positions(frame)[:LINES] for frame in frames])
        places += self.sigma[:LINES, None] * self.noise[:LINES, frames].T[..., None]
        ones = np.ones(n, np.int64)
        times = self.time[frames] * 1e9
        self.archive.frames.append({"frame": frames, "count": ones, "time_ns": times})
        self.archive.peaks.append(
            {
                "frame_row": np.repeat(frames, LINES),
                "track": np.tile(tracks, n),
                "row": places[..., 0].ravel(),
                "col": places[..., 1].ravel(),
                "row_sigma": np.tile(self.sigma[:LINES], n),
                "col_sigma": np.tile(self.sigma[:LINES], n),
            }
        )

    def lines(self, request: dict[str, Any]) -> Lines:
        watch = read_request(json.dumps(request))
        if not isinstance(watch, Watch):
            raise TypeError(watch)
        plot = Plot("row", watch.x, watch.begin, watch.end, watch.points)
        about = {"quantity": "row", "unit": "px", "x": watch.x, "request": watch.request}
        return Lines(about, self.source.curves(plot, watch.tracks, {}))


def updates(run: GrowingRun, request: dict[str, Any], count: int, *, whole: bool) -> list[bytes]:
    """Return what is sent of the drifts, made before the clock starts."""
    made = []
    for _ in range(count):
        run.grow(1)
        made.append(run.drifts(request) if whole else run.news(request))
    return made


def measure(
    page: Any, server: FakeServer, run: GrowingRun, images: list[bytes], hz: int, *, whole: bool
) -> dict[str, Any]:
    """Send updates at a rate and return what the page says of them."""
    watches = server.wanted("watch")
    server.send(run.drifts(watches[-1]))  # what is new is new since then
    drifts = updates(run, watches[-1], int(hz * SECONDS), whole=whole)
    page.wait_for_timeout(200)
    drawn = "[view.images, view.drift.drawn]"
    before = page.evaluate(drawn)
    start = time.perf_counter()
    sent = size = 0
    for image, drift in zip(cycle(images), drifts, strict=False):
        server.send(image, drift)
        sent, size = sent + 1, size + len(image) + len(drift)
        now = time.perf_counter() - start
        if now > SECONDS:
            break
        time.sleep(max(0.0, sent / hz - now))
    took = time.perf_counter() - start
    both = min(np.subtract(page.evaluate(drawn), before))
    if len(server.wanted("watch")) > len(watches):
        raise RuntimeError("the page asked for the lines anew")
    return {
        "bytes": size / sent,
        "sent": sent / took,
        "drawn": both / took,
        "latency": page.evaluate("stats.latency_ms"),
    }


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the table; it is measured once, however many rounds are asked for."""
    table = Table(
        f"Updates drawn: {SIZE} x {SIZE}, {PEAKS} peaks, {LINES} lines of {POINTS:,} points",
        ("lines", "kB an update", "sent/s", "drawn/s", "from arrival to drawn, p50 ms", "p95 ms"),
    )
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        table.note = "Not measured: needs Chromium (apt-get install chromium) and playwright."
        yield table
        return
    from playwright.sync_api import sync_playwright

    run = GrowingRun()
    images = [run.image(POINTS - IMAGES + n, newest=True) for n in range(IMAGES)]
    with FakeServer(run.answer, run.greeting) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        tracks = ".".join(map(str, range(LINES)))
        page.goto(f"{server.url}?tracks={tracks}&span={POINTS * run.period_s:g}")
        while not (
            page.evaluate(f"view.images > 0 && view.drift.lines.length === {LINES}")
            and server.wanted("watch")[-1]["from"]  # as it does once the end is known
        ):
            page.wait_for_timeout(50)
        page.wait_for_timeout(500)
        for whole in (True, False):  # what counts comes last
            for hz in RATES_HZ:
                found = measure(page, server, run, images, hz, whole=whole)
                latency = found["latency"]
                table.add(
                    "whole" if whole else "what is new",
                    f"{found['bytes'] / 1e3:.0f}",
                    f"{found['sent']:.1f}",
                    f"{found['drawn']:.1f}",
                    f"{latency['p50']:.0f}",
                    f"{latency['p95']:.0f}",
                )
        browser.close()
    verdict = "reached" if found["drawn"] >= GOAL_HZ else "MISSED"
    if found["sent"] < RATES_HZ[-1] - 2:
        verdict = f"not decided, only {found['sent']:.0f} a second could be sent"
    table.note = f"Goal, {GOAL_HZ} drawn of {RATES_HZ[-1]} sent: {verdict}."
    yield table
