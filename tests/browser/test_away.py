"""The page where something is away: the detector, or most of the line to who looks."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import ready, until
from tests.browser.test_live import QUICK, SCENE, launched
from tests.served import free_port
from tests.settings import sets

pytestmark = pytest.mark.timeout(240)  # several processes start, one after the other


@pytest.mark.xdist_group("live")
def test_a_detector_that_is_killed_is_told_in_red_with_the_frames_that_do_not_come(
    look, keep, tmp_path
):
    simulated = launched(
        tmp_path / "simulate.log", r"dectris://\S+", "simulate",
        "--rate", "20", "--bind", "127.0.0.1:*", *sets(*SCENE, "simulate.frames=4000"),
    )  # fmt: skip
    with simulated as (detector, uri):
        words = [uri, "--out", str(tmp_path / "run"), "--dashboard", str(free_port())]
        with launched(tmp_path / "attach.log", r"http://\S+", "attach", *words, *sets(*QUICK)) as (
            _,
            url,
        ):
            page = look(url)
            until(page, "view.image !== null && view.image.frame > 5", 60)
            assert page.locator("#lost").get_attribute("data-level") == "good"
            detector.kill()
            lost = page.locator("#lost[data-level='bad']")
            lost.filter(has_text=re.compile("detector gone since .* UTC, trying again")).wait_for()
            lost.filter(has_text=re.compile("[0-9,]+ announced and not come")).wait_for()
            # The last picture stays, and the run waits for the detector.
            assert page.evaluate("view.image.frame > 5")
            assert page.locator("#state-words").inner_text() == "waiting for frames"
            keep(page)


def test_over_a_thin_line_the_page_comes_and_goes_on(server, run, look):
    page = look("about:blank")
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    thin = {"offline": False, "latency": 100, "downloadThroughput": 50_000,
            "uploadThroughput": 50_000}  # fmt: skip
    line.send("Network.emulateNetworkConditions", thin)
    page.goto(server.url, timeout=60_000)
    ready(page)
    assert page.evaluate("view.connected")
    before = page.evaluate("view.images")
    server.send(run.image(run.n_known - 2, newest=True))
    until(page, f"view.images > {before}", 60)
