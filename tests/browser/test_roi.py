"""Many frames at once on the page: a region of interest over the run, sums and highest counts."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streamer.config import Config
from streamer.dashboard.hub import Hub
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from tests.browser.conftest import shown, until
from tests.served import Served
from tests.unit.runs import make_run
from tests.unit.streamer.dashboard.image.test_gathering import DONE, frames


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    np.save(tmp_path / "first.npy", frames())
    run = make_run(tmp_path / "run", source=str(tmp_path / "first.npy"))
    (run.path / "config.yaml").write_text(Config().to_yaml())
    with Served(application(Hub(RunView(run.path)))) as served:
        yield served.url


def typed(page: Any, numbers: str) -> None:
    page.locator("#drawing summary").click()
    page.locator("#tool").select_option("roi")
    page.locator("#shape").fill(numbers)
    page.locator("#shape").press("Enter")


def test_a_region_of_interest_is_drawn_over_the_run(address, look, keep, tmp_path):
    page = look(address + "?x=frame&frame=3&series=first")
    until(page, "view.images > 0")
    assert page.locator("#roi-section").is_hidden()
    typed(page, "8 9 7 20")
    until(page, f"view.roiSeries.frame.length === {len(DONE)}")
    told = shown(page)["roiSeries"]
    part = frames()[DONE][:, 8:15, 9:29].astype(np.int64)
    part[part == 65_535] = 0
    assert told["frame"] == DONE
    assert told["sum"] == told["drawn"] == part.sum((1, 2)).tolist()
    page.locator("#roi-section").scroll_into_view_if_needed()
    until(page, "document.querySelector('#roi-words').textContent.includes('28 frames')")
    words = page.locator("#roi-words").inner_text()
    assert words.startswith("rows 8 to 14, columns 9 to 28 · 28 frames, 1 of its pixels masked")
    page.get_by_label("What of its pixels").select_option("mean")
    until(page, "view.mean")
    told = shown(page)["roiSeries"]
    assert told["drawn"] == pytest.approx((part.sum((1, 2)) / np.array(told["pixels"])).tolist())
    assert page.get_by_role("img", name="Mean of its counts over 28 frames").count() == 1
    assert page.locator("#roi-plot canvas").count() == 1
    keep(page, full_page=True)
    with page.expect_download() as waiting:
        page.locator("#roi-csv").click()
    waiting.value.save_as(tmp_path / "roi.csv")
    rows = list(csv.DictReader((tmp_path / "roi.csv").read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == DONE
    assert [float(row["sum_counts"]) for row in rows] == told["sum"]
    # A link or a reload shows the same.
    until(page, "location.search.includes('roi=8.9.7.20')")
    page.reload()
    until(page, f"window.view?.roiSeries.frame.length === {len(DONE)}")
    page.locator("#roi-clear").click()
    until(page, "view.roi === null")
    assert page.locator("#roi-section").is_hidden()


@pytest.mark.parametrize("kind", ["sum", "highest"])
def test_many_frames_are_shown_together_with_exact_counts(address, look, keep, kind):
    page = look(address + "?frame=3&series=first")
    until(page, "view.images > 0")
    page.get_by_label("One frame, or many together").select_option(kind)
    until(page, f"view.image.stack === '{kind}' && view.image.frame === {len(DONE)}")
    page.locator("#moment", has_text=f"of {len(DONE)} frames").wait_for()
    page.evaluate("view.point([33, 44])")
    until(page, "view.cursor.counts !== null")
    counts = frames()[DONE, 33, 44].astype(np.int64)
    assert shown(page)["cursor"]["counts"] == (counts.sum() if kind == "sum" else counts.max())
    keep(page)
    page.get_by_label("One frame, or many together").select_option("")
    until(page, "view.image.frame === 3 && view.image.stack === null")
