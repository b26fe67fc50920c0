"""Thresholds tried out and changed on the page, with the product's own finder and server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.dashboard.hub import Hub
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from streamer.results.threshold_files import write_changes
from streamer.results.thresholds import read_request
from streamer.transport.guard import Guard
from streamer.transport.token import CONTROL_FILE, own_token
from tests.browser.conftest import until
from tests.served import Served
from tests.unit.runs import make_run
from workers.compute import peak_preview

SHAPE = (60, 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.full((30, *SHAPE), 5, np.uint16)
    pixels[:, 20, 30] = 500
    pixels[:, 40, 10] = 60
    np.save(tmp_path / "first.npy", pixels)
    folder = make_run(tmp_path / "run", source=str(tmp_path / "first.npy")).path
    summary = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(summary | {"state": "running"}))
    return folder


@pytest.fixture
def token(folder: Path) -> str:
    return own_token(folder / CONTROL_FILE)


@pytest.fixture
def url(folder: Path) -> Any:
    with Served(Guard(application(Hub(RunView(folder, peak_preview))))) as served:
        yield f"{served.url}?series=first&frame=3"


def choose(page: Any, minval: str, minscore: str) -> None:
    for name, value in (("minval", minval), ("minscore", minscore)):
        page.locator(f"#{name}-auto").uncheck()
        page.locator(f"#{name}").fill(value)


def test_peaks_of_other_thresholds_are_shown_on_the_frame(url, look, keep):
    page = look(url)
    until(page, "view.image?.has_pixels && view.thresholds")
    choose(page, "10", "20")
    page.locator("#try").click()
    until(page, "view.tried?.row.length === 2")
    assert sorted(page.evaluate("view.tried.row")) == [20, 40]
    words = page.locator("#try-words")
    assert words.inner_text() == "2 peaks with these on this frame"
    keep(page)
    page.locator("#minscore").fill("100")
    until(page, "view.tried?.row.length === 1")
    # Another frame has its own.
    page.locator(".bar", has_text="Detector").click()
    page.keyboard.press(".")
    until(page, "view.image.frame === 4 && view.tried?.frame === 4")
    page.locator("#minscore").fill("0")
    page.locator("#try-words", has_text="minscore one above 0").wait_for()
    page.locator("#try").click()
    until(page, "view.tried === null")


def test_without_the_token_thresholds_can_be_looked_at_alone(url, token, look):
    page = look(url)
    page.locator("#holds", has_text="Read only").wait_for()
    choose(page, "10", "20")
    until(page, "document.querySelector('#apply').disabled")
    assert not page.locator("#try").is_disabled()


def test_who_has_the_token_changes_them_and_sees_from_where_on_they_hold(
    url, token, folder, look, keep
):
    page = look(f"{url}#control={token}")
    until(page, "view.thresholds?.can_change && view.image")
    assert token not in page.url
    assert page.locator("#holds").inner_text() == "holds: minval auto, minscore auto"
    choose(page, "10", "20")
    page.locator("#apply").click()
    page.locator("#try-words", has_text="from the run's next frame on").wait_for()
    asked = read_request(folder)
    assert (asked.minval, asked.minscore) == (10, 20)
    until(page, "view.thresholds.waiting !== null")
    taken = {"id": asked.id, "time_ns": asked.time_ns, "series": "second", "frame": 1234}
    write_changes(folder, [type(asked)(**taken, minval=10, minscore=20)])
    page.locator("#holds", has_text="minscore 20 since frame 1,234 of second").wait_for()
    keep(page)
    # A reload knows the token still.
    page.reload()
    until(page, "view.thresholds?.can_change")
    until(page, "!document.querySelector('#apply').disabled")
