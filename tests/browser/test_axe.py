"""The page for those who hear it, and for those who see little: axe finds nothing against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.config import Config
from streamer.dashboard.hub import Hub
from streamer.dashboard.hubs import Hubs
from streamer.dashboard.server import application, application_of_runs
from streamer.dashboard.view import RunView
from tests.browser.conftest import ready, until
from tests.browser.fake import FakeRun, FakeServer
from tests.served import Served
from tests.unit.runs import make_run
from tests.unit.streamer.dashboard.image.test_gathering import frames

AXE = Path(__file__).parents[1] / "page/node_modules/axe-core/axe.min.js"
pytestmark = pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: make page")


def violations(page: Any) -> list[str]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then((said) => said.violations)")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_against_the_page(run, server, look, theme, width):
    page = look(f"{server.url}?theme={theme}", width=width)
    ready(page)
    server.send(run.health(lost="12 frames missing", alarm=True))
    page.locator("#lost[data-level=bad]").wait_for()
    assert not violations(page)
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert not violations(page)


def test_axe_finds_nothing_against_the_wall_and_the_list_of_runs(run, server, look, tmp_path):
    page = look(f"{server.url}?wall")
    ready(page)
    assert not violations(page)
    make_run(tmp_path / "run")
    with Served(application_of_runs(Hubs(tmp_path, lambda path: pytest.fail(str(path))))) as served:
        page = look(f"{served.url}runs/")
        until(page, "document.querySelectorAll('tbody tr').length === 1")
        assert not violations(page)


def spoken(page: Any) -> list[str]:
    """Return what a screen reader would read while it is told of changes."""
    return page.evaluate(
        """() => [...document.querySelectorAll("output, [role=status], [role=alert], [aria-live]")]
            .filter((one) => one.getAttribute("aria-live") !== "off" && one.id)
            .map((one) => `${one.id}: ${one.textContent}`)"""
    )


def test_what_is_read_aloud_stays_as_it_is_while_frames_come(look):
    run = FakeRun()
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url)
        ready(page)
        before = spoken(page)
        assert any("live" in one for one in before)
        for number in range(390, 396):
            server.send(run.image(number), run.health(elapsed_s=760.0 + number, latency_ms=number))
        until(page, "view.image.frame === 395")
        assert spoken(page) == before
        server.send(run.health(lost="detector gone since 14:05", alarm=True))
        until(page, "document.querySelector('#state-said').textContent.includes('at once')")


@pytest.mark.parametrize(("theme", "width"), [("dark", 390), ("light", 1440), ("dark", 3840)])
def test_axe_finds_nothing_against_what_is_drawn_on_the_image(look, tmp_path, theme, width, keep):
    np.save(tmp_path / "first.npy", frames())
    run = make_run(tmp_path / "run", source=str(tmp_path / "first.npy"))
    (run.path / "config.yaml").write_text(Config().to_yaml())
    address = "?frame=3&series=first&rings=2.34&zoom=4"
    with Served(application(Hub(RunView(run.path)))) as served:
        page = look(
            f"{served.url}{address}&theme={theme}", width=width, height=max(width // 2, 844)
        )
        until(page, "view.images > 0 && view.beamAt !== null")
        page.locator("#drawing summary").click()
        for tool, numbers in (("roi", "8 9 7 20"), ("disc", "30 40 5"), ("polygon", "1 2")):
            page.locator("#tool").select_option(tool)
            page.locator("#shape").fill(numbers)
            page.locator("#shape").press("Enter")
        until(page, "view.roiSeries.frame.length > 0 && view.masked > 0")
        page.evaluate("view.point([20, 30])")
        until(page, "view.cursor.counts !== null")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not violations(page)
        keep(page, full_page=True)
