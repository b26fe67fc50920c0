"""The pictures of the README, taken from a demo: its page in a browser, dark and light, and drifts.

Needs Chromium and, as the tests do, Playwright.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc
from playwright.sync_api import Page, ViewportSize, sync_playwright

from streamer.report.reflections import farthest_reflections
from streamer.results import open_run

__all__ = ["main", "take"]

_SIZE = ViewportSize(width=1440, height=900)
_LINES = 4
"""Reflections in the plot."""
_AT = 0.68
"""Share of the frames before the one that is shown: reflections have two spots there."""
_PATIENCE_S = 60.0
_SETTLING_MS = 2000


def main(words: Sequence[str] | None = None) -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder of a demo that has ended")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("images"))
    given = parser.parse_args(words)
    for path in take(given.demo, given.out):
        sys.stdout.write(f"{path}\n")


def take(demo: Path, out: Path) -> Iterator[Path]:
    """Take the pictures of a demo, and yield where each is.

    Parameters
    ----------
    demo
        Its folder.
    out
        Folder of the pictures.
    """
    yield Path(shutil.copy(demo / "drift.png", out))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    query, place = _view(demo / "run")
    with _page_of(demo / "run") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for theme in ("dark", "light"):
            path = out / f"dashboard-{theme}.png"
            page = browser.new_page(viewport=_SIZE)
            page.goto(f"{url}?{query}&theme={theme}")
            _wait(page, "view.images > 0 && view.drift.lines.length > 0")
            _point(page, *place)
            page.screenshot(path=path)
            yield path
        browser.close()


def _view(path: Path) -> tuple[str, tuple[float, float]]:
    """Return what is to be seen, the reflections that went farthest and a frame, and a peak there.

    The former is what the page's address says, the latter is (row, col).
    """
    run = open_run(path)
    shown = farthest_reflections(run.tracks, run.geometry, _LINES)
    tracks = ".".join(str(track) for one in shown for track in one.tracks)
    at = int(_AT * len(run.frames))
    series, frame = (run.frames[name][at].as_py() for name in ("series", "frame"))
    here = (pc.field("series") == series) & (pc.field("frame") == frame)
    peaks = run.peaks.filter(here & pc.is_in(pc.field("track"), pa.array(shown[0].tracks)))
    place = (peaks["row"][0].as_py(), peaks["col"][0].as_py())
    return urlencode({"tracks": tracks, "series": series, "frame": frame}), place


@contextmanager
def _page_of(run: Path) -> Iterator[str]:
    """Have the page of a run served, and give its address."""
    launch = Path(__file__).parents[1] / "launch.py"
    words = [sys.executable, str(launch), "dashboard", str(run)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as served:
        try:
            line = served.stdout.readline() if served.stdout else ""
            yield next(word for word in line.split() if word.startswith("http"))
        finally:
            served.terminate()


def _point(page: Page, row: float, col: float) -> None:
    """Point at a place of the detector, so that the pixels around it are shown."""
    x, y = page.evaluate(f"view.place({row}, {col})")
    box = page.locator("#image").bounding_box()
    if box is not None:
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.wait_for_timeout(_SETTLING_MS)


def _wait(page: Page, expression: str) -> None:
    """Wait until something holds: what Playwright has for it the page's policy forbids."""
    deadline = time.monotonic() + _PATIENCE_S
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{expression} does not come true: {page.inner_text('header')}")
        page.wait_for_timeout(50)


if __name__ == "__main__":
    main()
