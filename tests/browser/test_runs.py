"""The page of a folder of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import shown, until
from tests.unit.streamer.dashboard.test_runs import Page, begin, runs
from tests.unit.streamer.dashboard.test_server import one_track

__all__ = ["runs"]


@pytest.fixture
def served(runs: Path) -> Iterator[Page]:
    begin(runs, "today", 5, one_track(np.random.default_rng(1), 20), source="dectris://a:1")
    with Page(runs) as page:
        yield page


def test_a_page_that_shows_the_newest_run_moves_to_one_that_begins(
    served: Page, runs: Path, look: Callable[..., Any]
) -> None:
    page = look(served.url + "?tracks=7&frame=5&sort=track")
    until(page, "view.image?.frame === 5 && view.tracks.length")
    until(page, "location.search.includes('run=today')")
    begin(runs, "tomorrow", 6, one_track(np.random.default_rng(2), 12))
    page.locator("#run-words", has_text="tomorrow").wait_for()
    # What was chosen in the other run is not chosen in this one; what is the user's stays.
    until(page, "view.image?.frame === 11")
    assert (shown(page)["frame"], shown(page)["sort"]) == (None, "track")
    # Nor is it when somebody opens a link of yesterday.
    page = look(served.url + "?tracks=7&frame=5&run=today+2026-11-05T01%3A02%3A03.000%2B00%3A00")
    until(page, "view.image?.frame === 11")
    assert shown(page)["frame"] is None


def test_runs_are_found_in_the_list_and_looked_at(
    served: Page, runs: Path, look: Callable[..., Any], keep: Callable[..., Path]
) -> None:
    page = look(served.url)
    page.get_by_role("link", name="all runs").click()
    names = "#runs tr td:first-child"
    until(page, f"document.querySelectorAll('{names}').length === 3")
    assert page.locator(names).all_inner_texts() == ["today", "an older one", "old"]
    levels = [row.get_attribute("data-level") for row in page.locator("#runs tr").all()]
    assert levels == ["good", "bad", "bad"]  # one failed, one lost frames
    keep(page)
    page.locator("#search").fill("A.H5 done")
    until(page, f"document.querySelectorAll('{names}').length === 1")
    assert page.locator("#count").inner_text() == "1 of 3"
    page.locator("#search").fill("")
    begin(runs, "tomorrow", 6)
    page.get_by_role("link", name="tomorrow").wait_for()
    page.get_by_role("link", name="today").click()
    page.locator("#run-words", has_text="today").wait_for()
    until(page, "view.image?.frame === 19")
    page.get_by_role("link", name="all runs").click()
    page.get_by_role("link", name="tomorrow").wait_for()
